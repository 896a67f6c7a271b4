r"""Rooms: batched convolution with impulse responses, aligned at the direct path.

.. math:: y[t] = g \sum_k h[k] \, x[t + d - k], \qquad d = \arg\max_k |h_0[k]|

d is where the direct sound arrives in the response's first channel, and is the same for all channels, so that the
delays between them stay. The direct sound of a clip therefore stays where it is: labels do not move.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from .. import check
from ..clips import behind, fit_length

__all__ = [
    "NORMALISE",
    "Normalise",
    "Responses",
    "check_channels",
    "check_normalise",
    "convolve",
    "direct_path",
    "restore_power",
    "reverberate",
]

Normalise = Literal["power", "energy", "direct"] | None
NORMALISE = ("power", "energy", "direct", None)
# Samples that are transformed at once: on a CPU what its cache holds, elsewhere what fills the device; and how many
# transforms at least, since each call of MKL plans anew.
_CPU_SAMPLES, _DEVICE_SAMPLES, _LEAST_ROWS = 1 << 19, 1 << 26, 8
# Shorter transforms cost more a sample.
_LEAST_BLOCK = 1024


def direct_path(response: Tensor) -> int:
    """Return where the direct sound arrives: the largest absolute value of the first channel, the first of equal ones.

    Parameters
    ----------
    response : Tensor, shape (L,) or (C, L)
        One impulse response.

    Examples
    --------
    >>> direct_path(torch.tensor([0.0, -1.0, 0.4]))
    1
    """
    return int(response.detach().reshape(-1, response.shape[-1])[0].abs().cpu().numpy().argmax())


def convolve(x: Tensor, response: Tensor, *, first: int = 0, size: int | None = None) -> Tensor:
    """Convolve each clip with its response, by FFT in float32 at least.

    Clips much longer than the responses are cut into overlapping blocks (overlap-save), each as long as costs least.

    Parameters
    ----------
    x : Tensor, shape (B, C, T)
        Samples; half precision comes back as float32.
    response : Tensor, shape (B or 1, C or 1, L)
        A response for each clip and channel.
    first : int
        The first sample that is returned of the whole convolution, which has T + L - 1.
    size : int, optional
        How many are returned, zeros where there are no more; T by default.

    Returns
    -------
    Tensor, shape (B, C, size)

    Examples
    --------
    >>> convolve(torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 0.5]]]), first=1).round(decimals=4)
    tensor([[[1.0000, 2.5000, 1.0000]]])
    """
    have, taps = x.shape[-1], response.shape[-1]
    size = have if size is None else size
    if not 0 <= first < have + taps - 1:
        check.fail("first", f"in 0..{have + taps - 2}, the samples of the whole convolution", first)
    wanted = min(size, have + taps - 1 - first)
    if wanted < size:
        return fit_length(convolve(x, response, first=first, size=wanted), size)
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, response = x.to(dtype), response.to(dtype)
    block = _block_size(have, taps, first, size)
    count = x[0].numel() // have * (1 if block is None else _count(size, taps, block))  # transforms a clip
    at_once = _CPU_SAMPLES if x.device.type == "cpu" else _DEVICE_SAMPLES
    rows = max(-(-_LEAST_ROWS // count), at_once // (count * (block or _whole_size(have, taps, first, size))))
    pieces = [
        _convolve(x[i : i + rows], response if len(response) == 1 else response[i : i + rows], first, size, block)
        for i in range(0, len(x), rows)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _count(size: int, taps: int, block: int) -> int:
    """Return how many blocks give `size` samples: each gives as many as are not reached by what wraps around."""
    return -(-size // (block - taps + 1))


def _block_size(have: int, taps: int, first: int, size: int) -> int | None:
    """Return the block's size at which convolution costs least, None where that is one block of everything.

    The cost of a block of n is taken as n log n for the clip, for the response and for the way back.
    """
    whole = _whole_size(have, taps, first, size)
    best, least = None, 3 * whole * math.log2(whole)
    n = max(_LEAST_BLOCK, 1 << taps.bit_length())  # at most half of a block is read twice
    while n < whole:
        cost = (2 * _count(size, taps, n) + 1) * n * math.log2(n)
        if cost < least:
            best, least = n, cost
        n *= 2
    return best


def _whole_size(have: int, taps: int, first: int, size: int) -> int:
    """Return the FFT's size at which nothing wraps into the samples from `first` on."""
    return next_fast_len(max(have, taps, first + size, have + taps - 1 - first), real=True)


def _convolve(x: Tensor, response: Tensor, first: int, size: int, block: int | None) -> Tensor:
    have, taps = x.shape[-1], response.shape[-1]
    if block is None:
        n = _whole_size(have, taps, first, size)
        whole = torch.fft.irfft(_product(torch.fft.rfft(x, n), torch.fft.rfft(response, n)), n)
        return whole[..., first : first + size]
    step, count = block - taps + 1, _count(size, taps, block)
    left = taps - 1 - first
    padded = torch.nn.functional.pad(x, (left, (count - 1) * step + block - left - have))
    spectrum = torch.fft.rfft(padded.unfold(-1, block, step))  # (B, C, blocks, F)
    blocks = torch.fft.irfft(_product(spectrum, torch.fft.rfft(response, block).unsqueeze(-2)), block)
    return blocks[..., taps - 1 :].flatten(-2)[..., :size]


