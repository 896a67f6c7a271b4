"""What is chosen by name: files of a folder, entry points and paths, alike for every kind."""

import pickle
import subprocess
import sys

import pytest
from own import OWN, POINTS, install
from sounds import ROOT, noise

from audiomix import Mixer, MixUp, OneOf, datasets, mixers, pairing, registry
from audiomix.beats import trackers
from audiomix.beats.track import Tracking, track_beats
from audiomix.registry import Registry, file_digest, file_of, is_path
from recipes import algorithms, models
from recipes.algorithms.base import Algorithm

# the registry, a member of its folder, and what own.py has
KINDS = [
    (mixers, "mixup", "RollMix", "roll"),
    (trackers, "librosa", "Taps", "taps"),
    (algorithms, "fixmatch", "Halved", "halved"),
    (models, "resnet_small", "Net", "net"),
    (datasets, "folder", "clips", "clips"),
    (pairing, "any", "nearest", "nearest"),
]


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path / "mine.py"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make a function that installs a package for the time of a test."""
    registry._entry_points.cache_clear()

    def put(**changed):
        install(tmp_path, **changed)
        monkeypatch.syspath_prepend(tmp_path)

    yield put
    sys.modules.pop("own_things", None)
    registry._entry_points.cache_clear()


def folder(path, **files):
    path.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (path / f"{name}.py").write_text(text)


@pytest.mark.parametrize(("kind", "name", "own", "_"), KINDS, ids=lambda v: getattr(v, "__name__", v))
def test_each_kind_takes_a_file_and_names_what_is_wrong(kind, name, own, _, mine, tmp_path):
    assert name in kind.available()
    assert not [found for found in kind.available() if found.startswith("_")]
    assert callable(kind.get(name))
    assert callable(kind.get(f"{mine}:{own}"))
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        kind.get(name + "x")
    with pytest.raises(ValueError, match=f"did you mean '{own}'"):
        kind.get(f"{mine}:{own}x")
    with pytest.raises(ValueError, match=f"there is no file {tmp_path}/yours.py"):
        kind.get(f"{tmp_path}/yours.py:{own}")
    with pytest.raises(ValueError, match=rf"got '{mine}': what of the file\? {mine}:NAME"):
        kind.get(str(mine))
    (tmp_path / "broken.py").write_text("import torch\n\n1 / 0\n")
    with pytest.raises(ValueError, match=rf"ZeroDivisionError: division by zero \({tmp_path}/broken.py, line 3\)"):
        kind.get(f"{tmp_path}/broken.py:{own}")
    with pytest.raises(ValueError, match=r"'no_such_module:Thing': ModuleNotFoundError: No module named"):
        kind.get("no_such_module:Thing")


@pytest.mark.parametrize(("kind", "name", "own", "point"), KINDS, ids=lambda v: getattr(v, "__name__", v))
def test_each_kind_takes_an_entry_point(kind, name, own, point, installed):
    installed()
    assert {name, point} <= set(kind.available())
    if kind is not datasets:
        assert kind.get(point).__name__ == own
    assert callable(kind.get(point))


@pytest.mark.parametrize(("kind", "name", "own", "_"), KINDS, ids=lambda v: getattr(v, "__name__", v))
def test_a_name_of_two_packages_is_refused_and_all_others_stay(kind, name, own, _, installed):
    group = POINTS.split(f":{own}")[0].rpartition("[")[2].split("]")[0]
    installed(points=f"[{group}]\n{name} = own_things:{own}\nbad = own_things:Absent\n")
    with pytest.raises(ValueError, match=f"{name} must be the name of one thing.* own_things:{own}: uninstall one"):
        kind.get(name)
    with pytest.raises(ValueError, match="an entry point that can be imported, got 'bad': AttributeError"):
        kind.get("bad")
    for other in set(kind.available()) - {name, "bad"}:
        kind.get(other)


def test_a_path_names_what_is_of_another_kind(mine):
    for kind, base in ((mixers, "Mixer"), (trackers, "Tracker"), (algorithms, "Algorithm")):
        for name in ("helper", "Path", "Net"):
            with pytest.raises(
                ValueError, match=f"must be a class derived from {base}, got .*:{name}, (no|another) cl"
            ):
                kind.get(f"{mine}:{name}")
    with pytest.raises(TypeError, match="what .*:helper returns must be a Dataset, got NoneType"):
        datasets.get(f"{mine}:helper")(None)


def test_options_stand_behind_any_name(mine, installed):
    installed()
    assert mixers.make("mixup:alpha=0.3,keep_larger=yes").keep_larger is True
    for name in (f"{mine}:RollMix", "own_things:RollMix", "roll"):
        mixer = mixers.make(f"{name}:shift=0.1,way=left", shift=0.2)
        assert (mixer.share, mixer.shift, mixer.way) == (0.75, 0.2, "left")
        for text, message in (("shfit=0.1", "did you mean 'shift'"), ("way=up", "one of left, right, got 'up'")):
            with pytest.raises(ValueError, match=f"option .*of mixer {name} must be .*{message}"):
                mixers.make(f"{name}:{text}")
    for name in (f"{mine}:Taps", "taps"):
        assert track_beats(noise(8000), 8000, tracker=f"{name}:every=0.25").bpm == pytest.approx(240)
        with pytest.raises(ValueError, match="did you mean 'every'"):
            Tracking(f"{name}:evry=0.25")
    assert models.build(f"{mine}:Net", 3, seed=0, **models.options("net", ("width=5",))).head.in_features == 5
    with pytest.raises(ValueError, match="tracker must be named where options are given"):
        Tracking("auto:every=1")


def test_names_are_those_of_the_folder_the_entry_point_or_the_file(mine, installed):
    assert mixers.name_of(MixUp) == "mixup"
    assert mixers.name_of(mixers.get(f"{mine}:RollMix")) == "mine.py:RollMix"
    assert mixers.name_of(OneOf) == "audiomix.policy.OneOf"
    installed()
    registry._entry_points.cache_clear()
    assert mixers.name_of(mixers.get("roll")) == "roll"
    assert algorithms.get(f"{mine}:Halved")(3).title == "mine.py:Halved"
    assert algorithms.get("fixmatch").name() == "fixmatch"
    assert mixers.title_of(mixers.get(f"{mine}:RollMix")) == "Mix each clip with its partner, rolled in time."


def test_a_changed_file_is_read_again_and_has_another_hash(mine, tmp_path):
    first = mixers.get(f"{mine}:RollMix")
    assert mixers.get(f"{mine}:RollMix") is first
    before = file_digest(first)
    mine.write_text(OWN.replace("share: float = 0.75", "share: float = 0.625"))
    assert mixers.make(f"{mine}:RollMix").share == 0.625
    assert file_digest(first) != before
    assert file_digest(MixUp) == ""
    version = trackers.get(f"{mine}:Taps")().version
    mine.write_text(OWN + "\n# a comment\n")
    assert trackers.get(f"{mine}:Taps")().version != version


def test_what_a_file_defines_is_pickled(mine):
    mixer = mixers.make(f"{mine}:RollMix:shift=0.25")
    again = pickle.loads(pickle.dumps(mixer))
    assert type(again) is type(mixer)
    assert again.shift == 0.25


@pytest.mark.slow
def test_another_process_unpickles_what_a_file_defines(mine, tmp_path):
    (tmp_path / "mixer.pickle").write_bytes(pickle.dumps(mixers.make(f"{mine}:RollMix:shift=0.25")))
    code = "import sys, pickle, audiomix.mixers; print(pickle.load(open(sys.argv[1], 'rb')).shift)"
    command = [sys.executable, "-c", code, str(tmp_path / "mixer.pickle")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "0.25\n"


def test_only_the_chosen_file_is_imported_and_one_without_a_member_is_an_error(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    one = "from audiomix import MixUp, Mixer\nclass _Base(Mixer): pass\nclass One(_Base): pass\n"
    files = {"one": one, "none": "", "two": one + "class Two(Mixer): pass\n", "_hidden": one, "shared": "1 / 0"}
    folder(tmp_path / "own_mixers", **files, broken="1 / 0")
    found = Registry("mixer", "own_mixers", "no.such.group", base=Mixer, skip=("shared",))
    assert found.available() == ["broken", "none", "one", "two"]
    assert found.get("one").__name__ == "One"
    assert found.name_of(found.get("one")) == "one"
    assert "own_mixers.two" not in sys.modules
    for name, got in (("none", r"\[\]"), ("two", r"\['One', 'Two'\]")):
        with pytest.raises(ImportError, match=rf"own_mixers/{name}.py must be a file with one Mixer, got {got}"):
            found.get(name)
    with pytest.raises(ZeroDivisionError):
        found.get("broken")
    for name in ("_hidden", "shared"):
        with pytest.raises(ValueError, match="mixer must be one of broken, none, one, two"):
            found.get(name)


def test_functions_are_chosen_like_classes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder(tmp_path / "own_rules", nearest="def pair(size, *, radius: float = 1.0): return size * radius")
    (tmp_path / "mine.py").write_text("def pair(size, *, radius: int = 2): return -size * radius")
    rules = Registry("pairing", "own_rules", "no.such.group", function="pair", positional=1)
    for text, expected in (("nearest", 3.0), ("nearest:radius=0.5", 1.5), (f"{tmp_path}/mine.py:pair:radius=4", -12)):
        chosen = rules.read(text)
        assert chosen.member(3, **chosen.options) == expected
    with pytest.raises(ValueError, match="the option of pairing nearest must be one of radius, got 'size'"):
        rules.read("nearest:size=3")


@pytest.mark.parametrize(
    ("text", "name", "options", "file"),
    [
        ("mixup", "mixup", "", None),
        ("mixup:alpha=linear:0:1,p=0.5", "mixup", "alpha=linear:0:1,p=0.5", None),
        ("mixup:keep_larger", "mixup", "keep_larger", None),
        ("mixupp:alpha=3", "mixupp", "alpha=3", None),
        ("a/b.c/mine.py:RollMix", "a/b.c/mine.py:RollMix", "", "a/b.c/mine.py"),
        ("mine.py:RollMix:x=a.py:b", "mine.py:RollMix", "x=a.py:b", "mine.py"),
        (r"C:\own\mine.py:RollMix:fast", r"C:\own\mine.py:RollMix", "fast", r"C:\own\mine.py"),
        ("package.module:RollMix:x=1", "package.module:RollMix", "x=1", None),
        ("module:RollMix", "module:RollMix", "", None),
    ],
)
def test_a_text_is_split_into_name_and_options(text, name, options, file):
    assert mixers._REGISTRY.split(text) == (name, options)
    assert is_path(name) == (":" in name)
    assert file_of(text) is None if file is None else str(file_of(text)) == file


def test_methods_of_the_folder_declare_what_they_are_made_from():
    for name in algorithms.available():
        kind = algorithms.get(name)
        assert issubclass(kind, Algorithm)
        assert not {"num_classes", "mixer"} & set(algorithms.options(kind))
