"""Where sounds are salient: known places, and nothing that level, offset, polarity, channels or padding change."""

import math

import pytest
import torch
from sounds import noise

from audiomix.audio.saliency import energy, measure_saliency, pool_saliency, spectral_flux
from audiomix.clips import Clips


def event(at, size=4096, width=300, channels=1):
    """Quiet noise with a loud event that begins at a sample."""
    x = noise(1, channels, size, seed=at) * 1e-2
    x[..., at : at + width] += torch.sin(torch.arange(width) * 0.7)
    return x


def tone(size=8192, start=0, stop=None):
    x = torch.zeros(1, 1, size)
    stop = size if stop is None else stop
    x[..., start:stop] = torch.sin(2 * math.pi * 0.05 * torch.arange(stop - start))
    return x


def place(found):
    """Where a map (B, n) peaks, as a fraction."""
    return (found.argmax(-1) + 0.5) / found.shape[-1]


@pytest.mark.parametrize("at", [0, 700, 2000, 3700])
def test_energy_peaks_in_the_event(at):
    peak = place(energy(event(at))) * 4096
    assert at <= peak < at + 300


@pytest.mark.parametrize("at", [1000, 2000, 3700])
def test_flux_peaks_at_the_onset(at):
    found = spectral_flux(event(at))
    assert abs(place(found) * 4096 - at) < 512  # within the window


def test_a_tone_that_goes_on_has_energy_and_no_flux():
    found = spectral_flux(tone(start=4096))
    n = found.shape[1]
    assert abs(float(place(found)) - 0.5) < 1024 / 8192
    assert found[0, int(0.7 * n) :].max() < 0.02 * found.max()
    assert energy(tone(start=4096))[0].tolist() == pytest.approx([0.0] * 128 + [0.5] * 128, abs=0.2)


def test_the_end_of_a_sound_is_no_onset():
    """Cut to zeros it would be: a cut is loud in all bins."""
    whole, lengths = tone(), torch.tensor([5000])
    whole[..., 5000:] = torch.nan
    found = spectral_flux(whole, lengths)
    assert (found >= 0).all()
    end = math.ceil(5000 / 8192 * found.shape[1])
    assert spectral_flux(tone(stop=5000)).max() > 1
    assert found[0, :end].max() < 1e-3
    assert (found[0, end:] == 0).all()


CHANGES = {
    "quiet": lambda x: x * 1e-3,
    "offset": lambda x: x + 0.25,
    "inverted": lambda x: -x,
    "stereo": lambda x: x.expand(-1, 2, -1),
    "one axis": lambda x: x[:, 0],
    "double": lambda x: x.double(),
}


@pytest.mark.parametrize("measure", [energy, spectral_flux])
@pytest.mark.parametrize("change", CHANGES)
def test_only_the_sound_counts(measure, change):
    x = torch.cat([event(700), event(3000)])
    plain, changed = measure(x).double(), measure(CHANGES[change](x)).double()
    share = [found / found.sum(1, keepdim=True) for found in (plain, changed)]
    torch.testing.assert_close(share[1], share[0], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("measure", [energy, spectral_flux])
def test_of_spectrograms_neither_level_nor_normalisation_counts(measure):
    x = noise(2, 3, 24, 37, seed=4).double() * 20 - 50
    plain = measure(x)
    assert plain.shape == (2, 24, 37)
    torch.testing.assert_close(measure(x - 60), plain)
    torch.testing.assert_close(measure((x + 30) / 12.5) * 12.5, plain)


@pytest.mark.parametrize("measure", [energy, spectral_flux])
@pytest.mark.parametrize(("shape", "level"), [((2, 1, 4000), 0.0), ((2, 1, 4000), 0.3), ((2, 1, 8, 50), -80.0)])
def test_silence_is_not_salient(measure, shape, level):
    x = torch.full(shape, level)
    assert not measure(x).any()
    assert not measure(torch.zeros_like(x), torch.tensor([0, 30])).any()


@pytest.mark.parametrize("measure", [energy, spectral_flux])
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 63, 255, 256, 257, 511, 767, 1023, 20001])
def test_clips_of_any_length_have_a_map(measure, size):
    found = measure(noise(3, 2, size))
    assert found.shape[0] == 3
    assert 1 <= found.shape[1] <= size
    assert found.isfinite().all()


