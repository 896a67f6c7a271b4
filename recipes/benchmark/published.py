"""Numbers that others published, each with what must be known before ours is laid beside it.

Only what is certain: the abstract and the README of the founding study. Its tables were not at hand, so there are no
spreads. USB's audio numbers are not here: it fine-tunes pretrained transformers on other splits and other amounts of
labels, and reports the best epoch.
"""

from dataclasses import dataclass

from ..data.split import amount

__all__ = ["CAVEATS", "NOT_COMPARABLE", "Published", "beside", "published"]


@dataclass(frozen=True)
class Published:
    """An error that was published, in percent.

    Parameters
    ----------
    dataset, method : str
        As ours are called.
    mixer : bool
        Whether the method was trained with mixup beyond what it has itself.
    labelled : str
    error : float
    """

    dataset: str
    method: str
    labelled: str
    error: float
    mixer: bool = False


STUDY = (
    Published("esc10", "remixmatch", "10%", 12.00),
    Published("esc10", "fixmatch", "10%", 13.33),
    Published("urbansound8k", "supervised", "100%", 23.29),
    Published("urbansound8k", "mixmatch", "10%", 18.02),
    Published("speech_commands", "supervised", "100%", 4.94),
    Published("speech_commands", "mixmatch", "10%", 3.25),
    Published("speech_commands", "fixmatch", "10%", 4.44),
    Published("speech_commands", "fixmatch", "10%", 3.31, mixer=True),
)

CAVEATS = (
    'Cances, Labbe, Pellegrini, "Comparison of semi-supervised deep learning algorithms for audio classification", '
    "EURASIP JASMP 2022: Wide-ResNet-28-2, the best epoch on the test fold, so optimistic; to be taken as +-1 point.",
    "Errors of the study's first version were probably measured on a part of the test clips: its code dropped the last "
    "incomplete batch (60 of 80 clips of a fold of ESC-10; 13.33 % is no mean over five folds of 80 clips).",
    "Supervised at 100 %: the best of the study's variants.",
)
NOT_COMPARABLE = {
    "speech_commands": "Published for all 35 words: not comparable with fewer.",
    "speech_commands_12": "The study has 35 words; nothing was published for the 12 classes under its protocol.",
}
_WORDS = 35


def published(dataset: str, classes: int) -> list[Published]:
    """Return what was published for a data set with so many classes.

    >>> [p.error for p in published("esc10", 10)], published("speech_commands", 5)
    ([12.0, 13.33], [])
    """
    if dataset == "speech_commands" and classes != _WORDS:
        return []
    return [p for p in STUDY if p.dataset == dataset]


def beside(dataset: str, classes: int, method: str, labelled: str, *, plain: bool) -> Published | None:
    """Return the number to lay beside a row, whose method is trained as it is (`plain`) or with a mixer besides."""
    for p in published(dataset, classes):
        if (p.method, amount(p.labelled), p.mixer) == (method, amount(labelled), not plain):
            return p
    return None
