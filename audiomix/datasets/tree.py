"""What the folders of a tree say of the sounds in it: classes, splits, folds, recordings.

A layout names what each level of folders is, from the top: ``class`` is ``dog/1.wav``, ``split/class`` is
``train/dog/1.wav``; ``_`` stands for a folder that says nothing. Folders below the last level are part of a name alone.

=====================================  ================================================================
folders                                layout
=====================================  ================================================================
``dog/ cat/``                          ``class``
``train/dog/ test/dog/``               ``split/class``: `item.SPLITS` in any case, all folders of the top
``fold1/dog/ fold2/dog/``              ``fold/class``
``dog/train/ dog/test/``               ``class/split``; with folds ``class/fold``
``genres_original/blues/``             ``_/class``, and so below ``audio/``, ``wav/``, ``data/``...
``train/`` with sounds, no folders     ``split``, where no labels are wanted
=====================================  ================================================================

Whatever may be one or the other is refused with both readings. A folder ``unlabelled`` at the top holds sounds of
unknown class, and ``_background_noise_`` none at all.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Literal, NoReturn

from .. import check
from . import tables
from .item import SPLITS, Item
from .walk import Skipped, is_audio, list_files, pyav_reads

__all__ = ["NOISE", "UNLABELLED", "Tree", "read_tree", "recognise_tree"]

Labels = Literal["needed", "wanted", "unused"]
UNLABELLED = ("unlabelled", "unlabeled")
NOISE = "_background_noise_"
_ROLES = ("split", "fold", "class", "group", "_")
_FOLD = re.compile(r"(k?-?fold|cv)s?[ _-]?\d+|\d+(st|nd|rd|th)?[ _-]?fold", re.IGNORECASE)
# Names that number the parts of something; folders of classes are rarely called so.
_PART = re.compile(
    r"(split|part|set|subset|batch|chunk|partition|shard|session|dis[ck]|cd|section|vol|volume)[ _-]?(\d+|[a-z])",
    re.IGNORECASE,
)
# Parts as some data sets of speech call them.
_SHORT = ("tr", "cv", "tt", "trn", "tst", "trainset", "testset", "devset", "holdout", "heldout")
_PERSON = re.compile(r"(actor|speaker|spk|subject|subj|participant|singer)[ _-]?\d+", re.IGNORECASE)
# Folders that hold all the sounds of a set and say nothing of them.
_WRAPPERS = {
    *("audio", "audios", "wav", "wavs", "flac", "mp3", "sound", "sounds", "clips", "data", "dataset", "files", "raw"),
    *("recordings", "samples", "genres", "genres_original", "audio_files", "audio_data", "wav_files", "audio_wav"),
}
_SHOWN = 4


@dataclass(frozen=True)
class Tree:
    """How the folders of a tree are read.

    Parameters
    ----------
    layout : tuple of str
        What each level of folders is, from the top: split, fold, class, group, or ``_`` for nothing.
    reason : str
        What says so.
    """

    layout: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return "/".join(self.layout)


def read_tree(
    root: Path, layout: str = "", *, labels: Labels = "needed", notes: list[str], skipped: Skipped | None = None
) -> list[Item]:
    """Read all sounds below a folder, and what its folders say of them.

    Parameters
    ----------
    root : Path
        The top folder.
    layout : str
        What each level of folders is, e.g. ``split/class``; by default it is recognised.
    labels : str
        ``needed``; ``wanted`` where there are some; or ``unused``: then nothing is asked.
    notes : list of str
        How the folders are read is appended where that is not plainly one folder a class.
    skipped : list of (str, str), optional
        See `walk.list_files`.

    Returns
    -------
    list of Item
        Sorted; ids are paths relative to `root`. A file outside the class folders has no label. A split is called what
        its folder is called, and ``unlabelled`` where that is the folder.

    Raises
    ------
    ValueError
        The folders may be read in several ways; `layout` names no levels.
    """
    names = list(list_files(root, audio_only=False, skipped=skipped))
    paths = [name for name in names if is_audio(name)]
    if others := [name for name in names if "/" in name and not is_audio(name)]:
        kinds = " ".join(sorted({os.path.splitext(name)[1].lower() or name.rpartition("/")[2] for name in others}))
        note = f"{root}: ignored: {len(others)} files that are not read ({kinds}), such as {others[0]}"
        notes.append("; ".join(filter(None, [note, pyav_reads(others)])))
    left = [path for path in paths if NOISE in path.split("/")[:-1]]
    if left:
        notes.append(f"{len(left)} files below {NOISE} are noise of no class, and left out")
        paths = [path for path in paths if NOISE not in path.split("/")[:-1]]
    tree = recognise_tree(paths, layout, labels=labels)
    if tree.reason:
        notes.append(f"the folders are read as {tree}: {tree.reason}")
    return [_item(str(root), path, tree.layout) for path in paths]


def recognise_tree(paths: Sequence[str], layout: str = "", *, labels: Labels = "needed") -> Tree:
    """Say what each level of folders is.

    Parameters
    ----------
    paths : sequence of str
        The sounds, relative to the top, with forward slashes.
    layout : str
        What the user says that it is; else it is recognised by the folders' names.
    labels : str
        ``needed``; ``wanted`` where there are some: sounds right below folders of splits then have none; or ``unused``:
        then nothing is asked.

    Raises
    ------
    ValueError
        There are several readings, all named; `layout` names no levels.

    Examples
    --------
    >>> str(recognise_tree(["Train/dog/1.wav", "Eval/dog/2.wav"])), str(recognise_tree(["dog/1.wav"]))
    ('split/class', 'class')
    """
    if layout:
        return Tree(_parse(layout), "")
    folders = sorted({tuple(path.split("/")[:-1]) for path in paths})
    folders = [parts for parts in folders if not any(part.lower() in UNLABELLED for part in parts)]
    roles: list[str] = []
    reasons: list[str] = []
    while names := _names(folders, len(roles)):
        deeper = _names(folders, len(roles) + 1)
        if role := _unclear(folders, names, deeper, roles, labels):
            reasons.append(f"{_few(names)} is no class")
            roles.append(role)
            continue
        role = _role(names, deeper, bool(_names(folders, len(roles) + 2)), roles, labels)
        roles.append(role)
        if role == "class":
            if below := _below_class(deeper, roles, labels):
                roles.append(below)
                reasons.append(f"{_few(deeper)} are {below}s of each class")
            if doubt := _doubt(names):
                reasons.append(doubt)
            if len(names) == len(roles) == 1:
                reasons.append(f"{names[0]} is the only class")
            break
        reasons.append(f"{_few(names)} {'is no class' if role == '_' else f'are {role}s'}")
    return Tree(tuple(roles), "; ".join(reasons))


def _unclear(
    folders: list[tuple[str, ...]], names: list[str], deeper: list[str], roles: list[str], labels: Labels
) -> str:
    """Return ``_`` for a folder around the others, else nothing; raise where classes may lie a level further down.

    They may where folders at this level have the same ones below them, as years or speakers have, or where one is
    called as if it held all sounds.
    """
    level = len(roles)
    if len(names) == 1:
        below = range(level + 2, max(map(len, folders)))
        return "_" if len(deeper) == 1 and any(len(_names(folders, k)) > 1 for k in below) else ""
    if labels == "unused" or "split" in roles or any(_is_part(name) for name in deeper) or all(map(_is_part, names)):
        return ""
    inside: dict[str, set[str]] = {name: set() for name in names}
    for parts in folders:
        if len(parts) > level + 1:
            inside[parts[level]].add(parts[level + 1])
    shared = [name for name in deeper if sum(name in found for found in inside.values()) > 1]
    wrappers = [name for name in names if name.lower() in _WRAPPERS and len(inside[name]) > 1]
    several = len(shared) > 1 and all(inside.values())
    if wrappers or several or (shared and any(map(_is_part, names))):
        first = "split" if any(map(_is_split, names)) else "fold" if any(map(_is_fold, names)) else "_"
        more = "; in place of _ perhaps group, fold or split" if first == "_" else ""
        _ask(roles, [(f"{first}/class", f"classes {_few(deeper)}{more}"), ("class", f"classes {_few(names)}")])
    return ""


def _role(names: list[str], deeper: list[str], deepest: bool, roles: list[str], labels: Labels) -> str:
    """Return what a level of folders is: split, fold, ``_`` or class; raise where that is not clear.

    `deeper` are the folders of the next level, and `deepest` says whether there are more below those.
    """

    def ask(role: str, text: str, other: tuple[str, str] = ("class", f"classes {_few(names)}")) -> str:
        readings = [(f"{role}/class" if deeper else role, text), other]
        return _ask(roles, readings) if labels == "needed" or (labels == "wanted" and deeper) else role

    for role, known in (("split", _is_split), ("fold", _is_fold)):
        if role not in roles and all(map(known, names)):
            return role if deeper else ask(role, f"{role}s {_few(names)} without classes: --no-labels")
    parts = [name for name in names if _is_part(name)]
    kinds = {SPLITS.get(name.lower(), "fold") for name in parts}
    if len(kinds) > 1 or sum(map(_is_fold, parts)) > 1:
        others = [name for name in names if name not in parts]
        text = f"{_few(parts)}" + (f" beside {_few(others)}" if others else "")
        return ask("split" if any(map(_is_split, parts)) else "fold", f"splits or folds {text}")
    if len(names) > 1 and all(map(_looks_like_part, names)):
        role = "split" if any(_words(name) & {*SPLITS, *_SHORT} for name in names) else "fold"
        return ask(role, f"{role}s {_few(names)} {f'with classes {_few(deeper)}' if deeper else 'without classes'}")
    if len(names) == 1:
        if names[0].lower() in _WRAPPERS or (deepest and all(map(_looks_like_part, deeper))):
            return "_"
        if len(deeper) > 1 and not any(map(_is_part, deeper)):
            return ask("_", f"classes {_few(deeper)}", ("class", f"one class {_few(names)}"))
    return "class"


def _ask(roles: list[str], readings: list[tuple[str, str]]) -> NoReturn:
    """Raise with all readings of a tree, and the option that chooses one."""
    told = [f"{'/'.join([*roles, layout])} ({what})" for layout, what in readings]
    first = "/".join([*roles, readings[0][0]])
    slip = f"say which by layout: --layout {first} with audiomix (--partner-layout for partners), "
    slip += f"folder:layout={first} with audiomix-recipes"
    check.fail("source", "a folder whose folders can be read in one way", " or ".join(told), slip)


def _below_class(names: list[str], roles: list[str], labels: Labels) -> str:
    """Return what the folders below those of the classes are: split, fold, or empty where they say nothing."""
    if names and all(map(_is_split, names)):
        return "split"
    if len(names) > 1 and all(map(_is_fold, names)):
        return "fold"
    parts = [name for name in names if _is_split(name)]
    if labels != "unused" and len({SPLITS[name.lower()] for name in parts}) > 1:
        _ask(roles[:-1], [("class/split", f"splits {_few(parts)} of each class"), ("class", "they say nothing")])
    return ""


def _doubt(names: list[str]) -> str:
    """Return what is to be said of folders that are taken for classes and may be something else."""
    if parts := [name for name in names if _is_part(name)]:
        return f"{_few(parts)} is a class like {_few([name for name in names if name not in parts])}"
    if all(map(_PERSON.fullmatch, names)):
        return f"{_few(names)} are taken for classes; where they are speakers: layout group"
    return ""


def _item(root: str, path: str, layout: tuple[str, ...]) -> Item:
    parts = path.split("/")[:-1]
    if any(part.lower() in UNLABELLED for part in parts[: len(layout) or 1]):
        return Item(root, path, split="unlabelled")
    found = {role: intern(name) for role, name in zip(layout, parts)}
    label = tables.same_name(found["class"]) if "class" in found else None
    return Item(root, path, label, split=found.get("split"), fold=found.get("fold"), group=found.get("group"))


def _parse(layout: str) -> tuple[str, ...]:
    roles = tuple(layout.strip("/").split("/"))
    for role in roles:
        check.choice("layout", role, _ROLES)
    if twice := [role for role in roles if role != "_" and roles.count(role) > 1]:
        check.fail("layout", "levels of folders, each named once", repr(layout), f"{twice[0]} twice")
    return roles


def _names(folders: list[tuple[str, ...]], level: int) -> list[str]:
    return sorted({parts[level] for parts in folders if len(parts) > level})


def _is_split(name: str) -> bool:
    return name.lower() in SPLITS


def _is_fold(name: str) -> bool:
    return _FOLD.fullmatch(name) is not None


def _is_part(name: str) -> bool:
    return _is_split(name) or _is_fold(name)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def _looks_like_part(name: str) -> bool:
    return bool(_words(name) & {*SPLITS, *_SHORT}) or _is_fold(name) or _PART.fullmatch(name) is not None


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
