r"""Manifold mixup: the hidden states of one layer are mixed, drawn in each step among the layers that are named.

.. math:: h'_i = w_i h_i + (1 - w_i) h_{p(i)}, \quad y'_i = w_i y_i + (1 - w_i) y_{p(i)}, \quad h = g_l(x)

The first paper of `manifold_mixup` has alpha 2, and its layer 0 is the input. Of sequences the attention mask of a mix
is the product of both masks, as in the second.
"""

import copy
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .. import check, draw
from ..clips import Clips
from ..draw import Generator
from ..graphs import run_eagerly
from ..mixed import Mixed, Plans
from ..mixer import Mixer
from ..mixers.mixup import MixUp
from ..plan import Plan
from ..targets.frames import mix_frames

__all__ = ["INPUT", "HiddenMix", "manifold_mixup"]

# The layer that stands for the input of the module itself.
INPUT = "input"
# Shares of one that are added up may fall short of it by rounding.
_ROUNDING = 1e-6


class HiddenMix:
    """What is mixed in one step: the layer, the plan, the target and the attention mask. Made by `manifold_mixup`.

    Parameters
    ----------
    module : nn.Module
        The network.
    layer : str
        The layer that was drawn; it is kept under this name.
    mixer : Mixer
        What mixes.
    given : dict
        The other arguments of `manifold_mixup`, by name.

    Examples
    --------
    >>> from audiomix import MixUp, manifold_mixup
    >>> network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    >>> with manifold_mixup(network, "0", MixUp(2.0, num_classes=2), target=torch.tensor([0, 1])) as hidden:
    ...     logits = network(torch.randn(2, 4))
    >>> hidden.layer, hidden.target.shape
    ('0', torch.Size([2, 2]))
    """

    def __init__(self, module: nn.Module, layer: str, mixer: Mixer, given: dict[str, Any]) -> None:
        self.layer = layer
        self._module, self._mixer, self._given = module, mixer, given
        self._mixed: Mixed | None = None
        self._batch: tuple[int, int] | None = None  # clips, and the size of the time axis of the input
        self._fired = False
        if given["mask"] is not None:
            self._draw_over_mask()

    @property
    def plan(self) -> Plan:
        """What was drawn; known from the call of the module on, with `mask` from the beginning of the block on."""
        return self._known().plans[0]

    @property
    def target(self) -> Any:
        """The target of the mixed hidden states; None where none was given."""
        return self._known().target

    @property
    def mask(self) -> Tensor | None:
        """The attention mask of the mixes, bool (B, N): what to give to the module in place of the mask of the clips.

        Attended is where all that is mixed in is valid. None where no mask was given.
        """
        return self._mask if self._given["mask"] is not None else None

    def _known(self) -> Mixed:
        if self._mixed is None:
            check.fail("the module", "called within the block before its plan is read", "no call", error=RuntimeError)
        return self._mixed

    def _draw_over_mask(self) -> None:
        """Draw the plan before the module is called, which needs the mask of the mixes."""
        mask = self._given["mask"]
        frames = mask[:, None].float()
        # clips of which no frame is valid in both would leave nothing to attend to
        allowed = (mask.float() @ mask.float().T > 0).cpu()
        if self._given["notes"].get("allowed") is not None:
            allowed = allowed & torch.as_tensor(self._given["notes"]["allowed"]).cpu()
        self._mixed = self._mix(frames, None, notes=self._given["notes"] | {"allowed": allowed})
        self._mask = mix_frames(frames, self.plan)[:, 0] >= 1 - _ROUNDING

    @run_eagerly
    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Note the size of the batch; mix the input where that is the layer. A hook in front of the module."""
        if self._batch is not None:
            slip = "one plan belongs to one batch: open a block for each call"
            check.fail("the module", "called once within the block", "a second call", slip, RuntimeError)
        places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        place, x = next(((p, v) for p, v in places if isinstance(v, Tensor) and v.ndim), (None, None))
        if place is None or x is None:
            check.fail("the module", "called with a Tensor, the batch", "none", error=TypeError)
        mask = self._given["mask"]
        if mask is not None and len(mask) != len(x):
            check.fail("mask", f"of {len(x)} clips, as the batch is", f"shape {tuple(mask.shape)}")
        self._batch = len(x), x.shape[self._axis(INPUT)] if x.ndim > 1 else 0
        if self.layer != INPUT:
            return None
        if isinstance(place, int):
            return (*args[:place], self.at_layer(x), *args[place + 1 :]), kwargs
        return args, {**kwargs, place: self.at_layer(x)}

    @run_eagerly
    def at_layer(self, output: Any) -> Any:
        """Return what the layer gives with its hidden states mixed. A hook behind the layer."""
        if self._fired:
            slip = "a layer that is used twice has two kinds of hidden states, of which one plan cannot mix both"
            got = f"a second call of {self.layer!r}"
            check.fail("layer", "called once in a forward pass", got, slip, RuntimeError)
        if not torch.is_grad_enabled() and _within_checkpoint():
            slip = "it is run again in the backward pass, without its hook: name a layer around the checkpoint"
            check.fail("layer", "outside of torch.utils.checkpoint", repr(self.layer), slip, RuntimeError)
        self._fired = True
        key = self._given["output"] if self.layer != INPUT else None
        if isinstance(output, Tensor):
            return self._mix_states(output)
        if key is None:
            kind = type(output).__name__
            slip = f"which entry holds the hidden states? {self._options(output)}"
            check.fail("layer", "one that returns a Tensor, or with output= given", f"{kind} of {self.layer!r}", slip)
        return self._put(output, key)

    @staticmethod
    def _options(output: Any) -> str:
        sized = hasattr(output, "__len__")
        names = list(output) if isinstance(output, Mapping) else range(len(output)) if sized else ()
        return ", ".join(f"output={name!r}" for name in names) or "none can be mixed"

    def _put(self, output: Any, key: int | str) -> Any:
        """Return a tuple, a list or a mapping with one entry mixed."""
        names = list(output) if isinstance(output, Mapping) else list(range(len(output)))
        if key not in names or not isinstance(output[key], Tensor):
            expected = f"the place of a Tensor in what {self.layer!r} returns"
            check.fail("output", expected, repr(key), self._options(output))
        mixed = self._mix_states(output[key])
        if isinstance(output, Mapping):
            found: Any = copy.copy(output)
            found[key] = mixed
            return found
        entries = [mixed if name == key else entry for name, entry in enumerate(output)]
        return output._replace(**{output._fields[key]: mixed}) if hasattr(output, "_fields") else type(output)(entries)

    def _mix_states(self, h: Tensor) -> Tensor:
        """Return hidden states (B, ...) mixed."""
        if self._batch is None:
            check.fail("layer", "called by the module", "a call from elsewhere", error=RuntimeError)
        size, span = self._batch
        if len(h) != size:
            slip = "time first? a layer with batch_first=True"
            got = f"shape {tuple(h.shape)} of {self.layer!r}"
            check.fail("layer", f"one whose first axis is the batch of {size} clips", got, slip)
        axis = self._axis(self.layer)
        moved = h.movedim(axis, -1) if h.ndim > 2 else h
        known = self._mixed is not None
        mixed = self._mix(moved, self._hidden_lengths(moved, span), plan=self.plan if known else None)
        self._mixed = mixed._replace(target=self.target) if known else mixed
        return mixed.x.movedim(-1, axis) if h.ndim > 2 else mixed.x

    def _axis(self, layer: str) -> int:
        axis = self._given["time_axis"]
        if isinstance(axis, Mapping):
            return axis.get(layer, -1)
        return axis if layer == self.layer else -1

    def _hidden_lengths(self, h: Tensor, span: int) -> Tensor | None:
        """Return how many hidden frames are valid: as much of them as of the input, rounded up."""
        lengths = self._given["lengths"]
        if lengths is None or (h.ndim < 3 and self.layer != INPUT):
            return None
        lengths = check.to_tensor("lengths", lengths, "whole numbers").long()
        if int(lengths.max()) > span:
            check.fail("lengths", f"within [0, {span}], the time axis of the input", int(lengths.max()))
        return -((-lengths * h.shape[-1]) // max(span, 1))

    def _mix(self, h: Tensor, lengths: Tensor | None, *, plan: Plan | None = None, notes: Any = None) -> Mixed:
        """Return the mixer's call; in eval what it returns there, with nothing mixed."""
        given = self._given
        plan = given["plan"] if plan is None else plan
        if not self._module.training:
            own = Clips(h, lengths)
            return Mixed(h, self._mixer.keep_target(given["target"]), Plans([self._mixer.identity(own)]), lengths)
        return self._mixer(
            h, given["target"] if self._mixed is None else None, lengths=lengths, plan=plan,
            eligible=given["eligible"], generator=given["generator"], progress=given["progress"],
            **(given["notes"] if notes is None else notes),
        )  # fmt: skip

    def close(self) -> None:
        """Raise where the module was not called. At the end of the block, unless an exception ended it."""
        if self._batch is None:
            slip = "another module? its forward(), which runs no hooks?"
            check.fail("the module", "called within the block", "no call", slip, RuntimeError)

    @run_eagerly
    def end(self) -> None:
        """Raise where the layer was not called. A hook behind the module."""
        if not self._fired:
            slip = "a compiled module does not see hooks that are added later: compile it within the block"
            got = f"no call of {self.layer!r}"
            check.fail("layer", "called by the module in its forward pass", got, slip, RuntimeError)


