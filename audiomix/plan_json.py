"""Plans as one line of strict JSON, and back to the same bits: see `audiomix.Plan.to_json`.

A plan is an object whose entry ``plan`` names its class, with an entry for each field that is stored; a tensor is an
object of one entry, from its dtype to its numbers. What JSON has no number for is a text, ``"-inf"``.
"""

import importlib
import json
import math
from contextlib import suppress
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from . import check
from .registry import import_entry_points

__all__ = ["KINDS", "MOVED", "from_json", "to_json"]

# Every class of plans that was imported, by its name: `audiomix.Plan` enters its subclasses.
KINDS: dict[str, Any] = {}

# Where plans of the first edition stand now: their manifests name the old module.
MOVED = {
    "audiomix.beats.overlay": "audiomix.beats.plan",
    "audiomix.targets.scene_plan": "audiomix.captions.plan",
    "audiomix.targets.correspondence": "audiomix.mixers.av",
    "audiomix.streams.plan": "audiomix.mixers._stream_plan",
    "audiomix.streams.noise": "audiomix.mixers.speech_noise",
    "audiomix.streams.dropout": "audiomix.transforms.modality_dropout",
    "audiomix.streams.mask": "audiomix.transforms.time_mask",
}
# Classes of this module are known to whoever reads a plan: the line does not name it.
_HOME = "audiomix.plan"


def to_json(plan: Any) -> str:
    """Return a plan as one line of strict JSON; `from_json` gives back the same bits.

    Parameters
    ----------
    plan : Plan
        Of any class.
    """
    return json.dumps(_encode(plan), allow_nan=False)


def from_json(text: str) -> Any:
    """Return the plan that `to_json` wrote.

    Parameters
    ----------
    text : str
        One line of JSON.

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


def _encode(value: Any) -> Any:
    if isinstance(value, KINDS["Plan"]):
        kind = type(value)
        found = {f.name: getattr(value, f.name) for f in fields(value) if f.metadata.get("stored", True)}
        rest = {name: _encode(v) for name, v in found.items() if v is not None and (name, v) != ("why", ())}
        home = {"in": kind.__module__} if kind.__module__.startswith("audiomix.") and kind.__module__ != _HOME else {}
        return {"plan": kind.__name__, **home, **rest}
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return {dtype: _nest(value.tolist())}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    return _number(value)


def _number(value: float) -> float | str:
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)  # JSON has no infinity


def _nest(value: Any) -> Any:
    return [_nest(v) for v in value] if isinstance(value, list) else _number(value)


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and "plan" in value:
        kind = _kind(value["plan"], value.get("in", ""))
        return kind(**{k: _decode(v) for k, v in value.items() if k not in ("plan", "in")})
    if isinstance(value, dict):
        ((dtype, data),) = value.items()
        return torch.tensor(_unnest(data), dtype=getattr(torch, dtype))
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    return value


def _unnest(value: Any) -> Any:
    if isinstance(value, list):
        return [_unnest(v) for v in value]
    return float(value) if isinstance(value, str) else value


def _kind(name: str, module: str) -> type:
    module = MOVED.get(module, module)
    if name not in KINDS and module.startswith("audiomix."):
        with suppress(ImportError):  # one of our own files: a manifest may be read before its mixer was used
            importlib.import_module(module)
    failed: list[str] = []
    for group in ("audiomix.mixers", "audiomix.transforms") if name not in KINDS else ():
        failed += import_entry_points(group)
    if name not in KINDS:
        known = f"of a known kind ({', '.join(KINDS)})"
        check.fail("plan", known, repr(name), "; ".join(["import the module of its mixer first", *failed]))
    return KINDS[name]
