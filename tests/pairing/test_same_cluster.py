"""Partners of one cluster; a clip that is alone in its own stays as it is."""

import pytest
import torch
from pairs import DRAWS, assert_drawn_as, drawn
from sounds import noise, seeded

from audiomix import CutMix, MixUp, Notes, SNRMix, pairing
from audiomix.plan import NO_PARTNER

CLUSTERS = torch.tensor([4, 0, 4, 9, 4, 0, -1])
NOTES = Notes(clusters=CLUSTERS)


def alike(own, theirs):
    return (own[:, None] == theirs[None, :]) & (own[:, None] >= 0)


def test_partners_are_of_the_same_cluster_and_each_of_them_as_often():
    expected = alike(CLUSTERS, CLUSTERS).double().fill_diagonal_(0)
    assert_drawn_as(drawn("same_cluster", 7, draws=5000, notes=NOTES), expected)


def test_each_clip_of_a_cluster_is_used_once():
    for seed in range(50):
        clusters = torch.randint(-1, 6, (40,), generator=seeded(seed))
        eligible = torch.rand(40, generator=seeded(seed)) < 0.8
        given = {"notes": Notes(clusters=clusters), "eligible": eligible}
        partner, found = pairing.pair(40, "same_cluster", generator=seeded(seed), **given)
        assert sorted(partner.tolist()) == list(range(40))  # a permutation
        together = alike(clusters, clusters) & eligible & eligible[:, None] & ~torch.eye(40, dtype=torch.bool)
        assert torch.equal(found, together.any(1))
        assert together[torch.arange(40), partner][found].all()
        assert torch.equal(partner[~found], torch.arange(40)[~found])


def test_a_clip_alone_in_its_cluster_keeps_its_bits_and_says_why():
    """The authors' first code searches for ever, a later one leaves a sound of zeros."""
    wave = noise(7, 1, 90)
    for mixer in (MixUp(1.0, pairing="same_cluster", num_classes=7), CutMix(pairing="same_cluster", num_classes=7)):
        x, target, (plan,), _ = mixer(wave, torch.arange(7), clusters=CLUSTERS, generator=seeded(2))
        assert torch.equal(x[[3, 6]], wave[[3, 6]])
        assert torch.equal(target[[3, 6]], torch.eye(7)[[3, 6]])
        assert [i for i, why in enumerate(plan.why) if why == NO_PARTNER] == [3, 6]
        assert not torch.equal(x[:3], wave[:3])
    x, _, (plan,), _ = mixer(wave, torch.arange(7), clusters=range(7), generator=seeded())
    assert torch.equal(x, wave)
    assert set(plan.why) == {NO_PARTNER}
    one = mixer(wave[:1], torch.arange(1), clusters=["a"], generator=seeded())
    assert torch.equal(one.x, wave[:1])


def test_clips_of_one_cluster_share_a_complementary_label():
    """Multi-hot: what both are not has the sum of their shares (methods.md 4.18)."""
    never = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    _, target, (plan,), _ = MixUp(pairing="same_cluster")(
        noise(4, 1, 50), never, clusters=[0, 0, 1, 1], generator=seeded()
    )
    torch.testing.assert_close(target[:2], never[:2])
    first, second = plan.weight[2:].tolist()
    torch.testing.assert_close(target[2:], torch.tensor([[0, first, 1 - first], [0, 1 - second, second]]))


def test_names_will_do_and_none_is_in_no_cluster():
    names = ["kitchen", "street", "kitchen", "", None, "street", float("nan")]
    plan = MixUp(pairing="same_cluster")(noise(7, 1, 40), clusters=names, generator=seeded()).plans[0]
    assert plan.partner.tolist() == [2, 5, 0, 3, 4, 1, 6]
    assert [bool(why) for why in plan.why] == [False, False, False, True, True, False, True]


def test_over_a_second_batch_and_with_masks_and_weights():
    own, other = torch.tensor([0, 1, -1]), torch.tensor([0, 1, 1, 1, -1])
    weights = torch.tensor([2.0, 1.0, 3.0, 1.0, 5.0])
    allowed = torch.ones(3, 5, dtype=torch.bool)
    allowed[1, 3] = False
    given = {"other_size": 5, "weights": weights, "allowed": allowed.repeat(DRAWS // 3, 1)}
    notes = {"notes": Notes(clusters=own.repeat(DRAWS // 3)), "other_notes": Notes(clusters=other)}
    size = 3 * (DRAWS // 3)
    counts = drawn("same_cluster", size, draws=size, **given, **notes).view(-1, 3, 5).sum(0)
    assert_drawn_as(counts, alike(own, other) * weights * allowed)
    assert counts[2].sum() == 0


def test_every_partner_of_several_keeps_to_it_and_numpy_will_do():
    clusters = (torch.arange(12) % 3).numpy()
    plan = MixUp(sources=4, pairing="same_cluster")(noise(12, 1, 40), clusters=clusters, generator=seeded()).plans[0]
    for i in range(12):
        assert len(plan.sources(i)) == 3
        assert {j % 3 for j in plan.sources(i)} == {i % 3}
    wave, second = noise(4, 1, 40), noise(6, 1, 40, seed=1)
    mixed = SNRMix(label="keep", pairing="same_cluster")(
        wave, other=second, clusters=[0, 1, 2, 5], other_clusters=[0, 1, 2, 0, 1, 2], generator=seeded()
    )
    assert (mixed.plans[0].partner % 3)[:3].tolist() == [0, 1, 2]
    assert mixed.plans[0].mixed.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("clusters", "error", "message"),
    [
        (None, ValueError, r"clusters must be given for pairing 'same_cluster', got None: of which cluster"),
        ([1, 2], ValueError, r"clusters must be one entry for each of 4 clips, got 2 entries"),
        ("abcd", TypeError, r"clusters must be one entry for each of 4 clips, got 'abcd'"),
        (3, TypeError, r"clusters must be one entry for each of 4 clips, got 3"),
        ([1, [2, 3], 1, 1], TypeError, r"clusters\[1\] must be one number or name, got \[2, 3\]"),
        (torch.zeros(4, 2), TypeError, r"clusters\[0\] must be one number or name, got \[0\.0, 0\.0\]"),
    ],
)
def test_wrong_clusters_are_refused_before_anything_is_drawn(clusters, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        MixUp(pairing="same_cluster")(noise(4, 1, 20), clusters=clusters, generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_a_second_batch_needs_its_own():
    with pytest.raises(ValueError, match=r"other_clusters must be given for pairing 'same_cluster'"):
        MixUp(pairing="same_cluster")(noise(2, 1, 20), other=noise(3, 1, 20), clusters=[0, 1])
    with pytest.raises(TypeError, match=r"no argument 'cluster': did you mean clusters=\?"):
        MixUp(pairing="same_cluster")(noise(2, 1, 20), cluster=[0, 1])
