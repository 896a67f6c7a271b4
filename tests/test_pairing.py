"""Who may meet whom: what every rule keeps to, and rules of one's own."""

import pytest
import torch
from own import OWN
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, pairing
from audiomix.plan import NO_PARTNER

CLASSES = torch.tensor([0, 0, 0, 1, 1, 2])
LABELS = torch.eye(3)[CLASSES]
TARGETS = [CLASSES, LABELS, LABELS[..., None].repeat(1, 1, 4)]


@pytest.mark.parametrize("kind", pairing.PAIRINGS)
def test_partners_are_those_that_may_be_met_and_each_as_often(kind):
    eligible = torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.bool)
    classes = TARGETS[0]
    for other in (None, torch.tensor([0, 1, 1, 2])):
        other_size = None if other is None else len(other)
        alike = classes[:, None] == (classes if other is None else other)
        may = {"any": torch.ones_like(alike), "same_class": alike, "different_class": ~alike}[kind] & eligible[:, None]
        if other is None:
            may = may & eligible & ~torch.eye(6, dtype=torch.bool)
        counts = torch.zeros(may.shape)
        for seed in range(600):
            given = {"other_size": other_size, "other_target": other, "eligible": eligible}
            partner, found = pairing.pair(6, kind, target=classes, **given, generator=seeded(seed))
            assert torch.equal(found, may.any(1))
            counts[torch.arange(6)[found], partner[found]] += 1
        assert (counts[~may] == 0).all()
        for row, allowed in zip(counts, may):
            assert allowed.sum() < 2 or stats.chisquare(row[allowed].numpy()).pvalue > 1e-4


def test_labels_of_any_form_give_the_same_partners_and_what_is_allowed_counts():
    for kind in ("same_class", "different_class"):
        drawn = [pairing.pair(6, kind, target=target, generator=seeded(1)) for target in TARGETS]
        for partner, found in drawn[1:]:
            assert torch.equal(partner, drawn[0][0])
            assert torch.equal(found, drawn[0][1])
    for kind in pairing.PAIRINGS:
        allowed = torch.zeros(6, 6, dtype=torch.bool)
        allowed[0, 1] = allowed[0, 3] = True
        partner, found = pairing.pair(6, kind, target=TARGETS[0], allowed=allowed, generator=seeded())
        assert found.tolist() == [True, *[False] * 5]
        assert partner[1:].tolist() == [1, 2, 3, 4, 5]


def test_a_rule_of_ones_own_cannot_choose_whom_nobody_may(tmp_path, monkeypatch):
    """It need not look at `allowed`; a clip that it pairs with itself would be scaled, and its plan said it is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n\n"
        "def turned(pool, generator, *, step: int = 1):\n"
        "    rows = torch.arange(pool.size)\n"
        "    return (rows + step) % pool.candidates, torch.ones(pool.size, dtype=torch.bool)\n"
    )
    wave, second = noise(5, 1, 100), noise(7, 1, 100, seed=2)
    allowed, weights = torch.ones(5, 5, dtype=torch.bool), torch.ones(5)
    allowed[0, 1], weights[3] = False, 0
    eligible = torch.tensor([1, 1, 1, 1, 0], dtype=torch.bool)
    for given, step, left in (
        ({}, 5, [0, 1, 2, 3, 4]),
        ({"allowed": allowed}, 1, [0]),
        ({"pairing_weights": weights}, 1, [2]),
        ({"other": second, "allowed": torch.eye(5, 7).bool()}, 1, [0, 1, 2, 3, 4]),
        ({"other": second}, 7, []),
    ):
        mixed = MixUp(pairing=f"mine.py:turned:step={step}", gain_law="unit_power")(wave, generator=seeded(), **given)
        (plan,) = mixed.plans
        assert [i for i in range(5) if not plan.mixed[i]] == left
        assert [i for i, why in enumerate(plan.why) if why == NO_PARTNER] == left
        assert torch.equal(mixed.x[left], wave[left])
    (plan,) = MixUp(pairing="mine.py:turned")(wave, eligible=eligible, generator=seeded()).plans
    assert plan.mixed.tolist() == [True, True, True, False, False]


def test_a_rule_of_ones_own_has_options_and_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        OWN + "\n\ndef far(pool, generator):\n    return torch.full((pool.size,), 9), pool.eligible\n"
    )
    wave = noise(5, 1, 40)
    for text, step in (("mine.py:nearest", 1), ("mine.py:nearest:step=2", 2)):
        (plan,) = MixUp(pairing=text)(wave, generator=seeded()).plans
        assert plan.partner.tolist() == [(i + step) % 5 for i in range(5)]
    with pytest.raises(ValueError, match=r"what mine.py:far returns must be indices in 0\.\.4, got 9\.\.9"):
        MixUp(pairing="mine.py:far")(wave)
    for wrong, message in (
        ("anny", "pairing must be one of any, .*, different_class, .*, got 'anny': did you mean 'any'"),
        ("mine.py:nearest:stp=1", "did you mean 'step'"),
        ("any:step=1", "the options of pairing any must be none"),
    ):
        with pytest.raises(ValueError, match=message):
            MixUp(pairing=wrong)
    with pytest.raises(TypeError, match="pairing must be the name of a rule"):
        MixUp(pairing=3)
