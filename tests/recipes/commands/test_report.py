"""The command ``report``: the page has every part, holds its pictures, and draws the runs' own numbers."""

import base64
import json
import re
import shutil
import statistics
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from audiomix.report.page import Page
from recipes.benchmark import charts, figures, record as results
from recipes.cli import main
from recipes.commands.report import _groups, _page_of_run
from recipes.training.run_folder import RunResult

SMALL = ["--steps", "12", "--every", "4", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--batch-labelled", "4", "--batch-unlabelled", "4", "--device", "cpu",
         "--model-options", "width=4"]  # fmt: skip


class Checked(HTMLParser):
    """Follows the page: every tag that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.found, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def benched(tone_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "b"
    assert main(["bench", "folder", str(tone_folder), "--methods", "supervised", "fixmatch:threshold=0.45", "--fold",
                 "1", "2", "--labelled", "1", "2", "--no-equal-compute", "--out", str(out), *SMALL]) == 0  # fmt: skip
    return out


@pytest.mark.slow
def test_the_page_has_every_part_and_needs_nothing_else(benched, tmp_path):
    assert main(["report", str(benched), "-o", str(tmp_path / "page.html"), "--png"]) == 0
    text = (tmp_path / "page.html").read_text()
    page = Checked()
    page.feed(text)
    assert page.open == []
    assert page.found.count("script") == 1
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert "Labels" in headings
    for label in ("1 label a class", "2 labels a class"):
        assert label in headings
        for name in (
            "Learning curves",
            "Terms of the loss",
            "Masks",
            "Guesses",
            "Classes of the guesses",
            "Confusion",
            "Calibration",
        ):
            assert f"{name}, {label}" in headings
    assert len(page.images) == 9
    contents = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in page.images]
    for content in contents:
        picture = Image.open(BytesIO(content)).convert("L")
        assert picture.size[0] > 400
        assert picture.getextrema()[0] < 100 < picture.getextrema()[1]  # something is drawn
    # two of these are charts in the page
    files = {path.read_bytes() for path in tmp_path.glob("page-*.png")}
    assert len(files) == 13
    assert {*contents} < files
    # the table is the benchmark's own
    own = (benched / "results.html").read_text()
    tables = [re.findall("<table>.*?</table>", html, re.DOTALL) for html in (text, own)]
    assert tables[0] == tables[1] != []


def test_curves_are_means_over_runs_and_bars_their_deviation(benched):
    groups = _groups(results.build_table(results.BenchmarkRecord(benched)))
    some = [group for group in groups if group.label == "2"]
    (axes,) = figures.errors(some, "ema").axes
    for group, line in zip(some, axes.get_lines()):
        assert list(line.get_xdata()) == [4, 8, 12]
        for i, y in enumerate(line.get_ydata()):
            assert y == pytest.approx(statistics.fmean(run.history[i]["error_ema"] for run in group.runs))
        assert line.get_ydata()[-1] == pytest.approx(statistics.fmean(run.error_last_ema for run in group.runs))
    (axes,) = figures.sweep(groups, "raw").axes
    assert axes.get_xscale() == "log"
    for bars, title in zip(axes.containers, ("supervised", "fixmatch (threshold=0.45)")):
        (line, _, (ranges,)) = bars
        beside = 1.04**0.5 if title.startswith("fixmatch") else 1.04**-0.5
        assert list(line.get_xdata()) == pytest.approx([3 * beside, 6 * beside])  # of 3 classes
        for label, y, piece in zip("12", line.get_ydata(), ranges.get_segments()):
            (group,) = [g for g in groups if (g.label, g.title) == (label, title)]
            errors = [run.error_last for run in group.runs]
            assert y == pytest.approx(statistics.fmean(errors))
            assert (piece[1][1] - piece[0][1]) / 2 == pytest.approx(statistics.stdev(errors))


def test_the_sweep_is_of_the_last_step(benched):
    folders = [str(benched / label / "supervised" / "fold1-seed0") for label in "12"]
    runs = [RunResult("x", "1", 0, 40.0 + i, 1.0, 30.0 + i, 2.0, 1.0, 1.0, folder) for i, folder in enumerate(folders)]
    groups = [figures.RunGroup("x", label, [run], ("a", "b"), 0) for label, run in zip("12", runs)]
    for network, expected in {"raw": [40, 41], "ema": [30, 31]}.items():
        (axes,) = figures.sweep(groups, network).axes
        assert list(axes.containers[0][0].get_ydata()) == expected


def test_a_number_of_labels_has_one_place_in_the_sweep(tmp_path):
    groups = []
    for row, (label, count) in enumerate([("10%", 8), ("10%", 10), ("3", 9), ("8", 24)]):
        folder = tmp_path / f"{row}"
        folder.mkdir()
        (folder / "split.json").write_text(json.dumps({"labelled": ["x"] * count}))
        run = RunResult("x", "1", 0, 90.0, 1.0, 30.0, 2.0, 1.0, 1.0, str(folder))
        groups.append(figures.RunGroup("x", label, [run, run], ("a", "b"), row % 2))
    (axes,) = figures.sweep(groups, "raw").axes
    first, second = (list(bars[0].get_xdata()) for bars in axes.containers)
    assert (first, second) == (pytest.approx([9 / 1.04**0.5] * 2), pytest.approx([9 * 1.04**0.5, 24 * 1.04**0.5]))
    assert list(axes.get_xticks()) == [9, 24]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10%, 3\n(9 clips)", "8\n(24 clips)"]
    assert axes.get_ylim()[1] > 90


def made(history, confusion):
    return RunResult("x", "1", 0, 0, 0, 0, 0, 1.0, 1.0, "", history=history, measures={"raw": {"confusion": confusion}})


def test_confusion_and_guesses_are_shares_of_all_runs():
    history = [{"step": 5.0, "count_a": 3.0, "count_b": 1.0}, {"step": 10.0, "count_a": 0.0, "count_b": 0.0}]
    runs = [made(history, [[4, 0], [1, 3]]), made(history, [[2, 2], [3, 1]])]
    group = figures.RunGroup("x", "1", runs, ("a", "b"), 0)
    shown = figures.confusions([group], "raw").axes[0].images[0].get_array()
    assert shown.tolist() == [[75, 25], [50, 50]]
    guesses = figures.counts([group]).axes[0].images[0].get_array()
    assert guesses[:, 0].tolist() == [1.5, 0.5]
    assert guesses.mask[:, 1].all() if guesses.mask.shape else (guesses[:, 1] != guesses[:, 1]).all()
    assert figures.masks([group]) is None
    assert figures.losses([group]) is None
    assert figures.sweep([group], "raw") is None


def test_the_charts_are_the_predictions_own(tmp_path):
    rows = [("a/0.wav", "a", "a", 0.95), ("a/1.wav", "a", "b", 0.91), ("b/0.wav", "b", "b", 0.55)] * 5
    run = tmp_path / "run"
    run.mkdir()
    lines = [f"{clip},{true},{guess},{p if guess == 'a' else 1 - p},{p if guess == 'b' else 1 - p}"
             for clip, true, guess, p in rows]  # fmt: skip
    (run / "predictions.csv").write_text("\n".join(["id,class,raw,raw_a,raw_b", *lines]) + "\n")
    (run / "config.json").write_text(json.dumps({"settings": {}, "facts": {"root": str(tmp_path)}}))
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "1.wav", np.sin(np.arange(4000)), 8000)
    group = figures.RunGroup("x", "1", [RunResult("x", "1", 0, 0, 0, 0, 0, 1.0, 1.0, str(run))], ("a", "b"), 0)
    points = [dot["title"] for dot in charts.calibration([group], "raw").dots]
    assert points == ["x: 55, 100", "x: 93, 50"]  # mean confidence, and how many of these are right
    found = charts.confusion(group, "raw", "k")
    assert [[cell["text"] for cell in row["cells"]] for row in found["rows"]] == [["50", "50"], ["", "100"]]
    (panel,) = found["panels"]
    assert (panel["title"], panel["name"]) == ("a taken for b", found["rows"][0]["cells"][1]["panel"])
    assert [clip["text"] for clip in panel["clips"]] == ["a/1.wav, 91 % sure"]  # once, though it is so five times
    page = Page("t")
    page.add("confusion", **found)
    assert page.html().count("<audio") == 1
    assert charts.calibration([figures.RunGroup("x", "1", [], ("a", "b"), 0)], "raw") is None


@pytest.mark.slow
def test_a_run_and_a_single_fold_have_a_page_too(tone_folder, tmp_path, capsys):
    out = tmp_path / "r"
    assert main(["run", "fixmatch", "folder", str(tone_folder), "--fold", "1", "2", "--labelled", "2", "--out",
                 str(out), *SMALL]) == 0  # fmt: skip
    page, (group,) = _page_of_run(out)
    assert page.title == "fixmatch on folder"
    assert [run.fold for run in group.runs] == ["1", "2"]
    assert main(["report", str(out)]) == 0
    text = (out / "report.html").read_text()
    mean = statistics.fmean(run.error_last for run in group.runs)
    assert f'<td class="best">error, last step</td><td class="best">{mean:.2f}</td>' in text
    assert "<h2>Confusion</h2>" in text
    assert main(["report", str(out / "fold1-seed0"), "-o", str(tmp_path / "one.html")]) == 0
    assert "1 runs" not in (tmp_path / "one.html").read_text()
    assert main(["report", str(out), "--baseline", "supervised"]) == 2
    assert "baseline must be given for what bench made" in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_drawn_is_told(benched, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    shutil.copytree(benched / "2" / "supervised", tmp_path / "early")
    for path in tmp_path.glob("early/*/result.json"):
        path.unlink()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "bench.json").write_text("{")
    for folder, message in {
        "gone": "there is no such folder",
        "empty": "neither bench.json nor folders fold*-seed* in it",
        "early": "one with a finished run",
        "torn": "the record of a benchmark",
    }.items():
        assert main(["report", str(tmp_path / folder)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["report", str(benched), "--baseline", "fixmach"]) == 2
    assert "baseline must be one of supervised, fixmatch:threshold=0.45" in " ".join(capsys.readouterr().err.split())
