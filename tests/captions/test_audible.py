"""A source is heard where it dominates mel bands, not where its broadband level is high."""

import math

import numpy as np
import pytest
import torch
from sounds import noise, seeded

from audiomix import CaptionMix
from audiomix.audio import io, level
from audiomix.captions import audible, scene
from audiomix.captions.audible import MIN_SHARE, are_audible, audible_share
from audiomix.torchaudio import functional


def band(low, high, rate=16000, seconds=1.0, seed=1):
    """Noise between two frequencies in Hz, of rms 0.1."""
    spectrum = torch.fft.rfft(noise(1, round(seconds * rate), seed=seed))
    frequency = torch.linspace(0, rate / 2, spectrum.shape[-1])
    spectrum[:, (frequency < low) | (frequency > high)] = 0
    wave = torch.fft.irfft(spectrum)
    return 0.1 * wave / wave.square().mean().sqrt()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 192000])
def test_alone_all_is_heard(rate):
    assert audible_share(0.01 * noise(1, 1, rate), rate).tolist() == [1]


def test_a_soft_source_in_bands_of_its_own_is_heard_and_a_louder_one_in_the_same_bands_is_not():
    loud, elsewhere, within = band(100, 2000), band(3000, 6000, seed=2), band(200, 1800, seed=3)
    assert audible_share(torch.stack([loud, 0.03 * elsewhere]), 16000)[1] > 0.95
    assert audible_share(torch.stack([loud, 0.1 * within]), 16000)[1] < MIN_SHARE


def test_the_share_is_of_active_frames():
    a, b = torch.zeros(1, 32000), band(0, 8000, seconds=2)
    a[:, 8192:16384] = band(0, 8000, seed=4)[:, :8192]
    masked = 0.01 * a  # 40 dB under noise in the same bands
    assert audible_share(torch.stack([masked, b]), 16000)[0] < 0.02
    half = b * (torch.arange(32000) >= 12288)  # now the second half of what a does is covered
    assert audible_share(torch.stack([masked, half]), 16000)[0] == pytest.approx(0.5, abs=0.03)


def test_the_floor_is_60_db_under_the_loudest_band():
    loud, soft = torch.zeros(1, 48000), torch.zeros(1, 48000)
    loud[:, :16000], soft[:, 32000:] = band(0, 8000), band(0, 8000, seed=2)
    for gain_db, heard in ((-45, True), (-75, False)):
        share = audible_share(torch.stack([loud, soft * 10 ** (gain_db / 20)]), 16000)
        assert bool(share[1] > 0.9) is heard
        tracks = torch.stack([loud, soft * 10 ** (gain_db / 20)])
        assert are_audible(tracks, 16000).tolist() == [True, heard]
        assert share[0] > 0.99


def test_silence_and_copies_are_not_heard():
    a = band(0, 8000)
    assert audible_share(torch.stack([a, torch.zeros_like(a)]), 16000).tolist() == [1, 0]
    assert audible_share(torch.zeros(2, 1, 1000), 16000).tolist() == [0, 0]
    assert audible_share(torch.stack([a, a]), 16000).tolist() == [0, 0]


def test_three_sources_are_held_against_the_sum_of_the_others():
    a = band(0, 8000)
    others = band(0, 8000, seed=2), band(0, 8000, seed=3)
    gain = math.sqrt(1.5)  # above each of the others and below their sum
    alone = audible_share(torch.stack([gain * a, others[0]]), 16000, min_bands=40)[0]
    beside = audible_share(torch.stack([gain * a, *others]), 16000, min_bands=40)[0]
    assert alone > beside + 0.2


def test_channels_and_short_clips():
    a, b = band(100, 2000), band(3000, 6000, seed=2)
    stereo = torch.stack([a.repeat(2, 1), 0.05 * b.repeat(2, 1)])
    torch.testing.assert_close(audible_share(stereo, 16000), audible_share(stereo[:, :1], 16000))
    assert audible_share(noise(1, 2, 5), 16000).tolist() == [1]
    assert torch.equal(audible_share(stereo.double(), 16000), audible_share(stereo.double(), 16000))


