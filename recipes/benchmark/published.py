"""Errors that others published, with what must be known before ours are compared with them.

Only what is certain: the abstract and the README of the founding study. Its tables were not at hand, so there are no
standard deviations. USB's audio numbers are not here: it fine-tunes pretrained transformers on other splits and other
amounts of labels, and reports the best epoch.
"""

from dataclasses import dataclass

from ..training.config import parse_amount

__all__ = ["CAVEATS", "NOT_COMPARABLE", "PublishedError", "find_published_error", "list_published_errors"]


@dataclass(frozen=True)
class PublishedError:
    """An error that was published, in percent."""

    dataset: str  # our name of the data set
    method: str  # our name of the method
    labelled: str  # labels kept, as a share of each class
    error: float  # in percent
    mixer: bool = False  # whether the method was trained with mixup beyond what it has by definition


STUDY = (
    PublishedError("esc10", "remixmatch", "10%", 12.00),
    PublishedError("esc10", "fixmatch", "10%", 13.33),
    PublishedError("urbansound8k", "supervised", "100%", 23.29),
    PublishedError("urbansound8k", "mixmatch", "10%", 18.02),
    PublishedError("speech_commands", "supervised", "100%", 4.94),
    PublishedError("speech_commands", "mixmatch", "10%", 3.25),
    PublishedError("speech_commands", "fixmatch", "10%", 4.44),
    PublishedError("speech_commands", "fixmatch", "10%", 3.31, mixer=True),
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


def list_published_errors(dataset: str, classes: int) -> list[PublishedError]:
    """Return what was published for a data set, of which a part of the classes is not comparable.

    >>> [p.error for p in list_published_errors("esc10", 10)], list_published_errors("speech_commands", 5)
    ([12.0, 13.33], [])
    """
    if dataset == "speech_commands" and classes != _WORDS:
        return []
    return [p for p in STUDY if p.dataset == dataset]


def find_published_error(
    dataset: str, classes: int, method: str, labelled: str, *, plain: bool
) -> PublishedError | None:
    """Return the published error to compare a row with, if there is one for so many classes of the data set.

    `plain` says whether the method is trained as it is by definition, without a mixer besides.
    """
    for p in list_published_errors(dataset, classes):
        if (p.method, parse_amount(p.labelled), p.mixer) == (method, parse_amount(labelled), not plain):
            return p
    return None
