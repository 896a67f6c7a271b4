"""`track` takes the tracker asked for or the best one here, says which, keeps what it found, names what is wrong."""

import importlib.util
import pickle
import shutil

import pytest
import torch
from sounds import ROOT, noise

import audiomix
from audiomix import BeatMix
from audiomix.audio import io
from audiomix.beats import cache, trackers
from audiomix.beats.track import Tracking, choose_tracker, track_beats
from audiomix.beats.trackers import madmom as madmom_file
from audiomix.datasets.item import Item
from audiomix.offline.providers.beats import find_beats

LOOP = ROOT / "assets" / "loops" / "rock_120.flac"


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    """A cache of each test's own."""
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", set())
    return tmp_path / "cache" / "beats"


@pytest.fixture
def no_madmom(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "madmom" in name else find(name, *a))
    madmom_file._reason.cache_clear()
    yield
    madmom_file._reason.cache_clear()


@pytest.fixture
def bare(tmp_path):
    """The loop without its annotation."""
    return shutil.copy(LOOP, tmp_path / "bare.flac")


@pytest.fixture
def counted(monkeypatch):
    """How often the built-in tracker really runs."""
    cls = trackers.get("librosa")
    calls, run = [], cls.track
    monkeypatch.setattr(cls, "track", lambda self, *args: (calls.append(1), run(self, *args))[1])
    return calls


def test_auto_takes_the_annotation_first(bare):
    grid = track_beats(LOOP)
    assert grid.tracker == "file"
    assert grid.times == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
    assert choose_tracker(path=LOOP).name == "file"
    assert choose_tracker(path=bare).name != "file"


def test_auto_takes_madmom_only_where_downbeats_are_asked_for(monkeypatch, bare):
    monkeypatch.setattr(madmom_file, "_reason", lambda: "")
    assert choose_tracker(path=bare).name == "librosa"
    assert choose_tracker(path=bare, downbeats=True).name == "madmom"
    assert choose_tracker(path=LOOP, downbeats=True).name == "file"
    assert Tracking(downbeats=True).tracker_for(bare).name == "madmom"
    asked = {align: BeatMix(rate=8000, align=align).needs.notes["beats"] for align in ("auto", "downbeat")}
    assert find_beats([], asked["auto"], progress=False).tracker["tracker"] == "librosa"
    assert find_beats([], asked["downbeat"], progress=False).tracker["tracker"] == "madmom"


class Taps:
    """No class of ours, but it has a method track."""

    def track(self, samples, rate):
        return [0.25 * i for i in range(int(4 * samples.shape[-1] / rate))]


def test_any_object_with_track_is_a_tracker_wherever_a_name_is_taken(bare, kept, tmp_path):
    clip, taps = io.read(bare), Taps()
    wanted = [0.25 * i for i in range(16)]
    for grid in (
        audiomix.track_beats(clip.samples, clip.rate, tracker=taps),
        audiomix.track_beats(bare, tracker=taps),
        pickle.loads(pickle.dumps(Tracking(taps))).file(bare),
        audiomix.track_beats(bare, tracker=f"{__file__}:Taps"),
    ):
        assert (grid.tracker, list(grid.times)) == ("taps", wanted[: len(grid)])
        assert len(grid) > 8
    found = find_beats([Item("a", str(bare))], BeatMix(rate=8000, tracker=taps).needs.notes["beats"], progress=False)
    assert [grid.bpm for grid in found.grids.values()] == [240]
    assert found.describe()["tracker"] == "taps"
    assert not kept.exists()  # nobody knows whether what it found before still holds
    taps.version = "1"
    assert Tracking(taps).file(bare) == Tracking(taps).file(bare)
    assert len(list(kept.rglob("*.json"))) == 1
    for wrong, message in ((Taps, r"Taps\(\)\?"), (3, "an object with track"), (str.upper, "an object with track")):
        with pytest.raises(TypeError, match=message):
            Tracking(wrong)
    with pytest.raises(ValueError, match="named where options are given"):
        Tracking(taps, options={"every": 1})
    taps.track = lambda samples, rate: None
    with pytest.raises(TypeError, match="what tracker taps finds must be a BeatGrid"):
        audiomix.track_beats(bare, tracker=taps, cache=False)


