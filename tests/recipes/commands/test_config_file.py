"""``--config``: a file instead of a command line, and the file that every run leaves makes the same run again."""

import inspect

import pytest
from runs import assert_same_run

from recipes.cli import main
from recipes.commands._config_file import _ELSEWHERE, read_config_file, write_arguments
from recipes.commands.run import run
from recipes.data.copies import add_unlabelled
from recipes.data.protocol import read_dataset, take_out_classes
from recipes.semi_supervised.run_file import run_arguments
from recipes.semi_supervised.run_spec import RunSpec
from recipes.training.config import Config
from recipes.training.yaml_file import read_yaml

FIELDS = {
    "labelled": 2, "rate": 8000, "window": "256", "hop": 100, "n_mels": 32, "threads": 1, "batch_labelled": 4,
    "batch_unlabelled": 8, "steps": 4, "every": 2, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def write(tmp_path, tone_folder):
    """Return a function that writes a file for a run on the tones, with lines changed, and returns its name."""

    def write(name="mine.yaml", config=None, **changes):
        lines = {"method": "fixmatch", "dataset": "folder", "root": tone_folder, "fold": "[1]", "seed": "[3]"} | changes
        text = "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None)
        fields = FIELDS | (config or {})
        text += "config:\n" + "".join(f"  {key}: {value}\n" for key, value in fields.items())
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.mark.slow
def test_the_file_that_a_run_leaves_makes_the_same_run_again(write, tmp_path):
    file = write(options="{threshold: 0.5}", mixer="mixup:alpha=0.3", config={"lr": "1e-3", "freeze": "off"})
    assert main(["run", "--config", file, "--out", str(tmp_path / "one"), "--store", str(tmp_path / "s")]) == 0
    one = tmp_path / "one" / "fold1-seed3"
    for i, again in enumerate((one / "run.yaml", tmp_path / "one" / "run.yaml")):
        out = tmp_path / f"again{i}"
        assert main(["run", "--config", str(again), "--out", str(out), "--store", str(tmp_path / "s")]) == 0
        assert_same_run(one, out / "fold1-seed3")
    settings = read_yaml(one / "run.yaml")
    assert settings["config"]["lr"] == "0.001"
    assert settings["options"]["threshold"] == "0.5"


@pytest.mark.slow
def test_the_file_of_a_run_holds_whatever_presets_and_defaults_become(write, tmp_path, monkeypatch):
    """Values of the method's preset and of the data set are written; None of a field is kept as None."""
    from recipes.algorithms.fixmatch import FixMatch

    monkeypatch.setattr(FixMatch, "presets", {"small": {"threshold": 0.4}})
    monkeypatch.setattr(FixMatch, "configs", {"small": {"rate": None}})
    file = write()
    (tmp_path / "mine.yaml").write_text((tmp_path / "mine.yaml").read_text().replace("  rate: 8000\n", ""))
    store = ["--store", str(tmp_path / "s")]
    assert main(["run", "--config", file, "--out", str(tmp_path / "one"), *store]) == 0
    monkeypatch.setattr(FixMatch, "presets", {"small": {"threshold": 0.9, "weight": 0.1}})
    monkeypatch.setattr(FixMatch, "configs", {"small": {"lr": 1.0}})
    one = tmp_path / "one" / "fold1-seed3"
    assert main(["run", "--config", str(one / "run.yaml"), "--out", str(tmp_path / "two"), *store]) == 0
    assert_same_run(one, tmp_path / "two" / "fold1-seed3")


@pytest.mark.slow
def test_the_file_that_a_bench_leaves_makes_the_same_table_again(write, tmp_path):
    rows = "['supervised', 'fixmatch:threshold=0.5|0.9']"
    file = write(method=None, methods=rows, labelled="2", baseline="supervised")
    text = (tmp_path / "mine.yaml").read_text().replace("  labelled: 2\n", "")
    (tmp_path / "mine.yaml").write_text(text)
    for source, out in ((file, "one"), (str(tmp_path / "one" / "bench.yaml"), "two")):
        assert main(["bench", "--config", source, "--out", str(tmp_path / out), "--store", str(tmp_path / "s")]) == 0
    found = read_yaml(tmp_path / "one" / "bench.yaml")
    assert found["methods"] == ["supervised", "fixmatch:threshold=0.5", "fixmatch:threshold=0.9"]
    folders = [f"2/{slug}/fold1-seed3" for slug in ("supervised", "fixmatch_threshold=0.5", "fixmatch_threshold=0.9")]
    for folder in folders:
        assert_same_run(tmp_path / "one" / folder, tmp_path / "two" / folder)
        assert read_yaml(tmp_path / "one" / folder / "run.yaml")["command"] == "run"


@pytest.fixture
def called(monkeypatch):
    """Replace the training by a record of what it would have been called with."""
    seen = {}
    monkeypatch.setattr("recipes.commands.run.run_all", lambda c, d, m, **k: seen.update(k, config=c, method=m) or [])
    monkeypatch.setattr("recipes.commands.run.by_head", lambda results: [])
    return seen


def test_the_command_line_replaces_what_the_file_says_and_tells_it(write, called, tmp_path, capsys):
    file = write(options="{threshold: 0.5, mix_labels: off}")
    words = ["--threshold", "0.75", "--steps", "7", "--seed", "1", "2", "--out", str(tmp_path / "x")]
    assert main(["run", "--config", file, *words]) == 0
    assert called["options"] == {"threshold": 0.75, "mix_labels": False}
    assert (called["config"].steps, called["config"].every, called["seeds"]) == (7, 2, [1, 2])
    told = capsys.readouterr().err
    for line in ("threshold 0.75 of", "replaces 0.5 of", "steps 7 of", "replaces 4 of", "seed 1 2 of", "replaces 3 of"):
        assert line in told
    assert "every" not in told


def test_the_home_folder_is_meant_as_in_a_shell(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(root="~/clips")
    assert read_config_file(["run", "--config", path], "run", run).arguments["root"] == tmp_path / "clips"


def test_passes_on_the_command_line_replace_steps_of_the_file(write, called, tmp_path):
    assert main(["run", "--config", write(), "--epochs", "3", "--out", str(tmp_path / "x")]) == 0
    assert (called["config"].steps, called["config"].epochs) == (None, 3)


def test_a_method_on_the_command_line_replaces_the_one_of_the_file(write, called, tmp_path, capsys):
    assert main(["run", "--config", write(), "supervised", "--out", str(tmp_path / "x")]) == 0
    assert called["method"] == "supervised"
    assert "method supervised of the command line replaces fixmatch" in capsys.readouterr().err


def test_the_help_shows_the_values_of_the_file(write, capsys):
    file = write(options="{threshold: 0.515}", config={"lr": "0.0123"})
    assert main(["run", "--config", file, "--help"]) == 0
    text = capsys.readouterr().out
    assert "0.515" in text
    assert "0.0123" in text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"metod": "fixmatch"}, "did you mean 'method'?"),
        ({"steps": "4"}, "the key steps in {file} must be below config:"),
        ({"options": "{treshold: 0.5}"}, "did you mean 'threshold'?"),
        ({"options": "{threshold: much}"}, "threshold in {file} must be a number"),
        ({"options": "0.5"}, "options in {file} must be lines of KEY: VALUE below it"),
        ({"config": {"n_mel": "32"}}, "did you mean 'n_mels'?"),
        ({"config": {"steps": "many"}}, "steps in {file} must be a whole number"),
        ({"seed": "[a]"}, "seed in {file} must be a whole number"),
        ({"dataset": None}, "dataset must be on the command line or in {file}, got in neither"),
        ({"command": "bench"}, "command in {file} must be run"),
        ({"method": "fixmach"}, "did you mean 'fixmatch'?"),
        ({"quiet": "true"}, "the key in {file} must be one of"),
    ],
)
def test_wrong_keys_and_values_are_refused_before_any_work(lines, message, write, tmp_path, capsys):
    file = write(**lines)
    assert main(["run", "--config", file, "--out", str(tmp_path / "x")]) == 2
    assert message.format(file=file) in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


