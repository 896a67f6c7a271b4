import json
import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import BetweenClass, CaptionMix, SNRMix
from audiomix.audio import io, level
from audiomix.clips import silence_padding
from audiomix.mixers.speech_noise import SpeechNoise


def ratio_db(signal, noise_, measure, lengths=None, rate=None):
    a, b = (level.level(s, measure, lengths, rate=rate) for s in (signal, noise_))
    return 20 * torch.log10(a / b)


@pytest.mark.parametrize("measure", ["rms", "active", "lufs"])
def test_the_snr_is_exact_on_real_sound(esc10, measure):
    files = sorted((esc10 / "audio").glob("*.ogg"))[5::50]
    wave = torch.stack([io.fit_length(io.read(f, channels=1).samples, 220500) for f in files])
    x, _, (plan,), _ = SNRMix((-10, 30), level=measure, rate=44100)(wave, generator=seeded())
    added = x - wave
    got = ratio_db(wave, added, measure, rate=44100)
    torch.testing.assert_close(got, plan.snr_db, atol=0.1, rtol=0)


def test_lengths_are_respected():
    wave, lengths = noise(3, 1, 1000) * torch.tensor([1.0, 3.0, 0.1])[:, None, None], torch.tensor([1000, 200, 700])
    x, _, (plan,), _ = SNRMix((5, 5))(wave, lengths=lengths, generator=seeded())
    for i, n in enumerate(lengths.tolist()):
        added = x[i : i + 1, :, :n] - wave[i : i + 1, :, :n]
        assert ratio_db(wave[i : i + 1, :, :n], added, "rms").item() == pytest.approx(5, abs=1e-3)
        assert added[..., -5:].abs().min() > 0  # shorter noise is repeated to the end
    assert plan.snr_db.tolist() == [5, 5, 5]


@pytest.mark.parametrize("size", [300, 1000, 5000])
def test_noise_of_any_length_from_a_second_batch(size):
    speech, babble = noise(4, 1, 1000), noise(2, 1, size, seed=9)
    x, target, (plan,), _ = SNRMix((0, 0), label="keep", num_classes=4)(
        speech, torch.arange(4), other=babble, generator=seeded()
    )
    added = x - speech
    torch.testing.assert_close(ratio_db(speech, added, "rms"), torch.zeros(4).double(), atol=1e-3, rtol=0)
    assert torch.equal(target, torch.eye(4))
    for i, j in enumerate(plan.partner.tolist()):  # it is really that noise, from the place in the plan
        start = round(plan.offset[i].item() * size)
        piece = babble[j, 0].repeat(5)[start : start + 1000]
        assert torch.nn.functional.cosine_similarity(added[i, 0], piece, dim=0) > 0.999
    if size == 5000:
        assert len(plan.offset.unique()) == 4


@pytest.mark.parametrize("measure", ["rms", "active", "lufs"])
def test_the_label_is_the_share_of_the_energy_in_the_measure_of_the_snr(measure):
    wave = noise(4, 1, 16000) * 0.001  # loudness is gated: soft parts fall out of the noise as it is turned down
    wave[:, :, 8000:] *= torch.tensor([0.7, 0.5, 0.4, 0.35])[:, None, None]
    plan = SNRMix((2, 8), level=measure, rate=8000)(wave, generator=seeded()).plans[0]
    torch.testing.assert_close(plan.weight, 1 / (1 + 10 ** (-plan.snr_db / 10)))


def test_labels():
    wave, labels = noise(4, 1, 1000), torch.arange(4)
    for label, expected in [("keep", 1.0), ("power", 1 / (1 + 10**-0.6))]:
        mixed = SNRMix((6, 6), label=label, num_classes=4)(wave, labels, generator=seeded())
        torch.testing.assert_close(mixed.plans[0].weight, torch.full((4,), expected).double())
        torch.testing.assert_close(mixed.target.diagonal(), torch.full((4,), expected))
    union = SNRMix((6, 6), label="union", num_classes=4)(wave, labels, generator=seeded())
    assert union.target.sum(1).tolist() == [2, 2, 2, 2]


