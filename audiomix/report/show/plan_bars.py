"""A plan as it is drawn: a bar for each of its parts, and the gains of its sources over time."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...part import ORIGINAL, Part
from ...parts import place
from ...plan import Plan
from ..lanes import ROLES, Curve, path_of
from ..mix_scene import span_of, steady_part

__all__ = ["Axis", "bars_of", "curves_of", "partner_spans"]

# Places a second at which gains are computed, and at most so many of them are drawn.
_PLACES, _DRAWN = 100, 400


@dataclass(frozen=True)
class Axis:
    """The time axis of a mix as it is drawn.

    Parameters
    ----------
    own : float
        Length of the original's axis in seconds, of which a plan's places are fractions.
    partner : float
        Length of the axis of its partners.
    first : float
        Where on the original's axis the mix begins, in seconds.
    start, stop : float
        What is drawn, in seconds of the mix.
    unit : str
        What stands behind numbers of seconds; empty where they are fractions of the clip.
    """

    own: float
    partner: float
    first: float
    start: float
    stop: float
    unit: str = " s"

    @property
    def seconds(self) -> float:
        """How much is drawn."""
        return self.stop - self.start

    def span(self, part: Part) -> tuple[float, float]:
        """Return from when to when a part is heard, in seconds of the mix.

        Parameters
        ----------
        part : Part
            One of `Plan.parts`.
        """
        start, stop = span_of(part, self.own, self.partner)
        return start - self.first, max(start, min(stop, self.first + self.stop)) - self.first

    def knots(self, part: Part) -> Tensor:
        """Return the knots of a warped part, (K, 2): seconds of the original's axis, and of the source.

        Parameters
        ----------
        part : Part
            One with a warp.
        """
        assert part.warp is not None
        lengths = part.seconds if part.seconds[0] else (self.own, self.own if part.fitted else self.partner)
        return part.warp * torch.tensor(lengths, dtype=torch.float64)

    def percent(self, time: float) -> float:
        """Return where a time of the mix lies in the drawing, in percent, cut at its edges.

        Parameters
        ----------
        time : float
            In seconds of the mix.
        """
        return min(100.0, max(0.0, 100 * (time - self.start) / self.seconds))


def bars_of(plan: Plan, index: int, axis: Axis, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return a bar for each part of a mix: where it is heard, its fades, and in words how.

    Parameters
    ----------
    plan : Plan
        What was drawn.
    index : int
        Which mix of it.
    axis : Axis
        Of that mix.
    names : dict of int to str
        What sources are called: `ORIGINAL` and rows of partners, in their order.
    """
    order, found = list(names), []
    for part in plan.parts(index):
        start, stop = axis.span(part)
        left, right = axis.percent(start), axis.percent(stop)
        place = order.index(part.source) if part.source in names else len(order)
        words = _describe(part, axis, names.get(part.source, f"source {part.source}"))
        shape = _shape(part, (start, stop), axis)
        found.append(
            {"role": ROLES[place % len(ROLES)], "left": round(left, 2), "width": round(right - left, 2), "text": words,
             "shape": shape}
        )  # fmt: skip
    return found


def _shape(part: Part, span: tuple[float, float], axis: Axis) -> str:
    """Return the corners of a bar of 100 x 10, with its fades."""
    length = max(1e-9, span[1] - span[0])
    rise, fall = (100 * min(1.0, fade * axis.own / length) for fade in (part.fade_in, part.fade_out))
    if part.crossfade is not None:
        begin, end = (edge * axis.own - axis.first for edge in part.crossfade)
        at = [100 * min(1.0, max(0.0, (edge - span[0]) / length)) for edge in (begin, end)]
        down = part.source == ORIGINAL
        points = [(0, 0), (at[0], 0), (at[1], 10), (0, 10)] if down else [(at[0], 10), (at[1], 0), (100, 0), (100, 10)]
    else:
        points = [(0, 10), (rise, 0), (100 - fall, 0), (100, 10)]
    return " ".join(f"{x:.4g},{y:.4g}" for x, y in points)


