"""``--log``: a function of one's own gets every row; the lines for W&B in the guide do what they say."""

import re
import sys
import types

import pytest
from sounds import ROOT

from audiomix.registry import load
from recipes.cli import main
from recipes.semi_supervised.train import train
from recipes.training.metrics_log import RowLog

GUIDE = (ROOT / "assets" / "docs" / "semi-supervised.md").read_text()
MINE = """
rows = []
def log(step, row, config):
    rows.append((step, row, config))
def fails(step, row, config):
    return row["no such column"]
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


@pytest.mark.slow
def test_each_row_is_logged_with_the_arguments_of_its_run(mine, toy_config, toy_data, tmp_path):
    result = train(toy_config, toy_data, "supervised", out=tmp_path / "x", log=f"{mine}:log", quiet=True)
    rows = load(f"{mine}:log", "log").__globals__["rows"]
    assert [step for step, *_ in rows] == [3, 6]
    assert rows[-1][1]["error"] == result.error_last
    assert "step" not in rows[-1][1]
    assert all(value is not None for _, row, _ in rows for value in row.values())
    config = rows[0][2]
    assert (config["method"], config["fold"], config["seed"]) == ("supervised", ["1"], [0])
    assert config["config"]["steps"] == 6
    assert config["folder"] == str(tmp_path / "x")


@pytest.mark.slow
def test_an_error_in_it_stops_the_run_with_its_line_and_resume_goes_on(mine, toy_config, toy_data, tmp_path):
    with pytest.raises(ValueError, match="log must be a function of") as error:
        train(toy_config, toy_data, "supervised", out=tmp_path / "x", log=f"{mine}:fails", quiet=True)
    assert "KeyError" in str(error.value)
    assert "line 6" in str(error.value)
    done = train(toy_config, toy_data, "supervised", out=tmp_path / "x", log=f"{mine}:log", quiet=True, resume=True)
    assert len(done.history) == 2


def test_a_function_that_is_not_there_is_refused_before_any_work(mine, tone_folder, tmp_path, capsys):
    line = ["run", "supervised", "folder", str(tone_folder), "--out", str(tmp_path / "x"), "--log", f"{mine}:lgo"]
    assert main(line) == 2
    assert "did you mean 'log'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_guides_lines_for_wandb_start_a_run_for_each_folder(monkeypatch):
    (lines,) = re.findall(r"```python\n(import wandb\n.*?)```", GUIDE, flags=re.DOTALL)
    assert len([line for line in lines.splitlines() if line.strip() and not line.startswith("import")]) <= 5
    fake = types.ModuleType("wandb")
    fake.run, fake.started, fake.rows = None, [], []

    def init(*, project, name, config, reinit):
        fake.started.append((project, name, config["method"], reinit))
        fake.run = types.SimpleNamespace(name=name)

    fake.init, fake.log = init, lambda row, step: fake.rows.append((fake.run.name, step, row))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    names = {}
    exec(lines, names)
    for folder in ("a", "b"):
        log = RowLog(names["log"], "mine.py:log", {"method": "fixmatch", "folder": folder})
        for step in (50, 100):
            log({"step": step, "error": 1.0, "mask": None})
    assert [name for _, name, *_ in fake.started] == ["a", "b"]
    assert fake.rows == [(f, s, {"error": 1.0}) for f in ("a", "b") for s in (50, 100)]
