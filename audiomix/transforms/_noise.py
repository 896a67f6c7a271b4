"""White noise that a plan replays: one long sequence of normal numbers, read from a place that is drawn."""

import torch
from torch import Tensor

from .. import draw

__all__ = ["read_noise"]

# Two primes: the product of sequences with these periods has their product for its period, 16.7 million numbers.
_NORMALS, _SIGNS = 4093, 4091


def _sequences() -> tuple[Tensor, Tensor]:
    """Return normal numbers of mean square 1, and random signs; float32."""
    generator = draw.generator_for(0, "white noise")
    normal = draw.normal(1.0, _NORMALS, generator=generator)
    sign = torch.where(draw.bernoulli(0.5, _SIGNS, generator=generator), 1.0, -1.0)
    return (normal / normal.square().mean().sqrt()).float(), sign


# made once, here: a compiled function can look them up, and not make them
_NORMAL, _SIGN = _sequences()


def read_noise(numbers: Tensor, size: int, like: Tensor) -> Tensor:
    """Return white normal noise of mean square 1; (R, size), on the device and of the dtype of `like`.

    Number i is a[i mod 4093] b[i mod 4091], with normal a and random signs b: no two places nearer than 16.7 million
    numbers share more than one of them, so that it is white (a correlation of two places is below 0.1), and nothing
    of the size of a clip is made on the host or sent to a device.

    Parameters
    ----------
    numbers : Tensor, shape (R, 2), float64
        In [0, 1): where each row begins to read a and b.
    size : int
        Numbers in a row.
    like : Tensor
        Says device and dtype.

    Examples
    --------
    >>> noise = read_noise(torch.tensor([[0.1, 0.7], [0.1, 0.8]]).double(), 50000, torch.zeros(()))
    >>> noise.square().mean(1).round(decimals=1)
    tensor([1., 1.])
    """
    places = torch.stack([(numbers[:, 0] * _NORMALS).long(), (numbers[:, 1] * _SIGNS).long()])
    first, second = places.to(like.device, non_blocking=True)
    normal, sign = (sequence.to(like.device, like.dtype) for sequence in (_NORMAL, _SIGN))
    return _read(normal, first, size) * _read(sign, second, size)


def _read(sequence: Tensor, first: Tensor, size: int) -> Tensor:
    """Return `size` numbers of a sequence that begins anew at its end, from each place on; (R, size)."""
    return sequence.repeat(size // len(sequence) + 2).unfold(0, size, 1)[first]