@pytest.mark.parametrize("measure", [energy, spectral_flux])
def test_padding_does_not_count_and_full_lengths_are_none(measure):
    spec, lengths = noise(3, 1, 12, 40), torch.tensor([40, 25, 0])
    torch.testing.assert_close(measure(spec, torch.tensor([40] * 3)), measure(spec))
    alone = measure(spec[1:2, ..., :25])
    spec[1, ..., 25:] = torch.nan
    found = measure(spec, lengths)
    torch.testing.assert_close(found[1, :, :25], alone[0])
    assert not found[1, :, 25:].any()
    assert not found[2].any()
    wave, ends = noise(2, 1, 4096), torch.tensor([4096, 2048])
    torch.testing.assert_close(measure(wave, torch.tensor([4096] * 2)), measure(wave))
    loud = wave.clone()
    loud[1, :, 2048:] = 1e6
    assert torch.equal(measure(wave, ends), measure(loud, ends))
    assert not measure(loud, ends)[1, measure(loud).shape[1] // 2 :].any()


def test_the_energy_of_the_cell_in_which_a_clip_ends_is_that_of_its_valid_samples():
    wave = torch.ones(1, 1, 2560)
    wave[..., ::2] = -1
    found = energy(wave, torch.tensor([1286]))  # 128 cells of ten samples, and six
    torch.testing.assert_close(found[0, :129], torch.ones(129))
    assert not found[0, 129:].any()


def test_clips_are_measured_one_by_one_in_a_batch():
    """OpenMixup takes the saliency of one item of the batch for all."""
    for x in (noise(5, 1, 300_000, seed=3), noise(5, 1, 64, 3000)):
        for name in ("energy", "spectral_flux"):
            clips = Clips(x)
            whole = measure_saliency(clips, clips, name)[0]
            alone = [measure_saliency(Clips(one), Clips(one), name)[0] for one in x.split(1)]
            torch.testing.assert_close(whole, torch.cat(alone), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("measure", [energy, spectral_flux])
def test_half_precision_is_measured_in_float32(measure, dtype):
    for x in (event(700), noise(1, 1, 12, 30)):
        half = measure(x.to(dtype))
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, measure(x.to(dtype).float()))


def test_a_second_batch_is_fitted_and_both_are_measured():
    own, other = Clips(noise(3, 1, 1024)), Clips(noise(4, 1, 700), torch.tensor([700, 300, 0, 1]))
    mine, theirs = measure_saliency(own, other, "energy")
    assert mine.shape == (3, 1, 256)
    assert theirs.shape == (4, 1, 256)
    assert [int(row.nonzero().max()) if row.any() else -1 for row in theirs[:, 0]] == [174, 74, -1, -1]
    whole = measure_saliency(own, other, "energy", both=False, fitted=False)[1]
    assert whole.shape == (4, 1, 350)


def test_bands_are_means_over_bins():
    clips = Clips(noise(3, 1, 12, 40))
    bands = torch.tensor([[0, 0.25], [0.25, 1]]).double()
    whole, _ = measure_saliency(clips, clips, "energy")
    pooled, _ = measure_saliency(clips, clips, "energy", bands=bands)
    torch.testing.assert_close(pooled, torch.stack([whole[:, :3].mean(1), whole[:, 3:].mean(1)], 1))
    spans = torch.tensor([[0, 0.5], [0.5, 1]]).double()
    means = pool_saliency(pooled, spans, torch.tensor([1, 0.75, 0.0]).double())
    torch.testing.assert_close(means[1, :, 1], pooled[1, :, 20:30].double().mean(1))
    torch.testing.assert_close(means[0, :, 0], pooled[0, :, :20].double().mean(1))
    assert not means[2].any()


def test_a_function_of_ones_own_is_called_once_without_padding_and_without_gradients():
    seen = []

    def loudest(x):
        seen.append(x)
        assert not torch.is_grad_enabled()
        return x.abs().amax(1)

    x = noise(3, 2, 64)
    x[1, :, 40:] = 1e6
    clips = Clips(x.requires_grad_(), torch.tensor([64, 40, 64]))
    found, _ = measure_saliency(clips, clips, loudest)
    assert len(seen) == 1
    assert not found.requires_grad
    torch.testing.assert_close(found[1, 0, :40], x[1, :, :40].abs().amax(0))
    assert not found[1, 0, 40:].any()
    spec = noise(2, 1, 8, 20)
    spec[0, ..., 10:] = torch.nan
    clips = Clips(spec, torch.tensor([10, 20]))
    measure_saliency(clips, clips, lambda x: seen.append(x) or x.exp().mean(1))
    assert (seen[-1][0, ..., 10:] == spec[0, ..., :10].min()).all()


def test_the_gradient_of_a_network_may_be_the_saliency():
    network = torch.nn.Linear(64, 1)

    def gradient(x):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(network(leaf).sum(), leaf)
        return found.abs().mean(1)

    clips = Clips(noise(3, 2, 64))
    found, _ = measure_saliency(clips, clips, gradient)
    torch.testing.assert_close(found[0, 0], network.weight[0].detach().abs())


def test_a_function_may_be_named_by_its_file(tmp_path):
    (tmp_path / "mine.py").write_text("def peaks(x):\n    return x.abs().mean(1)\n")
    clips = Clips(noise(3, 2, 64))
    found, _ = measure_saliency(clips, clips, f"{tmp_path}/mine.py:peaks")
    torch.testing.assert_close(found[:, 0], clips.x.abs().mean(1))


def test_what_is_no_saliency_is_named():
    clips = Clips(noise(3, 2, 64))
    wrong = [
        ("energie", ValueError, "saliency must be one of energy, spectral_flux, .* did you mean 'energy'"),
        (3, TypeError, "saliency must be one of energy, spectral_flux, or a function"),
        (lambda x: x.abs().unsqueeze(1), ValueError, r"what saliency returns must be a map of shape \(3, n\)"),
        (lambda x: x[:1, 0], ValueError, "what saliency returns must be a map"),
        (lambda x: x[:, 0], ValueError, "what saliency returns must be at least 0, got -.*: signed"),
        (lambda x: x[:, 0] * torch.nan, ValueError, "what saliency returns must be finite"),
        (lambda x: [1], TypeError, r"what saliency returns must be a torch\.Tensor"),
    ]
    for saliency, error, message in wrong:
        with pytest.raises(error, match=message):
            measure_saliency(clips, clips, saliency)
    spec = noise(3, 1, 8, 20)
    spec[1, 0, 3, 3] = -torch.inf
    with pytest.raises(ValueError, match="x must be finite, .* the logarithm of 0"):
        measure_saliency(Clips(spec), Clips(spec), "energy")


def test_maps_leave_the_device_in_one_copy(monkeypatch):
    """Each copy waits for the device."""
    copies, plain = [], torch.Tensor.cpu

    def count(self):
        copies.append(self.shape)
        return plain(self)

    monkeypatch.setattr(torch.Tensor, "cpu", count)
    own, other = Clips(noise(3, 1, 1024)), Clips(noise(4, 1, 700))
    measure_saliency(own, other, "energy")
    assert len(copies) == 1


def test_nothing_is_drawn():
    state = torch.get_rng_state()
    assert energy(noise(2, 1, 100)).any()
    assert spectral_flux(noise(2, 1, 100)).any()
    assert torch.equal(torch.get_rng_state(), state)
