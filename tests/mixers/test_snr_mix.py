import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import SNRMix
from audiomix.audio import io, level


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
