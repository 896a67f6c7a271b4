import math

import pytest
import torch
from hypothesis import given, strategies as st

from audiomix import GainPlan, Plan


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(-300, 60))
def test_json_gives_back_the_same_bits(weights, gain):
    weight = torch.tensor(weights, dtype=torch.float64)
    gains = torch.tensor([[gain, -math.inf]] * len(weights), dtype=torch.float64)
    plan = GainPlan(torch.arange(len(weights)), weight, gain_db=gains)
    again = Plan.from_json(plan.to_json())
    assert type(again) is GainPlan
    assert torch.equal(again.weight, plan.weight)
    assert torch.equal(again.gain_db, plan.gain_db)
    assert again.to_json() == plan.to_json()


def test_weight_is_the_originals_share():
    """timm and torchvision say so too; kornia says the opposite."""
    plan = Plan(torch.tensor([1, 0]), torch.tensor([0.9, 0.1]).double())
    a, b = plan.gains()
    assert (a.tolist(), b[0].item()) == (plan.weight.tolist(), pytest.approx(0.1))
    assert plan.share(7).shape == (2, 1)


@pytest.mark.parametrize(
    ("partner", "weight", "message"),
    [
        (torch.tensor([1.0]), torch.ones(1).double(), "partner must be int64"),
        (torch.tensor([0]), torch.ones(1), "weight must be float64.*double"),
        (torch.tensor([0]), torch.tensor([1.5]).double(), r"weight must be in \[0, 1\]"),
        (torch.tensor([0]), torch.tensor([math.nan]).double(), r"weight must be in \[0, 1\]"),
        (torch.tensor([0, 1]), torch.ones(1).double(), "weight must be of shape"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(partner, weight, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Plan(partner, weight)


def test_unknown_json_is_refused():
    with pytest.raises(ValueError, match="plan must be of a known kind"):
        Plan.from_json('{"plan": "Nope"}')
    with pytest.raises(ValueError, match="plan must be JSON"):
        Plan.from_json("{")
    with pytest.raises(ValueError, match="plan must be the entries of a Plan"):
        Plan.from_json('{"plan": "Plan"}')
    with pytest.raises(ValueError, match='"plan" entry'):
        Plan.from_json("[1]")


def test_a_plan_is_frozen():
    plan = Plan(torch.arange(1), torch.ones(1).double())
    with pytest.raises(AttributeError):
        plan.weight = None


def test_a_manifest_is_read_before_its_mixer_was_used():
    import subprocess
    import sys

    from audiomix import CutMix, OneOf

    text = OneOf([CutMix()])(torch.randn(2, 1, 50)).plans[0].to_json()
    code = "import sys; from audiomix import Plan; print(type(Plan.from_json(sys.argv[1])).__name__)"
    out = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "OneOfPlan"
