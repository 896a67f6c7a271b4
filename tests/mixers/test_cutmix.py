import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, CutMix, Plan, cutmix
from audiomix.parts import mix_of_parts


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


def test_a_free_piece_comes_from_another_place():
    """Every sample of the mix is the original's or, in the span, the partner's from `source_span` on; F != N."""
    for kind, shape in (("time", (1, 1000)), ("time", (2, 24, 37)), ("box", (1, 24, 37))):
        clean, size = noise(60, *shape), shape[-1]
        x, _, (plan,), _ = CutMix(kind, offset="free")(clean, generator=seeded(2))
        edges, places = (plan.span * size).round().long(), (plan.source_span * size).round().long()
        bands = (plan.band * shape[-2]).round().long() if kind == "box" else torch.tensor([[0, shape[-2]]] * 60)
        assert torch.equal(edges.diff(), places.diff())
        assert (edges != places).any(1).double().mean() > 0.75  # the largest pieces of 37 frames have few places
        for i, j in enumerate(plan.partner.tolist()):
            (start, stop), (first, last), (low, high) = edges[i].tolist(), places[i].tolist(), bands[i].tolist()
            expected = clean[i].clone()
            expected[..., low:high, start:stop] = clean[j][..., low:high, first:last]
            assert torch.equal(x[i], expected)
            kept = 1 - (stop - start) * (high - low) / (size * shape[-2])
            assert plan.weight[i].item() == pytest.approx(kept, abs=1e-9)


def test_free_places_are_uniform_and_independent():
    """Both starts are uniform over what leaves room for the piece: of shares of the room, mean 1/2, no correlation."""
    plan = CutMix(offset="free")(noise(3000, 1, 500), generator=seeded()).plans[0]
    width = plan.span.diff()[:, 0]
    room = (1 - width).clamp(min=1e-9)
    some = (width > 0) & (width < 0.9)
    places = torch.stack([plan.span[some, 0] / room[some], plan.source_span[some, 0] / room[some]])
    limit = 4 / int(some.sum()) ** 0.5  # four standard errors: 1/sqrt(12 n) of a mean, 1/sqrt(n) of a correlation
    assert ((places.mean(1) - 0.5).abs() < limit / 12**0.5 + 0.005).all()
    assert abs(torch.corrcoef(places)[0, 1]) < limit
    assert all(stats.kstest(row.numpy(), "uniform").statistic < 0.05 for row in places)


def test_a_free_piece_of_a_longer_partner_may_come_from_its_end():
    clean, long = noise(80, 1, 200), noise(5, 1, 1000, seed=3)
    lengths, theirs = torch.full((80,), 150), torch.tensor([1000, 900, 800, 100, 40])
    mixed = CutMix(offset="free")(clean, other=long, lengths=lengths, other_lengths=theirs, generator=seeded())
    plan = mixed.plans[0]
    edges, places = (plan.span * 200).round().long(), (plan.source_span * 1000).round().long()
    assert torch.equal(edges.diff(), places.diff())
    assert (edges[:, 1] <= 150).all()
    assert (places[:, 1] <= theirs[plan.partner]).all()
    assert (places[:, 0] > 200).double().mean() > 0.3
    torch.testing.assert_close(plan.weight, 1 - edges.diff()[:, 0].double() / 150)
    for i, j in enumerate(plan.partner.tolist()):
        cut = slice(*edges[i].tolist())
        assert torch.equal(mixed.x[i, :, cut], long[j, :, slice(*places[i].tolist())])
        torch.testing.assert_close(mix_of_parts(plan, i, clean[i], long), mixed.x[i])
    one, other = torch.ones(80, 1, 200), torch.zeros(5, 1, 1000)
    again = CutMix(offset="free")(one, other=other, plan=Plan.from_json(plan.to_json())).x
    torch.testing.assert_close(again[..., :150].mean((1, 2)).double(), plan.weight, atol=1e-6, rtol=0)


def test_frame_labels_follow_a_free_piece():
    """A clip and labels that both name the place within the clip: 10 samples a frame."""
    time = torch.arange(1000.0).expand(6, 1, 1000) + 1000 * torch.arange(6.0).view(6, 1, 1)
    frames = time[..., ::10] + 4.5
    mixed = CutMix(offset="free")(time, frames, generator=seeded(4))
    centre = (mixed.x[..., 4::10] + mixed.x[..., 5::10]) / 2
    whole = (mixed.x.view(6, 1, 100, 10).diff() == 1).all(-1)  # frames that no edge lies in
    assert whole.double().mean() > 0.95
    error = (mixed.target - centre).abs()[whole]
    assert error.max() <= 5  # half a frame
    long = torch.arange(3000.0).expand(4, 1, 3000) + 1e4 * torch.arange(1, 5).view(4, 1, 1)
    theirs = long[..., ::10] + 4.5
    mixed = CutMix(offset="free")(time, frames, other=long, other_target=theirs, generator=seeded(5))
    centre = (mixed.x[..., 4::10] + mixed.x[..., 5::10]) / 2
    whole = (mixed.x.view(6, 1, 100, 10).diff() == 1).all(-1)
    assert (mixed.target - centre).abs()[whole].max() <= 5
    with pytest.raises(ValueError, match=r"other_target must be of shape \(M, 1, 100\)"):
        CutMix()(time, frames, other=long, other_target=theirs)


def test_a_free_piece_is_the_same_by_copy_and_by_mask_and_at_any_rate():
    wave, long = noise(20, 2, 700), noise(6, 2, 999, seed=8)
    for mixer, other in ((CutMix(offset="free", fade=0.05, rate=1000), wave), (CutMix(offset="free"), long)):
        given = {} if other is wave else {"other": other}
        mixed = mixer(wave, generator=seeded(), **given)
        masked = mixer(wave.clone().requires_grad_(), plan=mixed.plans[0], **given).x.detach()
        torch.testing.assert_close(mixed.x, masked, atol=1e-6, rtol=0)
        for size, far in ((7, 10), (350, 500), (1, 3), (70, 3)):  # another rate; other rates of the two
            low, high = noise(20, 2, size), noise(len(other), 2, far if given else size, seed=9)
            given = {"other": high} if given else {}
            plain = mixer(low, plan=mixed.plans[0], **given).x
            torch.testing.assert_close(mixer(low.requires_grad_(), plan=mixed.plans[0], **given).x.detach(), plain)
    plan = CutMix(offset="free")(noise(4, 1, 50), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match=r"other must be of shape \(M, 1, T\), as x is up to time, got \(4, 2, 90\)"):
        cutmix(noise(4, 1, 50), plan, other=noise(4, 2, 90))


def test_a_free_offset_is_for_time():
    with pytest.raises(ValueError, match="offset must be 'same' with kind='freq', got 'free'"):
        CutMix("freq", offset="free")
    with pytest.raises(ValueError, match="offset must be one of same, free"):
        CutMix(offset="any")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(8000, 300_000), (300_000, 8000)])  # rows that are copied by arrays, and by tensors
def test_long_and_short_clips_give_each_other_free_pieces(sizes, dtype):
    wave, other = noise(3, 1, sizes[0], dtype=dtype), noise(2, 1, sizes[1], dtype=dtype, seed=5)
    mixed = CutMix(offset="free")(wave, other=other, generator=seeded())
    plan = mixed.plans[0]
    assert plan.mixed.all()
    for i in range(3):
        expected = mix_of_parts(plan, i, wave[i].float(), other.float())
        assert torch.equal(mixed.x[i].float(), expected)