def test_an_unmixed_clip_keeps_its_bits():
    wave = noise(50, 1, 100)
    x, _, (plan,), _ = SNRMix(p=0.5)(wave, generator=seeded())
    alone = plan.snr_db == math.inf
    assert 0 < alone.sum() < 50
    assert torch.equal(x[alone], wave[alone])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="the other way round"):
        SNRMix((20, 0))
    with pytest.raises(ValueError, match="rate must be given for level='lufs'"):
        SNRMix(level="lufs")
    with pytest.raises(ValueError, match="noise without labels: SNRMix"):
        SNRMix(num_classes=2)(noise(2, 1, 50), torch.arange(2), other=noise(2, 1, 50))


def half_silent(*shape, seed=9):
    """Noise whose first half is silent."""
    return noise(*shape, seed=seed) * (torch.arange(shape[-1]) >= shape[-1] // 2)


@pytest.mark.parametrize(
    "mixer",
    [
        SNRMix((10, 10)),
        SNRMix((10, 10), label="keep", level="active"),
        SNRMix((10, 10), label="union", level="lufs", rate=8000),
        SpeechNoise(10.0),
        BetweenClass(1000, pairing="any"),
        CaptionMix(rate=1000, words="none"),
    ],
    ids=lambda mixer: f"{type(mixer).__name__} {getattr(mixer, 'level', '')}",
)
def test_what_has_no_level_is_left_alone_and_the_plan_says_why(mixer):
    """A level that was not made is not claimed: not onto silent speech, not with silent noise, not without a draw."""
    speech = noise(6, 1, 4000) * 0.1
    speech[2] = 0
    for other, silent in [(noise(3, 1, 4000, seed=4), {2}), (torch.zeros(3, 1, 4000), set(range(6)))]:
        mixed = mixer(speech, other=other, generator=seeded())
        plan = mixed.plans[0]
        for i in range(6):
            unmixed = torch.equal(mixed.x[i, :, :4000], speech[i])
            assert unmixed == (i in silent)
            assert bool(plan.why and plan.why[i]) == unmixed
            assert not unmixed or "silen" in plan.why[i]
            claims = plan.describe(i)
            told = [one["snr_db"] for one in (claims, *claims.get("events", [])[1:]) if "snr_db" in one]
            assert all((value is None) == unmixed for value in told)
            json.dumps(claims, allow_nan=False)
        assert plan.complete.tolist() == [i not in silent for i in range(6)]
        assert plan.weight[sorted(silent)].tolist() == [1.0] * len(silent)


@pytest.mark.parametrize("measure", ["rms", "active", "lufs"])
def test_a_silent_place_in_the_noise_is_drawn_again(measure):
    speech, lengths = noise(40, 1, 1000) * 0.1, torch.tensor([1000, 600] * 20)
    for mixer in (SNRMix((10, 10), label="keep", level=measure, rate=8000), SpeechNoise(10.0, rate=1000)):
        # one place in ten has sound; of several noises one is silent throughout
        for other in (half_silent(1, 1, 20000), torch.stack([noise(1, 3000), torch.zeros(1, 3000)])):
            mixed = mixer(speech, other=other, lengths=lengths, generator=seeded())
            plan = mixed.plans[0]
            assert plan.why == ()
            added = mixed.x - silence_padding(speech, lengths)
            assert bool((added.flatten(1).abs().amax(1) > 0).all())
            again = mixer(speech, other=other, lengths=lengths, plan=plan)
            assert torch.equal(again.x, mixed.x)
    alone = SNRMix((10, 10), pairing="different_class", num_classes=2)
    labels = torch.tensor([0, 1]).repeat(20)
    mixed = alone(speech, labels, other=torch.zeros(2, 1, 1000), other_target=torch.tensor([0, 1]))
    assert set(mixed.plans[0].why) == {"silent noise"}
    assert torch.equal(mixed.target, torch.nn.functional.one_hot(labels).float())
