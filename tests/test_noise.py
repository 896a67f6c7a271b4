"""Noise from folders: which pieces are drawn, how they are read, and what bad files get."""

import pickle
import warnings

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise, seeded
from torch import nn

from audiomix import MixUp, NoiseFolder, OneOf, Pipeline, SNRMix, SpeechNoise
from audiomix.audio import io, level

RATE = 8000


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples), rate, subtype="PCM_16")
    return path


def ramp(size, low=0.1, high=0.9):
    """Samples whose value says where they lie."""
    return np.linspace(low, high, size)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "long.wav", ramp(30 * RATE))
    write(tmp_path / "rain" / "short.wav", ramp(2 * RATE))
    write(tmp_path / "rain" / "tiny.wav", ramp(RATE // 4))
    return tmp_path


def test_pieces_are_those_of_the_files_at_their_places(folder):
    made = NoiseFolder(folder, seconds=0.5, rate=RATE)
    x, lengths = made.sample(60, generator=seeded(3))
    pieces = made.draw(60, generator=seeded(3))
    assert x.shape == (60, 1, 4000)
    assert x.dtype == torch.float32
    assert {piece.file for piece in pieces} == {"long.wav", "rain/short.wav", "rain/tiny.wav"} == set(made.files)
    for row, end, piece in zip(x, lengths.tolist(), pieces):
        whole = io.read(folder / piece.file).samples
        first = round(piece.start * RATE)
        assert torch.equal(row[:, :end], whole[:, first : first + 4000])
        assert (row[:, end:] == 0).all()
        assert end == (2000 if piece.file == "rain/tiny.wav" else 4000)
    again, ends = made.read([tuple(piece) for piece in pieces])
    assert torch.equal(again, x)
    assert torch.equal(ends, lengths)


def test_every_place_of_a_file_and_every_file_is_equally_likely(folder):
    made = NoiseFolder(folder, seconds=0.5, rate=RATE)
    pieces = made.draw(1200, generator=seeded(1))
    counts = np.array([sum(p.file == name for p in pieces) for name in made.files])
    assert ((counts - 400) ** 2 / 400).sum() < 13.8  # chi-square, 2 degrees of freedom, 99.9 %
    starts = np.array([p.start for p in pieces if p.file == "long.wav"]) / 29.5
    bins = np.histogram(starts, 8, (0, 1))[0]
    expected = len(starts) / 8
    assert ((bins - expected) ** 2 / expected).sum() < 24.3  # 7 degrees of freedom
    assert {round(p.start * RATE) for p in NoiseFolder(folder / "rain", seconds=2 - 1 / RATE, rate=RATE).draw(
        40, generator=seeded()) if p.file == "short.wav"} == {0, 1}  # the last place too  # fmt: skip


def test_weights_by_second_by_file_and_by_folder(folder):
    def shares(weights):
        made = NoiseFolder(folder, seconds=0.5, rate=RATE, weights=weights)
        return np.array([sum(p.file == name for p in made.draw(500, generator=seeded(2))) for name in made.files])

    seconds = np.array([30, 2, 0.25]) / 32.25 * 500
    assert ((shares("second") - seconds) ** 2 / seconds).sum() < 13.8
    assert shares({"rain": 0})[1:].sum() == 0
    named = shares({"rain": 1, "rain/tiny.wav": 3, "long.wav": 0})
    assert named[0] == 0
    assert abs(named[2] - 375) < 4 * (500 * 0.75 * 0.25) ** 0.5
    with pytest.raises(ValueError, match="weights must be of files or folders in .*, got 'snow'"):
        NoiseFolder(folder, seconds=1, rate=RATE, weights={"snow": 1})
    with pytest.raises(ValueError, match="weights must be above 0 for a file at least"):
        NoiseFolder(folder, seconds=1, rate=RATE, weights={"long.wav": 0, "rain": 0})
    with pytest.raises(ValueError, match="weights must be one of file, second, got 'seconds': did you mean"):
        NoiseFolder(folder, seconds=1, rate=RATE, weights="seconds")


@pytest.mark.parametrize("rate", [RATE, 11025, 16000])
def test_no_bit_depends_on_the_cache_or_on_what_was_drawn_before(folder, rate):
    full, empty = (NoiseFolder(folder, seconds=0.3, rate=rate, cache=size) for size in (100, 0))
    full.sample(50, generator=seeded(9))
    empty_first, _ = empty.sample(30, generator=seeded(5))
    assert torch.equal(full.sample(30, generator=seeded(5))[0], empty_first)
    copy = pickle.loads(pickle.dumps(full))
    assert not copy._sounds
    assert torch.equal(copy.sample(30, generator=seeded(5))[0], empty_first)


def test_the_cache_is_bounded_and_long_files_are_read_in_part(folder, monkeypatch):
    for i in range(8):
        write(folder / f"{i}.wav", ramp(2 * RATE))
    made = NoiseFolder(folder, seconds=0.5, rate=RATE, cache=0.2)  # three files of two seconds, as floats
    made.sample(100, generator=seeded())
    held = sum(sound.nbytes for sound in made._sounds.values())
    assert 0 < held == made._bytes <= 200_000
    asked = []
    read = io.read
    monkeypatch.setattr(io, "read", lambda path, **options: asked.append((path, options)) or read(path, **options))
    weights = {"rain": 0, **{f"{i}.wav": 0 for i in range(8)}}
    only = NoiseFolder(folder, seconds=0.5, rate=RATE, weights=weights)
    only.sample(3, generator=seeded())
    assert [options["seconds"] for _, options in asked] == [0.5] * 3


def test_files_of_other_rates_and_channels_are_fitted(tmp_path):
    stereo = np.stack([ramp(2 * 22050), -0.5 * ramp(2 * 22050)], 1)
    write(tmp_path / "a.wav", stereo, 22050)
    write(tmp_path / "b.wav", np.stack([ramp(16 * 22050), -0.5 * ramp(16 * 22050)], 1), 22050)
    for channels in (1, 2):
        made = NoiseFolder(tmp_path, seconds=1.1, rate=RATE, channels=channels)
        x, lengths = made.sample(12, generator=seeded())
        assert x.shape == (12, channels, 8800)
        assert lengths is None
        for row, piece in zip(x, made.draw(12, generator=seeded())):
            whole = io.read(tmp_path / piece.file, rate=RATE, channels=channels).samples
            first = round(piece.start * RATE)
            # but for the ends, where the filter of a part lacks what lies beside it; starts are those of 22050 Hz
            torch.testing.assert_close(row[:, 200:8600], whole[:, first + 200 : first + 8600], atol=2e-3, rtol=0)
    mono = NoiseFolder(tmp_path, seconds=0.5, rate=RATE).sample(1, generator=seeded())[0]
    assert mono.shape == (1, 1, 4000)


def test_silent_pieces_are_drawn_again(tmp_path):
    half = np.concatenate([np.zeros(20 * RATE), ramp(4 * RATE)])
    write(tmp_path / "half.wav", half)
    write(tmp_path / "none.wav", np.zeros(RATE))
    made = NoiseFolder(tmp_path, seconds=0.5, rate=RATE)
    x, _ = made.sample(60, generator=seeded())
    assert (level.rms(x) > 10**-3.5).all()
    assert {p.file for p in made.draw(60, generator=seeded())} == {"half.wav"}
    # one sound that random places hardly find
    (tmp_path / "half.wav").unlink()
    for i in range(150):
        write(tmp_path / f"silent{i}.wav", np.zeros(100))
    write(tmp_path / "sound.wav", ramp(RATE))
    rare = NoiseFolder(tmp_path, seconds=0.5, rate=RATE)
    assert {p.file for p in rare.draw(8, generator=seeded())} == {"sound.wav"}
    (tmp_path / "sound.wav").unlink()
    with pytest.raises(ValueError, match="must be of sounds above min_db=-70, got silence in all"):
        NoiseFolder(tmp_path, seconds=0.5, rate=RATE).sample(2, generator=seeded())


def test_a_folder_of_the_home_folder_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert NoiseFolder("~/rain", seconds=0.5, rate=RATE).files == ["short.wav", "tiny.wav"]


def test_broken_files_are_named_once_and_left_out(folder):
    (folder / "text.wav").write_text("no sound at all")
    flac = folder / "cut.flac"
    soundfile.write(flac, noise(2 * RATE).numpy() * 0.1, RATE)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    for weights in ("file", "second"):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            made = NoiseFolder(folder, seconds=0.5, rate=RATE, weights=weights)
            pieces = made.draw(200, generator=seeded())
        assert {p.file for p in pieces} <= {"long.wav", "rain/short.wav", "rain/tiny.wav"}
        texts = [str(one.message) for one in seen]
        assert sum("text.wav" in text for text in texts) == 1
        assert sum("cut.flac" in text for text in texts) == 1
        assert set(made.broken) == {"text.wav", "cut.flac"}
    # what one process knows of them changes nothing of what is drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert NoiseFolder(folder, seconds=0.5, rate=RATE).draw(50, generator=seeded(7)) == made_like(folder, 7)


def made_like(folder, seed):
    made = NoiseFolder(folder, seconds=0.5, rate=RATE)
    made.draw(200, generator=seeded(1))
    return made.draw(50, generator=seeded(seed))


@pytest.mark.parametrize("weights", ["file", "second"])
@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_folder_of_broken_files_or_of_none_is_refused(tmp_path, weights):
    with pytest.raises(ValueError, match="no audio files were found"):
        NoiseFolder(tmp_path, seconds=1, rate=RATE, weights=weights)
    for i in range(3):
        (tmp_path / f"{i}.wav").write_text("no sound")
    with pytest.raises(ValueError, match="must be of sounds that can be read, got 3 files of which none"):
        NoiseFolder(tmp_path, seconds=1, rate=RATE, weights=weights).sample(2)


def test_manifests_and_class_folders_are_read_as_data_sets_are(folder):
    manifest = folder / "list.csv"
    manifest.write_text("path,offset,duration\nlong.wav,10,5\nrain/short.wav,,\n")
    made = NoiseFolder(manifest, seconds=0.5, rate=RATE)
    pieces = made.draw(60, generator=seeded())
    x, _ = made.sample(60, generator=seeded())
    # the value of a sample says where it lies in the file
    inside = [(value - 0.1) / 0.8 * 30 for value, p in zip(x[:, 0, 0].tolist(), pieces) if p.file.startswith("long")]
    assert len(inside) > 10
    assert 9.9 < min(inside) < 11
    assert 13 < max(inside) < 14.6
    assert len(NoiseFolder(folder / "rain", seconds=0.5, rate=RATE)) == 2


def test_mixers_and_pipelines_draw_the_noise_with_their_generator(folder):
    made = NoiseFolder(folder, seconds=0.5, rate=RATE)
    speech = noise(6, 1, 4000) * 0.1
    for mixer in (SNRMix((5, 5), label="keep"), SpeechNoise(5.0, rate=RATE), MixUp(0.4)):
        mixed = mixer(speech, other=made, generator=seeded(4))
        generator = seeded(4)
        other, lengths = made.sample(6, generator=generator)
        expected = mixer(speech, other=other, other_lengths=lengths, generator=generator)
        assert torch.equal(mixed.x, expected.x)
        assert not torch.equal(mixed.x, speech)
        with pytest.raises(ValueError, match="other must be a Tensor where a plan is replayed, got NoiseF"):
            mixer(speech, other=made, plan=mixed.plans[0])
        assert torch.equal(mixer(speech, other=other, other_lengths=lengths, plan=mixed.plans[0]).x, mixed.x)
    torch.manual_seed(0)
    assert not torch.equal(mixer(speech, other=made).x, mixer(speech, other=made).x)
    chain = Pipeline([SNRMix(label="keep"), SNRMix(label="keep")])
    assert torch.equal(chain(speech, other=made, generator=seeded()).x, chain(speech, other=made, generator=seeded()).x)
    for clips in (speech[:, 0], speech.expand(-1, 2, -1), speech.double()):
        mixed = SNRMix(label="keep")(clips, other=made, generator=seeded())
        assert mixed.x.shape == clips.shape
        assert mixed.x.dtype == clips.dtype
    made.sample = None  # in eval() nothing is drawn
    assert torch.equal(SNRMix(label="keep").eval()(speech, other=made).x, speech)


def test_anything_that_samples_may_be_the_second_batch():
    class Tones:
        def sample(self, size, *, generator=None):
            hertz = 100 + 300 * torch.rand(size, 1, 1, generator=generator)
            return torch.sin(2 * torch.pi * hertz * torch.arange(4000) / RATE), None

    speech, generator = noise(3, 1, 4000), seeded()
    mixed = SNRMix((0, 0), label="keep")(speech, other=Tones(), generator=seeded())
    tones = Tones().sample(3, generator=generator)[0]
    assert torch.equal(mixed.x, SNRMix((0, 0), label="keep")(speech, other=tones, generator=generator).x)


def test_noise_that_does_not_fit_is_refused(folder):
    made = NoiseFolder(folder, seconds=0.5, rate=RATE)
    with pytest.raises(ValueError, match="other must be at 16000 Hz, as the mixer is, got 8000 Hz"):
        SpeechNoise(rate=16000)(noise(2, 1, 1000), other=made)
    sixteen = SNRMix(label="keep", rate=16000)
    for mixer in (Pipeline([MixUp(), sixteen]), OneOf([MixUp(), sixteen]), OneOf([sixteen], per="clip")):
        with pytest.raises(ValueError, match="other must be at 16000 Hz, as the mixer is, got 8000 Hz"):
            mixer(noise(2, 1, 1000), other=made)
    # behind a module that changes the rate nothing is known of it
    Pipeline([nn.Upsample(scale_factor=2), sixteen])(noise(2, 1, 4000), other=made)
    with pytest.raises(ValueError, match="other must be of 40 channels, as x is, got 1: a spectrogram"):
        MixUp()(noise(2, 40, 100), other=made)
    for path in (folder, str(folder)):
        with pytest.raises(TypeError, match="a Tensor, or what draws one, got .* a folder of noise\\?"):
            MixUp()(noise(2, 1, 100), other=path)
    with pytest.raises(ValueError, match="other must be of 1 channel, or of as many as x"):
        SNRMix(label="keep")(noise(2, 3, 1000), other=NoiseFolder(folder, seconds=0.5, rate=RATE, channels=2))
    with pytest.raises(ValueError, match="other_lengths must be None where other draws its own sounds"):
        SNRMix(label="keep")(noise(2, 1, 1000), other=made, other_lengths=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="other_target must be given, as target is"):
        MixUp(num_classes=2)(noise(2, 1, 1000), torch.tensor([0, 1]), other=made)
    with pytest.raises(ValueError, match="pieces must be of files in .*, got 'gone.wav'"):
        made.read([("gone.wav", 0.0)])
    for start in (-1.0, 1e6, float("nan")):
        with pytest.raises(ValueError, match="pieces must be within their files, got one at"):
            made.read([(made.files[0], start)])
    for bad in ({"seconds": 0}, {"rate": 8}, {"channels": 0}, {"cache": -1}, {"min_db": 3}):
        with pytest.raises(ValueError, match="must be"):
            NoiseFolder(folder, **{"seconds": 0.5, "rate": RATE, **bad})
