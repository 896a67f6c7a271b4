"""Curricula: known answers, resuming, processes that agree, and NaN that never gets in."""

import json
import math
import subprocess
import sys
import warnings

import pytest
import torch
from sounds import ROOT, noise

from audiomix import Schedule
from audiomix.report.curriculum_figure import curriculum_picture, ratios
from audiomix.streams.curriculum import (
    Curriculum,
    PlateauCurriculum,
    ScheduleCurriculum,
    UncertaintyCurriculum,
    make_curriculum,
)
from audiomix.streams.statistics import entropy_sum

WORKER = """
import json, sys, torch, warnings
from audiomix.streams.curriculum import PlateauCurriculum, UncertaintyCurriculum
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
warnings.simplefilter("ignore")
logits = torch.randn(6, 9, 5, generator=torch.Generator().manual_seed(3)).double() * 3
lengths = torch.tensor([9, 2, 7, 1, 4, 8])
mine = slice(0, 1) if rank == 0 else slice(1, 6)
sure, plateau, seen = UncertaintyCurriculum(smoothing=0.5), PlateauCurriculum(0.3, patience=1, smoothing=0.0), []
for step in range(4):
    seen.append(sure(logits[mine] / (step + 1), lengths=lengths[mine]))
    seen.append(plateau.update([1.0, 3.0][rank], [30, 10][rank]))
bad = logits[mine] * (float("nan") if rank == 0 else 1)
seen.append(sure(bad, lengths=lengths[mine]))
seen.append(sure.update(0.5 if rank else 0.0, 4 if rank else 0))
before = sure.state_dict()
sure.update(float("nan"), 1)
kept = all(before[k] == v for k, v in sure.state_dict().items() if k != "skipped")
print(json.dumps([[r.hex() for r in seen], sure.state_dict(), plateau.state_dict(), sure.skipped, kept]))
torch.distributed.destroy_process_group()
"""


def known(*shares):
    """Return log-probabilities (1, N, 4) whose normalised entropies are known: uniform over 1, 2 or 4 classes."""
    rows = [[0.0 if k < n else -math.inf for k in range(4)] for n in shares]
    return torch.tensor([rows])


def test_the_ratio_is_how_sure_the_model_is():
    curriculum = UncertaintyCurriculum(low=0.2, high=0.8, smoothing=0.0)
    assert curriculum.ratio == 0.2  # nothing seen: as if at a loss
    for shares, entropy in [((4,), 1.0), ((1,), 0.0), ((2,), 0.5), ((1, 2, 4, 4), 0.625)]:
        assert curriculum(known(*shares)) == pytest.approx(0.2 + 0.6 * (1 - entropy), abs=1e-6)
        assert curriculum.ratio_at(0.3) == curriculum.ratio


def test_padding_does_not_count_not_even_its_nan():
    logits = known(1, 2, 4, 4).repeat(2, 1, 1)
    logits[1, 2:] = math.nan
    total, count = entropy_sum(logits, lengths=torch.tensor([4, 2]))
    assert (total, count) == (pytest.approx(2.5 + 0.5, abs=1e-6), 6)  # frames weigh alike, not clips
    assert UncertaintyCurriculum(smoothing=0.0)(logits, lengths=torch.tensor([4, 2])) == pytest.approx(0.5, abs=1e-6)


def test_logits_probabilities_and_their_logarithms_say_the_same():
    logits = noise(3, 7, 11) * 4
    expected = entropy_sum(logits)
    for given, scores in [("probabilities", logits.softmax(-1)), ("log_probabilities", logits.log_softmax(-1))]:
        assert entropy_sum(scores, given=given) == (pytest.approx(expected[0], rel=1e-5), 21)
    half = entropy_sum(logits.bfloat16())[0]
    assert half == pytest.approx(expected[0], rel=0.02)
    assert expected[0] == pytest.approx(
        float(torch.distributions.Categorical(logits=logits.double()).entropy().sum()) / math.log(11), rel=1e-5
    )
    with pytest.raises(ValueError, match="did you mean given='logits'"):
        entropy_sum(logits, given="probabilities")
    with pytest.raises(ValueError, match="did you mean given='logits' or 'probabilities'"):
        entropy_sum(logits, given="log_probabilities")


def test_what_cannot_be_an_entropy_is_refused():
    with pytest.raises(ValueError, match="an entropy of one class is always 0"):
        UncertaintyCurriculum()(torch.zeros(4, 1))
    with pytest.raises(ValueError, match="divide the entropy by log K"):
        UncertaintyCurriculum().update(2.3)
    with pytest.raises(ValueError, match="frames are"):
        UncertaintyCurriculum()(torch.zeros(4, 3), lengths=torch.tensor([1, 1, 1, 1]))
    with pytest.raises(ValueError, match="logits must be given"):
        UncertaintyCurriculum().observe(loss=1.0)
    with pytest.raises(ValueError, match="loss must be given"):
        PlateauCurriculum().observe(logits=torch.zeros(4, 3))


