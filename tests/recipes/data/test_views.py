import dataclasses
import math

import pytest
import torch
from sounds import seeded

from audiomix import LogMel
from audiomix.mixers.mixup import mixup_power
from recipes.data.front_end import make_views
from recipes.data.loader import prepare
from recipes.data.views import SpectrogramViews, WaveformViews, roll, span, stretch, zoom_and_shift
from recipes.semi_supervised.run_spec import RunSpec
from recipes.training.config import Config, preset

BANDS, FRAMES = 32, 41


@pytest.fixture
def spectrogram_views(toy_config):
    views = SpectrogramViews(toy_config, 8000)
    views.fit(torch.randn(50, 1, BANDS, FRAMES, generator=seeded()) * 10 - 20, torch.arange(50))
    return views


@pytest.fixture
def waveform_views():
    config = Config(front="waveform", strong_view="strong", labelled_view="weak", window=256, hop=100, n_mels=BANDS)
    return WaveformViews(config, 8000)


def noise(count, size=8000):
    return (3000 * torch.randn(count, size, generator=seeded())).to(torch.int16)


def test_a_full_scale_tone_has_its_level_in_its_band():
    mel = LogMel(8000, n_fft=256, hop=100, n_mels=BANDS, floor_db=-100)
    wave = torch.sin(2 * math.pi * 1000 * torch.arange(4000) / 8000)
    spec = mel(wave)[:, 5:-5]
    # a Hann window of 256 sums to 128: a tone of amplitude 1 peaks at 64^2 and fills a few neighbours
    assert spec.max() == pytest.approx(20 * math.log10(64), abs=1.5)
    whole = mel((wave * 32767).to(torch.int16))[:, 5:-5]
    assert whole.max().item() == pytest.approx(spec.max().item(), abs=0.01)


def test_training_spectrograms_are_normalised_as_a_whole(toy_data):
    train = torch.arange(10, 60)
    toy_data.views.fit(toy_data.kept, train)
    plain = toy_data.views.plain(toy_data.kept)[train]
    assert plain.mean().abs() < 1e-4
    assert plain.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["weak", "mid", "full"])
