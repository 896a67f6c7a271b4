"""What is drawn, and what comes back: `Plan` and `Mixed`.

A plan says who is mixed with whom and how. It is drawn once and applied to every stream (samples, frames, labels,
captions), so that they cannot disagree; it is data, so that it can be stored and replayed to the bit.
"""

import importlib
import json
import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from . import check

__all__ = ["GainPlan", "Mixed", "Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Who is mixed with whom, and the original's share of the target.

    Parameters
    ----------
    partner : Tensor, shape (B,), int64
        Index of each clip's partner in the batch, or in the second batch `other` where one was given. ``partner[i] ==
        i`` in the batch itself means that clip i is left unchanged.
    weight : Tensor, shape (B,), float64
        **The original's share of the target**, in [0, 1]; the partner's share is ``1 - weight``. It is what was really
        mixed, after rounding, clipping and padding.

    Notes
    -----
    Tensors stay on the CPU; `to` returns the plan itself, so that functions that move whole batches to a device accept
    one. Mixers that need more subclass it; spans and offsets are fractions of the clip, so that one plan cuts samples,
    spectrogram frames, video frames and frame labels alike.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
    >>> plan.to_json()
    '{"plan": "Plan", "partner": {"int64": [1, 0]}, "weight": {"float64": [0.75, 0.5]}}'
    >>> Plan.from_json(plan.to_json()).weight
    tensor([0.7500, 0.5000], dtype=torch.float64)
    """

    partner: Tensor
    weight: Tensor

    _kinds: ClassVar[dict[str, type["Plan"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Plan._kinds[cls.__name__] = cls

    def __post_init__(self) -> None:
        partner, weight = check.tensor("partner", self.partner), check.tensor("weight", self.weight)
        if partner.dtype != torch.int64 or partner.ndim != 1:
            check.fail(
                "partner", "int64 of shape (B,)", f"{partner.dtype} of shape {tuple(partner.shape)}", "", TypeError
            )
        if weight.dtype != torch.float64:
            check.fail("weight", "float64", weight.dtype, "weight.double()?", TypeError)
        if weight.shape != partner.shape:
            check.fail("weight", f"of shape {tuple(partner.shape)}, as partner is", f"{tuple(weight.shape)}")
        if partner.requires_grad or weight.requires_grad:
            check.fail("weight", "a number that was drawn", "one with a gradient", "draw under torch.no_grad()")
        if weight.numel() and not (weight.min() >= 0 and weight.max() <= 1):
            check.fail("weight", "in [0, 1]", f"{weight.min().item():g}..{weight.max().item():g}")

    def __len__(self) -> int:
        return len(self.partner)

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner in the sound; two tensors (B,), float64."""
        return self.weight, 1 - self.weight

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames of any other stream; (B, size) or (B, 1), float64."""
        return self.weight[:, None]

    def to(self, *args: Any, **kwargs: Any) -> "Plan":
        """Return the plan itself: plans stay on the CPU, whatever the batch does."""
        return self

    def to_json(self) -> str:
        """Return the plan as one line of strict JSON; `from_json` gives back the same bits."""
        return json.dumps(_encode(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Return the plan that `to_json` wrote.

        Raises
        ------
        ValueError
            The text is not JSON, or names a kind of plan that no imported mixer has.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            check.fail("plan", "JSON as Plan.to_json writes it", repr(text[:60]), str(error))
        if not isinstance(data, dict) or "plan" not in data:
            check.fail("plan", 'a JSON object with a "plan" entry', repr(text[:60]))
        kind = _kind(data["plan"], data.get("in", ""))
        try:
            return _decode(data)
        except (TypeError, AttributeError, RuntimeError) as error:
            return check.fail("plan", f"the entries of a {kind.__name__}", repr(text[:60]), str(error))


@dataclass(frozen=True, eq=False)
class GainPlan(Plan):
    """A plan whose sounds are scaled: the gains belong to the sound only, other streams are mixed by `weight`.

    Parameters
    ----------
    gain_db : Tensor, shape (B, 2), float64
        Gain in dB of the original and of the partner; ``-inf`` for a sound that is left out.
    ratio : Tensor, shape (B,), float64, optional
        Where partners are shorter: the original's share while its partner sounds. `weight` is the mean over the clip.
    covered : Tensor, shape (B,), float64, optional
        How far the partner reaches, as a fraction of the (padded) time axis.
    """

    gain_db: Tensor
    ratio: Tensor | None = None
    covered: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if tuple(self.gain_db.shape) != (len(self), 2) or self.gain_db.dtype != torch.float64:
            check.fail(
                "gain_db", f"float64 of shape ({len(self)}, 2)", f"{self.gain_db.dtype}, {tuple(self.gain_db.shape)}"
            )

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner; two tensors (B,), float64."""
        linear = torch.pow(10.0, self.gain_db / 20)
        return linear[:, 0], linear[:, 1]

    def share(self, size: int) -> Tensor:
        """The original's share at each frame: `ratio` while both sound, then 1; (B, size) or (B, 1), float64."""
        if self.ratio is None or self.covered is None:
            return self.weight[:, None]
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return torch.where(centre < self.covered[:, None], self.ratio[:, None], 1.0)

    @classmethod
    def of(cls, partner: Tensor, weight: Tensor, a: Tensor, b: Tensor, **more: Any) -> "GainPlan":
        """Return the plan with linear amplitudes `a` and `b`, each (B,)."""
        return cls(partner, weight, gain_db=20 * torch.log10(torch.stack([a, b], 1).double()), **more)


class Mixed(NamedTuple):
    """What a mixer returns: the mixed batch, the mixed target, the plans behind them, and the valid lengths."""

    x: Tensor
    target: Tensor | None
    plans: tuple[Plan, ...]
    lengths: Tensor | None


Plan._kinds["Plan"] = Plan


def _number(value: float) -> float | str:
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)  # JSON has no infinity


