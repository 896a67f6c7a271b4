import warnings

import pytest
import torch
from sounds import noise, seeded
from torch import nn

from audiomix import BeatMix, CutMix, FilterAugment, MixUp, OneOf, Pipeline, Plan, SpecAugment, TimeShift
from audiomix.torchaudio import transforms as T


def chain():
    return Pipeline(
        [T.Resample(44100, 16000), MixUp(0.4), T.MelSpectrogram(16000, n_mels=40), T.AmplitudeToDB(), CutMix("time")],
        num_classes=4,
    )


def test_plans_are_collected_and_replayed():
    wave, labels = noise(4, 1, 44100), torch.arange(4)
    mixed = chain()(wave, labels, generator=seeded())
    assert [type(p).__name__ for p in mixed.plans] == ["GainPlan", "SpanPlan"]
    again = chain()(wave, labels, plans=mixed.plans)
    assert torch.equal(mixed.x, again.x)
    assert torch.equal(mixed.target, again.target)
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(4))


def test_lengths_follow_rates_and_frames():
    lengths = torch.tensor([44100, 22050, 441, 11025])
    mixed = Pipeline([T.Resample(44100, 16000)])(noise(4, 1, 44100), lengths=lengths)
    assert mixed.lengths.tolist() == [16000, 8000, 160, 4000]
    wave = noise(2, 1, 16000)
    wave[1, :, 8000:] = 0
    spec = Pipeline([T.MelSpectrogram(16000, n_fft=400, hop_length=160)])(wave, lengths=torch.tensor([16000, 8000]))
    sounding = (spec.x[1, 0] > 1e-6).any(0).nonzero().max() + 1
    assert abs(int(spec.lengths[1]) - int(sounding)) <= 2


def test_lengths_end_where_the_time_axis_does():
    class Encoder(nn.Module):
        def forward(self, x):
            return x[..., :8].mean(1)

    mixed = Pipeline([Encoder(), MixUp()])(noise(4, 1, 1000), lengths=torch.tensor([1000, 8, 4, 2]), generator=seeded())
    assert mixed.lengths is None
    assert (mixed.x != 0).all()


def test_eval_only_transforms():
    wave = noise(2, 1, 44100)
    mixed = chain().eval()(wave, torch.arange(2))
    plain = Pipeline([m for m in chain().stages if not hasattr(m, "draw")])(wave).x
    torch.testing.assert_close(mixed.x, plain)
    assert torch.equal(mixed.target, torch.eye(4)[:2])


def test_the_target_is_float_even_without_mixers():
    assert torch.equal(
        Pipeline([nn.Identity()], num_classes=3)(noise(2, 5), torch.tensor([2, 0])).target, torch.eye(3)[[2, 0]]
    )


def test_a_second_batch_goes_the_same_way():
    mixed = chain()(
        noise(3, 1, 44100),
        torch.arange(3),
        other=noise(2, 1, 44100),
        other_target=torch.tensor([3, 3]),
        generator=seeded(),
    )
    assert (mixed.target[:, 3] > 0).any()


@pytest.mark.parametrize(
    "options", [{"keep": "overlap"}, {"keep": "anchor"}, {"mode": "crossfade"}, {"mode": "crossfade", "whole": True}]
)
def test_beats_that_are_no_more_those_of_the_sound_are_refused(options):
    """The grids that a second mixer would get were wrong by up to half a beat."""
    cut = BeatMix(rate=16000, **options)
    message = r"module 3 \({}\) must be a mixer without beats, .* behind module 1 \(BeatMix\)"
    for second in (BeatMix(rate=16000), OneOf([MixUp(), BeatMix(rate=16000)])):
        with pytest.raises(ValueError, match=message.format(type(second).__name__)):
            Pipeline([nn.Identity(), cut, MixUp(), second])
    Pipeline([BeatMix(rate=16000), BeatMix(rate=16000), cut, MixUp()])


def test_replay_refuses_what_no_plan_holds():
    with pytest.warns(UserWarning, match="no plan holds what it draws"):
        masked = Pipeline([MixUp(), T.MelSpectrogram(16000), T.TimeMasking(20)])
    mixed = masked(noise(2, 1, 16000), generator=seeded())
    with pytest.raises(ValueError, match=r"module 2 \(TimeMasking\) drew random numbers of its own"):
        masked(noise(2, 1, 16000), plans=mixed.plans)
    with pytest.raises(TypeError, match="did you mean plans="):
        masked(noise(2, 1, 16000), plan=mixed.plans[0])
    with pytest.raises(ValueError, match="plans must be 1 plans, one per mixer"):
        masked(noise(2, 1, 16000), plans=())


