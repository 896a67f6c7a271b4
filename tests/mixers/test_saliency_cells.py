"""AttentiveMix and PuzzleMix: which cells are chosen, and what the label says of them."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from scipy import stats
from sounds import ROOT, noise, seeded

from audiomix import AttentiveMix, PuzzleMix
from audiomix.audio.saliency import NOT_SALIENT
from audiomix.mixers._saliency_cells import top_cells


def grid(spec, rows, columns):
    """The mean height over each cell of log spectrograms (B, 1, F, N), of axes that the cells divide."""
    size = (len(spec), rows, spec.shape[2] // rows, columns, spec.shape[3] // columns)
    return spec[:, 0].double().view(size).mean((2, 4))


def pasted(mixed, x, rows, columns):
    """Which cells are the partner's, from the sound alone."""
    changed = (mixed.x != x)[:, 0].double()
    size = (len(x), rows, x.shape[2] // rows, columns, x.shape[3] // columns)
    return changed.view(size).mean((2, 4))


@pytest.mark.parametrize(("cells", "k"), [((4, 10), 7), ((6, 5), 1), ((1, 20), 3)])
def test_the_partners_k_most_salient_cells_are_pasted(cells, k):
    spec = noise(12, 1, 24, 100, seed=5) * 10 - 50
    mixed = AttentiveMix(cells, k=k)(spec, generator=seeded())
    share, height = pasted(mixed, spec, *cells), grid(spec, *cells)[mixed.plans[0].partner]
    assert ((share == 0) | (share == 1)).all()
    for chosen, value in zip(share.bool(), height):
        assert chosen.sum() == k
        assert value[chosen].min() > value[~chosen].max()
    assert (mixed.plans[0].weight - (1 - k / (cells[0] * cells[1]))).abs().max() < 1e-12


def test_each_mix_has_its_own_share_in_the_label():
    """OpenMixup takes the share of the first clip for all."""
    spec = noise(200, 1, 12, 100) * 10 - 50
    for mixer in (AttentiveMix((3, 10)), PuzzleMix((3, 10))):
        mixed = mixer.replace(num_classes=200)(spec, torch.arange(200), generator=seeded())
        kept = 1 - pasted(mixed, spec, 3, 10).mean((1, 2))
        torch.testing.assert_close(mixed.plans[0].weight, kept)
        torch.testing.assert_close(mixed.target.diagonal().double(), kept, atol=1e-6, rtol=0)
        assert len(kept.unique()) > 20


@pytest.mark.parametrize("mixer", [AttentiveMix(32), PuzzleMix(32), PuzzleMix((4, 8))], ids=repr)
def test_shares_are_spread_as_they_are_drawn(mixer):
    spec = noise(3000, 1, 4, 32)
    weight = mixer(spec, generator=seeded()).plans[0].weight
    # variance 1/12 of a uniform share, and half a cell of rounding
    assert weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 3000) ** 0.5)
    assert stats.kstest(weight.numpy(), "uniform").statistic < 1 / 64 + 0.03


def test_puzzle_keeps_the_most_saliency_that_any_mask_can_keep():
    """By trying all masks with as many cells."""
    cells = (2, 4)
    spec = noise(20, 1, 8, 20, seed=9) * 10 - 50
    mixed = PuzzleMix(cells)(spec, generator=seeded())
    height = grid(spec - spec.amin((1, 2, 3), keepdim=True), *cells).flatten(1)
    share = height / height.sum(1, keepdim=True)
    found = pasted(mixed, spec, *cells).flatten(1).bool()
    for i, j in enumerate(mixed.plans[0].partner.tolist()):
        kept = share[i][~found[i]].sum() + share[j][found[i]].sum()
        count = int(found[i].sum())
        best = max(
            sum(share[j][c] if c in chosen else share[i][c] for c in range(8))
            for chosen in itertools.combinations(range(8), count)
        )
        assert kept == pytest.approx(float(best), abs=1e-9)


def test_the_louder_clip_does_not_win_everywhere():
    x = noise(6, 1, 1600)
    loud = x * torch.tensor([100.0, 1, 0.01, 1, 30, 1]).view(6, 1, 1)
    for saliency in ("energy", "spectral_flux"):
        mixer = PuzzleMix(saliency=saliency)
        plans = [mixer(clips, generator=seeded()).plans[0] for clips in (x, loud)]
        assert torch.equal(plans[0].mask, plans[1].mask)