def test_auto_without_madmom_is_librosa_and_says_so(no_madmom, bare):
    assert track_beats(bare).tracker == "librosa"
    assert Tracking().describe() == {
        "asked": "auto",
        "tracker": "librosa",
        "version": trackers.get("librosa")().version,
        "first": "annotations beside the sounds",
    }


def test_asked_for_but_missing_gives_the_commands(no_madmom):
    with pytest.raises(ModuleNotFoundError) as caught:
        track_beats(LOOP, tracker="madmom")
    for words in (
        "madmom is not installed",
        'pip install "cython>=3" wheel',
        'pip install --no-cache-dir --no-build-isolation "madmom==0.16.1"',
        "C compiler and the Python headers",
    ):
        assert words in str(caught.value)
    with pytest.raises(ModuleNotFoundError):
        Tracking("madmom")


def test_madmom_infer_stands_in_where_madmom_cannot_be_built(monkeypatch, tmp_path, bare):
    find = importlib.util.find_spec
    specs = {"madmom": None, "madmom_infer": object()}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: specs[name] if name in specs else find(name, *a))
    monkeypatch.setattr(madmom_file.metadata, "version", lambda name: f"of {name}")
    monkeypatch.setattr(madmom_file, "_reason", lambda: "madmom is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choose_tracker("madmom").version.startswith("madmom-infer of madmom-infer, ")
    with pytest.raises(ModuleNotFoundError, match="network must be downbeat, with madmom-infer, got 'beat'"):
        Tracking("madmom:network=beat")
    assert choose_tracker(path=bare, downbeats=True).name == "librosa"  # auto downloads no networks
    folder = tmp_path / "madmom_infer" / "models" / "downbeats" / "2016"
    folder.mkdir(parents=True)
    for i in range(8):
        (folder / f"downbeats_blstm_{i + 1}.pkl").touch()
    assert choose_tracker(path=bare, downbeats=True).name == "madmom"


@pytest.mark.parametrize("error", [ImportError("no"), ValueError("numpy.dtype size changed"), AttributeError("np.x")])
def test_madmom_that_cannot_be_imported_says_why(monkeypatch, error):
    def fails(*modules):
        raise error

    monkeypatch.setattr(madmom_file.shim, "import_all", fails)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "infer" in name else object())
    madmom_file._reason.cache_clear()
    try:
        with pytest.raises(ModuleNotFoundError, match=str(error)):
            choose_tracker("madmom")
        assert choose_tracker().name == "librosa"
    finally:
        madmom_file._reason.cache_clear()


def test_wrong_names_and_options():
    with pytest.raises(ValueError, match="did you mean 'madmom'"):
        track_beats(LOOP, tracker="madmon")
    with pytest.raises(ValueError, match="did you mean 'max_bpm'"):
        track_beats(LOOP, tracker="librosa", max_bmp=180)
    with pytest.raises(ValueError, match="tracker must be named where options are given"):
        track_beats(LOOP, max_bpm=180)
    with pytest.raises(TypeError, match="rate must be given with samples"):
        track_beats(torch.zeros(100))
    with pytest.raises(ValueError, match="rate must be left out for a file"):
        track_beats(LOOP, 44100)
    with pytest.raises(TypeError, match="cache"):
        Tracking("librosa", cache=None)
    with pytest.raises(TypeError, match="torch.Tensor"):
        track_beats([0.0, 0.1], 44100, tracker="librosa")


def test_samples_and_files_agree_and_options_arrive(bare):
    clip = io.read(bare)
    found = track_beats(clip.samples, clip.rate, tracker="librosa")
    assert found == track_beats(bare, tracker="librosa")
    assert found == track_beats(clip.samples[0], clip.rate, tracker="librosa")
    slow = track_beats(bare, tracker="librosa", min_bpm=40, max_bpm=80)
    assert slow.bpm == pytest.approx(60, rel=0.02)


