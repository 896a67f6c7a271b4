"""Several data sets in exact proportions, and proportions that follow losses."""

import itertools
import json
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings, strategies as st
from sounds import ROOT, seeded
from torch.utils.data import ConcatDataset, DataLoader

from audiomix import Aioli, CorpusSampler
from audiomix.datasets import get
from audiomix.losses.mixed_target import mixed_cross_entropy


def corpus_of(index, sizes):
    """Return which data set an index of all of them is of."""
    return next(k for k, end in enumerate(itertools.accumulate(sizes)) if index < end)


@given(
    ratios=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    count=st.integers(1, 300),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_beginning_has_the_proportions(ratios, count, seed):
    """Tijdeman's bound: the worst of any order is at least that far away."""
    sizes = [3 + k for k in range(len(ratios))]
    sampler = CorpusSampler(sizes, ratios, num_samples=count, seed=seed)
    bound = 1 - 1 / (2 * max(1, len(ratios) - 1)) if len(ratios) > 1 else 0
    seen = Counter()
    for n, index in enumerate(itertools.chain(sampler, sampler), 1):  # over the end of an epoch too
        seen[corpus_of(index, sizes)] += 1
        for k, ratio in enumerate(ratios):
            assert abs(seen[k] - n * ratio / sum(ratios)) <= bound + 1e-6
    assert n == 2 * count


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    ratios=st.lists(st.floats(0.05, 3.0), min_size=4, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_no_clip_comes_again_before_all_others_of_its_data_set(sizes, ratios):
    sampler = CorpusSampler(sizes, ratios[: len(sizes)], num_samples=40)
    found = [index for _ in range(3) for index in sampler]
    for k, size in enumerate(sizes):
        own = [index for index in found if corpus_of(index, sizes) == k]
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size])) == size


def test_two_real_clips_to_each_synthetic_one_in_every_batch_of_a_loader():
    real, synthetic = [torch.tensor(0.0)] * 40, [torch.tensor(1.0)] * 500
    sampler = CorpusSampler([real, synthetic], (2, 1))
    assert len(sampler) == 60
    loader = DataLoader(ConcatDataset([real, synthetic]), batch_size=12, sampler=sampler)
    assert [float(batch.sum()) for batch in loader] == [4.0] * 5


def test_an_epoch_is_one_pass_of_the_first_data_set_by_default_and_epochs_differ():
    sampler = CorpusSampler([6, 30], (3, 1), seed=4)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(sampler) == 8
    for epoch in (first, second):
        assert sorted(i for i in epoch if i < 6) == list(range(6))
    assert [i for i in first if i < 6] != [i for i in second if i < 6]
    assert not {i for i in first if i >= 6} & {i for i in second if i >= 6}  # the large one goes on
    assert list(CorpusSampler([6, 30], (3, 1), seed=4)) == first
    assert list(CorpusSampler([6, 30], (3, 1), seed=5)) != first


def test_ratios_count_from_the_next_epoch_on():
    """A loader with workers has read ahead: ratios that change at once would count from some clip or other."""
    sampler = CorpusSampler([50, 50], (1, 1), num_samples=20)
    epoch = iter(sampler)
    begun = [next(epoch) for _ in range(4)]
    sampler.set_ratios((1, 0), num_samples=6)
    assert sum(i >= 50 for i in begun + list(epoch)) == 10
    assert len(sampler) == 20
    found = list(sampler)
    assert len(found) == 6
    assert all(i < 50 for i in found)
    untouched = CorpusSampler([50, 50], (1, 1), num_samples=20)
    untouched.set_ratios((0, 1))
    assert all(i >= 50 for i in untouched)


@pytest.mark.parametrize("taken", [0, 1, 7, 20])
def test_a_state_goes_on_in_the_middle_of_an_epoch_whatever_was_read_ahead(taken):
    whole = CorpusSampler([7, 30], (1, 2), num_samples=20, seed=3)
    list(whole)
    expected = [*whole, *whole]
    ahead = CorpusSampler([7, 30], (1, 2), num_samples=20, seed=3)
    list(ahead)
    epoch = iter(ahead)
    for _ in range(min(20, taken + 9)):
        next(epoch, None)  # a loader reads ahead
    state = ahead.state_dict(taken=taken)
    again = CorpusSampler([7, 30], (9, 1), seed=3)
    again.load_state_dict(state)
    left = list(again)
    if taken == 20:
        assert left == expected[20:]
    else:
        assert left == expected[taken:20]
        assert list(again) == expected[20:]


def test_after_a_change_no_clip_is_of_a_data_set_that_is_not_drawn_from():
    """Two had given half a clip too much by the old ratios: none had enough for the next one, and the first gave it."""
    sampler = CorpusSampler([9, 9, 9, 9], (0.24, 0.24, 0.26, 0.26), num_samples=2)
    assert all(index >= 18 for index in sampler)
    sampler.set_ratios((0, 0, 1, 1))
    assert sorted(corpus_of(index, [9, 9, 9, 9]) for index in sampler) == [2, 3]


