"""A run's whole state in one file: tensors as safetensors, numbers as JSON in its header; no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from audiomix.audio import io

__all__ = ["gather", "load", "restore", "store"]


def store(path: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write `tensors` by name and `numbers`, which JSON can hold; the file appears at `path` only when it is whole."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with io.atomic_file(path) as file:
        file.write(save(plain, metadata={"numbers": json.dumps(numbers)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and numbers of the checkpoint at `path`; a file that is none is a ValueError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["numbers"])  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a checkpoint of a recipe ({error})") from None


def gather(modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all tensors that training goes on from, by name.

    Those of modules are named ``MODULE.NAME``, the optimiser's state of parameter i ``optimiser.i.NAME``.
    """
    tensors = {f"{part}.{k}": v for part, module in modules.items() for k, v in module.state_dict().items()}
    for i, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in values.items()}
    return tensors


def restore(tensors: dict[str, Tensor], modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> None:
    """Put `tensors` back where `gather` found them: in `modules` and the optimiser.

    A checkpoint of another network or method is a ValueError.
    """
    for part, module in modules.items():
        own = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the checkpoint is not of this run: {reason}") from None
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, i, key = name.split(".")
            like = parameters[int(i)]
            # laid out in memory as the parameter is: another layout runs other code, with other last digits
            if tensor.shape == like.shape:
                tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            state.setdefault(int(i), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