def _encode(value: Any) -> Any:
    if isinstance(value, Plan):
        found = {f.name: getattr(value, f.name) for f in fields(value)}
        rest = {name: _encode(v) for name, v in found.items() if v is not None}
        module = type(value).__module__
        home = {"in": module} if module.startswith("audiomix.") and module != __name__ else {}
        return {"plan": type(value).__name__, **home, **rest}
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return {dtype: _nested(value.tolist())}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    return _number(value)


def _nested(value: Any) -> Any:
    return [_nested(v) for v in value] if isinstance(value, list) else _number(value)


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and "plan" in value:
        kind = _kind(value["plan"], value.get("in", ""))
        return kind(**{k: _decode(v) for k, v in value.items() if k not in ("plan", "in")})
    if isinstance(value, dict):
        ((dtype, data),) = value.items()
        return torch.tensor(_denested(data), dtype=getattr(torch, dtype))
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    return value


def _denested(value: Any) -> Any:
    if isinstance(value, list):
        return [_denested(v) for v in value]
    return float(value) if isinstance(value, str) else value


# Where plans of the first edition stand now: their manifests name the old module.
_MOVED = {
    "audiomix.beats.overlay": "audiomix.beats.plan",
    "audiomix.targets.scene_plan": "audiomix.captions.plan",
    "audiomix.streams.dropout": "audiomix.transforms.modality_dropout",
    "audiomix.streams.mask": "audiomix.transforms.time_mask",
}


def _kind(name: str, module: str) -> type[Plan]:
    module = _MOVED.get(module, module)
    if name not in Plan._kinds and module.startswith("audiomix."):
        importlib.import_module(module)  # one of our own files: a manifest may be read before its mixer was used
    if name not in Plan._kinds:
        known = f"of a known kind ({', '.join(Plan._kinds)})"
        check.fail("plan", known, repr(name), "import the module of its mixer first")
    return Plan._kinds[name]