def test_the_model_gets_no_gradient_from_it():
    logits = noise(2, 5).requires_grad_()
    assert isinstance(UncertaintyCurriculum()(logits), float)
    assert logits.grad is None
    assert PlateauCurriculum().update(logits.sum()) == 0


def test_the_average_starts_without_bias_and_decays():
    curriculum = UncertaintyCurriculum(smoothing=0.9)
    assert curriculum.update(0.6) == pytest.approx(0.4)  # not 0.94, as an average that starts at 0 would say
    assert curriculum.smoothed == pytest.approx(0.6)
    curriculum.update(0.2)
    assert curriculum.smoothed == pytest.approx((0.9 * 0.6 + 0.2) / 1.9)


def test_stemm_has_its_own_direction_and_range():
    curriculum = UncertaintyCurriculum(rule="stemm", smoothing=0.0)
    got = [curriculum.update(u) for u in (0.0, 0.5, 1.0)]
    assert got == pytest.approx([0.3775406688, 0.5, 0.6224593312])
    assert UncertaintyCurriculum(0.4, 0.6, rule="stemm", smoothing=0.0).update(1.0) == 0.6


def test_monotone_never_falls_back():
    course = [0.9, 0.3, 0.8, 0.2, 1.0]
    free, held = (UncertaintyCurriculum(smoothing=0.0, monotone=m) for m in (False, True))
    assert [free.update(u) for u in course] == pytest.approx([0.1, 0.7, 0.2, 0.8, 0.0])
    assert [held.update(u) for u in course] == pytest.approx([0.1, 0.7, 0.7, 0.8, 0.8])


def test_warm_up_and_end():
    curriculum = UncertaintyCurriculum(smoothing=0.0, monotone=True, warmup=2, start=0.4, end=1.0, end_at=0.9)
    assert curriculum.ratio_at(0) == 0.4
    # what the model did in the warm-up (0.9 at first) sets no floor
    assert [curriculum.update(u) for u in (0.1, 0.5, 0.5)] == pytest.approx([0.4, 0.4, 0.5])
    assert [curriculum.ratio_at(t) for t in (0.89, 0.9, 1.0)] == [0.5, 1.0, 1.0]


def test_plateau_steps_up_when_the_loss_stays():
    curriculum = PlateauCurriculum(0.4, threshold=0.1, patience=2, smoothing=0.0, low=0.1, high=0.9)
    falls = [curriculum.update(loss) for loss in (3.0, 2.8, 2.6, 2.4, 2.2)]
    assert falls == [0.1] * 5
    assert [curriculum.update(2.15) for _ in range(2)] == [0.1, 0.5]  # 0.05 better is no improvement
    # the loss after a step is another one: three of it are needed again
    assert [curriculum.update(5.0) for _ in range(3)] == [0.5, 0.5, 0.9]
    assert [curriculum.update(5.0) for _ in range(9)] == [0.9] * 9
    assert PlateauCurriculum(0.4, patience=1, smoothing=0.0, start=0.3).update(1.0) == 0.3