def test_wrong_modules_are_named():
    with pytest.raises(TypeError, match="modules must be nn"):
        Pipeline([torch.relu])

    class Two(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match=r"module 0 \(Two\) must be tensor to tensor"):
        Pipeline([Two()])(noise(2, 5))


@pytest.mark.parametrize("factor", [0.9, 1.25])
def test_lengths_follow_a_module_that_returns_its_own(factor):
    wave, lengths = noise(3, 1, 16000), torch.tensor([16000, 8000, 3])
    speed = T.Speed(16000, factor)
    x, expected = speed(wave, lengths)
    for given, found in [(lengths, expected), (None, None)]:
        mixed = Pipeline([T.Speed(16000, factor), MixUp()], num_classes=3)(
            wave, torch.arange(3), lengths=given, other=noise(2, 1, 9000), other_target=torch.tensor([0, 1]),
            other_lengths=torch.tensor([9000, 20]),
        )  # fmt: skip
        assert mixed.x.shape == x.shape
        assert mixed.lengths is None if found is None else torch.equal(mixed.lengths, found.clamp(max=x.shape[-1]))
    sequential = Pipeline([T.SpeedPerturbation(16000, [factor])])(wave, lengths=lengths)
    assert torch.equal(sequential.x, x)


def test_augmentations_of_torchaudio_end_with_training():
    wave, mel = noise(2, 1, 16000), T.MelSpectrogram(16000, n_mels=20)
    masks = [T.TimeMasking(40), T.FrequencyMasking(10), T.SpecAugment(1, 40, 1, 10, iid_masks=False)]
    torch.manual_seed(0)
    for mask in (*masks, T.SpeedPerturbation(16000, [0.5])):
        with warnings.catch_warnings(record=True) as said:
            chain = Pipeline([mel, mask] if mask in masks else [mask, mel])
        assert len(said) == (mask in masks)
        for one in said:  # called on its own it spoils validation, and there is something better
            assert "goes on in eval()" in str(one.message)
            assert "audiomix.SpecAugment" in str(one.message)
        plain = mel(wave)
        assert not all(torch.equal(chain(wave).x, plain) for _ in range(5))  # a mask may have no width
        if mask in masks:
            assert not all(torch.equal(mask.eval()(plain), plain) for _ in range(5)), "on its own it goes on"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(chain.eval()(wave, lengths=torch.tensor([16000, 9000])).x, plain)
    for hidden in (nn.Sequential(mel, masks[0]), nn.RReLU(0.1, 0.9)):
        hidden.forward = (lambda m, f: lambda x: f(m, x))(hidden, type(hidden).forward)
        with warnings.catch_warnings(record=True) as said:
            chain = Pipeline([hidden]).eval()
        if isinstance(hidden, nn.Sequential):
            assert "holds a TimeMasking, which goes on in eval() and so spoils validation" in str(said[0].message)
            with pytest.warns(UserWarning, match=r"module 0 \(Sequential\) draws random numbers in eval\(\) too"):
                chain(wave)
        else:  # it looks at self.training
            chain(wave)


def test_transforms_stand_where_mixers_do():
    mel, to_db = T.MelSpectrogram(16000, n_mels=20), T.AmplitudeToDB()
    stages = [TimeShift(0.2), mel, to_db, FilterAugment(min_width=2), SpecAugment(fill="mean"), MixUp(domain="as_is")]
    chain = Pipeline(stages, num_classes=3)
    wave, lengths = noise(6, 1, 16000), torch.tensor([16000, 8000, 16000, 4000, 16000, 12000])
    mixed = chain(wave, torch.tensor([0, 1, 2, 0, 1, 2]), lengths=lengths, generator=seeded())
    assert [type(plan).__name__ for plan in mixed.plans] == ["ShiftPlan", "FilterPlan", "StripePlan", "GainPlan"]
    assert mixed.lengths.tolist() == [81, 41, 81, 21, 81, 61]
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(6))
    plans = [Plan.from_json(plan.to_json()) for plan in mixed.plans]
    again = chain(wave, torch.tensor([0, 1, 2, 0, 1, 2]), lengths=lengths, plans=plans)
    assert torch.equal(again.x, mixed.x)
    assert torch.equal(again.target, mixed.target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = chain.eval()(wave, torch.arange(3).repeat(2), lengths=lengths)
    assert torch.equal(plain.x, to_db(mel(wave)))
    # partners of a second batch are mixed in as they are
    other = noise(4, 1, 16000, seed=2)
    both = Pipeline([TimeShift(0.3), MixUp(1.0)])(wave, other=other, generator=seeded())
    shift, mix = both.plans
    a, b = (gain[:, None, None].float() for gain in mix.gains())
    expected = a * TimeShift(0.3)(wave, plan=shift).x + b * other[mix.partner]
    torch.testing.assert_close(both.x, expected)