def _within_checkpoint() -> bool:
    """Whether a checkpoint with ``use_reentrant=True`` is under way, which would give wrong gradients in silence."""
    module: Any = sys.modules.get("torch.utils.checkpoint")
    frame = sys._getframe() if module is not None else None
    while frame is not None:
        if frame.f_code is module.CheckpointFunction.forward.__code__:
            return True
        frame = frame.f_back
    return False


@contextmanager
def manifold_mixup(
    module: nn.Module,
    layer: str | Sequence[str] = INPUT,
    mixer: Mixer | None = None,
    *,
    target: Tensor | None = None,
    lengths: Tensor | None = None,
    mask: Tensor | None = None,
    eligible: Tensor | None = None,
    output: int | str | None = None,
    time_axis: int | Mapping[str, int] = -1,
    generator: Generator = None,
    progress: float | None = None,
    plan: Plan | None = None,
    **notes: Any,
) -> Iterator[HiddenMix]:
    """Mix the hidden states of a layer in the one call of a module within the block.

    The layer is drawn among those that are named, the plan by the mixer, and both hold for the hidden states, for the
    target and for the attention mask. Hooks are removed at the end of the block, after an exception as well. In
    ``module.eval()`` nothing is mixed, and the target comes back as from a mixer in ``eval()``.

    Source: Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019; Zhou et
    al., "DNABERT-S: Pioneering Species Differentiation with Species-Aware DNA Embeddings" (MI-Mix), 2024.
    Label: as the mixer's.

    Parameters
    ----------
    module : nn.Module
        The network; with `DistributedDataParallel` the wrapped one, whose layers have the names they have inside.
    layer : str or sequence of str
        Names as in ``module.named_modules()``, or ``input`` for what the module is called with (its first Tensor). Of
        several one is drawn in each block, each as likely as the others.
    mixer : Mixer, optional
        What mixes; ``MixUp(alpha=2.0)`` by default. With class ids as the target it needs `num_classes`.
    target : Tensor, optional
        Class ids (B,), labels (B, K), values (B, R) or frame labels (B, K, N).
    lengths : Tensor, shape (B,), optional
        Valid samples or frames of the input. Of hidden states as much is valid, rounded up to whole frames. Where
        hidden states have no time axis, (B, D), they are whole.
    mask : Tensor, shape (B, N), bool, optional
        Attention mask of the clips, true where a frame is valid, for mixers that add (`MixUp`). The plan is drawn at
        the beginning of the block, and `HiddenMix.mask` is what the module has to be called with.
    eligible : Tensor, shape (B,), bool, optional
        Clips that take part.
    output : int or str, optional
        Which entry of a tuple, list or mapping that the layer returns is mixed; the others stay. Without it only
        layers that return a Tensor are taken.
    time_axis : int or mapping of str to int
        Which axis of the states that are mixed is time, where that matters (`lengths`, mixers that cut): 1 for tokens
        (B, N, D). With a mapping, by layer; -1 for those that it lacks, and for the input where a number is given.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one. The layer is drawn first, where there are several.
    progress : float, optional
        Fraction of the training in [0, 1], for schedules.
    plan : Plan, optional
        Replay this plan instead of drawing one.
    **notes : Any
        Notes on the clips, as for `audiomix.Mixer`: ``allowed=``, ``pairing_weights=``.

    Yields
    ------
    HiddenMix
        ``layer``, ``plan``, ``target``, ``mask``: to be read after the module was called.

    Raises
    ------
    ValueError, TypeError
        There is no such layer, its first axis is not the batch, it returns no Tensor, or another wrong argument.
    RuntimeError
        The layer is called twice in the forward pass or not at all, the module twice within the block or not at all.

    Notes
    -----
    A mixer that is not linear sees the hidden states with time as their last axis: `CutMix` cuts frames of (B, D, N).

    **torch.compile.** Hooks that are added after a module was compiled are not seen by its graph. That is noticed and
    raises. Compiled within the block (each block compiles anew) or with ``torch._dynamo.config
    .skip_nnmodule_hook_guards = False`` layers work, with a break of the graph at the mix; ``layer="input"`` works
    with a module that is compiled already.

    **Checkpoints.** A layer within `torch.utils.checkpoint` is run again in the backward pass, where its hook is gone:
    name a layer outside of it. Within, a checkpoint with ``use_reentrant=True`` raises here, another one in its
    backward pass.

    See Also
    --------
    audiomix.MixLayer : a layer, for mixers that keep the label.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> x, label = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    >>> draws = torch.Generator().manual_seed(0)
    >>> mixer = MixUp(alpha=2.0, num_classes=3)
    >>> with manifold_mixup(network, ["input", "0", "1"], mixer, target=label, generator=draws) as hidden:
    ...     logits = network(x)
    >>> loss = nn.functional.cross_entropy(logits, hidden.target)
    >>> hidden.layer in ("input", "0", "1"), hidden.target.sum(1)
    (True, tensor([1., 1., 1., 1.]))
    """
    mixer = MixUp(alpha=2.0) if mixer is None else _with_time_last(mixer)
    layers = _layers(check.one_of_types("module", module, nn.Module, "an nn.Module"), layer)
    if mask is not None:
        mask = _check_mask(mask, lengths, mixer)
    generator = draw.check_generator(generator)
    number = int(draw.integers(torch.tensor([len(layers)]), generator=generator)) if len(layers) > 1 else 0
    name = list(layers)[number]
    given = {
        "target": target, "lengths": lengths, "mask": mask, "eligible": eligible, "output": output,
        "time_axis": time_axis, "generator": generator, "progress": progress, "plan": plan, "notes": notes,
    }  # fmt: skip
    hidden = HiddenMix(module, name, mixer, given)
    with ExitStack() as hooks:
        if name != INPUT:
            hooks.callback(layers[name].register_forward_hook(lambda _, args, out: hidden.at_layer(out)).remove)
        begin = module.register_forward_pre_hook(lambda _, args, kwargs: hidden.begin(args, kwargs), with_kwargs=True)
        hooks.callback(begin.remove)
        hooks.callback(module.register_forward_hook(lambda _, args, out: hidden.end()).remove)
        yield hidden
        hidden.close()


