"""Commands print what they choose, and save it; the user's values stay."""

import json

import pytest

from recipes.cli import main
from recipes.semi_supervised.inference import load_model

SMALL = ["--steps", "2", "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4",
         "--device", "cpu", "--model-options", "width=2"]  # fmt: skip
# 48 training clips of half a second at 8 kHz
CHOSEN = {"rate": 8000, "window": "32ms", "hop": "5ms", "n_mels": 64, "strong_view": "mid", "roll": 0.1, "every": 1}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def test_run_prints_and_saves_what_it_chose_and_predict_reads_it(tone_folder, stores, tmp_path, capsys):
    out = tmp_path / "x"
    line = ["run", "remixmatch", "folder", str(tone_folder), *SMALL, "--fold", "1", "--store", str(stores)]
    assert main([*line, "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    for name, value in CHOSEN.items():
        assert f"chosen: {name} {value}: " in told
    assert "chosen: turns off: a clip is one event of 0.5 s" in told
    assert "2 steps see 19 % of the unlabelled clips: more --steps?" in told
    saved = config_of(out / "fold1-seed0")
    assert {name: saved["settings"]["config"][name] for name in CHOSEN} == CHOSEN
    assert saved["settings"]["options"]["turns"] == "off"
    reasons = {choice["name"]: choice["reason"] for choice in saved["facts"]["choices"]}
    assert reasons.keys() == {*CHOSEN, "turns"}
    assert all(reasons.values())
    assert saved["facts"]["passes"] == {"labelled": 1.333, "unlabelled": 0.19}
    assert load_model(out / "fold1-seed0").config.window == "32ms"
    assert main(["predict", str(out / "fold1-seed0"), str(tone_folder / "high" / "0.wav"), "--out",
                 str(tmp_path / "p.csv")]) == 0  # fmt: skip


def test_what_is_given_is_not_chosen(tone_folder, stores, tmp_path, capsys):
    line = ["run", "remixmatch", "folder", str(tone_folder), *SMALL, "--fold", "1", "--store", str(stores)]
    given = ["--window", "20ms", "--hop", "12ms", "--roll", "0.3", "--turns", "on", "--rate", "8000", "--n-mels", "24"]
    assert main([*line, "--out", str(tmp_path / "x"), *given, "--strong-view", "weak", "--every", "2"]) == 0
    assert "chosen" not in capsys.readouterr().err
    saved = config_of(tmp_path / "x" / "fold1-seed0")["settings"]
    wanted = {"window": "20ms", "hop": "12ms", "roll": 0.3, "n_mels": 24, "strong_view": "weak", "every": 2}
    assert {name: saved["config"][name] for name in wanted} == wanted
    assert saved["options"]["turns"] == "on"


def test_a_bench_chooses_by_store_and_alike_for_methods_folds_and_seeds(tone_folder, stores, tmp_path, capsys):
    rows = ["supervised", "fixmatch", "supervised:rate=4000"]
    # the rate of a row makes a store of its own
    line = ["bench", "folder", str(tone_folder), "--methods", *rows, *SMALL, "--store", str(stores)]
    assert main([*line, "--fold", "1", "2", "--seed", "0", "1", "--out", str(tmp_path / "b")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    for rate, bands in {8000: 64, 4000: 56}.items():
        for choice in ("window 32ms", f"n_mels {bands}"):
            assert told.count(f"chosen for clips at {rate} Hz of 0.5 s: {choice}: ") == 1
    found = {}
    for path in (tmp_path / "b").glob("*/*/fold*/config.json"):
        config = config_of(path.parent)["settings"]["config"]
        found.setdefault(path.parts[-3], []).append(tuple(config[name] for name in CHOSEN))
    assert len(found["supervised"]) == len(found["fixmatch"]) == len(found["supervised_rate=4000"]) == 4
    by_row = {name: set(values) for name, values in found.items()}
    assert by_row["supervised"] == by_row["fixmatch"] == {tuple(CHOSEN.values())}
    (low,) = by_row["supervised_rate=4000"]
    assert low == tuple((CHOSEN | {"rate": 4000, "n_mels": 56}).values())


def test_a_command_that_goes_on_chooses_the_same(tone_folder, stores, tmp_path):
    line = ["run", "supervised", "folder", str(tone_folder), *SMALL, "--fold", "1", "--store", str(stores)]
    assert main([*line, "--out", str(tmp_path / "x")]) == 0
    before = (tmp_path / "x" / "fold1-seed0" / "result.json").read_bytes()
    assert main([*line, "--out", str(tmp_path / "x"), "--resume"]) == 0
    assert (tmp_path / "x" / "fold1-seed0" / "result.json").read_bytes() == before


def test_help_says_what_is_chosen_from_the_data(capsys):
    for preset, count in {"small": 8, "strong": 8, "demo": 7, "study": 1}.items():
        assert main(["run", "supervised", "--preset", preset, "--help"]) == 0
        told = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert told.count("[default: chosen from the data]") == count, preset
