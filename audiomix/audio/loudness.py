r"""Loudness of a batch (BS.1770-4): one pass of the K filter, then the gates from the energies of blocks.

A filter that feeds back goes sample by sample, which no batch can share: `scipy.signal.lfilter` takes five to seven
times as long (``python tests/bench/mixers.py --only SNRMix``). Here each chunk of samples is one product of matrices,
so that all chunks of all clips are filtered at once, on the device of the data. With the filter's states s before each
chunk of L samples x,

.. math:: y = H x + O s, \qquad s' = A^L s + K x,

and the states, a recurrence of the same kind over N / L steps, are found in the same way, group by group.

The coefficients are pyloudnorm's. Blocks of 0.4 s every 0.1 s are as it cuts them; their edges are rounded to samples
downwards. Gains are no reason to filter again: the energies of the blocks scale with the square of the gain, and only
the gates move.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import check

__all__ = ["block_energies", "check_rate", "gate"]

# Samples of a chunk and steps of a group: where products of matrices this small cost least a sample
_CHUNK, _GROUP = 20, 8
# Bytes of the clips that are filtered at once: what lies in the cache between one step and the next
_BLOCK = 2 << 20
_BLOCK_S, _STEPS = 0.4, 4  # gating blocks, and how many steps of 0.1 s they have
_CHANNEL_GAINS = (1.0, 1.0, 1.0, 1.41, 1.41)
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
_SHELF_HZ, _HIGH_PASS_HZ = 1500.0, 38.0
_OFFSET = -0.691  # dB: a tone of 997 Hz at full scale reads -3.01 LUFS


class _Recurrence(NamedTuple):
    """One level of the recurrence, for rows of numbers times matrices."""

    inputs: Tensor  # from the inputs of a chunk to its outputs and, behind them, to its states at the end
    states: Tensor  # from the states before a chunk to its outputs
    step: Tensor  # from the states before a chunk to those behind it


def block_energies(x: Tensor, rate: int, lengths: Tensor | None = None) -> Tensor:
    """Return the mean square of each gating block behind the K filter, summed over channels; (B, N), float64, CPU.

    The block is 0.4 s, or the clip's own length where that is shorter: BS.1770 has no loudness for such clips, and
    padded with zeros they would read about 3 dB low. Behind the last block of a clip stand zeros, which no gate passes.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips of at most 5 channels, in the order left, right, centre, surround left, surround right.
    rate : int
        In Hz.
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip; all are where it is None.

    Raises
    ------
    ValueError
        There are more than 5 channels, or the rate is so low that there is no loudness.
    """
    check_rate(rate)
    x = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).detach()
    channels, size = x.shape[1:]
    if channels > len(_CHANNEL_GAINS):
        check.fail("x", f"of at most {len(_CHANNEL_GAINS)} channels for loudness", channels)
    ends = torch.full((len(x),), size) if lengths is None else lengths.cpu()
    edges = _edges(int(ends.max()), rate)
    dtype = torch.promote_types(x.dtype, torch.float32)
    rows = max(1, _BLOCK // max(1, channels * size * torch.finfo(dtype).bits // 8))
    gains = torch.tensor(_CHANNEL_GAINS[:channels], dtype=torch.float64)
    steps = [
        _step_energies(x[i : i + rows].to(dtype), ends[i : i + rows], rate, edges).cpu().double()
        for i in range(0, len(x), rows)
    ]
    energy = (torch.cat(steps) * gains[:, None]).sum(1)  # (B, M)
    # sums of four, not differences of running sums: what is soft behind what is loud would be lost
    blocks = energy.unfold(-1, _STEPS, 1).sum(-1) / (ends / rate).clamp(max=_BLOCK_S).mul(rate).clamp(min=1)[:, None]
    return torch.where(torch.arange(blocks.shape[1]) < _count(ends, rate)[:, None], blocks, 0.0)


def check_rate(rate: int) -> int:
    """Return a rate at which there is loudness, or raise: the shelf of the K filter must lie below half of it.

    Parameters
    ----------
    rate : int
        In Hz.
    """
    if check.rate("rate", rate) <= 2 * _SHELF_HZ:
        expected = f"above {2 * _SHELF_HZ:g} Hz for loudness"
        check.fail("rate", expected, rate, f"the shelf of its filter is at {_SHELF_HZ:g} Hz: level='active'?")
    return rate


def gate(energies: Tensor, gain: Tensor | None = None) -> Tensor:
    """Return the integrated loudness in LUFS of clips whose blocks have these energies; -inf for silence. (B,).

    Parameters
    ----------
    energies : Tensor, shape (B, N), float64
        From `block_energies`.
    gain : Tensor, shape (B,), float64, optional
        An amplitude by which each clip is scaled first.
    """
    if gain is not None:
        energies = energies * gain[:, None].square()
    loudness = _lufs(energies)
    passed = loudness >= _ABSOLUTE_GATE
    first = _lufs(_mean(energies, passed))
    passed = (loudness > _ABSOLUTE_GATE) & (loudness > first[:, None] + _RELATIVE_GATE)
    return _lufs(_mean(energies, passed))


def _lufs(energy: Tensor) -> Tensor:
    found = _OFFSET + 10 * torch.log10(energy)
    return torch.where(found.isfinite(), found, -math.inf)


def _mean(energies: Tensor, passed: Tensor) -> Tensor:
    return torch.where(passed, energies, 0.0).sum(-1) / passed.sum(-1).clamp(min=1)


def _count(ends: Tensor, rate: int) -> Tensor:
    """Return how many blocks clips of these lengths have: rounded, so that the last one may be cut by the end."""
    return ((ends / rate - _BLOCK_S) / (_BLOCK_S / _STEPS)).round().clamp(min=0).long() + 1


def _edges(size: int, rate: int) -> list[int]:
    """Return where the steps of 0.1 s of a clip begin, and where the last one ends."""
    steps = int(_count(torch.tensor([size]), rate)) + _STEPS
    return [i * rate // 10 for i in range(steps)]


def _step_energies(x: Tensor, ends: Tensor, rate: int, edges: list[int]) -> Tensor:
    """Return the energy of each step of 0.1 s of each channel behind the K filter; (B, C, M)."""
    shape, size = x.shape, x.shape[-1]
    padded = -(-max(size, edges[-1]) // _CHUNK) * _CHUNK
    clean = x.new_empty(*shape[:-1], padded)
    clean[..., :size] = x
    _silence_behind(clean, ends)  # a NaN there would reach the chunk before it
    first, second = _levels(rate, x.dtype, x.device)
    chunks = clean.view(-1, _CHUNK)
    both = chunks @ first.inputs
    states = _scan(both[:, _CHUNK:].reshape(shape[0] * shape[1], -1, 4), second)
    y = torch.addmm(both[:, :_CHUNK], states.reshape(-1, 4), first.states, out=chunks).view(clean.shape)
    _silence_behind(y, ends)  # where the filter goes on ringing
    widths = {b - a for a, b in pairwise(edges)}
    if len(widths) == 1:
        return torch.linalg.vector_norm(y[..., : edges[-1]].unflatten(-1, (-1, widths.pop())), dim=-1).square()
    norms = [torch.linalg.vector_norm(y[..., a:b], dim=-1) for a, b in pairwise(edges)]
    return torch.stack(norms, -1).square()


def _silence_behind(x: Tensor, ends: Tensor) -> None:
    if x.device.type == "cpu":
        for row, end in zip(x, ends.tolist()):
            row[..., end:] = 0
    else:
        x.masked_fill_(torch.arange(x.shape[-1], device=x.device) >= ends.to(x.device)[:, None, None], 0)


def _scan(inputs: Tensor, levels: list[_Recurrence]) -> Tensor:
    """Return the states before each step of ``s' = s A + inputs``, from zero; (R, N, S)."""
    rows, steps, size = inputs.shape
    level = levels[0]
    if steps <= _GROUP or len(levels) == 1:
        found, state = [], inputs.new_zeros(rows, size)
        for i in range(steps):
            found.append(state)
            state = torch.addmm(inputs[:, i], state, level.step)
        return torch.stack(found, 1)
    groups = -(-steps // _GROUP)
    padded = torch.nn.functional.pad(inputs, (0, 0, 0, groups * _GROUP - steps))
    both = padded.reshape(rows * groups, -1) @ level.inputs
    width = _GROUP * size
    before = _scan(both[:, width:].reshape(rows, groups, size), levels[1:])
    return torch.addmm(both[:, :width], before.reshape(-1, size), level.states).view(rows, -1, size)[:, :steps]


# 8^9 groups of 20 samples are more than any clip has
_DEPTH = 9


@lru_cache(maxsize=16)
def _levels(rate: int, dtype: torch.dtype, device: torch.device) -> tuple[_Recurrence, list[_Recurrence]]:
    """Return the filter chunk by chunk, and the recurrence of its states at every depth."""
    a, b, c, d = _state_space(rate)
    powers = [np.linalg.matrix_power(a, k) for k in range(_CHUNK + 1)]
    inputs = np.zeros((_CHUNK, _CHUNK + 4))
    for k in range(_CHUNK):
        inputs[k, k] = d
        for t in range(k + 1, _CHUNK):
            inputs[k, t] = c @ powers[t - 1 - k] @ b
        inputs[k, _CHUNK:] = powers[_CHUNK - 1 - k] @ b
    states = np.stack([c @ powers[t] for t in range(_CHUNK)], 1)
    made = lambda *arrays: _Recurrence(*(torch.tensor(one, dtype=dtype, device=device) for one in arrays))  # noqa: E731
    levels, step = [], powers[_CHUNK]
    for _ in range(_DEPTH):
        levels.append(made(*_group(step)))
        step = np.linalg.matrix_power(step, _GROUP)
    return made(inputs, states, powers[_CHUNK].T), levels


def _group(step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices of one group of ``s' = A s + u``: its states before each step and those at its end."""
    size = len(step)
    powers = [np.linalg.matrix_power(step, k).T for k in range(_GROUP + 1)]
    inputs = np.zeros((_GROUP, size, _GROUP + 1, size))
    for k in range(_GROUP):
        for t in range(k + 1, _GROUP + 1):
            inputs[k, :, t] = powers[t - 1 - k]
    states = np.concatenate(powers[:_GROUP], 1)
    return inputs.reshape(_GROUP * size, -1), states, step.T


def _state_space(rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return A, b, c, d of the two filters of the K weighting in a row: ``s' = A s + b x``, ``y = c s + d x``."""
    from pyloudnorm.iirfilter import IIRfilter
    from scipy.linalg import solve_discrete_lyapunov

    shelf = IIRfilter(4.0, 1 / math.sqrt(2), _SHELF_HZ, rate, "high_shelf")
    high_pass = IIRfilter(0.0, 0.5, _HIGH_PASS_HZ, rate, "high_pass")
    (a1, b1, c1, d1), (a2, b2, c2, d2) = (_biquad(one.b, one.a) for one in (shelf, high_pass))
    a = np.block([[a1, np.zeros((2, 2))], [np.outer(b2, c1), a2]])
    b, c = np.concatenate([b1, b2 * d1]), np.concatenate([d2 * c1, c2])
    # States of unit variance for white noise: the poles at 38 Hz are so near to 1 that in the coordinates of the
    # biquads float32 would lose 0.2 dB beneath a strong tone of 5 Hz.
    root = np.linalg.cholesky(solve_discrete_lyapunov(a, np.outer(b, b)))
    inverse = np.linalg.inv(root)
    return inverse @ a @ root, inverse @ b, c @ root, d1 * d2


def _biquad(b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the state space of one biquad (transposed direct form II)."""
    return np.array([[-a[1], 1.0], [-a[2], 0.0]]), b[1:] - a[1:] * b[0], np.array([1.0, 0.0]), float(b[0])