def test_files_are_tracked_once(bare, kept, counted, tmp_path):
    first = track_beats(bare, tracker="librosa")
    assert len(list(kept.rglob("*.json"))) == 1
    renamed = shutil.copy(bare, tmp_path / "other name.flac")
    assert track_beats(renamed, tracker="librosa") == first
    assert len(counted) == 1
    track_beats(bare, tracker="librosa", max_bpm=200)
    assert len(counted) == 2
    io.write(tmp_path / "changed.flac", io.Clip(0.1 * noise(1, 48000), 24000))
    track_beats(tmp_path / "changed.flac", tracker="librosa")
    assert len(counted) == 3


def test_the_cache_can_be_elsewhere_or_off(bare, kept, counted, tmp_path):
    track_beats(bare, tracker="librosa", cache=False)
    track_beats(bare, tracker="librosa", cache=tmp_path / "here")
    track_beats(bare, tracker="librosa", cache=str(tmp_path / "here"))
    assert len(counted) == 2
    assert not kept.exists()
    track_beats(LOOP)  # annotations are not kept
    assert not kept.exists()


def test_a_new_version_of_a_tracker_is_tracked_anew(bare, counted, monkeypatch):
    track_beats(bare, tracker="librosa")
    monkeypatch.setattr(trackers.get("librosa"), "revision", 99)
    track_beats(bare, tracker="librosa")
    assert len(counted) == 2


def test_a_damaged_entry_is_mended(bare, kept, counted):
    first = track_beats(bare, tracker="librosa")
    entry = next(kept.rglob("*.json"))
    entry.write_text(entry.read_text()[:-9])
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert track_beats(bare, tracker="librosa") == first
    assert track_beats(bare, tracker="librosa") == first
    assert len(counted) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5\n0.25\n1\n", "ascending"),
        ("0.5\n1.0\n9.0\n", "within the 4.00 s of the sound"),
        ("0\n22050\n", "bare.beats"),
        ("0.5\nbeat\n", "line 2"),
    ],
)
def test_annotations_that_do_not_fit_are_errors_that_name_the_file(bare, text, message):
    (bare.parent / "bare.beats").write_text(text)
    for tracker in ("auto", "file"):
        with pytest.raises(ValueError, match=message) as caught:
            track_beats(bare, tracker=tracker)
        assert "bare.beats" in str(caught.value)


def test_annotations_are_found_by_either_name_or_in_a_folder(bare, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"bare\.flac\.beats or .*bare\.beats"):
        track_beats(bare, tracker="file")
    (tmp_path / "bare.beats").write_text("0.5\n1.0\n")
    assert track_beats(bare).times == (0.5, 1.0)
    (tmp_path / "bare.flac.beats").write_text("0.25\n1.0\n")
    assert track_beats(bare).times == (0.25, 1.0)
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "bare.beats").write_text("# by hand\n0.75 1\n1.25 2\n")
    grid = track_beats(bare, tracker="file", folder=str(tmp_path / "truth"))
    assert (grid.times, grid.positions) == ((0.75, 1.25), (1, 2))
    with pytest.raises(TypeError, match="needs|sound file"):
        track_beats(torch.zeros(1, 100), 8000, tracker="file")


def test_files_that_are_no_sound(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    for name in ("text.wav", "absent.wav"):
        with pytest.raises(io.AudioError, match=name):
            track_beats(tmp_path / name, tracker="librosa")


def test_tracking_survives_pickling(bare):
    tracking = Tracking("librosa", False, {"max_bpm": 180.0})
    again = pickle.loads(pickle.dumps(tracking))
    assert again == tracking
    assert again.file(bare) == tracking.file(bare)
    assert again.describe()["version"] == trackers.get("librosa")(max_bpm=180.0).version
    assert again.tracker_for() is tracking.tracker_for()


def test_options_may_stand_in_the_name():
    tracking = Tracking("madmom:network=beat,min_bpm=80") if not trackers.get("madmom").missing() else None
    if tracking is not None:
        assert (tracking.tracker, tracking.options) == ("madmom", {"network": "beat", "min_bpm": 80.0})
        assert "beat" in tracking.describe()["version"]
    with pytest.raises(ValueError, match=r"the options of tracker madmom must be key=value.* got beat: network=beat\?"):
        Tracking("madmom:beat")
    with pytest.raises(ValueError, match="the option of tracker file must be one of folder, got 'network'"):
        Tracking("file:network=beat")
