"""Arguments that can never work are refused before any work, and folders that cannot be written are named."""

from pathlib import Path

import pytest
import soundfile
from made import mix, tree, write

from audiomix import CutMix, MixUp, OneOf
from audiomix.offline.journal import RunStopped
from audiomix.offline.limits import settings_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 9}, "channels must be at most 8 for flac, got 9: format wav holds 1024"),
        ({"channels": "1025", "format": "wav"}, "channels must be at most 1024 for wav"),
        ({"channels": 256, "format": "ogg"}, "channels must be at most 255 for ogg"),
        ({"rate": 655_360}, "rate must be at most 655350 Hz for flac"),
        ({"rate": 65_537}, "rate must be a multiple of 10 Hz above 65535 for flac"),
        ({"rate": 200_001, "format": "ogg"}, "rate must be at most 200000 Hz for ogg"),
        ({"mixer": MixUp(domain="power")}, r"mixer must be one that mixes waveforms, got MixUp\(domain='power'\)"),
        (
            {"mixer": MixUp(domain="as_is")},
            "one that mixes waveforms, got .*as_is.* for spectrogram: .*another domain=",
        ),
        ({"mixer": CutMix("freq")}, "one that mixes waveforms, got .*freq.* for spectrogram: .*another .*kind="),
        ({"mixer": CutMix("box")}, "one that mixes waveforms"),
    ],
)
def test_what_can_never_work_is_refused_before_any_work(classes, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        mix(classes, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_mixer_within_another_is_looked_at_too():
    with pytest.raises(ValueError, match="one that mixes waveforms"):
        settings_of(OneOf([MixUp(), CutMix("box")]))


@pytest.mark.parametrize(
    ("kind", "channels", "rate"), [("flac", 8, 655_350), ("wav", 1024, 48_000), ("ogg", 8, 200_000)]
)
def test_the_limits_can_be_written(tmp_path, kind, channels, rate):
    for i in range(2):
        write(tmp_path / "in" / "a" / f"{i}.wav", seed=i, seconds=0.02)
    report = mix(tmp_path / "in", tmp_path / "out", format=kind, channels=channels, rate=rate)
    assert (report.files, report.exit_code) == (2, 0)
    info = soundfile.info(next((tmp_path / "out").rglob(f"*.{kind}")))
    assert (info.channels, info.samplerate) == (channels, rate)


@pytest.mark.parametrize(
    ("kind", "odd", "reason"),
    [
        ("flac", {"channels": 10}, "channels must be at most 8 for flac, got 10"),
        ("ogg", {"rate": 400_000}, "rate must be at most 200000 Hz for ogg, got 400000"),  # Vorbis would crash
    ],
)
def test_an_original_that_the_format_cannot_hold_is_listed(tmp_path, kind, odd, reason):
    for i in range(3):
        write(tmp_path / "in" / "a" / f"{i}.wav", seed=i, seconds=0.05)
    write(tmp_path / "in" / "a" / "odd.wav", seconds=0.05, **odd)
    report = mix(tmp_path / "in", tmp_path / "out", format=kind)
    assert report.files == 3
    assert [(error["file"], reason in error["reason"]) for error in report.errors] == [("a/odd.wav", True)]


def test_a_dry_run_refuses_what_a_run_refuses(classes, tmp_path):
    mix(classes, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(ValueError, match=r"another run \(seed 1 instead of 0\)"):
        mix(classes, tmp_path / "out", seed=1, dry_run=True)
    assert "18 mixes" in mix(classes, tmp_path / "out", dry_run=True).text
    assert tree(tmp_path / "out") == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"new or empty folder.*thesis\.txt"):
        mix(classes, tmp_path / "full", dry_run=True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_folder_below_a_file_is_refused(classes, tmp_path, dry_run):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a folder, got .*: '.*file' is a file"):
        mix(classes, tmp_path / "file" / "deep" / "out", dry_run=dry_run)


def test_a_folder_that_cannot_be_made_leaves_nothing_to_go_on_with(classes, tmp_path, monkeypatch):
    def refused(path, *args, **more):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(RunStopped, match="read-only file system. Nothing was done$"):
        mix(classes, tmp_path / "out")
