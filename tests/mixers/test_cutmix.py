import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, CutMix, Plan


@pytest.mark.parametrize("kind", ["time", "freq", "box"])
def test_the_weight_is_the_share_kept(kind):
    spec = noise(50, 1, 24, 37)
    x, _, (plan,), _ = CutMix(kind)(spec, generator=seeded())
    for i, j in enumerate(plan.partner.tolist()):
        cut = x[i, 0] != spec[i, 0]
        assert torch.equal(x[i, 0][cut], spec[j, 0][cut])
        assert 1 - cut.double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)
        rows, columns = cut.any(1), cut.any(0)
        assert cut.sum() == rows.sum() * columns.sum()  # one box
        if cut.any():
            assert rows.all() == (kind == "time") or rows.sum() == 24
            assert columns.all() == (kind == "freq") or columns.sum() == 37


@pytest.mark.parametrize("kind", ["time", "freq", "box"])
def test_the_mean_weight_is_what_was_drawn(kind):
    """Centred and clipped boxes keep 0.687 of a square and 0.583 of a line on average."""
    weight = CutMix(kind)(noise(4000, 1, 64, 65), generator=seeded()).plans[0].weight
    assert weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 4000) ** 0.5 + 0.005)
    if kind == "time":
        assert stats.kstest(weight.numpy(), "uniform").statistic < 0.05


def test_each_clip_has_its_own_place():
    """kornia shared one cut position over the batch for years (#4712)."""
    span = CutMix()(noise(100, 1, 1000), generator=seeded()).plans[0].span
    assert len(span[:, 0].unique()) > 80


def test_one_plan_cuts_samples_frames_and_labels_alike():
    wave = noise(4, 1, 16000)
    frames = torch.eye(4)[:, :, None].repeat(1, 1, 50)
    mixed = CutMix("time")(wave, frames, generator=seeded())
    (plan,) = mixed.plans
    again = CutMix("time")(noise(4, 3, 200), plan=plan).x  # video frames, features: any rate
    for i, j in enumerate(plan.partner.tolist()):
        heard = (mixed.x[i, 0] != wave[i, 0]).view(50, 320)
        said = mixed.target[i, j] == 1
        # a frame belongs to whom its centre belongs to
        assert torch.equal(heard[:, 160], said)
        assert torch.equal(mixed.target[i].sum(0), torch.ones(50))
        changed = (again[i] != noise(4, 3, 200)[i]).all(0)
        assert abs(changed.double().mean() - (1 - plan.weight[i])) <= 1 / 200


def test_fades_do_not_click_and_keep_the_weight():
    wave = torch.ones(6, 1, 16000)
    wave[1::2] = -1
    mixer = CutMix("time", fade=0.005, rate=16000)
    x, _, (plan,), _ = mixer(wave, generator=seeded())
    for i, j in enumerate(plan.partner.tolist()):
        if wave[i, 0, 0] == wave[j, 0, 0]:
            continue
        kept = (x[i, 0] * wave[i, 0, 0] + 1) / 2  # 1 where the original is, 0 where the partner is
        if plan.weight[i] < 0.95:  # long enough for the whole fade: the steepest step of 80 samples
            assert kept.diff().abs().max() < 1.1 * torch.pi / 2 / 80
        assert kept.mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-6)
        assert kept.min() >= -1e-6


def test_the_piece_with_fades_is_the_same_by_copy_and_by_mask():
    wave = noise(20, 2, 700)
    mixer = CutMix("time", fade=0.05, rate=1000)
    mixed = mixer(wave, generator=seeded())
    own = Clips(wave)
    masked = torch.compile(mixer.mix, backend="eager", fullgraph=True)(own, own, mixed.plans[0])
    torch.testing.assert_close(mixed.x, masked, atol=1e-6, rtol=0)
    one, zero = torch.ones(20, 1, 700), torch.zeros(20, 1, 700)
    kept = mixer(one, plan=mixed.plans[0], other=zero).x  # the original is one, partners are zero
    torch.testing.assert_close(kept.mean((1, 2)).double(), mixed.plans[0].weight, atol=1e-6, rtol=0)


def test_fades_leave_the_mean_weight_as_drawn():
    weight = CutMix("time", fade=0.02, rate=1000)(noise(4000, 1, 1000), generator=seeded()).plans[0].weight
    assert weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 4000) ** 0.5 + 0.01)


def test_a_short_piece_with_a_long_fade_stays_a_piece():
    plan = CutMix("time", fade=0.5, rate=1000, alpha="0.05").draw(*_batch(noise(200, 1, 100)), generator=seeded())
    assert ((plan.weight >= 0) & (plan.weight <= 1)).all()
    assert torch.equal(Plan.from_json(plan.to_json()).span, plan.span)


def _batch(x):
    own = Clips(x)
    return own, own


def test_spans_lie_where_both_clips_are_valid():
    wave, lengths = noise(40, 1, 1000), torch.randint(1, 1001, (40,), generator=seeded())
    (plan,) = CutMix()(wave, lengths=lengths, generator=seeded()).plans
    stop = (plan.span[:, 1] * 1000).round()
    assert (stop <= lengths).all()
    assert (stop <= lengths[plan.partner]).all()


def test_a_band_without_a_bin_has_no_partner():
    """A manifest lists `sources`: a partner of which nothing is left after rounding is none."""
    for kind, shape in (("freq", (200, 1, 4, 9)), ("box", (200, 1, 4, 90)), ("time", (200, 1, 4))):
        plan = CutMix(kind)(noise(*shape), generator=seeded()).plans[0]
        kept = plan.weight == 1
        assert 0 < kept.sum() < 100
        assert all(bool(plan.sources(i)) != bool(kept[i]) for i in range(200))
        assert all(len(plan.parts(i)) == 1 for i in kept.nonzero().flatten().tolist())


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="kind must be one of time, freq, box"):
        CutMix("frequency")
    with pytest.raises(ValueError, match="fade must be 0 unless rate= is given"):
        CutMix(fade=0.005)
    with pytest.raises(ValueError, match=r"in seconds: did you mean 0\.005"):
        CutMix(fade=5, rate=16000)
    with pytest.raises(ValueError, match="rate must be .* did you mean 44100"):
        CutMix(fade=0.005, rate=44.1)
    with pytest.raises(ValueError, match="a waveform"):
        CutMix("freq")(noise(4, 1, 1000))


def test_the_plan_of_another_cut_is_refused():
    spec = noise(4, 1, 8, 20)
    plan = CutMix("freq")(spec, generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of kind 'time', as the mixer is, got 'freq'"):
        CutMix()(spec, plan=plan)
