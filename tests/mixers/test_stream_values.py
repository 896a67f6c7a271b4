"""What stream mixing does to numbers: levels, precision, gradients, the caller's memory, what is not finite."""

import pytest
import torch
from mixers.frames import MODES, streams
from sounds import noise, seeded

from audiomix import StreamMix, mix_streams
from audiomix.clips import Clips
from audiomix.mixers.stream import StreamPlan


def test_layer_norm_makes_the_ratio_mean_something():
    v, a = streams(4, 40, 64)
    lengths = torch.tensor([40, 40, 20, 1])
    mixer = StreamMix(0.5, normalise="layer")
    plain = mixer(v, other=a, lengths=lengths, other_lengths=lengths).x
    scaled = mixer(3 * v + 1, other=100 * a - 7, lengths=lengths, other_lengths=lengths).x
    valid = torch.arange(40) < lengths[:, None]
    torch.testing.assert_close(plain[valid], scaled[valid], atol=1e-3, rtol=1e-3)
    assert torch.equal(plain[~valid], v[~valid])
    one = StreamMix(1, normalise="layer")(v, other=a, lengths=lengths, other_lengths=lengths).x
    assert torch.equal(mixer.eval()(v, lengths=lengths).x, one)
    torch.testing.assert_close(one[valid].mean(-1), torch.zeros(101), atol=1e-6, rtol=0)
    torch.testing.assert_close(one[valid].var(-1, unbiased=False), torch.ones(101), atol=1e-3, rtol=0)


def test_no_gradient_goes_through_the_factor():
    """By hand: of a mean of v + (|v| / |a|) a, the picture's gradient is the mean's alone."""
    v, a = streams(2, 10, 3)
    v, a = v.requires_grad_(), a.requires_grad_()
    StreamMix(0.25, normalise="rms")(v, other=a).x.sum().backward()
    torch.testing.assert_close(v.grad, torch.full_like(v, 0.25))
    factor = (v.detach().square().mean((1, 2)) / a.detach().square().mean((1, 2))).sqrt()[:, None, None]
    torch.testing.assert_close(a.grad, 0.75 * factor.expand_as(a))