def test_two_events_at_different_places_are_both_heard():
    x = noise(2, 1, 1600) * 1e-3
    x[0, 0, 200:300] += 1
    x[1, 0, 1200:1300] += 1
    mixed = PuzzleMix(alpha=30, num_classes=2)(x, torch.tensor([0, 1]), generator=seeded(5))
    share = mixed.plans[0].weight
    assert ((share > 0.2) & (share < 0.8)).all()
    for i in (0, 1):
        assert torch.equal(mixed.x[i, 0, 200:300], x[0, 0, 200:300])
        assert torch.equal(mixed.x[i, 0, 1200:1300], x[1, 0, 1200:1300])


@pytest.mark.parametrize("mixer", [AttentiveMix(7), PuzzleMix(7), AttentiveMix((5, 7)), PuzzleMix((5, 7))], ids=repr)
def test_cells_that_are_not_equal_are_counted_by_their_area(mixer):
    spec = noise(30, 1, 12, 37)
    mixed = mixer(spec, generator=seeded())
    kept = (mixed.x == spec).double().mean((1, 2, 3))
    torch.testing.assert_close(mixed.plans[0].weight, kept)


@pytest.mark.parametrize("mixer", [AttentiveMix(), PuzzleMix(), AttentiveMix(k=3)], ids=repr)
def test_cells_are_chosen_where_both_are_valid(mixer):
    x, lengths = noise(8, 1, 1600), torch.tensor([1600, 800, 250, 1600, 90, 1000, 1, 1500])
    x[1, :, 800:] = 100  # padding that would be salient
    mixed = mixer(x, lengths=lengths, generator=seeded(2))
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        end = int(lengths[i])
        changed = (mixed.x[i] != x[i])[0]
        assert not changed[min(end, int(lengths[j])) :].any()
        assert 1 - changed[:end].double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)


def test_k_is_what_there_is_where_a_clip_is_short():
    x, lengths = noise(2, 1, 1600), torch.tensor([1600, 150])
    plan = AttentiveMix(16, k=8)(x, lengths=lengths, generator=seeded()).plans[0]
    assert (plan.mask == 0).sum((1, 2)).tolist() == [2, 2]
    assert plan.weight.tolist() == pytest.approx([1 - 150 / 1600, 0])


@pytest.mark.parametrize("mixer", [AttentiveMix(), PuzzleMix(), AttentiveMix(k=3, saliency="spectral_flux")], ids=repr)
def test_a_silent_partner_is_no_partner_and_the_plan_says_why(mixer):
    x = noise(6, 1, 1600)
    x[3] = 0
    mixed = mixer(x, generator=seeded(1))
    plan = mixed.plans[0]
    alone = plan.partner == 3
    assert [text == NOT_SALIENT for text in plan.why] == alone.tolist()
    assert torch.equal(mixed.x[alone], x[alone])
    assert not plan.complete[alone].any()
    everywhere = mixer(torch.zeros(4, 1, 500), generator=seeded()).plans[0]
    assert everywhere.why == (NOT_SALIENT,) * 4
    assert (everywhere.weight == 1).all()
    assert NOT_SALIENT not in mixer.replace(p=0)(torch.zeros(4, 1, 500), generator=seeded()).plans[0].why


def test_a_silent_original_keeps_what_is_least_salient_of_its_partner():
    x = torch.zeros(2, 1, 1600)
    x[1] = noise(1, 1600) * torch.linspace(0.1, 1, 1600)
    plan = PuzzleMix(saliency="energy", alpha=1e6)(x, generator=seeded()).plans[0]
    assert plan.mask[0, 0].tolist() == [1] * 8 + [0] * 8


def test_a_teachers_map_chooses_the_cells():
    """Attentive CutMix as in the paper: 6 of 7 x 7 cells, by the features of a network."""
    spec = noise(5, 1, 28, 70)
    maps = noise(5, 7, 7, seed=3).abs()
    mixed = AttentiveMix((7, 7), k=6, saliency=lambda x: maps)(spec, generator=seeded())
    for i, j in enumerate(mixed.plans[0].partner.tolist()):
        chosen = mixed.plans[0].mask[i] == 0
        assert torch.equal(maps[j][chosen].sort().values, maps[j].flatten().topk(6).values.sort().values)


