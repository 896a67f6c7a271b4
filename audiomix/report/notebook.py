"""Plans, mixes, beats and results as notebooks show them: small pages in a frame, with pictures and players."""

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..audio.io import Clip
from ..beats.grid import BeatGrid
from ..clips import fit_length
from ..mixed import Mixed, Plans
from ..part import ORIGINAL
from ..parts import place
from ..plan import Plan
from .html import render
from .lanes import ROLES, Lane, encode, image_uri, make_lane, ticks
from .page import Page
from .show.beats import draw_song, facts_of, tempo_chart
from .show.mixes import ShownMix
from .show.plan_bars import Axis, bars_of

__all__ = ["display", "frame", "html_of"]

# Mixes of a batch that are shown, and seconds of each; a notebook keeps what it shows.
_SHOWN, _SECONDS = 4, 10.0
# Bands and frames of the picture of a mask.
_MASK = (64, 240)
# More channels than this are frequencies.
_CHANNELS = 8


class display:
    """A thing that a notebook shows, with players where a rate is needed for them.

    Parameters
    ----------
    thing : object
        A plan, what a mixer returned, a beat grid.
    rate : int
        Of its sound, in Hz.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> mixed = MixUp(alpha=0.4)(torch.zeros(2, 1, 8000), torch.eye(2))
    >>> "&lt;audio" in display(mixed, rate=8000)._repr_html_(), "&lt;audio" in mixed._repr_html_()
    (True, False)
    """

    def __init__(self, thing: Any, *, rate: int) -> None:
        self.thing, self.rate = thing, check.rate("rate", rate)

    def _repr_html_(self) -> str:
        return _of_mixed(self.thing, self.rate) if isinstance(self.thing, Mixed) else html_of(self.thing)


def frame(page: Page) -> str:
    """Return a page in a frame of its own, as high as the page is.

    Parameters
    ----------
    page : Page
        Of one file.
    """
    return render("blocks.html", "frame", page=page.html(), title=page.title)


@singledispatch
def html_of(thing: Any) -> str:
    """Return a thing as a notebook shows it.

    Parameters
    ----------
    thing : object
        A plan, what a mixer returned, a beat grid.

    Raises
    ------
    TypeError
        It is something else.
    """
    expected = "a Plan, the Plans of a batch, what a mixer returned or a BeatGrid"
    check.fail("thing", expected, type(thing).__name__, error=TypeError)


@html_of.register
def _of_plan(plan: Plan) -> str:
    page = Page(f"{type(plan).__name__} of {_count(len(plan), 'mix', 'mixes')}")
    _add(page, [_draw(plan, i) for i in range(min(_SHOWN, len(plan)))], len(plan))
    return frame(page)


@html_of.register
def _of_plans(plans: Plans) -> str:
    return "".join(_of_plan(plan) for plan in plans)


@html_of.register
def _of_mixed(mixed: Mixed, rate: int | None = None) -> str:
    plan = mixed.plans[0] if len(mixed.plans) == 1 else None
    size = mixed.x.shape[0]
    page = Page(f"Batch of {_count(size, 'mix', 'mixes')}, {' × '.join(map(str, mixed.x.shape))}")
    found = []
    for i in range(min(_SHOWN, size)):
        shown = ShownMix(i, f"mix {i}", "") if plan is None else _draw(plan, i)
        if mixed.target is not None and mixed.target.ndim == 2:
            held = [(f"class {j}", share) for j, share in enumerate(mixed.target[i].tolist()) if share > 0]
            shown.shares = [_share(name, share, ROLES[k % len(ROLES)]) for k, (name, share) in enumerate(held)]
        _add_sound(shown, mixed, plan, i, rate)
        found.append(shown)
    _add(page, found, size)
    for other in mixed.plans if plan is None else ():
        page.text(f"mixed by a {type(other).__name__}", muted=True)
    if rate is None and _is_wave(mixed.x) and not any(lane.sound for shown in found for lane in shown.lanes):
        page.text("audiomix.report.notebook.display(mixed, rate=...) has players.", muted=True)
    return frame(page)