def test_rms_brings_the_sound_to_the_pictures_level():
    v, a = streams(4, 40, 5)
    lengths = torch.tensor([40, 40, 20, 1])
    v[2, 20:], a[2, 20:] = 50, 1e4
    given = {"lengths": lengths, "other_lengths": lengths}
    sound = StreamMix(0, normalise="rms")(v, other=1000 * a, **given).x
    for i, n in enumerate(lengths.tolist()):
        assert sound[i, :n].square().mean().item() == pytest.approx(v[i, :n].square().mean().item(), rel=1e-5)
        torch.testing.assert_close(sound[i, :n] / sound[i, 0, 0], a[i, :n] / a[i, 0, 0])
        assert torch.equal(sound[i, n:], v[i, n:])
    assert torch.equal(StreamMix(1, normalise="rms")(v, other=a, **given).x, v)
    silent = StreamMix(0.5, normalise="rms")(v, other=torch.zeros_like(a))
    torch.testing.assert_close(silent.x, 0.5 * v)
    assert StreamMix(0.5, normalise="rms")(torch.zeros_like(v), other=a).x.isfinite().all()
    faint = torch.full((2, 9, 3), 1e-6).half()  # a factor of 1e6 is beyond half precision
    x = StreamMix(0, normalise="rms")(torch.ones(2, 9, 3).half(), other=faint).x
    torch.testing.assert_close(x, torch.ones_like(x), atol=0.01, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mode", MODES)
def test_dtype_is_kept_and_half_precision_loses_no_weight(dtype, mode):
    v, a = (s.to(dtype) for s in streams())
    mixed = StreamMix(0.999, mode=mode)(v, other=a, generator=seeded())
    assert mixed.x.dtype == dtype
    exact = mix_streams(v.double(), mixed.plans[0], a.double())
    assert ((mixed.x.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 1e-6).all()
    for normalise in ("layer", "rms"):
        assert StreamMix(0.5, normalise=normalise)(v, other=a).x.dtype == dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalise", [None, "layer", "rms"])
def test_gradients_flow_through_both_streams(mode, normalise):
    v, a = (s.requires_grad_() for s in streams(2, 30))
    mixed = StreamMix(0.6, mode=mode, normalise=normalise)(v, other=a, generator=seeded())
    (mixed.x * noise(2, 30, 7, seed=9)).sum().backward()
    assert v.grad.isfinite().all()
    assert a.grad.isfinite().all()
    assert (v.grad.abs().sum() > 0) & (a.grad.abs().sum() > 0)
    if normalise is None:
        taken = mixed.plans[0].share(30)
        if mode != "linear":
            assert (a.grad[taken == 1] == 0).all()
        torch.testing.assert_close(mixed.x.detach(), mix_streams(v.detach(), mixed.plans[0], a.detach()))
    with pytest.raises(ValueError, match="out must be None where a gradient is needed"):
        StreamMix(0.6, mode=mode)(v, other=a, out=torch.empty(2, 30, 7))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sound_frames", [48, 50, 52])
def test_out_is_written_and_the_input_left_unchanged(mode, sound_frames):
    v, a = streams(sound_frames=sound_frames)
    before = v.clone(), a.clone()
    out = torch.full_like(v, torch.nan)
    mixer = StreamMix(0.5, mode=mode, tolerance=0.1)
    assert mixer(v, other=a, out=out, generator=seeded()).x is out
    assert torch.equal(out, mixer(v, other=a, generator=seeded()).x)
    assert torch.equal(v, before[0])
    assert torch.equal(a, before[1])
    with pytest.raises(ValueError, match="out must be memory of its own"):
        mixer(v, other=a, out=a if sound_frames == 50 else v)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "replace"},
        {"mode": "span"},
        {"normalise": "layer"},
        {"normalise": "rms"},
        {"other_rate": 50},
        {"other_rate": 50, "align": "stack"},
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_mix_compiles_to_one_graph(options, padded):
    v, a = streams(3, 30)
    if "other_rate" in options:
        a = noise(3, 60, 7, seed=2)
        v = noise(3, 30, 14) if "align" in options else v
    lengths = torch.tensor([30, 29, 4])
    times = a.shape[1] // 30
    given = {"lengths": lengths, "other_lengths": lengths * times} if padded else {}
    mixer = StreamMix(0.4, **options)
    plan = mixer(v, other=a, **given).plans[0]
    own = Clips(v, given.get("lengths"), time_axis=-2)
    source = Clips(a, given.get("other_lengths"), time_axis=-2)
    torch._dynamo.reset()  # options are constants of the graph: each set of them is a compilation
    compiled = torch.compile(mixer.mix, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(own, source, plan), mixer.mix(own, source, plan))


def test_what_is_not_finite_does_not_leak_where_it_is_not_taken():
    """0 * NaN is NaN: in the function, which checks nothing, frames of share 0 and 1 are copies."""
    v, a = streams(2, 4, 3)
    v[0, 1], a[0, 2], a[1] = torch.inf, torch.nan, torch.inf
    weight = torch.ones(2, dtype=torch.float64)
    spans = torch.tensor([[[0.25, 0.5]], [[0.0, 0.0]]]).double()
    plan = StreamPlan(torch.arange(2), weight, spans=spans, ratio=torch.zeros(2, dtype=torch.float64))
    for grad in (False, True):
        mixed = mix_streams(v.clone().requires_grad_(grad), plan, a)
        assert torch.equal(mixed[0], torch.stack([v[0, 0], a[0, 1], v[0, 2], v[0, 3]]))
        assert torch.equal(mixed[1], v[1])
