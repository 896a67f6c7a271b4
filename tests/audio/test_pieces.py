import math

import pytest
import torch
from sounds import noise, seeded

from audiomix.audio.pieces import add_pieces, piece
from audiomix.clips import Clips

ENDS, THEIRS = torch.tensor([100, 40, 77]), torch.tensor([30, 250, 7, 0])


def naive(sound, have, offset, end, size):
    """One piece, sample by sample."""
    first = round(offset * have)
    out = torch.zeros(*sound.shape[:-1], size, dtype=sound.dtype)
    for t in range(end if have else 0):
        out[..., t] = sound[..., (first + t) % have]
    return out


def given(dtype=torch.float64):
    own = Clips(noise(3, 2, 100, dtype=dtype), ENDS)
    source = Clips(noise(4, 2, 250, seed=2, dtype=dtype), THEIRS)
    rows = torch.tensor([[0, 1], [2, -1], [1, 3]])
    offset = torch.rand(3, 2, dtype=torch.float64, generator=seeded())
    gains = torch.tensor([[1.0, 0.5, 0.25], [0.7, 2.0, 0.0], [1.0, 0.3, 0.4]], dtype=torch.float64)
    return own, source, rows, offset, gains


def expected(own, source, rows, offset, gains):
    mixes = []
    for i in range(3):
        end = int(own.lengths[i])
        mix = own.x[i] * gains[i, 0]
        for k in range(2):
            j = int(rows[i, k])
            if gains[i, k + 1]:
                mix = mix + gains[i, k + 1] * naive(source.x[j], int(THEIRS[j]), float(offset[i, k]), end, 100)
        mix[:, end:] = 0
        mixes.append(mix)
    return torch.stack(mixes)


@pytest.mark.parametrize("way", ["slices", "indices"])
def test_pieces_are_read_from_their_place_and_repeated(way):
    own, source, rows, offset, gains = given()
    source.x.requires_grad_(way == "indices")  # no plain loop where a gradient is followed
    for k in range(2):
        chosen = rows[:, k].clamp(min=0)
        got = piece(source.x, chosen, offset[:, k], ENDS, THEIRS[chosen], 100)
        for i, j in enumerate(chosen.tolist()):
            want = naive(source.x[j].detach(), int(THEIRS[j]), float(offset[i, k]), int(ENDS[i]), 100)
            assert torch.equal(got[i].detach(), want)
    mixed = add_pieces(own, source, rows, offset, gains)
    torch.testing.assert_close(mixed.detach(), expected(own, source, rows, offset, gains).detach())
    if way == "indices":
        mixed.sum().backward()
        assert source.x.grad.isfinite().all()
        assert (source.x.grad[0, :, :30] > 0).all()


def test_what_has_no_gain_is_not_read_and_padding_is_silent():
    own, source, rows, offset, gains = given(torch.float32)
    want = add_pieces(own, source, rows, offset, gains)
    own.x[1, :, 40:] = math.nan
    source.x[0, :, 30:] = math.nan
    source.x[3] = math.nan  # of no length
    out = torch.full_like(own.x, math.nan)
    assert add_pieces(own, source, rows, offset, gains, out=out) is out
    assert torch.equal(out, want)
    gains[:, 0] = 0
    own.x[:] = math.nan
    assert add_pieces(own, source, rows, offset, gains).isfinite().all()
    with pytest.raises(ValueError, match="out must be memory of its own"):
        add_pieces(own, source, rows, offset, gains, out=own.x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    own, source, rows, offset, gains = given(dtype)
    exact = expected(Clips(own.x.double(), ENDS), Clips(source.x.double(), THEIRS), rows, offset, gains)
    got = add_pieces(own, source, rows, offset, gains)
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= torch.finfo(dtype).eps / 2 * exact.abs() + 1e-6).all()
    assert add_pieces(own, source, rows, offset, gains, wide=True).dtype == torch.float32
