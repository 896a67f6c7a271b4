"""What somebody else made runs no code: run folders, benchmarks, weights, stores, manifests, plans."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audiomix import cli
from recipes.cli import main
from recipes.training.engine import CHECKPOINT

SMALL = ["--steps", "2", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4",
         "--fold", "1"]  # fmt: skip
EVIL = """
from pathlib import Path
Path({mark!r}).touch()
from audiomix import MixUp
from audiomix.beats.trackers import Tracker
from recipes.algorithms.supervised import Supervised
from recipes.models.resnet_small import ResNetSmall
class Net(ResNetSmall): pass
class Method(Supervised): pass
class Mix(MixUp): pass
class Taps(Tracker): pass
"""


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def trained(tone_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert main(["run", "supervised", "folder", str(tone_folder), "--out", str(out / "run"), *SMALL]) == 0
    bench = ["bench", "folder", str(tone_folder), "--methods", "supervised", "--out", str(out / "bench"), *SMALL]
    assert main(bench) == 0
    return out


@pytest.fixture
def planted(trained, tmp_path, monkeypatch):
    """Return copies of a run and a benchmark with code planted in them, which also lies where Python would find it."""
    shutil.copytree(trained, tmp_path / "theirs")
    run, mark = tmp_path / "theirs" / "run" / "fold1-seed0", tmp_path / "ran"
    for folder in (run, tmp_path / "theirs" / "bench"):
        (folder / "evil.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))
    yield run, mark
    sys.modules.pop("evil", None)


def change(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def commands(run, out):
    return [["predict", str(run), str(run), "-o", f"{out}.csv"], ["export", str(run), "-o", f"{out}.ts"]]


@pytest.mark.parametrize("place", ["evil.py", "./evil.py", "evil", "{run}/evil.py"])
@pytest.mark.parametrize(
    "settings",
    [
        {"config": {"model": "{}:Net"}},
        {"method": "{}:Method"},
        {"mixer": "{}:Mix"},
        {"mixer": "{}:Mix:alpha=0.3"},
        {"mixer": "beat:tracker={}:Taps"},
        {"mixer": "latent_beat:tracker={}:Taps"},
    ],
    ids=str,
)
def test_a_run_that_names_code_is_refused(settings, place, planted, tmp_path, capsys):
    run, mark = planted
    place = place.format(run=run)

    def plant(content):
        for key, value in settings.items():
            if isinstance(value, dict):
                content["settings"][key] |= {k: v.format(place) for k, v in value.items()}
            else:
                content["settings"][key] = value.format(place)

    change(run / "config.json", plant)
    for words in commands(run, tmp_path / "o"):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "--trust" in said or "mixer must be" in said or "checkpoint" in said
    assert not mark.exists()


def test_settings_of_a_wrong_kind_are_refused(planted, tmp_path, capsys):
    run, mark = planted
    whole = (run / "config.json").read_text()
    for name in ("mixer", "method", "options", "config"):
        for value in ({"name": "evil.py:Mix"}, ["evil.py:Mix"], 3, None):
            if (name, value) == ("mixer", None):
                continue
            content = json.loads(whole)
            content["settings"][name] = value
            (run / "config.json").write_text(json.dumps(content))
            for words in commands(run, tmp_path / "o"):
                assert main(words) == 2, (name, value)
                assert "config.json" in capsys.readouterr().err or isinstance(value, dict)
    assert not mark.exists()


def test_a_run_that_is_trusted_runs_its_code(planted, tone_folder, tmp_path):
    run, mark = planted
    change(run / "config.json", lambda content: content["settings"]["config"].update(model="evil.py:Net"))
    words = ["predict", str(run), str(tone_folder / "low"), "-o", str(tmp_path / "o.csv")]
    assert main(words) == 2
    assert main([*words, "--trust"]) == 0
    assert mark.exists()


def test_a_benchmark_that_names_code_is_reported_without_it(planted, tone_folder, tmp_path):
    run, mark = planted
    bench = run.parents[1] / "bench"
    for place in (f"{bench}/evil.py", "evil"):
        name = {"method": f"{place}:Method"}
        change(bench / "bench.json", lambda content, name=name: content["rows"]["supervised"].update(name))
        assert main(["report", str(bench), "-o", str(tmp_path / "r.html")]) == 0
    more = ["bench", "folder", str(tone_folder), "--methods", "supervised", "--out", str(bench), "--resume"]
    assert main([*more, *SMALL]) == 0
    assert main(["report", str(run), "-o", str(tmp_path / "s.html")]) == 0
    assert not mark.exists()


def test_no_pickle_is_read(planted, tone_folder, tmp_path, capsys):
    run, mark = planted
    bomb = pickle.dumps(Bomb(mark))
    torch.save({"a": Bomb(mark)}, tmp_path / "w.pt")
    (tmp_path / "raw.pt").write_bytes(bomb)
    run_line = ["run", "supervised", "folder", str(tone_folder), "--out", str(tmp_path / "x"), *SMALL]
    for name in ("w.pt", "raw.pt"):
        assert main([*run_line, "--weights", str(tmp_path / name)]) == 2
    torch.save(Bomb(mark), run / CHECKPOINT)
    for words in commands(run, tmp_path / "o"):
        assert main(words) == 2
    (run / CHECKPOINT).write_bytes(bomb)
    for words in commands(run, tmp_path / "o"):
        assert main(words) == 2
    assert main([*run_line[:4], "--out", str(run.parent), *SMALL, "--seed", "0", "--resume"]) in (0, 2)
    for store in (tmp_path / "theirs" / "stores").iterdir():
        for array in store.glob("*.npy"):
            np.save(array, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    assert (
        main([*run_line[:4], "--out", str(tmp_path / "y"), "--store", str(tmp_path / "theirs" / "stores"), *SMALL]) == 2
    )
    np.save(tmp_path / "e.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    words = [
        "augment",
        str(tone_folder),
        str(tmp_path / "z"),
        "--mixer",
        "caption",
        "--embeddings",
        str(tmp_path / "e.npy"),
    ]
    assert cli.main(words) == 2
    capsys.readouterr()
    assert not mark.exists()


def test_a_manifest_that_names_code_is_audited_without_it(planted, tone_folder, tmp_path):
    run, mark = planted
    out = tmp_path / "mixes"
    assert cli.main(["augment", str(tone_folder), str(out), "--quiet"]) == 0
    lines = (out / "metadata.jsonl").read_text().splitlines()[:4]
    for module in ("evil", f"file:{run}/evil.py", "audiomix.__main__", "audiomix.../evil", "recipes.__main__"):
        rows = []
        for row in map(json.loads, lines):
            plan = json.loads(row["plan"]) | {"plan": "EvilPlan", "in": module}
            rows.append(json.dumps({**row, "plan": json.dumps(plan)}))
        (out / "metadata.jsonl").write_text("\n".join(rows) + "\n")
        assert cli.main(["audit", str(out), "--sources", str(tone_folder), "--quiet"]) in (0, 1, 2)
    assert not mark.exists()