def test_long_sounds_are_measured_in_blocks_as_in_one(monkeypatch):
    tracks = torch.stack([band(0, 4000), 0.3 * band(2000, 8000, seed=2)])
    whole = audible_share(tracks, 16000)
    monkeypatch.setattr("audiomix.captions.audible._BLOCK", 7)
    assert torch.equal(audible_share(tracks, 16000), whole)


def mel_power(tracks, rate):
    """Mel powers (S, N, 64) as they are defined: on a transform of twice the next power of two, in double precision."""
    window, hop = round(0.025 * rate), round(0.01 * rate)
    size = 2 * 2 ** math.ceil(math.log2(window))
    filters = functional.melscale_fbanks(size // 2 + 1, 0.0, rate / 2, 64, rate).double().numpy()
    padded = np.pad(tracks.double().numpy(), [(0, 0), (0, 0), (window // 2, window - window // 2)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, -1)[:, :, ::hop]
    shape = torch.hann_window(window).double().numpy()
    return (np.abs(np.fft.rfft(frames * shape, size)) ** 2).mean(1) @ filters


def share_by_definition(tracks, rate, min_bands=3):
    """Every band of every frame, and every sample of the mask of what is active."""
    power, hop = mel_power(tracks, rate), round(0.01 * rate)
    total = power.sum(0)
    heard = ((power > total - power) & (power > max(1e-6 * total.max(), 1e-30))).sum(-1) >= min_bands
    mask = np.pad(level.active(tracks).numpy(), [(0, 0), (hop // 2, hop)])
    on = np.stack([mask[:, n * hop : n * hop + hop].any(1) for n in range(power.shape[1])], 1)
    return (heard & on).sum(1) / np.maximum(on.sum(1), 1), on


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 22050, 44100, 48000])
def test_shares_are_those_of_the_definition(rate):
    """Three sounds with pauses, of bands that overlap; at 11,025 Hz a window has an odd number of samples."""
    tracks = torch.zeros(3, 2, 3 * rate)
    for k, (low, high, gain) in enumerate([(0, 0.3, 1.0), (0.1, 0.5, 0.3), (0.25, 0.4, 0.1)]):
        for begin, end in ((k * rate // 4, rate), (2 * rate - k * 777, 3 * rate - k * rate // 3)):
            tracks[k, :, begin:end] = gain * band(low * rate, high * rate, rate, 2.0, seed=k)[:, : end - begin]
    found = audible_share(tracks, rate)
    share, on = share_by_definition(tracks, rate)
    assert np.array_equal(audible._Frames(tracks, rate, 3).on.numpy(), on)
    assert np.all(np.abs(found.numpy() - share) < 1.5 / on.sum(1))  # a tie may go either way in single precision
    assert 0.02 < float(found.min()) < 0.3 < 0.9 < float(found.max())


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_mel_powers_are_those_of_the_long_transform_and_below_their_bound(rate):
    tracks = torch.stack([band(0, rate / 3, rate, 2.0, seed=k)[:, :rate] * torch.logspace(-3, 0, rate) for k in (1, 2)])
    tracks[1, :, : rate // 2] = 0
    power = mel_power(tracks, rate)
    frames = audible._Frames(tracks, rate, 3)
    found = frames._mel_power(torch.arange(power.shape[1])).double().numpy()
    loud = power > 1e-7 * power.max()
    assert np.abs(found[loud] / power[loud] - 1).max() < 2e-3
    most = frames.most.double().numpy()
    assert np.all(most[..., None] >= power)
    assert np.all(most.max(1) < 100 * power.max((1, 2)))
    assert np.all(most[1, : rate // 2 // round(0.01 * rate) - 2] == 0)


def test_whether_a_source_is_heard_is_whether_its_share_is_large_enough():
    loud, soft, silent = band(100, 6000, seconds=2.0), band(2000, 7000, seconds=2.0, seed=2), torch.zeros(1, 32000)
    soft[:, 8000:20000] = 0
    for gain in (0.02, 0.1, 0.25, 0.5, 1.0):
        tracks = torch.stack([loud, gain * soft, silent])
        share = audible_share(tracks, 16000)
        for bound in {0.0, 0.2, 0.5, 1.0, *share.tolist()}:
            for least in (bound, math.nextafter(bound, 2.0)):
                if least <= 1:
                    assert are_audible(tracks, 16000, min_share=least).tolist() == (share >= least).tolist()


def test_a_clear_question_is_decided_by_a_part_of_the_frames(monkeypatch):
    seen, plain = [], audible._Frames.look_at
    monkeypatch.setattr(audible._Frames, "look_at", lambda self, n: (seen.append(len(n)), plain(self, n)))
    tracks = torch.stack([band(100, 2000, seconds=4.0), band(3000, 6000, seconds=4.0, seed=2)])
    assert are_audible(tracks, 16000).tolist() == [True, True]
    assert 0 < sum(seen) <= 0.3 * 401
    seen.clear()
    assert are_audible(tracks, 16000, min_share=0).tolist() == [True, True]
    assert sum(seen) == 0


def test_the_loudest_band_counts_where_no_source_is_active_too(monkeypatch):
    sound = band(0, 8000, seconds=2.0)
    sound[:, 16000:] *= 10 ** (-75 / 20)
    monkeypatch.setattr(audible, "_active_frames", lambda tracks, rate, n: (torch.arange(n) > n / 2 + 2)[None])
    assert audible_share(sound[None], 16000).tolist() == [0]
    assert are_audible(sound[None], 16000).tolist() == [False]
    assert audible_share(sound[None, :, 16000:], 16000).tolist() == [1]


def test_plans_of_real_sounds_are_those_of_the_definition(esc10, monkeypatch):
    """Captions, placements and what is named: none of them depends on how few frames are looked at."""
    files = sorted((esc10 / "audio").iterdir())[::57]
    clips = torch.stack([io.fit_length(io.read(str(file), rate=16000).samples, 80000)[0] for file in files])
    texts = [f"sound {i} is heard" for i in range(len(files))]
    mixer = CaptionMix((-25, 25), sources=(2, 3), rate=16000)

    def plans():
        made = [mixer(clips, captions=texts, generator=seeded(seed)).plans[0] for seed in range(3)]
        return [plan.to_json() for plan in made]

    found = plans()

    def by_definition(tracks, rate, *, min_bands, min_share):
        return torch.from_numpy(share_by_definition(tracks, rate, min_bands)[0] >= min_share)

    monkeypatch.setattr(scene, "are_audible", by_definition)
    assert plans() == found


WRONG = [
    (torch.zeros(2, 100), 16000, 3, "tracks must be a batch"),
    (torch.zeros(2, 1, 1, 100), 16000, 3, r"tracks must be of shape \(S, C, T\)"),
    (torch.zeros(2, 1, 100, dtype=torch.int16), 16000, 3, "16 bit samples"),
    (torch.zeros(2, 1, 100), 44.1, 3, "did you mean 44100"),
    (torch.zeros(2, 1, 100), 16000, 65, "min_bands must be an integer from 1 to 64"),
    (torch.zeros(2, 1, 100), 16000, 0, "min_bands"),
]


def test_wrong_arguments():
    for tracks, rate, bands, message in WRONG:
        for function in (audible_share, are_audible):
            with pytest.raises((TypeError, ValueError), match=message):
                function(tracks, rate, min_bands=bands)
    with pytest.raises(ValueError, match="min_share"):
        are_audible(torch.zeros(2, 1, 100), 16000, min_share=1.5)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_no_band_has_more_power_than_the_bound(rate):
    """A tone has nearly all of its power in one band, and a step at a frame's edge in few samples."""
    generator = torch.Generator().manual_seed(rate)
    time = torch.arange(rate // 2) / rate
    tones = [torch.sin(2 * torch.pi * hertz * time) for hertz in (40, 440, 1000, 0.45 * rate)]
    step = (time > 0.2).float()
    tracks = torch.stack([*tones, step, torch.randn(len(time), generator=generator)])[:, None]
    frames = audible._Frames(tracks, rate, 1)
    power = frames._mel_power(torch.arange(frames.number)).amax(-1)
    assert bool((power <= frames.most).all())
    assert float((power / frames.most.clamp(min=1e-9))[1:4].amax()) > 0.1  # near enough to spare anything
