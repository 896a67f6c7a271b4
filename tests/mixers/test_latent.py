"""Mixing in a latent space: the same alignment, any autoencoder, lengths and types kept."""

import numpy as np
import pytest
import torch
from rhythm import bursts, misses, quiet, steady
from sounds import seeded

from audiomix import BeatGrid, BeatMix, LatentBeatMix
from audiomix.parts import mix_of_parts

RATE, SECONDS, FRAME = 8000, 8.0, 256


def batch():
    times = [steady(120, SECONDS), steady(124, SECONDS)]
    x = torch.stack([bursts(t, SECONDS, RATE, hz) + quiet(SECONDS, RATE, 0.003) for t, hz in zip(times, (1000, 3000))])
    return x[:, None], [BeatGrid(t) for t in times]


def frames(x):
    """Frames as channels: (B, C, T) to (B, C * FRAME, N); without loss where FRAME divides T."""
    return x.unfold(-1, FRAME, FRAME).transpose(2, 3).flatten(1, 2)


def unframed(z):
    return z.unflatten(1, (-1, FRAME)).transpose(2, 3).flatten(2)


def test_a_linear_autoencoder_gives_the_mix_of_the_waveforms():
    x, grids = batch()
    plain = BeatMix(rate=RATE, gain_law="amplitude", keep="overlap")
    latent = LatentBeatMix(frames, unframed, stride=FRAME, rate=RATE, keep="overlap")
    plan = plain(x, beats=grids, generator=seeded()).plans[0]
    a, b = plain(x, beats=grids, plan=plan), latent(x, beats=grids, plan=plan)
    assert a.lengths.tolist() == b.lengths.tolist()
    for i, end in enumerate(a.lengths.tolist()):
        inside = slice(FRAME, end - FRAME)  # whole frames change sides at the ends
        torch.testing.assert_close(b.x[i, :, inside], a.x[i, :, inside], atol=1e-5, rtol=1e-4)
        assert (b.x[i, :, end:] == 0).all()


def test_with_a_codec_that_changes_nothing_the_parts_sum_to_the_mix():
    x, grids = batch()
    mixer = LatentBeatMix(lambda s: s, lambda z: z, rate=RATE, min_bars=1, anchor="random")
    out = mixer(x, beats=grids, generator=seeded(2))
    for i in range(2):
        assert len(out.plans[0].parts(i)) > 2  # the original is alone before or behind the overlap
        torch.testing.assert_close(mix_of_parts(out.plans[0], i, x[i], x), out.x[i], atol=1e-5, rtol=1e-4)


def test_outside_of_the_overlap_the_original_alone_is_heard():
    x, grids = batch()
    mixer = LatentBeatMix(frames, unframed, stride=FRAME, rate=RATE, min_bars=1, anchor="random")
    out = mixer(x, beats=grids, generator=seeded(2))
    start, stop = (out.plans[0].overlap[0] * SECONDS * RATE).tolist()
    before, behind = slice(0, max(0, round(start) - FRAME)), slice(round(stop) + FRAME, None)
    torch.testing.assert_close(out.x[0, :, before], x[0, :, before])
    torch.testing.assert_close(out.x[0, :, behind], x[0, :, behind])
    times = [t for t in grids[0].times if start / RATE + 0.1 < t < stop / RATE - 0.1]
    assert np.abs(misses(out.x[0, 0], times, RATE, hz=3000)).max() < 0.004


