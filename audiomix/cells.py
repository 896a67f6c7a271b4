r"""A grid of cells over a clip: where cells lie in samples and bins, and gains that run over them.

.. math:: g(t) = g_0 + \sum_{j \ge 1} (g_j - g_{j-1})\, u_j(t), \qquad
          u_j(t) = \min(1, \max(0, \tfrac12 + (t + \tfrac12 - j c) / f))

Cells are c samples wide, the last one is cut by the end of the clip. Over a fade of f samples, at most c, one gain runs
straight into the next; without fades an edge lies at the whole sample that is nearest. With f = c the gains are those
of the cells' centres, with straight lines between them.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

__all__ = ["Cells", "cell_index", "cell_ramps", "cell_samples", "edges"]

# Of a sample: an edge that lies in the middle of two up to the rounding of float64 belongs to the first of them.
_TIE = 1e-6


def edges(count: int, width: float, size: int) -> np.ndarray:
    """Return at which samples the cells begin, and the last one ends; int64, (count + 1,).

    Parameters
    ----------
    count : int
        How many cells.
    width : float
        Of a cell, as a fraction of the axis.
    size : int
        Samples, frames or bins of the axis.

    Examples
    --------
    >>> edges(4, 0.3, 10).tolist()
    [0, 3, 6, 9, 10]
    """
    places = np.ceil(np.arange(count + 1) * (width * size) - 0.5 - _TIE)
    places[-1] = size
    return np.clip(places, 0, size).astype(np.int64)


def cell_index(count: int, width: float, size: int, device: torch.device | None = None) -> Tensor:
    """Return in which cell each of `size` places lies; int64, (size,): the cells between `edges`.

    Parameters
    ----------
    count, width, size
        See `edges`.
    device : torch.device, optional
        Where the result is made; the CPU by default.
    """
    place = torch.arange(size, dtype=torch.float64, device=device)
    return ((place + (0.5 + _TIE)) / (width * size)).long().clamp(max=count - 1)


def cell_ramps(
    count: int, width: float, fade: float, size: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each of `size` places the cell it fades from, the cell it fades to, and how far; (size,) each.

    Parameters
    ----------
    count, width, size
        See `edges`.
    fade : float
        Length of a fade, as a fraction of the axis, above 0 and at most `width`.
    device : torch.device, optional
        Where the results are made; the CPU by default.
    """
    wide = width * size
    centre = torch.arange(size, dtype=torch.float64, device=device) + 0.5
    edge = (centre / wide).round()
    ramp = (0.5 + (centre - edge * wide) / (fade * size)).clamp(0, 1)
    edge = edge.long()
    return (edge - 1).clamp(0, count - 1), edge.clamp(max=count - 1), ramp


def cell_samples(count: int, width: float, fade: float, size: int, ends: np.ndarray) -> np.ndarray:
    """Return how many samples each cell has before each of the ends, (count,) behind their shape, float64.

    The sum of gains over all samples before an end is the sum of the cells' gains times these numbers, fades included.

    Parameters
    ----------
    count, width, fade, size
        See `cell_ramps`; a fade may be 0.
    ends : array, int
        Samples, at most `size`.

    Examples
    --------
    >>> cell_samples(3, 0.4, 0.0, 10, np.array([10, 5])).tolist()
    [[4.0, 4.0, 2.0], [4.0, 1.0, 0.0]]
    """
    ends = np.asarray(ends, dtype=np.float64)[..., None]
    if fade:
        edge, length = np.arange(1, count) * (width * size), fade * size
        first, full = np.floor(edge - length / 2 - 0.5) + 1, np.ceil(edge + length / 2 - 0.5)
        stop = np.maximum(np.minimum(full, ends), first)  # an arithmetic series from `first` to `stop`
        ramp = (stop - first) * (0.5 + (0.5 - edge) / length + (first + stop - 1) / 2 / length)
        after = ramp + np.maximum(ends - full, 0)
    else:
        after = np.maximum(ends - edges(count, width, size)[1:-1], 0)
    after = np.concatenate([ends, after, np.zeros_like(ends)], -1)
    return after[..., :-1] - after[..., 1:]


@dataclass(frozen=True, eq=False)
class Cells:
    """Gains over a grid of cells.

    Parameters
    ----------
    gains : Tensor, shape (R, N)
        Of R cells in frequency and N in time; R is 1 for all frequencies alike.
    width : float
        Of a cell, as a fraction of the time axis.
    height : float
        Of a cell, as a fraction of the frequency axis.
    fade : float
        Length of the fade between cells, as a fraction of the time axis.
    end : float
        How far the cells reach, as a fraction of the time axis.
    rest : float
        The gain behind that.

    Examples
    --------
    >>> Cells(torch.tensor([[1.0, 0.0]]), width=0.5, end=0.75, rest=1.0).over(1, 4)
    tensor([[1., 1., 0., 1.]], dtype=torch.float64)
    """

    gains: Tensor
    width: float
    height: float = 1.0
    fade: float = 0.0
    end: float = 1.0
    rest: float = 0.0

    def over(self, bins: int, size: int) -> Tensor:
        """Return the gains in each bin and sample; (bins, size), or (1, size) for all frequencies alike; float64.

        Parameters
        ----------
        bins : int
            Of the frequency axis.
        size : int
            Samples or frames of the time axis.
        """
        rows = len(self.gains)
        gains = over_time(self.gains.double(), self.width, self.fade, size)
        if rows > 1:
            gains = gains[cell_index(rows, self.height, bins)]
        gains[:, round(self.end * size) :] = self.rest
        return gains

    @property
    def largest(self) -> float:
        """The largest gain in any place."""
        return max(float(self.gains.max()), self.rest if self.end < 1 else 0.0)

    def spans(self, size: int) -> list[tuple[int, int]]:
        """Return from which to which sample the gain is more than half of the largest, in order.

        Of several cells of frequency the largest gain counts.

        Parameters
        ----------
        size : int
            Samples of the time axis.
        """
        gains = replace(self, gains=self.gains.amax(0, keepdim=True)).over(1, size)[0]
        on = (gains > gains.max() / 2).numpy()
        changes = np.flatnonzero(np.diff(on, prepend=False, append=False)).tolist()
        return list(zip(changes[::2], changes[1::2]))


def over_time(gains: Tensor, width: float, fade: float, size: int) -> Tensor:
    """Return gains (..., N) of cells at each of `size` places; (..., size).

    Parameters
    ----------
    gains : Tensor, shape (..., N), floating point
        Of N cells in time.
    width, fade, size
        See `cell_ramps`; a fade may be 0.
    """
    count = gains.shape[-1]
    if not fade:
        return gains[..., cell_index(count, width, size, gains.device)]
    left, right, ramp = cell_ramps(count, width, fade, size, gains.device)
    return torch.lerp(gains[..., left], gains[..., right], ramp.to(gains.dtype).expand(*gains.shape[:-1], size))