def _product(spectrum: Tensor, response: Tensor) -> Tensor:
    return spectrum * response if response.requires_grad else spectrum.mul_(response)


@dataclass(frozen=True, eq=False)
class Responses:
    """Impulse responses of different lengths, one after another in one tensor.

    Parameters
    ----------
    samples : Tensor, shape (C, N), float32
        All of them.
    start, stop : Tensor, shape (H,), int64
        Where each lies in `samples`.
    direct : Tensor, shape (H,), int64
        The direct path of each, from its own start.
    """

    samples: Tensor
    start: Tensor
    stop: Tensor
    direct: Tensor

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, responses: Sequence[Tensor], normalise: Normalise = None) -> "Responses":
        """Return the responses (C, L), without zeros at their ends, scaled.

        ``energy`` and ``power`` scale to an energy of 1, the mean of the channels; ``direct`` scales the direct sound
        of the first channel to a size of 1. Polarity is kept.
        """
        responses = [response[:, : _end(response)] for response in responses]
        ends = torch.tensor([0, *(response.shape[-1] for response in responses)]).cumsum(0)
        direct = [direct_path(response) for response in responses]
        scaled = [  # in float64, where no scale is out of range
            (response.double() * _scale(response, d, normalise)).float() for response, d in zip(responses, direct)
        ]
        return cls(torch.cat(scaled, -1), ends[:-1], ends[1:], torch.tensor(direct))

    def early(self, samples: int) -> "Responses":
        """Return what arrives until `samples` behind each direct path."""
        return replace(self, stop=torch.minimum(self.stop, self.start + self.direct + 1 + samples))

    def tails(self) -> Tensor:
        """Return how many samples follow the direct path of each; (H,), int64."""
        return self.stop - self.start - self.direct - 1

    def apply(self, x: Tensor, index: Tensor, *, size: int | None = None) -> Tensor:
        """Convolve each clip with the response at its index, cut at its direct path.

        Clips are taken together with those whose responses are of about the same length.

        Parameters
        ----------
        x : Tensor, shape (B, C, T)
            Samples, zeros behind their valid part; of one channel, or of as many as the responses where they have more.
        index : Tensor, shape (B,), int64
            Which response; below 0 for none: the clip stays as it is.
        size : int, optional
            How many samples from each clip's own first on are returned; T by default.

        Returns
        -------
        Tensor, shape (B, C, size), float32 at least
        """
        size = x.shape[-1] if size is None else size
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        before = self.direct[index.clamp(min=0)]
        # what arrives later than the last sample is not heard
        after = (self.tails()[index.clamp(min=0)] + 1).clamp(max=size)
        groups = _groups((before + after).tolist(), index.tolist())
        if [len(rows) for rows in groups] == [len(x)]:
            return self._apply(x, index, int(before.max()), int(after.max()), size)
        mixed = fit_length(x, size).clone()
        for rows in map(torch.tensor, groups):
            there = rows.to(x.device)
            mixed[there] = self._apply(x[there], index[rows], int(before[rows].max()), int(after[rows].max()), size)
        return mixed

    def _apply(self, x: Tensor, index: Tensor, before: int, after: int, size: int) -> Tensor:
        """Convolve with responses that are padded so that all direct paths lie `before` samples from the start."""
        chosen = self.samples.new_zeros(len(index), len(self.samples), before + after)
        places = (each[index].tolist() for each in (self.start, self.stop, self.direct))
        for row, (start, stop, direct) in enumerate(zip(*places)):
            stop = min(stop, start + direct + after)
            chosen[row, :, before - direct : before - direct + stop - start] = self.samples[:, start:stop]
        return convolve(x, chosen.to(x.device), first=before, size=size)


