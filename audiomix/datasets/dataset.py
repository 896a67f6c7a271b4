"""A data set whose clips have one class each: what there is, read from names and tables alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import check
from ..audio import io
from .item import Item

__all__ = ["OUTLIER", "UNKNOWN", "Dataset", "natural", "usual_form"]

UNKNOWN = -1  # the label of a clip whose class nobody has written down
OUTLIER = -2  # the label of a clip whose class is known, and none of those to be told apart
_PROBED = 200  # headers read to find the usual rate and length


@dataclass(frozen=True)
class Dataset:
    """Clips, sorted by id so that the order of a listing never matters, and what their labels mean.

    Parameters
    ----------
    name : str
        The data set's name in the registry.
    items : tuple of Item
        The N clips; the label of each is one class name, or None where its class is not known.
    class_names : tuple of str
        The classes; the place of a name is its label as a number. Empty for clips that have captions only.
    rate : int
        The rate most files have, in Hz: a hint for presets that train at the native rate.
    seconds : float
        The length every clip is cut or zero-padded to, at its end.
    root : Path, optional
        The folder it was found in.
    official : bool
        Its folds and parts are those that its authors published; otherwise they are the user's own, who can mend them.
    skipped : tuple of (str, str)
        What is named like a sound and can be none, with the reason; see `audiomix.datasets.walk.list_files`.
    outlier_classes : tuple of str
        Further classes, which are not to be told apart: their clips have the label `OUTLIER`. They may be trained on
        without labels, and are never tested on.
    speech : bool or None
        Whether its clips are speech; None where nobody has said so. A word played backwards is another word.
    arguments : tuple of (str, object)
        Arguments of a recipe that lead to it again, such as ``("dataset", "folder")``; empty where it was made by hand.

    Examples
    --------
    >>> clips = [Item("", "b.wav", "dog", fold="2"), Item("", "a.wav", "cat", fold="1"), Item("", "c.wav", fold="1")]
    >>> data = Dataset("pets", tuple(clips), ("cat", "dog"), 16000, 1.0)
    >>> data.labels, data.folds, data.holdout("2")
    ([0, 1, -1], ('1', '2'), ([0, 2], [1]))
    """

    name: str
    items: tuple[Item, ...]
    class_names: tuple[str, ...]
    rate: int
    seconds: float
    root: Path | None = None
    official: bool = True
    skipped: tuple[tuple[str, str], ...] = ()
    outlier_classes: tuple[str, ...] = ()
    speech: bool | None = None
    arguments: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Sort the clips."""
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.id)))

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def labels(self) -> list[int]:
        """The label of each clip as a number, below 0 where it is none of the classes: `UNKNOWN` or `OUTLIER`."""
        number: dict[object, int] = {name: i for i, name in enumerate(self.class_names)}
        number |= dict.fromkeys(self.outlier_classes, OUTLIER)
        return [UNKNOWN if item.label is None else number[item.label] for item in self.items]

    @cached_property
    def groups(self) -> list[str]:
        """The group of each clip; a clip without one is its own."""
        return [item.group if item.group is not None else item.id for item in self.items]

    @property
    def folds(self) -> tuple[str, ...]:
        """What can be held out: ``test`` where the data set names such clips, else its folds, else ``validation``."""
        splits = {item.split for item in self.items}
        folds = tuple(sorted({item.fold for item in self.items if item.fold is not None}, key=natural))
        if "test" in splits:
            return ("test",)
        return folds or (("validation",) if "validation" in splits else ())

    def holdout(self, fold: str) -> tuple[list[int], list[int]]:
        """Return the indices of the training clips and of the clips held out for testing.

        Clips marked ``validation`` are in neither, unless it is they that are held out.

        Parameters
        ----------
        fold : str
            One of `folds`.

        Raises
        ------
        ValueError
            There is no such fold.
        """
        check.choice("fold", fold, self.folds)
        kept = [i for i, item in enumerate(self.items) if item.split != "validation" or fold == "validation"]
        marked = fold in ("test", "validation")
        test = [i for i in kept if (self.items[i].split if marked else self.items[i].fold) == fold]
        held = set(test)
        return [i for i in kept if i not in held], test

    def only(self, indices: Iterable[int]) -> "Dataset":
        """Return the data set without the clips that are not at `indices`."""
        return replace(self, items=tuple(self.items[i] for i in indices))


def natural(text: str) -> tuple:
    """Return a sort key that puts fold 2 before fold 10.

    >>> sorted(["10", "b", "2", "a"], key=natural)
    ['2', '10', 'a', 'b']
    """
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def usual_form(paths: Sequence[str], source: Path, slip: str = "") -> tuple[int, float]:
    """Return the commonest rate in Hz and the median length in seconds, from the headers of evenly spaced files.

    Parameters
    ----------
    paths : sequence of str
        The files.
    source : Path
        Where they were listed, for the message.
    slip : str
        What may be wrong where none can be read, for the message.

    Raises
    ------
    ValueError
        None of them can be opened: the first is named with the reason.
    """
    rates: list[int] = []
    lengths: list[float] = []
    reasons: list[str] = []
    probed = paths[:: max(1, len(paths) // _PROBED)]
    for path in probed:
        try:
            head = io.info(path)
        except io.AudioError as error:
            reasons.append(str(error))  # listed again when the clips are decoded
            continue
        if head.frames:
            rates.append(head.rate)
            lengths.append(head.seconds)
        else:
            reasons.append(f"{path}: no samples")
    if not rates:
        looked = f" ({len(probed)} were tried)" if len(probed) < len(paths) else ""
        got = f"{len(paths)} files of which none can be read{looked}, the first: {reasons[0]}"
        check.fail(str(source), "of audio files that can be read", got, slip)
    return max(sorted(set(rates)), key=rates.count), sorted(lengths)[len(lengths) // 2]
