r"""SMMix: what a network attends to most in the partner replaces what it attends to least in the original.

.. math:: x' = M x + (1 - M)\, \mathrm{shift}(x_p), \qquad w = \mathrm{mean}(M), \qquad y' = w y + (1 - w) y_p

The window with the least attention of the original is replaced by the window of the same size with the most attention
of the partner. In the paper its sides are 1/4 to 3/4 of the grid. The paper moves windows along both axes; on a
spectrogram that would change the pitch, so that here windows move along time alone [ours], and each clip has its own
side [ours]. The two losses of the paper are `audiomix.losses.fine_grained` and `audiomix.losses.mix_consistency`.

Source: Chen et al., "SMMix: Self-Motivated Image Mixing for Vision Transformers", ICCV 2023.
Label: mixed by the share of the valid area that is kept.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Mixer, Needs, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from .cutmix import SpanPlan, cutmix

__all__ = ["SMMix"]

NO_ATTENTION = "the clip or its partner has no attention in its valid part"
NO_WINDOW = "no valid token is left for a window"


class SMMix(Mixer):
    """Put what a network attends to most in the partner in the place of what it attends to least in the original.

    Parameters
    ----------
    kind : str
        ``time``: windows over all frequencies. ``box``: windows of some frequencies, the same in both clips: those of
        the window with the least attention of the original.
    side : (float, float)
        Least and largest side of a window, as a share of the (valid) tokens along an axis. Each whole number of tokens
        between is as likely as the others.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    Each call needs ``attention=``, (B, F', T') or (B, T'), of the **unmixed** clips: from a pass of the network in
    ``eval()``, `audiomix.class_attention` of its scores. With ``other=`` it needs ``other_attention=`` as well. Tokens
    share the axes of the spectrogram evenly: of F' tokens the first stands for the lowest F / F' bins. The attention is
    read on the CPU.

    The label rule: the weight is the share of the valid area that is kept, after rounding to whole frames. A clip with
    no attention at all, or whose partner has none, is left as it is, with a reason in the plan. With `lengths` windows
    lie within the whole tokens that are valid.

    See Also
    --------
    audiomix.SaliencyMix : saliency of the sound itself.
    audiomix.fine_grained_loss : the first loss of its paper.
    audiomix.mix_consistency : the second one.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> attention = torch.rand(4, 8, 20)  # of the network on spec
    >>> mixer = SMMix(num_classes=4)
    >>> mixed = mixer(spec, label, attention=attention, generator=torch.Generator().manual_seed(0))
    >>> plan = mixed.plans[0]
    >>> changed = (mixed.x != spec).all(2).sum(-1)[:, 0] / 100
    >>> bool(torch.allclose(1 - changed.double(), plan.weight))
    True
    """

    plan_type = SpanPlan
    takes_self = False

    def __init__(
        self,
        kind: Literal["time", "box"] = "time",
        *,
        side: tuple[float, float] = (0.25, 0.75),
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, ["time", "box"])
        if not isinstance(side, (tuple, list)) or len(side) != 2:
            check.fail("side", "two numbers, (least, largest)", repr(side))
        low, high = (check.fraction("side", value) for value in side)
        if not 0 < low <= high:
            check.fail("side", "the least, above 0, and then the largest", repr(side))
        self.side = (low, high)

    @property
    def needs(self) -> Needs:
        """Spectrograms, and what a network attends to in them."""
        domain = frozenset({SPECTROGRAM})
        return Needs(domain=domain, notes={"attention": "tokens"}, partner="whole", axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, with maps that do not divide the spectrogram and with attention along time."""
        map_ = Example(cls("box"), _maps, shape=(1, 12, 100))
        return [Example(cls(), _maps, shape=(1, 12, 100)), map_, Example(cls(side=(0.1, 0.5)), _rows, (1, 12, 100))]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms, and attention that is missing or of another size."""
        super().check_input(own, source)
        if own.x.ndim < 3 or own.x.shape[-2] < 4:
            got = f"shape {tuple(own.x.shape)}"
            check.fail("x", "spectrograms (B, ..., F, N)", got, "a waveform? take its LogMel first")
        mine = _check_attention("attention", own)
        if source is not own:
            theirs = _check_attention("other_attention", source)
            if mine.shape[1] != theirs.shape[1]:
                expected = f"of {mine.shape[1]} tokens in frequency, as attention is"
                check.fail("other_attention", expected, theirs.shape[1])
        if self.kind == "box" and mine.shape[1] < 2:
            check.fail("attention", "(B, F', T') of several tokens in frequency for kind='box'", f"{mine.shape[1]}")

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and sides; windows follow from the attention."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        places = draw.uniform(0, 1, 2 * len(own), generator=generator).numpy().reshape(2, -1)
        mine, theirs = _attention(own), _attention(source)[partner.numpy()]
        if self.kind == "time":
            mine, theirs = (found.sum(1, keepdims=True) for found in (mine, theirs))
        ends = [_tokens(own, own.valid, mine), _tokens(source, source.valid[partner], theirs)]
        mine, theirs = (_silence(found, end) for found, end in zip((mine, theirs), ends))
        width = np.minimum(self._sides(places[0], ends[0]), ends[1])
        rows = mine.shape[1]
        height = np.ones_like(width) if self.kind == "time" else self._sides(places[1], np.full(len(own), rows))
        low, start = _least(mine, height, width, ends[0])
        first = _most(theirs, low, height, width, ends[1])
        able = (width > 0) & (mine.sum((1, 2)) > 0) & (theirs.sum((1, 2)) > 0)
        chosen = mixed.numpy()
        why = tuple(_reason(*row) for row in zip(able.tolist(), (width > 0).tolist()))
        window = {"low": low, "height": height, "start": start, "width": width * (chosen & able), "first": first}
        counts = (mine.shape[1:], theirs.shape[2])
        return self._place(own, source, partner, window, counts, why if any(why) else ())

    def _sides(self, places: Any, count: Any) -> Any:
        """Return whole numbers of tokens for places that are uniform in [0, 1)."""
        low = np.maximum(np.floor(self.side[0] * count + 1e-9), 1)
        high = np.maximum(np.floor(self.side[1] * count + 1e-9), low)
        return np.minimum(low + np.floor(places * (high - low + 1)), np.minimum(high, count)).astype(np.int64)

    def _place(
        self, own: Clips, source: Clips, partner: Tensor, window: dict[str, Any], counts: Any, why: tuple[str, ...]
    ) -> SpanPlan:
        """Return the plan of windows in tokens: their edges lie at the nearest whole frames and bins."""
        (rows, columns), their_columns = counts
        begin = np.rint(window["start"] * own.size / columns)
        stop = np.rint((window["start"] + window["width"]) * own.size / columns)
        time = np.minimum(stop - begin, source.size)
        first = np.minimum(np.rint(window["first"] * source.size / their_columns), source.valid[partner].numpy() - time)
        first = np.maximum(first, 0)
        bins = own.x.shape[-2]
        low = np.rint(window["low"] * bins / rows)
        high = np.rint((window["low"] + window["height"]) * bins / rows)
        weight = 1 - time * (high - low) / bins / np.maximum(own.valid.numpy(), 1)
        band = np.stack([low, high], 1) / bins
        span, there = np.stack([begin, begin + time], 1), np.stack([first, first + time], 1)
        return SpanPlan(
            partner, torch.from_numpy(weight), span=torch.from_numpy(span / own.size), band=torch.from_numpy(band),
            kind=self.kind, source_span=torch.from_numpy(there / source.size), why=why,
        )  # fmt: skip

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `audiomix.cutmix`."""
        assert isinstance(plan, SpanPlan)
        return cutmix(own.x, plan, other=source.x, out=out)

    def identity(self, own: Clips) -> SpanPlan:
        """Return the plan of this mixer's kind that replaces nothing."""
        return replace(SpanPlan.identity(len(own)), kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another kind of window."""
        super().check_plan(plan)
        if isinstance(plan, SpanPlan) and plan.kind != self.kind:
            check.fail("plan", f"of kind {self.kind!r}, as the mixer is", repr(plan.kind))


def _maps(clips: int) -> dict[str, Any]:
    """Return attention for the examples: maps that are different for each clip."""
    cells = torch.arange(clips * 5 * 13, dtype=torch.float64).view(clips, 5, 13)
    return {"attention": (cells.square() + 1).sin().square().float()}


def _rows(clips: int) -> dict[str, Any]:
    return {"attention": _maps(clips)["attention"].sum(1)}


def _check_attention(name: str, clips: Clips) -> Tensor:
    """Return what was given as attention, (B, F', T'), or raise."""
    found: Any = clips.notes.attention
    expected = f"a map (B, F', T') or (B, T') of {len(clips)} clips"
    if found is None:
        check.fail(name, "given", None, "what the network attends to in the unmixed clips: class_attention(scores)")
    found = check.floating(name, found)
    if found.ndim not in (2, 3) or len(found) != len(clips):
        slip = "flat tokens or scores of heads? class_attention(scores).view(B, F', T')"
        check.fail(name, expected, f"shape {tuple(found.shape)}", slip if found.ndim != 3 else "")
    found = found[:, None] if found.ndim == 2 else found
    bins, frames = clips.x.shape[-2:]
    if found.shape[1] > bins or found.shape[2] > frames:
        turned = found.shape[1] <= frames and found.shape[2] <= bins
        slip = "time before frequency? attention.transpose(1, 2)" if turned else "without class tokens"
        check.fail(name, f"of at most {bins} x {frames} tokens, as x has bins and frames", tuple(found.shape[1:]), slip)
    if not bool((found >= 0).all()):
        check.fail(name, "at least 0", f"{float(found.min()):g}", "scores before their softmax?")
    return found


def _attention(clips: Clips) -> Any:
    """Return the attention as numbers (B, F', T')."""
    found: Any = clips.notes.attention
    found = found[:, None] if found.ndim == 2 else found
    return found.detach().double().cpu().numpy()


def _tokens(clips: Clips, valid: Tensor, attention: Any) -> Any:
    """Return how many whole tokens are valid, (B,)."""
    return (valid.numpy() * attention.shape[2]) // clips.size


def _silence(attention: Any, end: Any) -> Any:
    """Return attention of the valid tokens alone."""
    return np.where(np.arange(attention.shape[2]) < end[:, None, None], attention, 0.0)


def _window_sums(attention: Any, height: Any, width: Any) -> Any:
    """Return the sum over the window of each clip that begins at each token, (B, F', T'); meaningless near the end."""
    integral = np.pad(attention.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    clip = np.arange(len(attention))[:, None, None]
    rows, columns = (np.arange(count) for count in attention.shape[1:])
    bottom, left = rows[:, None], columns[None, :]
    top = np.minimum(bottom + height[:, None, None], attention.shape[1])
    right = np.minimum(left + width[:, None, None], attention.shape[2])
    whole, below = integral[clip, top, right], integral[clip, bottom, right]
    return whole - below - integral[clip, top, left] + integral[clip, bottom, left]


def _fits(attention: Any, height: Any, width: Any, end: Any) -> Any:
    """Return whether the window that begins at each token ends within the grid and the valid tokens."""
    rows, columns = (np.arange(count) for count in attention.shape[1:])
    inside = rows[:, None] + height[:, None, None] <= attention.shape[1]
    return inside & (columns + width[:, None, None] <= end[:, None, None])


def _least(attention: Any, height: Any, width: Any, end: Any) -> tuple[Any, Any]:
    """Return at which token of frequency and of time the window with the least attention begins."""
    sums = np.where(_fits(attention, height, width, end), _window_sums(attention, height, width), np.inf)
    return np.divmod(sums.reshape(len(sums), -1).argmin(1), attention.shape[2])


def _most(attention: Any, low: Any, height: Any, width: Any, end: Any) -> Any:
    """Return at which token of time the window with the most attention begins, of those that begin at row `low`."""
    sums = np.where(_fits(attention, height, width, end), _window_sums(attention, height, width), -np.inf)
    return sums[np.arange(len(sums)), low].argmax(1)


def _reason(able: bool, window: bool) -> str:
    return "" if able else NO_ATTENTION if window else NO_WINDOW