def test_plateau_waits_for_the_warm_up():
    curriculum = PlateauCurriculum(0.5, patience=1, smoothing=0.0, warmup=4)
    assert [curriculum.update(1.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["uncertainty", "plateau"])
def test_a_nan_never_enters_the_state(kind, bad):
    curriculum = make_curriculum(kind)
    curriculum.update(0.5)
    before = curriculum.state_dict()
    with pytest.warns(UserWarning, match="1 NaN or infinite observations left out"):
        curriculum.update(bad)
    assert curriculum.state_dict() == {**before, "skipped": 1}
    curriculum.update(torch.tensor(0.25))
    assert math.isfinite(curriculum.smoothed)
    with pytest.raises(ValueError, match="state"):
        curriculum.load_state_dict({**before, "average": math.nan})


def test_logits_with_a_nan_are_left_out_and_counted_at_every_tenfold():
    curriculum = UncertaintyCurriculum()
    logits = torch.tensor([[0.0, math.nan], [0.0, 1.0]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(12):
            curriculum.observe(logits=logits)
    assert [str(w.message).split()[1] for w in caught] == ["1", "10"]
    assert (curriculum.skipped, curriculum.smoothed, curriculum.ratio) == (12, None, 0.0)


@pytest.mark.parametrize(
    "text", ["uncertainty:monotone=True,warmup=3,smoothing=0.7", "plateau:step=0.05,patience=2,warmup=3"]
)
def test_resuming_in_the_middle_gives_the_same_ratios(text, tmp_path):
    course = (torch.rand(60, generator=torch.Generator().manual_seed(0)).double() * torch.linspace(1, 0.2, 60)).tolist()
    whole = make_curriculum(text)
    expected = [whole.update(v) for v in course]
    assert len(set(expected)) > 5
    for cut in (0, 2, 17, 31):
        first = make_curriculum(text)
        for v in course[:cut]:
            first.update(v)
        state = json.loads(json.dumps(first.state_dict()))
        torch.save({"curriculum": state}, tmp_path / "state.pt")
        second = make_curriculum(text)
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["curriculum"])
        assert [second.update(v) for v in course[cut:]] == expected[cut:]
    with pytest.raises(ValueError, match="state must be a dict with updates"):
        second.load_state_dict({"updates": 3})


def test_processes_with_unequal_batches_agree_to_the_bit_and_with_one_process(tmp_path):
    command = [sys.executable, "-c", WORKER]
    runs = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0] == outputs[1]
    seen, sure, plateau, skipped, kept = json.loads(outputs[0])
    seen = [float.fromhex(r) for r in seen]

    logits = torch.randn(6, 9, 5, generator=torch.Generator().manual_seed(3)).double() * 3
    lengths = torch.tensor([9, 2, 7, 1, 4, 8])
    alone, steps = UncertaintyCurriculum(smoothing=0.5), PlateauCurriculum(0.3, patience=1, smoothing=0.0)
    for step in range(4):
        assert seen[2 * step] == pytest.approx(alone(logits / (step + 1), lengths=lengths), abs=1e-12)
        assert seen[2 * step + 1] == steps.update(1.5)
    # the rank with a NaN is left out, the other one counts; so does one without data
    assert seen[8] == pytest.approx(alone(logits[1:], lengths=lengths[1:]), abs=1e-12)
    assert seen[9] == pytest.approx(alone.update(0.5), abs=1e-12)
    assert plateau["best"] == 1.5  # (1 * 30 + 3 * 10) / 40, not 2, the mean of the means
    assert (sure["updates"], skipped, kept) == (6, 3, True)


def test_one_protocol_for_all():
    for text in ("linear:0:1", "exp_approach:0:1", 0.3, "uncertainty:low=0.1,high=1", "plateau:step=0.1"):
        curriculum = make_curriculum(text)
        assert isinstance(curriculum, Curriculum)
        for step in range(3):
            assert 0 <= curriculum.ratio_at(step / 2) <= 1
            curriculum.observe(logits=noise(4, 9, 6), lengths=torch.tensor([9, 1, 0, 4]), loss=torch.tensor(2.0))
        make_curriculum(text).load_state_dict(curriculum.state_dict())
    assert make_curriculum("steps:0:1@0.5").ratio_at(0.6) == 1
    assert make_curriculum(curriculum) is curriculum
    assert make_curriculum(Schedule.of("linear:0:1")).ratio_at(0.5) == 0.5
    for true in ("True", "true", "yes", "1"):
        assert make_curriculum(f"uncertainty:monotone={true}").monotone is True
    got = make_curriculum("uncertainty: low=0.1, rule=stemm, monotone=True, warmup=7, end=0.5")
    assert (got.low, got.rule, got.monotone, got.warmup, got.end) == (0.1, "stemm", True, 7, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uncertainty:hight=1", "did you mean 'high'"),
        ("plateau:step=much", "step of plateau must be a number"),
        ("plateau:patience=1.5", "patience of plateau must be a whole number"),
        ("plateau:step=0", "above 0"),
        ("uncertainty:monotone=often", "monotone of uncertainty must be true or false"),
        ("uncertainty:low=0.9,high=0.1", "the other way round"),
        ("uncertainty:smoothing=1", "nothing observed would ever count"),
        ("linear:0:2", "curriculum must be a number in"),
        ("plato:step=1", "curriculum must be a number or a schedule"),
    ],
)
def test_wrong_curricula_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        make_curriculum(text)


def test_progress_is_a_fraction_and_a_schedule_has_no_state():
    with pytest.raises(ValueError, match="not a step"):
        UncertaintyCurriculum().ratio_at(40)
    assert ScheduleCurriculum("linear:0:1").state_dict() == {}
    with pytest.raises(ValueError, match="no entries"):
        ScheduleCurriculum("linear:0:1").load_state_dict({"updates": 1})


def test_the_picture_shows_each_curriculum(tmp_path):
    plain = curriculum_picture(tmp_path / "a.png", {"linear": "linear:0:1"}).read_bytes()
    courses = {"entropy": lambda t, r: 1 - t, "loss": lambda t, r: 2.0}
    both = {"linear": "linear:0:1", "u": "uncertainty", "p": "plateau:patience=5"}
    assert curriculum_picture(tmp_path / "b.png", both, steps=50, **courses).read_bytes() != plain
    rows = ratios(UncertaintyCurriculum(smoothing=0.0), steps=11, **courses)
    # the ratio of a step follows from what was seen at the step before
    assert [r for _, r, _ in rows] == pytest.approx([0.0] + [t / 10 for t in range(10)])
    with pytest.raises(ValueError, match="loss must be given for a PlateauCurriculum"):
        ratios(PlateauCurriculum(), entropy=courses["entropy"])


def test_the_bundled_picture_is_small():
    assert 10_000 < (ROOT / "assets" / "pictures" / "curricula.png").stat().st_size < 120_000
