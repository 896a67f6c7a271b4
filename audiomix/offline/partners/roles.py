"""Originals and partners: a noise set beside a data set, or the column `role` of a manifest.

==========  =======================================================
role        what becomes of the clip
==========  =======================================================
original    it is mixed, and is nobody's partner
noise       it is a partner only: no mix is made of it
both        it is mixed, and may be a partner; so are clips without a role
==========  =======================================================
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ... import check
from ...audio.remote.urls import is_url, parent_of
from ...datasets.item import SPLITS, Item
from ...datasets.item_table import codes_of
from ...datasets.source import read_source
from ...datasets.walk import Skipped

__all__ = ["ROLES", "check_roles", "is_noise", "is_original", "is_partner", "join_partners", "read_partners"]

ROLES = ("original", "noise", "both")


def is_original(item: Item) -> bool:
    """Say whether mixes are made of a clip."""
    return item.role != "noise"


def is_partner(item: Item) -> bool:
    """Say whether a clip may be a partner."""
    return item.role != "original"


def is_noise(item: Item) -> bool:
    """Say whether a clip is a partner only."""
    return item.role == "noise"


def check_roles(items: Sequence[Item], source: str | Path, notes: list[str]) -> Sequence[Item]:
    """Return the items with the roles that the column `role` of a manifest gives them.

    Parameters
    ----------
    items : sequence of Item
        As they were read.
    source : path
        Where they were read from, for messages.
    notes : list of str
        That a column of another meaning is left out is appended.

    Raises
    ------
    ValueError
        Roles among others that are none, or rows that leave no original or no partner.
    """
    given = {*codes_of(items, "role")[1]}
    if not given:
        return items
    roles = {role: role.strip().lower() for role in given}
    if not set(roles.values()) & set(ROLES):  # such as the speaker's role in a conversation
        named = ", ".join(sorted(given)[:3])
        notes.append(f"the column role of {source} says none of {', '.join(ROLES)} (but {named}): it is left out")
        return [replace(item, role=None) for item in items]
    for item in items:
        if item.role is not None:
            check.choice(f"the role of {item.id} in {source}", roles[item.role], ROLES)
    return [item if item.role is None else replace(item, role=roles[item.role]) for item in items]


def read_partners(
    partners: str | Path,
    notes: list[str],
    *,
    no_labels: bool = False,
    label: str | None = None,
    layout: str = "",
    skipped: Skipped,
) -> list[Item]:
    """Read a set of partners, such as noise: any layout that a data set may have, with labels or without.

    Parameters
    ----------
    partners : path
        A folder or a manifest, whose columns have their usual names.
    notes : list of str
        What a person should know of is appended.
    no_labels : bool
        Leave labels out.
    label : str, optional
        The class of all partners, in place of their own, which are then not looked for; an empty text is none.
    layout : str
        What the folders of a tree are (`audiomix.datasets.tree`).
    skipped : list of (str, str)
        Files that can be no sound are appended with the reason.

    Returns
    -------
    list of Item
        All with the role ``noise``, without those whose role is ``original``.
    """
    items, classes = read_source(
        partners, no_labels=no_labels or label is not None, need_labels=False, layout=layout, notes=notes,
        skipped=skipped,
    )  # fmt: skip
    items = [item for item in check_roles(items, partners, notes) if is_partner(item)]
    if not items:
        check.fail("partners", "clips that may be partners", repr(str(partners)), "all rows have the role original")
    if label is not None:
        items = [replace(item, label=label or None) for item in items]
    elif classes:
        named = ", ".join(classes[:3]) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")
        notes.append(f"partners have labels of their own ({named}); --partner-label NAME gives them one, '' none")
    return [replace(item, role="noise") for item in items]


def join_partners(items: Sequence[Item], partners: Sequence[Item]) -> list[Item]:
    """Return the clips of a data set and its partners as one list, in which ids are names of one file each.

    A file that stands in both is listed once, as one that may be either. An id that names another file of the data set
    is counted from a folder further up. A split of the partners that is the data set's by another name (TEST, testing)
    gets its name.

    Parameters
    ----------
    items : sequence of Item
        Clips of the data set; those without a role are originals.
    partners : sequence of Item
        As `read_partners` returns them.
    """
    own, theirs = [_real(item) for item in items], [_real(item) for item in partners]
    both, taken = set(own).intersection(theirs), {item.id for item in items}
    joined = [
        replace(item, role="both" if sound in both else "original") if item.role in (None, "original") else item
        for item, sound in zip(items, own)
    ]
    splits = {item.split for item in items if item.split}
    others = [
        replace(item, split=_same_split(item.split, splits))
        for item, sound in zip(partners, theirs)
        if sound not in both
    ]
    while any(item.id in taken for item in others):
        raised = [_from_above(item) for item in others]
        if raised == others:
            check.fail("partners", "files with names of their own", repr(others[0].id), "rename their folder")
        others = raised
    return [*joined, *others]


def _same_split(name: str | None, known: set[str]) -> str | None:
    """Return the one of `known` that means the same part of a data set; the name itself where there is not just one.

    >>> _same_split("test", {"TRAIN", "TEST"}), _same_split("test", {"eval", "TEST"}), _same_split("test", {"test"})
    ('TEST', 'test', 'test')
    """
    if name is None or name in known:
        return name
    meaning = [SPLITS.get(one.lower(), one.lower()) for one in (name, *known)]
    alike = [one for one, means in zip(known, meaning[1:]) if means == meaning[0]]
    return alike[0] if len(alike) == 1 else name


def _real(item: Item) -> tuple[str, float | None, float | None]:
    """Return which sound it is, whatever links lead to it."""
    return item.path if is_url(item.path) else os.path.realpath(item.path), item.start, item.seconds


def _from_above(item: Item) -> Item:
    """Return a clip whose id begins with the name of the folder that it was relative to."""
    folder, name = parent_of(item.root) if is_url(item.root) else os.path.split(os.path.abspath(item.root))
    if not name:
        return item
    file = None if item.file is None else f"{name}/{item.file}"
    return replace(item, root=folder, id=f"{name}/{item.id}", file=file)