def test_one_generator_decides_and_clips_get_different_views(spectrogram_views, name):
    kept = torch.randn(1, 1, BANDS, FRAMES, generator=seeded()).expand(6, -1, -1, -1)
    before = kept.clone()
    first, again, other = (spectrogram_views(kept, name, generator=seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(kept, before)


def test_the_view_none_is_what_is_evaluated_up_to_a_roll(toy_config):
    views = SpectrogramViews(dataclasses.replace(toy_config, roll=0.0), 8000)
    kept = torch.randn(3, 1, BANDS, FRAMES, generator=seeded())
    assert torch.equal(views(kept, "none", generator=seeded()), views.plain(kept))


def test_a_weak_view_is_the_clip_rolled_and_louder_or_softer_by_at_most_3_db(spectrogram_views):
    kept = torch.randn(64, 1, BANDS, FRAMES, generator=seeded()) * 10 - 20
    weak, plain = spectrogram_views(kept, "weak", generator=seeded()), spectrogram_views.plain(kept)
    gain = (weak.mean((1, 2, 3)) - plain.mean((1, 2, 3))) * spectrogram_views.std  # rolling keeps the mean
    assert gain.abs().max() <= 3 + 1e-4
    assert gain.max() > 2.5
    assert gain.min() < -2.5
    sorted_view, sorted_plain = weak.flatten(1).sort().values, plain.flatten(1).sort().values
    torch.testing.assert_close(
        sorted_view - sorted_plain, (gain / spectrogram_views.std)[:, None].expand_as(sorted_plain), atol=1e-3, rtol=0
    )


def test_stronger_views_mask_more(spectrogram_views):
    kept = torch.full((200, 1, BANDS, FRAMES), 30.0)  # far from the mean, which masks show
    masked = {
        name: (spectrogram_views(kept, name, generator=seeded()) == 0).double().mean().item()
        for name in ("weak", "mid", "full")
    }
    # expected: 1 - (1 - mean time mask)(1 - mean band mask), twice for full
    mid = 1 - (1 - 20 / 216) * (1 - 6 / 64)
    full = 1 - ((1 - 25 / 216) * (1 - 7 / 64)) ** 2
    assert masked["weak"] == 0
    assert masked["mid"] == pytest.approx(mid, abs=0.03)
    assert masked["full"] == pytest.approx(full, abs=0.03)


def test_a_roll_is_circular():
    spec = torch.arange(FRAMES).float().expand(2, 1, BANDS, FRAMES)
    rolled = roll(spec, torch.tensor([3 / FRAMES, -0.5]))
    assert torch.equal(rolled[0], spec[0].roll(3, -1))
    assert torch.equal(rolled[1], spec[1].roll(-round(FRAMES / 2), -1))


def test_shift_moves_bands_up_and_zoom_runs_faster():
    spec = torch.zeros(2, 1, BANDS, FRAMES)
    spec[:, 0, 10, 20] = 1  # one band; frame 20 is the middle
    spec[:, 0, 10, 30] = 1
    moved = zoom_and_shift(spec, torch.tensor([1.0, 2.0]), torch.tensor([4 / BANDS, 0.0]))
    assert (moved[0, 0] > 0.99).nonzero().tolist() == [[14, 20], [14, 30]]
    assert moved[1, 0, 10, 20] > 0.99
    assert moved[1, 0, 10, 25] > 0.99  # twice as fast: 10 frames after the middle came after 5
    still = zoom_and_shift(spec, torch.ones(2), torch.zeros(2))
    torch.testing.assert_close(still, spec, atol=1e-4, rtol=0)


def test_spans_have_their_share():
    inside = span(torch.tensor([0.0, 0.25, 0.5]), torch.tensor([0.0, 0.5, 0.5]), 8)
    assert inside.int().tolist() == [[0] * 8, [0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]


def test_stretching_takes_the_nearest_sample_and_keeps_the_length():
    wave = torch.arange(1, 9).float()[None].repeat(4, 1)
    out = stretch(wave, torch.tensor([2.0, 2.0, 0.5, 0.5]), torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert out.tolist() == [
        [1, 1, 2, 2, 3, 3, 4, 4],  # slower: its beginning
        [5, 5, 6, 6, 7, 7, 8, 8],  # its end
        [1, 3, 5, 7, 0, 0, 0, 0],  # faster: padded behind
        [0, 0, 0, 0, 1, 3, 5, 7],
    ]


def test_the_studys_views_change_exactly_one_thing(waveform_views):
    kept = noise(400)
    plain = waveform_views.plain(kept)
    strong, weak = (waveform_views(kept, name, generator=seeded()) for name in ("strong", "weak"))
    silent = (strong <= -90).all(2).any(-1).flatten()  # a whole frame: samples were silenced
    cut = (strong == -80).flatten(1).any(1)
    assert not (silent & cut).any()
    # each of the three with probability 1/3, four standard deviations; very short occlusions show no silent frame
    assert abs(int(cut.sum()) - 400 / 3) < 4 * math.sqrt(400 * 2 / 9)
    untouched = torch.tensor([torch.equal(a, b) for a, b in zip(weak, plain)])
    assert abs(int(untouched.sum()) - 200) < 4 * math.sqrt(400 / 4)
    assert not any(torch.equal(a, b) for a, b in zip(strong[cut], plain[cut]))


def test_the_studys_rectangle_has_sides_of_half_to_all_of_the_axes(waveform_views):
    strong = waveform_views(noise(300), "strong", generator=seeded())
    cut = strong[(strong == -80).flatten(1).any(1)][:, 0] == -80
    bands, frames = cut.any(2).sum(1) / BANDS, cut.any(1).sum(1) / strong.shape[-1]
    for sides in (bands, frames):
        assert sides.min() >= 0.45
        assert sides.mean() == pytest.approx(0.75, abs=0.06)
    torch.testing.assert_close(cut.sum((1, 2)), cut.any(2).sum(1) * cut.any(1).sum(1))  # one full rectangle


def test_the_two_front_ends_refuse_each_others_views():
    with pytest.raises(ValueError, match="strong_view must be one of none, weak, strong, got 'full'"):
        make_views(Config(front="waveform", labelled_view="weak", strong_view="full"), 8000)
    with pytest.raises(ValueError, match="strong_view must be one of none, weak, mid, full, got 'strong'"):
        make_views(Config(strong_view="strong"), 8000)


def test_the_waveform_front_end_keeps_samples(toy_data, tmp_path):
    config = preset("study", rate=8000, window=256, hop=100, n_mels=32)
    data = prepare(config, toy_data.dataset, tmp_path, quiet=True)
    assert data.kept.dtype == torch.int16
    torch.testing.assert_close(data.views.plain(data.kept[:3]), toy_data.kept[:3], atol=1e-3, rtol=0)


def test_clips_shorter_than_the_window_are_refused(toy_config):
    with pytest.raises(ValueError, match=r"seconds must be at least 0\.128, the window of --window 1024 at 8000 Hz"):
        make_views(dataclasses.replace(toy_config, window=1024), 8000, 300)
    assert make_views(dataclasses.replace(toy_config, window=1024), 8000, 1024)


@pytest.mark.parametrize("method", ["supervised", "deep_co_training"])
def test_a_mixer_of_powers_knows_how_spectrograms_are_normalised(spectrogram_views, method, tmp_path):
    spec = RunSpec(Config(), method, {}, "mixup:domain=power", "1", 0, tmp_path, True, False, 3)
    algorithm = spec.make_algorithm(spectrogram_views)
    kept = -20 + 10 * torch.randn(4, 1, BANDS, FRAMES, generator=seeded())
    x, plan = algorithm.mix_views(spectrogram_views.plain(kept), None, 0.0, seeded())
    expected = spectrogram_views.plain(mixup_power(kept, plan))
    torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)
    assert (x - spectrogram_views.plain(kept)).abs().max() > 0.1


@pytest.mark.parametrize("world", [2, 3])
def test_a_slice_of_a_batch_has_the_views_it_has_in_the_whole(spectrogram_views, waveform_views, world):
    spec = torch.randn(6, 1, BANDS, FRAMES, generator=seeded()) * 10 - 20
    for views, kept in ((spectrogram_views, spec), (waveform_views, noise(6))):
        for name in views.names:
            whole = views(kept, name, generator=seeded(1))
            for rank, own in enumerate(kept.chunk(world)):
                generator = seeded(1)
                view = views(own, name, generator=generator, part=(rank, world))
                torch.testing.assert_close(view, whole.chunk(world)[rank], rtol=1e-5, atol=1e-4)