def _groups(taps: list[int], index: list[int]) -> list[list[int]]:
    """Return rows that are convolved together: those of responses more than half as long as the longest of them."""
    rows = sorted((row for row, i in enumerate(index) if i >= 0), key=lambda row: -taps[row])
    groups: list[list[int]] = []
    for row in rows:
        if not groups or 2 * taps[row] <= taps[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return [sorted(group) for group in groups]


def _end(response: Tensor) -> int:
    """Return how many samples there are up to the last one that is not 0."""
    return int((response != 0).any(0).nonzero()[-1]) + 1


def _scale(response: Tensor, direct: int, normalise: Normalise) -> float:
    response = response.detach()  # as in `restore_power`, no gradient goes through the level
    if normalise is None:
        return 1.0
    if normalise == "direct":
        return 1 / abs(float(response.reshape(-1, response.shape[-1])[0, direct]))
    return 1 / math.sqrt(float(response.double().square().sum()) / (response.numel() // response.shape[-1]))


def restore_power(y: Tensor, x: Tensor, lengths: Tensor | None, index: Tensor, *, of: Tensor | None = None) -> Tensor:
    """Scale clips `y` (B, C, T') in place by what gives `of` (`y` itself) the power of `x` (B, C, T).

    It is measured over the valid samples. Clips whose `index` is below 0, and silence, stay as they are. No gradient
    goes through the factor.
    """
    with torch.no_grad():
        measured = (y if of is None else of)[..., : x.shape[-1]]
        if lengths is not None:
            measured = measured.masked_fill(behind(x, lengths), 0)
        before, after = (torch.linalg.vector_norm(each.flatten(1), dim=1) for each in (x, measured))
        gain = torch.where((after > 0) & (index >= 0).to(x.device), before / after, 1.0)
    return y.mul_(gain[:, None, None])


def reverberate(
    x: Tensor,
    responses: Tensor,
    index: Tensor | None = None,
    *,
    normalise: Normalise = "power",
    early: int | None = None,
    tail: int = 0,
    lengths: Tensor | None = None,
) -> Tensor:
    """Bring each clip into a room: convolve it with an impulse response whose direct path is aligned.

    Parameters
    ----------
    x : Tensor, shape (B, C, T)
        Waveforms. Left unchanged.
    responses : Tensor, shape (H, C or 1, L)
        Impulse responses; zeros at the end do no harm.
    index : Tensor, shape (B,), int64, optional
        Which response each clip gets, below 0 for none. By default clip i gets response i, or all get the only one.
    normalise : str or None
        ``power``: the clip keeps its mean power over its valid samples. ``energy``: the response has an energy of 1
        (mean of its channels), so that white noise keeps its power. ``direct``: its direct sound has a size of 1. None:
        the response is taken as it is.
    early : int, optional
        Only what arrives within so many samples behind the direct path is heard, at the gain of the whole response.
    tail : int
        So many samples of reverberation behind each clip's end are returned too.
    lengths : Tensor, shape (B,), int64, optional
        Valid samples of each clip; what lies behind is not heard.

    Returns
    -------
    Tensor, shape (B, C, T + tail), float32 at least
        Zeros behind the valid samples and their tail.

    Raises
    ------
    ValueError
        The shapes do not fit, or a channel of a response is silent or not finite.

    See Also
    --------
    audiomix.Room : draws a response for each clip.

    Examples
    --------
    >>> click = torch.zeros(1, 1, 6)
    >>> click[..., 2] = 1
    >>> reverberate(click, torch.tensor([[[0.0, -1.0, 0.5]]]), normalise="direct").round(decimals=4) + 0.0
    tensor([[[ 0.0000,  0.0000, -1.0000,  0.5000,  0.0000,  0.0000]]])
    """
    check.batch("x", check.floating("x", x), ndim=3)
    check.batch("responses", check.floating("responses", responses), ndim=3)
    for name, value, axes in (("x", x, "(B, C, T)"), ("responses", responses, "(H, C, L)")):
        if value.ndim > 3:
            check.fail(name, f"of shape {axes}", f"{tuple(value.shape)}")
    check_normalise(normalise)
    index = _check_index(index, len(x), len(responses))
    check_channels(x, responses.shape[1])
    check.finite("responses", responses)
    silent = (responses == 0).all(-1)
    if bool(silent.any()):
        number, channel = silent.nonzero()[0].tolist()
        check.fail("responses", "not silent", f"zeros in response {number}, channel {channel}")
    lengths = None if lengths is None else check.lengths("lengths", lengths, x)
    clips = x if lengths is None else x.masked_fill(behind(x, lengths), 0)
    size = x.shape[-1] + check.integer("tail", tail, 0)
    bank = Responses.of([*responses], normalise)
    heard = bank if early is None else bank.early(check.integer("early", early, 0))
    y = heard.apply(clips, index, size=size)
    if normalise == "power":
        y = restore_power(y, clips, lengths, index, of=None if early is None else bank.apply(clips, index))
    return y if lengths is None else y.masked_fill(behind(y, lengths + tail), 0)


def _check_index(index: Tensor | None, clips: int, count: int) -> Tensor:
    if index is None:
        index = torch.zeros(clips, dtype=torch.int64) if count == 1 else torch.arange(clips)
    expected = f"{clips} whole numbers, one a clip, below {count}"
    index = check.to_tensor("index", index, expected)
    if index.is_floating_point() or index.shape != (clips,):
        check.fail("index", expected, f"{index.dtype} of shape {tuple(index.shape)}")
    if int(index.max()) >= count:
        check.fail("index", expected, f"{int(index.max())}")
    return index.long()


def check_channels(x: Tensor, channels: int) -> None:
    """Refuse clips that have neither as many channels as the responses nor responses of one channel."""
    if channels not in (1, x.shape[1]):
        slip = f"one clip, several microphones? x.expand(-1, {channels}, -1)" if x.shape[1] == 1 else ""
        check.fail("x", f"of {channels} channels, as the impulse responses have", f"{x.shape[1]}", slip)


def check_normalise(value: Normalise) -> Normalise:
    """Return a way to set the level, or raise."""
    if value not in NORMALISE:
        expected = ", ".join(str(one) for one in NORMALISE)
        check.fail("normalise", f"one of {expected}", repr(value), "without quotes" if value == "None" else "")
    return value
