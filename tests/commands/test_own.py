"""Things of a user's own in every command: by a file, and by entry points of an installed package."""

import csv
import json
import re

import pytest
import soundfile
from own import OWN, install
from sounds import noise

import recipes.cli
from audiomix import cli, registry
from audiomix.audio import io


@pytest.fixture(params=["file", "entry point"])
def name_of(request, tmp_path_factory, monkeypatch):
    """Make a function that returns how a thing of one's own is named on the command line."""
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("COLUMNS", "160")  # so that no line of a help is folded
    if request.param == "file":
        (folder / "mine.py").write_text(OWN)
        monkeypatch.chdir(folder)
        yield lambda name: f"mine.py:{name}"
        return
    registry._entry_points.cache_clear()
    install(folder)
    monkeypatch.syspath_prepend(folder)
    points = {"RollMix": "roll", "Taps": "taps", "Halved": "halved", "Net": "net", "clips": "clips"}
    yield points.get
    registry._entry_points.cache_clear()


@pytest.fixture
def sounds(tmp_path):
    """Write half a second of noise, 8 times in each of two classes."""
    for name in ("dog", "rain"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(8):
            x = (0.2 * noise(4000, seed=i + 10 * (name == "dog"))).numpy()
            soundfile.write(tmp_path / "in" / name / f"{i}.wav", x, 8000)
    return tmp_path / "in"


def test_mix_takes_a_mixer_of_ones_own_with_its_options(name_of, sounds, tmp_path, capsys):
    mixer, out = name_of("RollMix"), tmp_path / "mix.wav"
    line = ["mix", str(sounds / "dog" / "0.wav"), str(sounds / "rain" / "0.wav"), "-o", str(out)]
    line += ["--labels", "dog", "rain", "--mixer"]
    assert cli.main([*line, f"{mixer}:share=0.6,shift=0.1", "--shift", "0.25"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["mixer"], row["label"]) == (mixer, {"dog": 0.6, "rain": 0.4})
    a, b = (io.read(sounds / name / "0.wav").samples for name in ("dog", "rain"))
    assert (io.read(out).samples - (0.6 * a + 0.4 * b.roll(1000, -1))).abs().max() < 1e-4
    assert cli.main([*line, mixer, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Options of {mixer}" in text
    assert "--shift FLOAT How far the partner is rolled, as a fraction of the clip. [default: 0.5]" in text
    for wrong, message in (
        ([mixer, "--shfit", "0.1"], "Did you mean --shift?"),
        ([mixer, "--way", "up"], "left"),
        ([f"{mixer}:shfit=1"], "did you mean 'shift'"),
    ):
        assert cli.main([*line, *wrong]) == 2
        said = capsys.readouterr()
        assert message in " ".join((said.err + said.out).split())


def test_augment_takes_a_mixer_of_ones_own(name_of, sounds, tmp_path, capsys):
    out, mixer = tmp_path / "out", name_of("RollMix")
    line = ["augment", str(sounds), str(out), "--mixer", mixer, "--shift", "0.25", "--quiet"]
    assert cli.main(line) == 0
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert {row["mixer"] for row in rows} == {mixer}
    assert {row["options"] for row in rows} == {'{"share": 0.75, "shift": 0.25, "way": "right"}'}
    for row in rows[:3]:
        a, b = (io.read(sounds / source["id"]).samples for source in row["sources"])
        mixed = (0.75 * a + 0.25 * b.roll(1000, -1)) * 10 ** (row["limiter_gain_db"] / 20)
        assert (io.read(out / row["file_name"]).samples - mixed).abs().max() < 1e-4


@pytest.mark.slow
def test_workers_of_augment_find_a_mixer_of_ones_own(sounds, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    for workers in ("1", "2"):
        line = ["augment", str(sounds), f"out{workers}", "--mixer", "mine.py:RollMix", "--quiet", "--workers", workers]
        assert cli.main(line) == 0
    for path in (tmp_path / "out1").rglob("*.flac"):
        assert path.read_bytes() == (tmp_path / "out2" / path.relative_to(tmp_path / "out1")).read_bytes()


def test_a_set_is_not_gone_on_with_by_another_version_of_the_file(sounds, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    line = ["augment", str(sounds), "out", "--mixer", "mine.py:RollMix", "--quiet"]
    assert cli.main(line) == 0
    (tmp_path / "mine.py").write_text(OWN + "\n# changed\n")
    assert cli.main(line) != 0
    assert "out" in capsys.readouterr().err


def test_beats_takes_a_tracker_of_ones_own_and_caches_it(name_of, sounds, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    tracker = name_of("Taps")
    line = ["beats", str(sounds / "dog" / "0.wav"), "--json", "--quiet", "--tracker"]
    for _ in range(2):
        assert cli.main([*line, f"{tracker}:every=0.125"]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert (found["tracker"], found["beats"], round(found["bpm"])) == ("taps", 4, 480)
        # beats of a tracker of one's own are judged as all tracked ones are: these are of noise
        assert re.fullmatch(r"not sure: \S+0\.wav: a confidence of 0\.\d\d, .*\ntracker: taps \(1 file\)\n", said.err)
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1
    assert cli.main([*line, f"{tracker}:evry=0.125"]) == 2
    assert "did you mean 'every'" in capsys.readouterr().err


def test_a_tracker_of_ones_own_serves_the_mixer_on_the_beat(name_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", (0.2 * noise(32000, seed=ord(name))).numpy(), 8000)
    files = [str(tmp_path / f"{name}.wav") for name in "ab"]
    line = ["mix", *files, "-o", str(tmp_path / "x.wav"), "--mixer", "beat", "--min-bars", "1", "--tracker"]
    assert cli.main([*line, name_of("Taps"), "--min-confidence", "0"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["aligned"] is True
    assert row["bpm"] == pytest.approx(120)


SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--device", "cpu", "--fold", "0"]  # fmt: skip


def test_run_takes_method_data_network_and_mixer_of_ones_own(name_of, sounds, tmp_path, capsys):
    method, data, net, mixer = map(name_of, ("Halved", "clips", "Net", "RollMix"))
    out = tmp_path / "run"
    line = ["run", method, f"{data}:limit=6", str(sounds), "--model", net, "--model-options", "width=5"]
    line += ["--mixer", f"{mixer}:shift=0.25", "--factor", "0.25", "--power", "3", "--out", str(out), *SMALL]
    assert recipes.cli.main(line) == 0
    settings = json.loads((out / "fold0-seed0" / "config.json").read_text())["settings"]
    assert settings["options"] == {"factor": 0.25, "power": 3}
    assert (settings["method"], settings["mixer"]) == (method, f"{mixer}:shift=0.25")
    by_file = ["method_file", "mixer_file", "model_file"] if ".py" in method else []
    assert sorted(key for key in settings if key.endswith("_file")) == by_file
    with open(out / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["method"] == f"{method} + {mixer}:shift=0.25"
    capsys.readouterr()
    assert recipes.cli.main(["run", "--mixer", mixer, method, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Options of {method}" in text
    assert "--factor FLOAT Of the loss. [default: 0.5]" in text
    for wrong, message in (
        (["run", method, f"{data}:limt=6", str(sounds)], "did you mean 'limit'"),
        (["run", method, data, str(sounds), "--factr", "1"], "--factor"),
        (["run", method, data, str(sounds), *SMALL, "--mixer", f"{mixer}:shfit=1"], "did you mean 'shift'"),
        (["run", method + "x", data], "did you mean"),
    ):
        assert recipes.cli.main([*wrong, "--out", str(tmp_path / "x")]) in (1, 2)
        said = capsys.readouterr()
        assert message in " ".join((said.err + said.out).split())


@pytest.mark.slow
def test_a_run_of_ones_own_method_predicts_and_a_changed_file_is_noticed(sounds, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    line = ["run", "mine.py:Halved", "mine.py:clips", str(sounds), "--model", "mine.py:Net", *SMALL, "--out", "run"]
    assert recipes.cli.main(line) == 0
    assert recipes.cli.main(["predict", "run/fold0-seed0", str(sounds / "dog"), "-o", "said.csv", "--trust"]) == 0
    assert len((tmp_path / "said.csv").read_text().splitlines()) == 9
    (tmp_path / "mine.py").write_text(OWN + "\n# changed\n")
    capsys.readouterr()
    assert recipes.cli.main([*line, "--resume"]) == 2
    assert "method_file" in capsys.readouterr().err


@pytest.mark.slow
def test_bench_takes_rows_of_ones_own_in_several_processes(sounds, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    rows = ["supervised", "mine.py:Halved:factor=0.25,steps=2+mine.py:RollMix:shift=0.1"]
    line = ["bench", "mine.py:clips", str(sounds), "--methods", *rows, "--jobs", "2", *SMALL, "--out", "bench"]
    assert recipes.cli.main(line) == 0
    with open(tmp_path / "bench" / "table.csv", newline="") as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert methods == ["supervised", "mine.py:Halved"]
    assert (
        "mine.py:Halved (factor=0.25, steps=2) + mine.py:RollMix:shift=0.1"
        in (tmp_path / "bench" / "results.md").read_text()
    )


def test_lists_show_entry_points(tmp_path, monkeypatch, capsys):
    registry._entry_points.cache_clear()
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert cli.main(["list"]) == 0
        assert cli.main(["list", "roll", "taps"]) == 0
        text = capsys.readouterr().out
        assert recipes.cli.main(["list", "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)
    finally:
        registry._entry_points.cache_clear()
    for word in ("roll", "--shift", "taps", "every", "librosa", "different_class"):
        assert word in text
    for kind, name in {"methods": "halved", "data_sets": "clips", "networks": "net", "mixers": "roll"}.items():
        assert name in listed[kind]
