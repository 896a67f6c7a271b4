"""What mixers of several sources share: partners that differ, how many, and their sum in each domain."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend_power import blend_power
from ..audio.several import sum_sources
from ..clips import Clips, overlap
from ..draw import Generator
from ..pairing import SELF
from ..partners import choose_partners
from ..plan import NO_PARTNER
from ..plan_sources import SourcesPlan
from ..schedule import Schedule

__all__ = [
    "check_self",
    "choose_several",
    "mix_decibels",
    "mix_powers",
    "number_of_sources",
    "schedule_or_pair",
    "source_range",
]


def check_self(sources: tuple[int, int], pairing: str) -> tuple[int, int]:
    """Return the number of sources, or raise where a clip is to be its own partner more than once."""
    if pairing == SELF and sources != (2, 2):
        check.fail("sources", "2 with pairing='self'", sources, "the clip, and the clip from another place")
    return sources


def source_range(sources: int | tuple[int, int]) -> tuple[int, int]:
    """Return the least and the largest number of sources of a mix, the original included, or raise.

    Parameters
    ----------
    sources : int or (int, int)
        One number, or both.
    """
    pair = (sources, sources) if isinstance(sources, int) else sources
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail("sources", "a whole number, or (fewest, most)", repr(sources), error=TypeError)
    low, high = check.integer("sources", pair[0], 1), check.integer("sources", pair[1])
    if low > high:
        check.fail("sources", "(fewest, most)", f"({low}, {high})", "the other way round?")
    if high == 1:
        check.fail("sources", "2 or more at most: the original is one of them", high, "p=0 mixes nothing")
    return low, high


def schedule_or_pair(
    name: str, value: Any, high: float = math.inf, *, ordered: bool = False
) -> Schedule | tuple[float, float]:
    """Return an option that is a number, a schedule, or two numbers, or raise.

    Parameters
    ----------
    name : str
        Of the option.
    value : number, str, Schedule or (float, float)
        What was given.
    high : float
        The largest that it may be; the least is 0.
    ordered : bool
        Two numbers are (lowest, highest).
    """
    if not isinstance(value, (tuple, list)):
        return Schedule.of(value, name).within(name, 0, high)
    if len(value) != 2:
        check.fail(name, "a number, a schedule, or two numbers", value)
    first, second = (check.number(name, one, 0, high) for one in value)
    if ordered and first > second:
        check.fail(name, "(lowest, highest)", f"({first:g}, {second:g})", "the other way round?")
    return first, second


def choose_several(own: Clips, source: Clips, pairing: str, most: int, generator: Generator = None) -> Tensor:
    """Draw up to `most` different partners for each clip, by a rule that holds for every one of them.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    pairing : str
        The rule.
    most : int
        How many, S.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    Tensor, shape (B, S), int64
        Rows of `source`, none twice in a row and never the clip itself; -1 behind the last one there is.
    """
    if pairing == "any" and own.notes.allowed is None and own.notes.pairing_weights is None:
        return _any_several(own, source, most, generator)
    size, columns = len(own), torch.arange(len(source))
    allowed = torch.ones(size, len(source), dtype=torch.bool)
    rows: list[Tensor] = []
    for _ in range(most):
        partner, found = choose_partners(own, source, pairing, allowed=allowed, generator=generator)
        rows.append(torch.where(found, partner, -1))
        if not bool(found.any()):
            break
        allowed = allowed & (columns != rows[-1][:, None])
    partners = torch.full((size, most), -1)
    partners[:, : len(rows)] = torch.stack(rows, 1)
    return _to_front(partners)


def _any_several(own: Clips, source: Clips, most: int, generator: Generator) -> Tensor:
    """Draw partners whatever their classes: every set of them is equally likely, and every clip is used equally often.

    Clips lie on a circle in a random order, and the partners are those at `most` different random distances.
    """
    size = len(own)
    partners = torch.full((size, most), -1)
    if source is own:
        index = torch.arange(size) if own.eligible is None else own.eligible.cpu().nonzero().flatten()
        have = len(index)
        order = index[draw.permutation(have, generator=generator)]
        steps = 1 + draw.permutation(max(have - 1, 0), generator=generator)[:most]
        partners[order, : len(steps)] = order[(torch.arange(have)[:, None] + steps) % max(have, 1)]
        return partners
    have = len(source)
    steps = draw.permutation(have, generator=generator)[:most]
    for first in range(0, size, have):
        rows = torch.arange(first, min(first + have, size))
        order = draw.permutation(have, generator=generator)
        partners[rows, : len(steps)] = order[(rows[:, None] - first + steps) % have]
    if own.eligible is not None:
        partners[~own.eligible.cpu()] = -1
    return partners


def _to_front(partners: Tensor) -> Tensor:
    """Return rows (B, S) with what is not -1 at the front, in its order."""
    return partners.gather(1, (partners < 0).int().argsort(stable=True, dim=1))


def number_of_sources(
    own: Clips,
    partners: Tensor,
    sources: tuple[int, int],
    mixed: Tensor,
    *,
    same: bool = False,
    generator: Generator = None,
) -> tuple[Tensor, tuple[str, ...]]:
    """Draw how many sources each mix has; return which there are, and why there are fewer than were drawn.

    Parameters
    ----------
    own : Clips
        The originals; with the note `sources`, the numbers are those.
    partners : Tensor, shape (B, S), int64
        What `choose_several` returned.
    sources : (int, int)
        Fewest and most, the original included.
    mixed : Tensor, shape (B,), bool
        Clips that are to be mixed; the others stay alone.
    same : bool
        One number for all.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    there : Tensor, shape (B, S + 1), bool
        Which sources a mix has; the original always.
    why : tuple of str
        For each clip; empty where all have what was drawn.
    """
    size, (low, high) = len(own), sources
    if own.notes.sources is not None:
        wanted = torch.as_tensor(own.notes.sources).long()
        if tuple(wanted.shape) != (size,) or int(wanted.min()) < 1 or int(wanted.max()) > high:
            check.fail("sources", f"{size} numbers of sources in 1..{high}", own.notes.sources)
    elif low == high:
        wanted = torch.full((size,), high)
    else:
        number = draw.integers(torch.full((1 if same else size,), high - low + 1), generator=generator)
        wanted = (low + number).expand(size)
    wanted, have = torch.where(mixed, wanted, 1), 1 + (partners >= 0).sum(1)
    there = torch.arange(partners.shape[1] + 1) < torch.minimum(wanted, have)[:, None]
    if bool((have >= wanted).all()):
        return there, ()
    return there, tuple(_reason(got, asked) for got, asked in zip(have.tolist(), wanted.tolist()))


def _reason(got: int, asked: int) -> str:
    """Return why a mix has fewer sources than were asked for; an empty text where it has not."""
    if got >= asked:
        return ""
    return NO_PARTNER if got == 1 else f"{got} of {asked} sources: there is no further partner"


def mix_decibels(own: Clips, source: Clips, plan: SourcesPlan) -> Tensor:
    """Mix log spectrograms (B, ..., F, N) of several sources as they are.

    Behind shorter partners the others share their gains.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    plan : SourcesPlan
        Partners and gains.
    """
    x, wide = own.x, torch.promote_types(own.x.dtype, torch.float32)  # half precision is rounded once
    exact = replace(own, x=x.to(wide))
    mixed = sum_sources(exact, exact if source is own else replace(source, x=source.x.to(wide)), plan)
    time, gains = torch.arange(own.size, device=x.device), plan.amplitudes().to(x.device, wide)
    total = gains[:, :1].expand(len(own), own.size)  # (B, N)
    for rows, gain in zip(plan.partners.clamp(min=0).unbind(1), gains[:, 1:].unbind(1)):
        total = total + gain[:, None] * (time < overlap(own, source, rows)[1].to(x.device)[:, None])
    shape = (len(x), *[1] * (x.ndim - 2), own.size)
    # behind the original its padding stays, since zeros would be 0 dB; so does the original where nothing reaches
    kept = ((total == 0) | (time >= own.valid.to(x.device)[:, None])).view(shape)
    mixed = mixed / torch.where(total > 0, total, 1.0).view(shape)
    return torch.where(kept, x, mixed.to(x.dtype))


def mix_powers(own: Clips, source: Clips, plan: SourcesPlan, *, unit: float) -> Tensor:
    """Mix log spectrograms (B, ..., F, N) of several sources as the powers they stand for, one after the other.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    plan : SourcesPlan
        Partners and gains.
    unit : float
        How much they grow where the power grows e-fold; see `audiomix.audio.blend_power.blend_power`.
    """
    wide = torch.promote_types(own.x.dtype, torch.float32)  # half precision is rounded once
    others = source.x.to(wide)
    mixed = others if source is own else own.x.to(wide)
    gains, rows = plan.amplitudes(), plan.partners.clamp(min=0)
    whole = own.lengths is None and source.lengths is None and source.size == own.size
    gain = gains[:, 0]
    for k in range(rows.shape[1]):
        valid, both = (None, None) if whole else overlap(own, source, rows[:, k])
        share = gains[:, 1 + k]
        mixed = blend_power(mixed, rows[:, k], gain, share, unit=unit, other=others, valid=valid, both=both)
        gain = torch.where(share > 0, 1.0, gain)  # what is the mix of two already has it
    return mixed.to(own.x.dtype)
