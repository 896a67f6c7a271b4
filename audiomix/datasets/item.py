"""One clip of a data set, as every reader in this folder hands it on."""

import os
from dataclasses import dataclass, field

from ..audio.remote.urls import is_url, join

__all__ = ["SPLITS", "Item", "Label", "piece_name"]

Label = str | dict[str, float] | None

# What the parts of data sets are called in the wild, in lower case, and which part each name means.
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set, or a piece of one.

    Parameters
    ----------
    root : str
        Folder that `id` is relative to; it may be a URL.
    id : str
        Name within the data set, with forward slashes: it names the clip in manifests and seeds its draws. It is the
        path of the file relative to `root` unless `file` is given.
    label : str, dict or None
        A class; shares by class, or ones for several labels; None where the class is not known.
    caption : str, optional
        The first of `captions`.
    split : str, optional
        The part of the data set that it belongs to, such as ``train`` or ``test``.
    fold : str, optional
        The fold that its authors put it in.
    group : str, optional
        Recording, speaker or video that several clips stem from.
    licence : str, optional
        Name or address of its licence.
    attribution : str, optional
        Whom it is from, as a text to be shown.
    captions : tuple of str
        All captions in their order; one where only `caption` is given.
    tags : tuple of str
        Keywords.
    role : str, optional
        What it is for in a mix: ``original``, ``noise`` (a partner only) or ``both``, as the manifest says it; see
        `audiomix.offline.partners.roles`.
    bpm, key : str, optional
        Tempo in beats a minute, and musical key, where they are known; as the manifest says it.
    beats : str, optional
        Beats, where they are known: a JSON list of seconds, or the path of a ``.beats`` text relative to `root`.
    file : str, optional
        Path of the file relative to `root`, where that is not `id`.
    start : float, optional
        Where in the file the clip begins, in seconds; None is the beginning.
    seconds : float, optional
        How long the clip is; None is all of the file from `start` on.
    cluster : str, optional
        The cluster that it is in, such as that of its embedding.
    attributes : tuple of str, optional
        What it is besides its class: microphones, rooms, accents; None where nothing is said.
    line : int, optional
        Which line of a manifest it stands in, for messages: items that differ in nothing else are equal.

    Examples
    --------
    >>> item = Item("sounds", "dog/1.wav", "dog", captions=("A dog barks.", "Barking."))
    >>> item.path, item.caption, item.classes
    ('sounds/dog/1.wav', 'A dog barks.', ('dog',))
    """

    root: str
    id: str
    label: Label = None
    caption: str | None = None
    split: str | None = None
    fold: str | None = None
    group: str | None = None
    licence: str | None = None
    attribution: str | None = None
    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    role: str | None = None
    bpm: str | None = None
    key: str | None = None
    beats: str | None = None
    file: str | None = None
    start: float | None = None
    seconds: float | None = None
    cluster: str | None = None
    attributes: tuple[str, ...] | None = None
    line: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Keep `caption` the first of `captions`."""
        if self.captions:
            object.__setattr__(self, "caption", self.captions[0])
        elif self.caption:
            object.__setattr__(self, "captions", (self.caption,))

    @property
    def path(self) -> str:
        """Where the file is; a URL where it is one, or is relative to one."""
        name = self.id if self.file is None else self.file
        if is_url(name):
            return name
        return join(self.root, name) if is_url(self.root) else os.path.join(self.root, name)

    @property
    def where(self) -> str:
        """Where it is named, for the end of a message; empty where no manifest names it."""
        return "" if self.line is None else f" (line {self.line} of the manifest)"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it has a share of."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else tuple(self.label)


def piece_name(file: str, start: float, seconds: float | None) -> str:
    """Return the name of a piece of a file.

    Parameters
    ----------
    file : str
        Path of the file.
    start : float
        Where in it the piece begins, in seconds.
    seconds : float, optional
        How long it is; None is to the end.

    Examples
    --------
    >>> piece_name("a.wav", 2.0, 1.5), piece_name("a.wav", 0.0, None)
    ('a@2-3.5.wav', 'a@0-.wav')
    """
    stem, suffix = os.path.splitext(file)
    stop = "" if seconds is None else f"{round(start + seconds, 6):g}"
    return f"{stem}@{round(start, 6):g}-{stop}{suffix}"