def _with_time_last(mixer: Any) -> Mixer:
    """Return the mixer for hidden states whose time axis was brought to the end: it need not warn of their shape."""
    mixer = check.one_of_types("mixer", mixer, Mixer, "a Mixer")
    if mixer.time_axis == -2:
        slip = "which axis of the hidden states is time is said by time_axis= of manifold_mixup"
        check.fail("mixer", "one whose time axis is the last", repr(mixer), slip)
    takes_axis = mixer.time_axis is None and "time_axis" in inspect.signature(type(mixer)).parameters
    return mixer.replace(time_axis=-1) if takes_axis and mixer.training else mixer


def _layers(module: nn.Module, layer: str | Sequence[str]) -> dict[str, nn.Module]:
    """Return the layers that are named, or raise."""
    if isinstance(module, nn.DataParallel):
        slip = "it splits the batch among threads: DistributedDataParallel, or its .module"
        check.fail("module", "a network of one process", "a DataParallel", slip, TypeError)
    inner: Any = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    inner = getattr(inner, "_orig_mod", inner)  # what torch.compile wraps
    known: dict[str, nn.Module] = {name: found for name, found in inner.named_modules() if name}
    names = [layer] if isinstance(layer, str) else list(layer)
    if not names or len(set(names)) < len(names):
        check.fail("layer", "the names of different layers", repr(layer))
    if INPUT in names and INPUT in known:
        check.fail("layer", f"other than {INPUT!r} where a layer has that name", repr(layer), "rename the layer")
    for name in names:
        if name != INPUT:
            check.choice("layer", name, [INPUT, *known])
    return {name: inner if name == INPUT else known[name] for name in names}


def _check_mask(mask: Any, lengths: Any, mixer: Mixer) -> Tensor:
    """Return an attention mask as bool (B, N), or raise."""
    mask = check.tensor("mask", mask)
    if mask.ndim != 2:
        check.fail("mask", "of shape (B, N), one row a clip", f"shape {tuple(mask.shape)}", "the mask of the tokens?")
    if mask.dtype != torch.bool:
        if mask.is_cpu and not bool(((mask == 0) | (mask == 1)).all()):
            slip = "numbers that are added to scores? mask == 0"
            check.fail("mask", "bool, true where a frame is valid", f"{mask.dtype} of other values than 0 and 1", slip)
        mask = mask > 0.5
    if lengths is not None:
        check.fail("lengths", "left out where a mask is given", "both")
    if mixer.needs.axes:
        slip = "lengths=: a cut lies where both clips are valid, and the mask stays as it is"
        check.fail("mask", f"left out for {type(mixer).__name__}, which cuts", "given", slip)
    return mask
