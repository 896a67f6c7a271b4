"""First weights from a file, and networks of which the head alone is trained."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from audiomix import check

__all__ = ["freeze", "load_weights", "read_weights"]

_HEAD = "head."
_WITHIN = ("state_dict", "model")  # keys of the weights in files of several parts


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch state dict, by name; no code in it is run.

    Of a run's checkpoint, those of its network.

    Raises
    ------
    ValueError
        It is neither.
    """
    if not path.is_file():
        check.fail("weights", "a file of weights", str(path), "there is no such file")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        check.fail("weights", "a safetensors file or a torch state dict of tensors alone", str(path), reason)
    for name in _WITHIN:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        check.fail("weights", "a state dict: tensors by name", f"{path} with something else")
    own = {k.removeprefix("model."): v for k, v in found.items() if k.startswith("model.")}
    return own if any(k.startswith("ema.") for k in found) else dict(found)


def load_weights(network: nn.Module, path: Path, *, head: bool = True) -> None:
    """Put the weights of a file into the network, in place; a head for other classes keeps its own.

    With `head` off it keeps its own in any case: several networks with the weights of one file differ by their heads.

    Raises
    ------
    ValueError
        Tensors that the network lacks, that the file lacks, or of another shape; `head` is False, and the network has
        no module `head` with parameters.
    """
    kept = None if head else _head_of(network, path)
    given, own = read_weights(path), network.state_dict()
    for name in list(given):
        if name.startswith(_HEAD) and name in own and given[name].shape != own[name].shape:
            del given[name]
    missing = [name for name in own if name not in given and not name.startswith(_HEAD)]
    unknown = [name for name in given if name not in own]
    other = [name for name in given if name in own and given[name].shape != own[name].shape]
    for what, names in {"lacks": missing, "has besides": unknown, "has in another shape": other}.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            check.fail("weights", "those of this network", f"{path}: it {what} {names[0]}{more}", "another --model?")
    network.load_state_dict(given, strict=False)
    if kept is not None:
        network.head.load_state_dict(kept)  # type: ignore[union-attr, operator]


def _head_of(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Return a copy of the weights of `head`, which may be a second name of another layer."""
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Module) or not any(True for _ in head.parameters()):
        slip = "call the last linear layer head: each network keeps its own"
        expected = "left out where a method needs several networks that differ and the network has no head"
        check.fail("weights", expected, str(path), slip)
    return {name: value.clone() for name, value in head.state_dict().items()}


def freeze(network: nn.Module) -> None:
    """Freeze all but `head`, in place: no gradients, and always in eval mode, also after a call of ``train()``.

    Raises
    ------
    ValueError
        The network has no `head`.
    """
    if not isinstance(getattr(network, "head", None), nn.Module):
        check.fail("freeze", "off for a network without a head", "on", "call the layer that is to be trained head")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(_HEAD))
    for name, child in network.named_children():
        if name != "head":
            child.eval()
            child.register_forward_pre_hook(_hold_eval_mode)


def _hold_eval_mode(module: nn.Module, _: Any) -> None:
    if module.training:
        module.eval()
