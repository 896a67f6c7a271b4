"""A mixer as a layer of a network: hidden states in, hidden states out."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .. import check
from ..arguments import Recorded, copy_type
from ..draw import Generator, check_generator
from ..mixer import Mixer

__all__ = ["MixLayer"]


class MixLayer(Recorded, nn.Module):
    """Mix hidden states by a mixer that keeps the label, such as `audiomix.MixStyle`.

    A mixer returns `audiomix.Mixed`; a layer returns the hidden states alone, so that it stands in `nn.Sequential`. In
    ``eval()`` it returns what it gets.

    Source: ours.
    Label: kept.

    Parameters
    ----------
    mixer : Mixer
        One whose label is the original's: `MixStyle`, `FreqMixStyle`, a transform. For others, whose target has to
        follow, there is `audiomix.network.manifold_mixup`.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one. It is no part of the state of the module: it is not in its
        `state_dict`, and `copy.deepcopy` gives the copy a generator of its own in the same state.

    Raises
    ------
    ValueError, TypeError
        The mixer mixes labels, or has a schedule: a layer is not told the progress of the training.

    See Also
    --------
    audiomix.manifold_mixup : for mixers whose target has to follow.

    Examples
    --------
    >>> import torch
    >>> from audiomix import FreqMixStyle
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), MixLayer(FreqMixStyle(p=1.0)), nn.ReLU())
    >>> network(torch.randn(4, 1, 16, 40)).shape
    torch.Size([4, 4, 14, 38])
    """

    def __init__(self, mixer: Mixer, *, generator: Generator = None) -> None:
        super().__init__()
        self.mixer = check.one_of_types("mixer", mixer, Mixer, "a Mixer")
        self.generator = check_generator(generator)
        if mixer.needs.target:
            slip = "audiomix.network.manifold_mixup mixes the target too"
            check.fail("mixer", "one that keeps the label", type(mixer).__name__, slip)
        for name, value in vars(mixer).items():
            if getattr(value, "is_constant", True) is False:
                check.fail("mixer", "one without a schedule", f"{name}='{value}'", "manifold_mixup(progress=...)")

    def forward(self, x: Tensor, lengths: Tensor | None = None, **notes: Any) -> Tensor:
        """Return the hidden states, mixed in training.

        Parameters
        ----------
        x : Tensor, shape (B, C, ..., N)
            Hidden states.
        lengths : Tensor, shape (B,), optional
            Valid frames.
        **notes : Any
            Notes on the clips; see `audiomix.Mixer`.
        """
        return self.mixer(x, lengths=lengths, generator=self.generator, **notes).x if self.training else x

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""
