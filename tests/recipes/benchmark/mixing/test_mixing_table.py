"""Statistics of the table of mixing, against values written out; a planted gain is found, and none where none is."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiomix.measures.calibration import expected_calibration_error, negative_log_likelihood
from recipes.benchmark.mixing import codes, page
from recipes.benchmark.mixing.plan import CHOICE_SEED
from recipes.benchmark.mixing.record import MixingRecord, RunProbabilities, merge_records, new_content, read_archive
from recipes.benchmark.mixing.rows import choose_rows
from recipes.benchmark.mixing.table import MEASURES, MixingTable, columns, compare, measure, measures_of
from recipes.commands._bench_mixers import recompute
from recipes.training import mixing

FOLDS, SEEDS, CLIPS, CLASSES = "12345", (0, 1, 2), 40, 4


def shares(p):
    return torch.tensor(p, dtype=torch.float64)


def run(row, p, *, fold="1", seed=0, clips=None, strength=0, label="10%"):
    clips = np.arange(len(p)) if clips is None else np.array(clips)
    return RunProbabilities(row, strength, label, fold, seed, 1.5, clips, codes.encode(shares(p)))


def made_probabilities(generator, true, error, confidence=0.7):
    """Return probabilities (N, K) that are wrong of a share of the clips."""
    wrong = torch.rand(len(true), generator=generator) < error
    predicted = (true + wrong * torch.randint(1, CLASSES, (len(true),), generator=generator)) % CLASSES
    p = torch.full((len(true), CLASSES), (1 - confidence) / (CLASSES - 1), dtype=torch.float64)
    return p.scatter(1, predicted[:, None], confidence)


@pytest.fixture(scope="module")
def record():
    """A table in which cutmix errs half as often as plain training, and mixup as often."""
    generator, rows = torch.Generator().manual_seed(0), choose_rows(["plain", "mixup", "cutmix"])
    labels = torch.randint(0, CLASSES, (len(FOLDS) * CLIPS,), generator=generator)
    content = new_content("toy", list("abcd"), "f00d", {"steps": 3}, rows)
    content["costs"] = {"plain": [0.02, 0.02], "mixup": [0.03, 0.02]}
    runs = []
    for name, error in {"plain": 0.5, "mixup": 0.5, "cutmix": 0.2}.items():
        for i, fold in enumerate(FOLDS):
            clips = np.arange(i * CLIPS, (i + 1) * CLIPS)
            for seed in SEEDS:
                p = made_probabilities(generator, labels[clips], error)
                runs.append(run(name, p.tolist(), fold=fold, seed=seed, clips=clips, strength=i % 2))
    ids = [f"clip{i}" for i in range(len(labels))]
    return MixingRecord(content, ids, [f"g{i // 2}" for i in range(len(ids))], labels.tolist(), runs)


@pytest.fixture(scope="module")
def table(record):
    return MixingTable(record)


# ---------------------------------------------------------------- probabilities in a byte


def test_a_byte_keeps_the_prediction_and_almost_all_of_the_measures():
    logits = 4 * torch.randn(3000, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    true = torch.randint(0, 10, (3000,), generator=torch.Generator().manual_seed(2))
    logits[torch.arange(1500), true[:1500]] += 6
    p, back = logits.softmax(1), codes.decode(codes.encode(logits.softmax(1)))
    assert torch.equal(back.argmax(1), p.argmax(1))
    assert torch.allclose(back.exp().sum(1), torch.ones(3000, dtype=torch.float64))
    assert negative_log_likelihood(back, true) == pytest.approx(negative_log_likelihood(logits, true), abs=0.01)
    ece = expected_calibration_error(p, true)
    assert expected_calibration_error(back.exp(), true) == pytest.approx(ece, abs=0.3)


def test_classes_that_a_byte_cannot_tell_apart_stay_in_their_order():
    p = shares([[0.1999, 0.2001, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0, 1.0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    assert codes.decode(codes.encode(p)).argmax(1).tolist() == [1, 4, 0]


@pytest.mark.parametrize("wrong", [[[0.5, 0.4]], [[math.nan, 1.0]], [0.5, 0.5]])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="probabilities"):
        codes.encode(shares(wrong))


# ---------------------------------------------------------------- measures


def test_error_calibration_and_likelihood_of_written_out_predictions():
    """Three of four are right; confidences 0.6 and 0.9 are in two bins, of which the gaps are 0.1 and -0.1 a clip."""
    p = [[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.9, 0.1]]
    found = measure([run("plain", p)], torch.tensor([0, 0, 0, 0]))
    assert found["error"] == 25
    assert found["nll"] == pytest.approx(-(math.log(0.6) + math.log(0.4) + 2 * math.log(0.9)) / 4, abs=0.01)
    # bin of 0.6: 0.6 + 0.6 - 1 = 0.2; bin of 0.9: 1.8 - 2 = -0.2; (0.2 + 0.2) / 4 = 0.1
    assert found["ece"] == pytest.approx(10, abs=0.3)


def test_the_calibration_error_is_that_of_the_measures_of_the_package():
    logits = 2 * torch.randn(500, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    true = torch.randint(0, 5, (500,), generator=torch.Generator().manual_seed(4))
    ece = float(measures_of(columns(logits.log_softmax(1), true).mean(0))[1])
    assert ece == pytest.approx(expected_calibration_error(logits.softmax(1), true), abs=1e-9)


def test_the_calibration_error_is_of_all_runs_together_not_the_mean_of_each():
    """A run that is too sure and one that is not sure enough are calibrated together."""
    sure, unsure = run("plain", [[0.7, 0.3]] * 2), run("plain", [[0.7, 0.3]] * 2, seed=1)
    labels = torch.tensor([0, 0])
    both = measure([sure, unsure._replace(clips=np.array([2, 2]))], torch.tensor([0, 0, 1]))
    assert both["ece"] == pytest.approx(20, abs=1)  # 0.7 less 1/2
    assert measure([sure], labels)["ece"] == pytest.approx(30, abs=1)


# ---------------------------------------------------------------- gains


def test_gains_are_paired_differences():
    gains = compare(
        [run("plain", [[0.9, 0.1], [0.9, 0.1]], seed=s) for s in (0, 1)],
        [run("mixup", [[0.9, 0.1], [0.1, 0.9]], seed=s) for s in (1, 2)],
        ["a", "b"], torch.tensor([0, 1]),
    )  # fmt: skip
    assert gains.error.runs == 1  # seed 1 alone is in both
    assert gains.error.bootstrap.mean == 50
    # clip 1 is given 0.9 in place of 0.1, over two clips
    assert gains.nll.bootstrap.mean == pytest.approx((math.log(0.9) - math.log(0.1)) / 2, abs=0.02)
    assert gains.ece.bootstrap.mean == pytest.approx(40 - 10, abs=1)  # |1.8 - 1| / 2 and |1.8 - 2| / 2


def test_runs_that_are_measured_on_other_clips_are_refused():
    with pytest.raises(ValueError, match="the clips of mixup"):
        compare([run("plain", [[0.9, 0.1]])], [run("mixup", [[0.9, 0.1]], clips=[1])], ["a", "b"], torch.tensor([0, 0]))


def test_a_planted_gain_is_found_and_a_row_without_one_is_not(table):
    lines = {line.row: line for line in table.lines}
    assert list(lines) == ["plain", "mixup", "cutmix"]
    assert lines["plain"].gains is None
    found = {name: {m: getattr(lines[name].gains, m).verdict for m in MEASURES} for name in ("mixup", "cutmix")}
    assert set(found["mixup"].values()) == {"no gain shown"}
    assert found["cutmix"]["error"] == found["cutmix"]["nll"] == "gain"
    gain = lines["cutmix"].gains.error
    assert gain.used.mean == pytest.approx(lines["plain"].values["error"] - lines["cutmix"].values["error"])
    assert gain.used.low > 15
    assert gain.used.high < 45
    assert gain.runs == len(FOLDS) * len(SEEDS)


def test_p_values_are_corrected_for_the_rows(table):
    """Two rows are compared with plain training: the smaller p counts twice (Holm)."""
    lines = {line.row: line for line in table.lines}
    p = {name: lines[name].gains.error for name in ("mixup", "cutmix")}
    assert p["cutmix"].p == pytest.approx(2 * p["cutmix"].used.p)
    assert p["mixup"].p == pytest.approx(p["mixup"].used.p)


def test_costs_and_strengths_are_shown(table):
    lines = {line.row: line for line in table.lines}
    assert lines["mixup"].cost == pytest.approx(1.5)
    assert lines["cutmix"].cost is None
    assert lines["mixup"].strengths == {"0.2": 3, "1.0": 2}  # of folds, not of runs


# ---------------------------------------------------------------- the file and the pages


def test_the_file_gives_back_the_same_table_and_the_same_bytes(record, table, tmp_path):
    (tmp_path / "a").mkdir()
    record.write(tmp_path / "a" / "probabilities.npz")
    again = read_archive(tmp_path / "a")
    assert MixingTable(again).lines == table.lines
    again.write(tmp_path / "b.npz")
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a" / "probabilities.npz").read_bytes()


def test_parts_are_put_together(record, table, tmp_path, capsys):
    for name, rows in {"a": ["plain", "mixup"], "b": ["cutmix"]}.items():
        content = json.loads(json.dumps(record.content))
        content["rows"] = {row: content["rows"][row] for row in rows}
        some = [run for run in record.runs if run.row in rows]
        (tmp_path / name).mkdir()
        part = MixingRecord(content, record.ids, record.groups, record.labels, some)
        part.write(tmp_path / name / "probabilities.npz")
    assert all(line.gains is None for line in MixingTable(read_archive(tmp_path / "b")).lines)
    recompute([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert (tmp_path / "both" / "table.csv").read_text() == page._csv([table])
    assert "cutmix" in capsys.readouterr().out
    with pytest.raises(ValueError, match="one run twice: mixup"):
        merge_records([read_archive(tmp_path / "a"), record])
    other = json.loads(json.dumps(record.content)) | {"settings": {"steps": 4}}
    with pytest.raises(ValueError, match="the same settings"):
        merge_records([record, MixingRecord(other, [], [], [], [])])


def test_a_damaged_file_is_named(record, tmp_path):
    with pytest.raises(ValueError, match=r"probabilities\.npz.*no such file"):
        read_archive(tmp_path)
    record.write(tmp_path / "probabilities.npz")
    data = (tmp_path / "probabilities.npz").read_bytes()
    (tmp_path / "probabilities.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"probabilities\.npz"):
        read_archive(tmp_path)


def test_the_page_says_what_gains_and_draws_it(table, tmp_path):
    made = page.make_page([table])
    text, html = made.markdown(), made.html()
    assert "error: better: cutmix; no difference shown: 1 rows." in text
    assert html.count("<svg") == 2
    assert "Points by which a row errs less than plain training, against the time of its epochs" in html
    assert f"chosen with seed {CHOICE_SEED}" in text
    page.write_tables([table], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.html", "results.md", "table.csv"}
    head, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert len(rows) == 3
    assert head.startswith("dataset,row,kind,labelled,runs")


def test_the_page_says_where_costs_are_measured(record):
    """One value a row, which stands at every number of labels."""
    both = [*record.runs, *(run._replace(label="100%") for run in record.runs if run.row != "cutmix")]
    found = MixingTable(replace(record, runs=both))
    assert {(line.label, line.cost) for line in found.lines if line.row == "mixup"} == {("100%", 1.5), ("10%", 1.5)}
    assert "first number of labels that the command names" in page.make_page([found]).markdown()


def test_with_two_runs_the_gain_in_calibration_is_that_of_single_runs(table):
    """Sure to 0.7, one run is right and one wrong: 30 and 70 apart, 20 together. The other row is sure and right."""
    true = torch.tensor([0, 0])
    both = [
        [run(row, [[p, 1 - p]] * 2, seed=s, clips=[s * 2, s * 2 + 1]) for s, p in enumerate(found)]
        for row, found in {"plain": [0.7, 0.3], "mixup": [1.0, 1.0]}.items()
    ]
    gain = compare(*both, list("abcd"), true.repeat(2)).ece
    assert gain.bootstrap.mean == pytest.approx(20, abs=1)
    assert gain.t.mean == pytest.approx(50, abs=1)
    assert gain.name == "t"
    assert "ECE is the mean of the differences of single runs" in page.make_page([table]).markdown()


def test_the_page_says_what_madaug_holds_out(record):
    """Of three labelled clips of a class one, as the rule of the row has it."""
    note = "with three labelled clips a class (10 % of ESC-10) on two"
    assert note not in page.make_page([MixingTable(record)]).markdown()
    rows = record.content["rows"] | new_content("", [], "", {}, choose_rows(["madaug"]))["rows"]
    content = record.content | {"rows": rows}
    assert note in page.make_page([MixingTable(replace(record, content=content))]).markdown()
    (row,) = choose_rows(["madaug"])
    assert "validation" not in row.text
    madaug = mixing.get("madaug")()
    madaug._seed = 0
    madaug.take_clips(lambda index: None, torch.arange(10).repeat(3))
    assert sorted(torch.arange(10).repeat(3)[madaug.held_out].tolist()) == list(range(10))