@pytest.mark.parametrize("keep", ["original", "overlap", "anchor"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_weight_is_the_mean_share_of_what_is_heard(keep, padded):
    """Constant sounds, the original 1 and the partner 0: what is heard is the original's share."""
    _, grids = batch()
    size = round(SECONDS * RATE)
    x, other = torch.ones(1, 1, size), torch.zeros(1, 1, size)
    given = {"beats": grids[:1], "other_beats": grids[1:]}
    if padded:
        x = torch.nn.functional.pad(x, (0, 3 * RATE))
        given["lengths"] = torch.tensor([size])
    mixer = LatentBeatMix(
        frames, unframed, stride=FRAME, rate=RATE, keep=keep, level="recorded", min_bars=1, stretch="varispeed",
        num_classes=2,
    )  # fmt: skip
    for seed in range(2):
        out = mixer(x, torch.tensor([0]), other=other, other_target=torch.tensor([1]), generator=seeded(seed), **given)
        plan, end = out.plans[0], size if out.lengths is None else int(out.lengths[0])
        heard = float(out.x[0, 0, :end].mean())
        assert abs(float(plan.weight[0]) - heard) < 0.01
        torch.testing.assert_close(out.target[0, 0], plan.weight[0].float())
    plain = LatentBeatMix(frames, unframed, stride=FRAME, rate=RATE, level="recorded", policy="plain")
    out = plain(
        x, other=other[..., : size // 2], generator=seeded(0), **{k: v for k, v in given.items() if k == "lengths"}
    )
    assert float(out.plans[0].weight[0]) == pytest.approx(float(out.x[0, 0, :size].mean()), abs=0.01)


@pytest.mark.parametrize("shape", ["time last", "time in the middle"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_stride_shape_and_type(shape, dtype):
    """7 frames a stride; latents with an axis behind time, in another dtype than the sound."""
    x, grids = batch()
    x = x[..., : 7 * RATE + 123].to(dtype)
    grids = [g.between(0, 7.0) for g in grids]
    flip = (lambda z: z.transpose(1, 2)[..., None]) if shape == "time in the middle" else (lambda z: z)
    back = (lambda z: z[..., 0].transpose(1, 2)) if shape == "time in the middle" else (lambda z: z)
    seen = []

    def encode(sound):
        seen.append(sound.shape[-1])
        return flip(frames(sound.float()).double())

    mixer = LatentBeatMix(
        encode, lambda z: unframed(back(z)), stride=FRAME, time_axis=1 if shape == "time in the middle" else -1,
        rate=RATE, stretch="varispeed",
    )  # fmt: skip
    out = mixer(x, beats=grids, generator=seeded())
    assert out.x.shape == x.shape
    assert out.x.dtype == dtype
    assert out.x.isfinite().all()
    assert all(size % FRAME == 0 for size in seen)
    assert torch.equal(mixer.eval()(x, beats=grids).x, x)


def test_a_clip_that_is_not_mixed_is_not_coded():
    x, grids = batch()
    lossy = LatentBeatMix(lambda s: frames(s) * 0.5, unframed, stride=FRAME, rate=RATE)
    out = lossy(x, beats=[grids[0], None], generator=seeded())
    assert torch.equal(out.x, x)


def test_a_decoder_with_a_strides_tail_is_cut_and_a_wrong_one_is_named():
    x, grids = batch()
    longer = lambda z: torch.nn.functional.pad(unframed(z), (0, FRAME - 1))  # noqa: E731
    tail = LatentBeatMix(frames, longer, stride=FRAME, rate=RATE)
    assert tail(x, beats=grids, generator=seeded()).x.shape == x.shape
    for decode, message in (
        (lambda z: unframed(z)[..., : 5 * FRAME], r"decode must be .* stride=256: is it the encoder's\?"),
        (lambda z: unframed(z)[:1], r"decode must be a function that gives waveforms"),
    ):
        with pytest.raises(ValueError, match=message):
            LatentBeatMix(frames, decode, stride=FRAME, rate=RATE)(x, beats=grids, generator=seeded())
    with pytest.raises(ValueError, match="encode must be a function that gives latents"):
        LatentBeatMix(lambda s: s[:1], unframed, rate=RATE)(x, beats=grids, generator=seeded())
    with pytest.raises(TypeError, match=r"encode must be a function"):
        LatentBeatMix(None, unframed, rate=RATE)
    with pytest.raises(TypeError, match=r"mode must be left out"):
        LatentBeatMix(frames, unframed, rate=RATE, mode="crossfade")


def test_gradients_reach_the_encoder():
    x, grids = batch()
    scale = torch.nn.Parameter(torch.ones(()))
    mixer = LatentBeatMix(lambda s: frames(s) * scale, unframed, stride=FRAME, rate=RATE, stretch="varispeed")
    plan = mixer(x, beats=grids, generator=seeded()).plans[0]
    mixer(x, beats=grids, plan=plan).x.square().sum().backward()
    assert scale.grad.abs() > 0