@given(
    changes=st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any), min_size=2, max_size=5),
    count=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_from_a_change_on_every_beginning_has_the_new_proportions(changes, count):
    sizes = [3, 4, 5, 6]
    sampler = CorpusSampler(sizes, (1, 2, 3, 4), num_samples=3)
    list(sampler)
    for ratios in changes:
        sampler.set_ratios(ratios, num_samples=count)
        seen = Counter()
        for n, index in enumerate(sampler, 1):
            seen[corpus_of(index, sizes)] += 1
            for k, ratio in enumerate(ratios):
                assert ratio or not seen[k]
                # the same ratios a second time go on
                assert abs(seen[k] - n * ratio / sum(ratios)) <= 2 * (1 - 1 / 6) + 1e-6


def test_a_change_is_of_the_next_epoch_after_a_resume_too():
    """Else the rest of an epoch that was half trained on is of another one, or the change is lost."""
    whole = CorpusSampler([7, 30], (1, 2), num_samples=20)
    epoch = list(whole)
    whole.set_ratios((1, 0), num_samples=4)
    then = list(whole)
    saved = CorpusSampler([7, 30], (1, 2), num_samples=20)
    iter(saved)
    before = saved.state_dict(taken=5)
    saved.set_ratios((1, 0), num_samples=4)
    for state, change in ((before, True), (saved.state_dict(taken=5), False)):
        again = CorpusSampler([7, 30], (1, 2))
        again.load_state_dict(json.loads(json.dumps(state)))
        if change:
            again.set_ratios((1, 0), num_samples=4)
        once_more = CorpusSampler([7, 30], (1, 2))
        once_more.load_state_dict(again.state_dict())  # saved again before a clip was drawn
        for one in (again, once_more):
            assert list(one) == epoch[5:]
            assert list(one) == then


def test_a_state_at_the_end_of_an_epoch_needs_no_count():
    one = CorpusSampler([7, 30], (1, 2), num_samples=20)
    assert one.state_dict()["epoch"] == 0
    list(one)
    two = CorpusSampler([7, 30], (1, 2), num_samples=20)
    two.load_state_dict(one.state_dict())
    assert list(two) == list(one)


def test_sounds_of_two_folders_come_as_asked(esc10):
    """ESC-10's clips as the real ones, the bundled sounds in place of synthetic ones."""
    real = get("esc10")(esc10).items
    other = sorted((ROOT / "assets" / "sounds").glob("*.flac"))
    sampler = CorpusSampler([real, other], (4, 1))
    clips = [(*real, *other)[i] for i in sampler]
    assert len(clips) == 500
    assert sum(clip in other for clip in clips) == 100
    assert len({clip.id for clip in clips if clip not in other}) == 400


def by_hand(drops, probe):
    """The same numbers for two data sets, by Cramer's rule."""
    a, b = probe, 1 - probe
    found = [[(a * x - b * y) / (a * a - b * b), (a * y - b * x) / (a * a - b * b)] for x, y in drops]
    low = min(0.0, *found[0], *found[1])
    found = [[v - low for v in row] for row in found]
    total = sum(map(sum, found))
    return [[v / total for v in row] for row in found]


@pytest.mark.parametrize("drops", [[[0.3, 0.1], [0.2, 0.25]], [[0.1, -0.2], [0.0, 0.3]], [[-0.2, -0.1], [-0.3, -0.2]]])
def test_ratios_are_those_of_the_equations(drops):
    """Rows are losses and columns data sets: the other way round the first case gives another order."""
    graph = by_hand(drops, 0.75)
    weights = [math.exp(2.0 * (graph[0][i] + graph[1][i])) for i in range(2)]
    found = Aioli(2, eta=2.0).update(torch.tensor(drops))
    assert found == pytest.approx([w / sum(weights) for w in weights], rel=1e-5)


def test_a_probe_of_one_data_set_alone_needs_no_solution():
    drops = torch.tensor([[0.4, 0.1, 0.0], [0.1, 0.2, 0.0], [0.1, 0.0, 0.1]])
    weights = (drops / drops.sum()).sum(0).exp()
    assert Aioli(3, probe=1.0).update(drops) == pytest.approx((weights / weights.sum()).tolist(), rel=1e-6)