@html_of.register
def _of_grid(grid: BeatGrid) -> str:
    page = Page(f"Beats of {_count(len(grid), 'beat', 'beats')}")
    page.add("facts", pairs=[*facts_of(grid, grid.tracker)])
    if (chart := tempo_chart(grid)) is not None:
        page.add("chart", chart=chart)
    if len(grid):
        page.add("items", items=draw_song("clicks", None, grid, items=1, seconds=_SECONDS), choices=[], tempo=None)
    return frame(page)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _add(page: Page, found: list[ShownMix], size: int) -> None:
    page.add("items", items=found, choices=[], tempo=None)
    if size > len(found):
        page.text(f"and {size - len(found)} more", muted=True)


def _share(name: str, share: float, role: str) -> dict[str, Any]:
    return {"name": name, "percent": f"{100 * share:.3g}", "grow": round(share, 4), "role": role}


def _draw(plan: Plan, index: int) -> ShownMix:
    """Return one mix of a plan, without its sound."""
    weight, (first, last) = float(plan.weight[index]), plan.window(index)
    own = plan.axis_seconds or 1.0
    axis = Axis(own, own, first * own, 0.0, (last - first) * own, unit=" s" if plan.axis_seconds else "")
    names = {ORIGINAL: f"clip {index}", **{j: f"partner {j}" for j in plan.sources(index)}}
    shown = ShownMix(index, f"mix {index}", type(plan).__name__, why=plan.why[index] if plan.why else "")
    rows, shares = (x[index] for x in plan.label_shares())
    held = [(names[ORIGINAL], float(shares[0])), *((f"partner {int(j)}", float(s)) for j, s in zip(rows, shares[1:]))]
    shown.shares = [_share(name, s, ROLES[k % len(ROLES)]) for k, (name, s) in enumerate(held) if s > 0]
    shown.seconds, shown.ticks = axis.seconds, []
    shown.bars = bars_of(plan, index, axis, names)
    shown.facts = [("weight", f"{weight:.3f}")]
    told = plan.describe(index).items()
    shown.facts += [
        (name, str(value)) for name, value in told if isinstance(value, (int, float, str)) and name != "why"
    ]
    shown.mask = _mask(plan, index)
    return shown


def _mask(plan: Plan, index: int) -> dict[str, str] | None:
    """Return a picture of where the partners are heard, in time and frequency; None where all bands are alike."""
    parts = plan.parts(index)
    if all(part.cells is None and part.band == (0.0, 1.0) for part in parts):
        return None
    gains = torch.zeros(2, *_MASK)
    for part in parts:
        gains[0 if part.source == ORIGINAL else 1] += place(part, torch.ones(_MASK), _MASK[1]).abs()[:, : _MASK[1]]
    share = gains[1] / gains.sum(0).clamp(min=1e-9)
    text = "Where the partner is heard (bright), over time and frequency"
    return {"text": text, "image": image_uri(share, 1.0, range_db=1.0)}


def _is_wave(x: Tensor) -> bool:
    return x.ndim == 3 and x.shape[1] <= _CHANNELS


def _add_sound(shown: ShownMix, mixed: Mixed, plan: Plan | None, index: int, rate: int | None) -> None:
    """Add what came out: a waveform with its player where the rate is known, or a spectrogram."""
    x = mixed.x[index].detach().float().cpu()
    if mixed.lengths is not None:
        x = fit_length(x, int(mixed.lengths[index]))
    if _is_wave(mixed.x):
        if rate is None and plan is not None and plan.axis_seconds:
            rate = round(mixed.x.shape[-1] / plan.axis_seconds)
        known = rate or x.shape[-1]  # without a rate the axis is the clip
        clip = Clip(x, known)
        if rate is not None:
            clip = Clip(x[..., : round(_SECONDS * rate)], rate)
            shown.ticks = ticks(max(clip.seconds, 1e-3))
        shown.seconds = max(clip.seconds, 1e-3)
        sound = encode(clip) if rate is not None else ""
        shown.lanes = [make_lane("the mix", clip, shown.seconds, role="mix", sound=sound)]
    elif x.ndim >= 2 and x.shape[-1] > 1:
        picture = x.reshape(-1, *x.shape[-2:])[0]
        span = max(float(picture.max() - picture.min()), 1e-9)
        shown.lanes = [Lane("the mix", "mix", "", image_uri(picture, range_db=span))]