def test_of_equal_cells_the_first_are_taken():
    scores = torch.tensor([[[1.0, 2, 2, 2, 0]], [[5.0, 5, 5, 5, 5]]])
    there = torch.tensor([[[True] * 5], [[False, True, True, False, True]]])
    assert top_cells(scores, there, torch.tensor([2, 9])).tolist() == [
        [[False, True, True, False, False]],
        [[False, True, True, False, True]],
    ]


def test_one_plan_masks_sound_and_frame_labels_alike():
    wave, frames = noise(4, 1, 16000), torch.eye(4)[:, :, None].repeat(1, 1, 160)
    for mixer in (AttentiveMix(), PuzzleMix()):
        mixed = mixer(wave, frames, generator=seeded())
        for i, j in enumerate(mixed.plans[0].partner.tolist()):
            heard = (mixed.x[i, 0] != wave[i, 0]).view(160, 100)[:, 50]
            assert torch.equal(heard, mixed.target[i, j] == 1)


@pytest.mark.parametrize("kind", [AttentiveMix, PuzzleMix])
def test_fades_do_not_click_and_keep_the_weight(kind):
    x = noise(6, 1, 16000)
    mixer = kind(fade=0.01, rate=16000)
    plan = mixer(x, generator=seeded()).plans[0]
    kept = mixer(torch.ones(6, 1, 16000), other=torch.zeros(6, 1, 16000), plan=plan).x
    assert kept.diff().abs().max() <= 1.01 / 160
    torch.testing.assert_close(kept.mean((1, 2)).double(), plan.weight, atol=1e-5, rtol=0)
    assert torch.equal(plan.mask, kind()(x, generator=seeded()).plans[0].mask)
    with pytest.raises(ValueError, match="fade must be 0 unless rate= is given"):
        kind(fade=0.01)
    with pytest.raises(ValueError, match="fades are for waveforms"):
        kind((4, 4), fade=0.01, rate=16000)


@pytest.mark.parametrize("kind", [AttentiveMix, PuzzleMix])
def test_wrong_options_are_named(kind):
    with pytest.raises(TypeError, match=r"cells must be cells of time, or \(cells of frequency, cells of time\)"):
        kind("many")
    with pytest.raises(ValueError, match="cells must be an integer of at least 2, got 1"):
        kind(1)
    with pytest.raises(ValueError, match="saliency must be one of energy, spectral_flux"):
        kind(saliency="louder")
    with pytest.raises(ValueError, match=r"x must be spectrograms .* for 7 cells of .* a waveform\? cells=7"):
        kind((7, 7))(noise(4, 1000))
    with pytest.raises(ValueError, match=r"of at least 7 x 7 bins and frames, .*a waveform\?"):
        kind((7, 7))(noise(4, 1, 1000))
    with pytest.raises(ValueError, match=r"of at least 7 x 7 bins and frames, as there are cells.*fewer cells\?"):
        kind((7, 7))(noise(4, 1, 6, 100))
    with pytest.raises(ValueError, match=r"of at least 1 x 16 bins and frames"):
        kind()(noise(4, 1, 15))


def test_a_k_of_all_cells_is_refused():
    with pytest.raises(ValueError, match="k must be less than the 16 cells, got 16: nothing of the original"):
        AttentiveMix(16, k=16)
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        AttentiveMix(k=0)


SCRIPT = """
import torch
from audiomix import AlignMix, AttentiveMix, PuzzleMix, SaliencyMix
x = torch.randn(6, 1, 16, 50, generator=torch.Generator().manual_seed(3))
for mixer in (AlignMix(), AttentiveMix(k=3), PuzzleMix((4, 5)), SaliencyMix("box", label="saliency")):
    print(mixer(x, generator=torch.Generator().manual_seed(1)).plans[0].to_json())
"""


def test_another_process_draws_the_same_plans(capsys):
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on it
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    exec(SCRIPT, {})
    here, there = capsys.readouterr().out.splitlines(), done.stdout.splitlines()
    assert len(here) == 4
    assert here == there
