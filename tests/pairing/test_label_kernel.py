"""C-Mixup: partners by the Gaussian kernel of the distance of labels."""

import pytest
import torch
from pairs import DRAWS, assert_drawn_as, drawn, without_own
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, pairing


def kernel(own, theirs, bandwidth):
    """The formula, as it stands in the paper."""
    distance = (own[:, None] - theirs[None]).square().sum(-1)
    return torch.exp(-distance / (2 * bandwidth**2))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 20.0])
def test_partners_are_drawn_by_the_kernel(outputs, bandwidth):
    values = noise(7, outputs, seed=3).double()
    expected = kernel(values, values, bandwidth).fill_diagonal_(0)
    expected[expected < expected.amax(1, keepdim=True) * 5e-3] = 0  # too rare for a chi-square
    counts = drawn(f"label_kernel:bandwidth={bandwidth}", 7, values.float())
    assert_drawn_as(torch.where(expected > 0, counts, 0), expected)


def test_over_a_second_batch_and_with_weights_and_masks():
    own, other = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0], [2.0], [4.0]])
    weights = torch.tensor([1.0, 2.0, 1.0, 5.0])
    allowed = torch.ones(2, 4, dtype=torch.bool)
    allowed[1, 2] = False
    expected = kernel(own.double(), other.double(), 1.5) * weights * allowed
    given = {"other_size": 4, "other_target": other, "weights": weights, "allowed": allowed.repeat(DRAWS // 2, 1)}
    counts = drawn("label_kernel:bandwidth=1.5", DRAWS, own.repeat(DRAWS // 2, 1), **given)
    assert_drawn_as(counts.view(DRAWS // 2, 2, 4).sum(0), expected)


def test_a_small_bandwidth_chooses_the_nearest_and_a_large_one_anyone():
    values = torch.tensor([[0.0], [1.0], [1e6], [-1e6]])
    for bandwidth in ("1e-3", "1e-9"):  # every kernel value underflows to 0
        partner, found = pairing.pair(4, f"label_kernel:bandwidth={bandwidth}", target=values, generator=seeded())
        assert partner.tolist() == [1, 0, 1, 0]
        assert found.all()
    counts = drawn("label_kernel:bandwidth=1e12", 4, values)
    assert_drawn_as(counts, without_own(torch.ones(4).double()))
    assert counts.diagonal().sum() == 0  # C-Mixup's code lets a clip meet itself


def test_no_bandwidth_is_too_small():
    """Squares over a bandwidth below 1e-154 are infinite for all, the nearest too: nobody had a partner."""
    target = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    for bandwidth in (1e-3, 1e-160, 1e-299):
        partner, found = pairing.pair(4, f"label_kernel:bandwidth={bandwidth}", target=target, generator=seeded())
        assert found.all()
        assert partner.tolist() == [1, 0, 1, 2]


def test_probability_falls_with_distance_and_labels_lie_between():
    values = torch.linspace(0, 1, 9)[:, None]
    counts = drawn("label_kernel:bandwidth=0.3", 9, values)[0].double()
    assert stats.spearmanr(counts[1:], -values[1:, 0]).statistic > 0.95
    mixed = MixUp(pairing="label_kernel:bandwidth=0.05")(noise(9, 1, 50), values, generator=seeded())
    low, high = (op(values, values[mixed.plans[0].partner]) for op in (torch.minimum, torch.maximum))
    assert ((mixed.target >= low - 1e-6) & (mixed.target <= high + 1e-6)).all()
    assert ((values - values[mixed.plans[0].partner]).abs() < 0.3).all()


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (torch.arange(4), "label_kernel", r"target must be values \(B, R\).*class ids have no distance"),
        (torch.zeros(4, 2, 9), "label_kernel", r"target must be values \(B, R\)"),
        (torch.tensor([[0.0], [1], [torch.nan], [2]]), "label_kernel", "target must be finite .* eligible="),
        (None, "label_kernel", "target must be given for pairing 'label_kernel'"),
        (torch.zeros(4, 1), "label_kernel:bandwidth=0", "bandwidth must be a number in"),
        (torch.zeros(4, 1), "label_kernel:bandwidth=-1", "bandwidth must be a number in"),
    ],
)
def test_labels_without_a_distance_are_refused_before_anything_is_drawn(target, kind, message):
    generator = seeded()
    with pytest.raises(ValueError, match=message):
        pairing.pair(4, kind, target=target, generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())