def test_a_bench_refuses_the_file_of_a_run_and_fields_that_are_its_own(write, tmp_path, capsys):
    assert main(["bench", "--config", write(command="run"), "--out", str(tmp_path / "x")]) == 2
    assert "must be bench" in capsys.readouterr().err
    assert main(["bench", "--config", write(method=None), "--out", str(tmp_path / "x")]) == 2
    assert "the key below config in" in capsys.readouterr().err  # labelled is an argument of bench


def test_a_file_of_other_arguments_is_kept(tmp_path):
    first = write_arguments(tmp_path, "bench", {"dataset": "demo", "out": tmp_path, "jobs": 3, "seed": (0,)})
    assert read_yaml(first) == {"command": "bench", "dataset": "demo", "seed": ["0"]}
    assert write_arguments(tmp_path, "bench", {"dataset": "demo", "jobs": 1, "seed": (0,)}) == first
    other = write_arguments(tmp_path, "bench", {"dataset": "demo", "seed": (0, 1)})
    assert other.name == "bench-2.yaml"
    assert read_yaml(first)["seed"] == ["0"]


def test_two_files_are_refused(write, tmp_path, capsys):
    two = [word for name in ("a.yaml", "b.yaml") for word in ("--config", write(name))]
    assert main(["run", *two, "--out", str(tmp_path / "x")]) == 2
    assert "config must be one file, got" in capsys.readouterr().err


def test_the_file_of_a_run_has_every_argument_that_decides_what_is_computed(tone_folder, tmp_path, write_wav):
    """So an argument that is added to the command cannot be forgotten."""
    write_wav(tmp_path / "more" / "x.wav", frequency=500)
    data = add_unlabelled(read_dataset("folder:layout=class", tone_folder), tmp_path / "more")
    data = take_out_classes(data, ["low"])
    spec = RunSpec(Config(), "fixmatch", {"threshold": 0.5}, None, "1", 0, tmp_path, True, False, 2)
    found = run_arguments(spec, data)
    assert set(found) == set(inspect.signature(run).parameters) - set(_ELSEWHERE) - {"preset"} | {"command"}
    assert found["dataset"] == "folder:layout=class"
    assert (found["root"], found["unlabelled"]) == (tone_folder, tmp_path / "more")
    assert found["outlier_classes"] == ["low"]
    assert found["config"].keys() == Config().to_dict().keys()