def _describe(part: Part, axis: Axis, name: str) -> str:
    """Say what a part is, in words."""
    if not part.gain:
        return f"{name}: left out"
    said = ["0 dB" if abs(part.gain_db) < 0.05 else f"{part.gain_db:+.1f} dB".replace("-", "−")]
    start, stop = axis.span(part)
    if part.warp is not None and len(part.warp):
        places, sources = axis.knots(part).T.tolist()
        said.append(f"{sources[0]:.2f} to {sources[-1]:.2f}{axis.unit} of it")
        speed = (sources[-1] - sources[0]) / max(1e-9, places[-1] - places[0])
        kept = {"pitch": ", at its own pitch", "none": ", only shifted"}.get(part.stretch, "")
        beats = f"on {len(places)} knots, " if len(places) > 2 else ""
        said.append(f"{beats}at {speed:.3g} of its speed{kept}")
    elif part.loop:
        said.append("again and again")
    elif part.piece != (0.0, 1.0):
        inside = axis.own if part.fitted or part.source == ORIGINAL else axis.partner
        said.append(f"{part.piece[0] * inside:.2f} to {part.piece[1] * inside:.2f}{axis.unit} of it")
    if start > 0 or stop < axis.stop - 0.005:
        said.append(f"heard from {start:.2f} to {stop:.2f}{axis.unit}")
    facts = {
        "inverted": part.gain < 0, f"{part.semitones:+d} semitones": bool(part.semitones),
        f"rolled by {100 * part.roll:.0f} %": bool(part.roll), "under a mask": part.cells is not None,
        f"bands {part.band[0]:.2f} to {part.band[1]:.2f}": part.band != (0.0, 1.0),
        f"stem {0 if part.stem is None else part.stem + 1}": part.stem is not None,
        "left and right exchanged": part.reverse_channels,
    }  # fmt: skip
    return f"{name}: {', '.join([*said, *(fact for fact, true in facts.items() if true)])}"


def curves_of(plan: Plan, index: int, axis: Axis, names: dict[int, str]) -> list[Curve]:
    """Return at which gain each source is heard over the mix, as lines whose top is the largest gain.

    Parameters
    ----------
    plan, index, axis, names
        See `bars_of`.
    """
    found = _gains(plan, index, axis)
    largest = max((float(gain.max()) for gain in found.values()), default=0.0)
    curves = []
    for number, role in zip(names, ROLES * (1 + len(names) // len(ROLES))):
        gain = found.get(number)
        if gain is None or largest <= 0:
            continue
        y = (96 - 92 * gain / largest).numpy()
        x = (np.arange(len(y)) + 0.5) * 1000 / len(y)
        # of straight stretches the ends will do
        bend = np.abs(np.diff(y, 2, prepend=y[:1], append=y[-1:])) > 1e-3 if len(y) > 2 else np.ones(len(y), dtype=bool)
        bend[[0, -1]] = True
        curves.append(Curve(role, path_of(x[bend], y[bend])))
    return curves


def partner_spans(plan: Plan, index: int, axis: Axis) -> list[tuple[float, float]]:
    """Return from when to when a partner is heard at a larger gain than the original, in seconds, to a hundredth.

    Parameters
    ----------
    plan, index, axis
        See `bars_of`.
    """
    found = _gains(plan, index, axis, places=round(axis.seconds * _PLACES))
    nothing = torch.zeros(1)
    own = found.pop(ORIGINAL, nothing)
    over = torch.stack([nothing.expand_as(own), *found.values()]).amax(0) > own
    edges = torch.nn.functional.pad(over.int(), (1, 1)).diff().nonzero().flatten() * axis.seconds / len(over)
    return [(float(a), float(b)) for a, b in edges.view(-1, 2)]


def _gains(plan: Plan, index: int, axis: Axis, places: int = _DRAWN) -> dict[int, Tensor]:
    """Return the gain of each source at up to so many places of what is drawn; over all bands the largest."""
    rate = _PLACES
    size = max(1, round(axis.own * rate))
    first, last = (round((axis.first + edge) * rate) for edge in (axis.start, axis.stop))
    found: dict[int, Tensor] = {}
    for part in plan.parts(index):
        start, stop = ((edge + axis.first) / axis.own for edge in axis.span(part))
        bands = 1 if part.cells is None and part.band == (0.0, 1.0) else 64
        steady = replace(steady_part(part, start, stop), stem=None, gain=abs(part.gain))
        placed = place(steady, torch.ones(bands, size), size, max(size, last))
        gain = placed[:, first:last].amax(0)
        found[part.source] = found[part.source] + gain if part.source in found else gain
    count = min(places, max(1, last - first))
    return {
        source: torch.nn.functional.adaptive_max_pool1d(gain[None], count)[0] for source, gain in found.items()
        if len(gain)
    }  # fmt: skip