def test_with_a_mean_each_round_starts_from_equal_ratios_and_without_one_from_the_last():
    drops = torch.tensor([[0.3, 0.1], [0.3, 0.1]])
    averaged, multiplied = Aioli(2), Aioli(2, average=None)
    for _ in range(30):
        averaged.update(drops)
        multiplied.update(drops)
    assert averaged.ratios[0] / averaged.ratios[1] == pytest.approx(math.e, rel=1e-3)
    assert multiplied.ratios[0] > 0.99
    one, two = Aioli(2, average=0.1), Aioli(2)
    one.update(drops)
    one.update(drops.flip(1))
    two.update(drops.flip(1))
    earlier = torch.tensor([1.0, 0.0]) * 0.1 + torch.tensor([0.0, 1.0]) * 0.9
    assert one.ratios == pytest.approx(torch.softmax(earlier, 0).tolist(), rel=1e-5)
    assert one.ratios[1] < two.ratios[1]


@given(st.lists(st.floats(-5, 5), min_size=9, max_size=9), st.floats(0, 3))
@settings(max_examples=50, deadline=None)
def test_ratios_are_bounded_and_sum_to_one(values, eta):
    found = Aioli(3, eta=eta).update(torch.tensor(values).view(3, 3).double())
    assert sum(found) == pytest.approx(1)
    assert max(found) / min(found) <= math.exp(eta) * (1 + 1e-9)


def test_a_large_eta_does_not_overflow():
    assert Aioli(2, eta=1000.0).update(torch.tensor([[0.3, 0.1], [0.3, 0.1]])) == pytest.approx([1, 0])


def test_losses_that_do_not_change_leave_equal_ratios():
    assert Aioli(3).update(torch.zeros(3, 3)) == pytest.approx([1 / 3] * 3)
    assert Aioli(2).update(torch.tensor([[-0.1, -0.1], [-0.1, -0.1]])) == pytest.approx([0.5, 0.5])


def test_a_round_trains_with_the_probing_ratios_and_finds_what_helps():
    """A data set whose labels are noise helps no loss; its ratio falls."""
    torch.manual_seed(0)
    rule, weight = torch.randn(8, 4), torch.zeros(8, 4, requires_grad=True)
    x = torch.randn(400, 8, generator=seeded())
    clean, wrong = (x @ rule).argmax(1), torch.randint(4, (400,), generator=seeded(1))
    rows = [(x[i], clean[i]) for i in range(200)] + [(x[i], wrong[i]) for i in range(200, 400)]
    sampler, aioli, asked = CorpusSampler([200, 200], (1, 1), num_samples=64), Aioli(2), []

    def train(ratios):
        asked.append(ratios)
        sampler.set_ratios(ratios, num_samples=64)
        for inputs, labels in DataLoader(rows, batch_size=16, sampler=sampler):
            (gradient,) = torch.autograd.grad(mixed_cross_entropy(inputs @ weight, labels), weight)
            weight.data -= 0.1 * gradient

    def validate():
        return torch.stack([mixed_cross_entropy(x[:200] @ weight, clean[:200])] * 2).detach()

    ratios = aioli.run_round(train, validate, sweeps=3, generator=seeded(2))
    assert Counter(asked) == {(0.75, 0.25): 3, (0.25, 0.75): 3}
    assert ratios[0] > 0.6
    again = Aioli(2)
    again.load_state_dict(aioli.state_dict())
    drops = torch.tensor([[0.1, 0.2], [0.3, 0.1]])
    assert again.update(drops) == aioli.update(drops)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="ratios must be one for each of 2 data sets, got 3"):
        CorpusSampler([3, 4], (1, 2, 3))
    with pytest.raises(ValueError, match="ratios must be 0 for data set 1, which has no clips, got 1"):
        CorpusSampler([3, []], (1, 1))
    with pytest.raises(ValueError, match="ratios must be above 0 for one data set at least"):
        CorpusSampler([3, 4], (0, 0))
    with pytest.raises(ValueError, match=r"ratios must be a number in \[0, inf\]"):
        CorpusSampler([3, 4], (1, -1))
    with pytest.raises(ValueError, match="num_samples must be given where the first data set is not drawn from"):
        CorpusSampler([3, 4], (0, 1))
    with pytest.raises(ValueError, match=r"taken must be at most the 3 clips .* not in batches"):
        CorpusSampler([3, 4], (1, 0)).state_dict(taken=4)
    with pytest.raises(ValueError, match=r"state must be of sizes \(3, 4\), got \(3, 5\)"):
        CorpusSampler([3, 4], (1, 1)).load_state_dict(CorpusSampler([3, 5], (1, 1)).state_dict())
    with pytest.raises(ValueError, match=r"probe must be above 0\.5"):
        Aioli(2, probe=0.5)
    with pytest.raises(ValueError, match="drops must be of shape"):
        Aioli(2).update(torch.ones(3, 3))
    with pytest.raises(ValueError, match="what validate returns must be 2 losses"):
        Aioli(2).run_round(lambda ratios: None, lambda: torch.ones(3))
