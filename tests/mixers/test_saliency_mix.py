import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, CutMix, Plan, SaliencyMix, cutmix
from audiomix.audio.saliency import NOT_SALIENT
from audiomix.parts import mix_of_parts
from audiomix.plan import NOT_DRAWN

EVENTS = [100, 900, 400, 650, 250, 780]


def events(size=1000, width=20, at=EVENTS):
    """Clips of faint noise, each with one event of its own."""
    x = noise(len(at), 1, size) * 1e-3
    for row, first in zip(x, at):
        row[..., first : first + width] += noise(width, seed=first)
    return x


@pytest.mark.parametrize("saliency", ["energy", "spectral_flux"])
def test_the_piece_is_centred_on_each_partners_own_event(saliency):
    """OpenMixup takes the peak of one item of the batch for all."""
    x = events()
    near = 20 if saliency == "energy" else 60  # a window of 62 samples
    for seed in range(5):
        plan = SaliencyMix(saliency=saliency)(x, generator=seeded(seed)).plans[0]
        for (start, stop), j in zip((plan.span * 1000).tolist(), plan.partner.tolist()):
            if start > 0 and stop < 1000 and stop > start:
                assert abs((start + stop) / 2 - (EVENTS[j] + 10)) <= near
            if stop - start > 2 * near:
                assert start <= EVENTS[j] + 10 <= stop


def test_a_box_is_centred_on_the_peak_where_there_are_more_frames_than_bins():
    spec = noise(6, 1, 24, 100) - 60
    peaks = [(3, 80), (20, 10), (12, 50), (7, 33), (15, 66), (10, 91)]
    for row, (f, t) in zip(spec, peaks):
        row[0, f, t] = 0
    for kind in ("time", "freq", "box"):
        plan = SaliencyMix(kind)(spec, generator=seeded(3)).plans[0]
        spans, bands = (plan.span * 100).round().tolist(), (plan.band * 24).round().tolist()
        for i, j in enumerate(plan.partner.tolist()):
            (first, last), (low, high), (f, t) = spans[i], bands[i], peaks[j]
            if first == last or low == high:
                continue
            assert first <= t < last
            assert low <= f < high or kind == "time"
            if kind != "freq" and first > 0 and last < 100:
                assert abs((first + last) / 2 - (t + 0.5)) <= 0.5
            if kind != "time" and low > 0 and high < 24:
                assert abs((low + high) / 2 - (f + 0.5)) <= 0.5


@pytest.mark.parametrize("kind", ["time", "box"])
def test_the_mean_share_is_what_was_drawn_wherever_the_peak_is(kind):
    """A box that is cut off at the edge, as in the paper, keeps more: 0.75 of a line with its peak at the end."""
    spec = noise(3000, 1, 16, 20) * 0.01
    spec[..., 0, 0] = 30
    weight = SaliencyMix(kind)(spec, generator=seeded()).plans[0].weight
    # uniform shares have variance 1/12; rounding to frames and bins is symmetric
    assert weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 3000) ** 0.5 + 0.005)
    if kind == "time":
        assert stats.kstest(weight.numpy(), "uniform").statistic < 0.05


@pytest.mark.parametrize("kind", ["time", "freq", "box"])
def test_the_weight_is_the_share_kept(kind):
    spec = noise(40, 1, 24, 37)
    x, _, (plan,), _ = SaliencyMix(kind)(spec, generator=seeded())
    for i in range(40):
        kept = (x[i, 0] == spec[i, 0]).double().mean().item()
        assert kept == pytest.approx(plan.weight[i].item(), abs=1e-9)


def test_at_a_free_place_the_event_is_heard_somewhere_else():
    x = events()
    where = []
    for seed in range(40):
        mixed = SaliencyMix(offset="free")(x, generator=seeded(seed))
        plan = mixed.plans[0]
        first, last = (plan.source_span * 1000).round().long().unbind(1)
        start, stop = (plan.span * 1000).round().long().unbind(1)
        assert torch.equal(last - first, stop - start)
        for i, j in enumerate(plan.partner.tolist()):
            if stop[i] - start[i] > 60:
                assert first[i] <= EVENTS[j] + 10 <= last[i]
                assert torch.equal(mixed.x[i, 0, start[i] : stop[i]], x[j, 0, first[i] : last[i]])
                where.append(float(start[i] / (1000 - (stop[i] - start[i])).clamp(min=1)))
    assert stats.kstest(where, "uniform").pvalue > 1e-3


def test_frame_labels_follow_a_free_piece():
    x = events()
    frames = torch.zeros(6, 7, 100)
    for i, at in enumerate(EVENTS):
        frames[i, i] = 1
        frames[i, 6, at // 10 : at // 10 + 2] = 1  # active in the event
    mixed = SaliencyMix(offset="free")(x, frames, generator=seeded(2))
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        theirs = mixed.target[i, j] == 1
        heard = (mixed.x[i, 0] != x[i, 0]).view(100, 10).float().mean(1)
        assert (theirs == (heard > 0.5)).sum() >= 98  # a frame belongs to whom its centre belongs to
        if theirs.sum() > 30:
            assert mixed.target[i, 6][theirs].sum() >= 1


def test_a_longer_partner_gives_its_event_from_anywhere():
    own, other = events(400, at=[100, 300]), events(1500, at=[1200, 700, 50])
    mixed = SaliencyMix(offset="free", alpha=50)(own, other=other, generator=seeded())
    plan = mixed.plans[0]
    first, last = (plan.source_span * 1500).round().unbind(1)
    for i, j in enumerate(plan.partner.tolist()):
        assert first[i] <= [1200, 700, 50][j] + 10 <= last[i]
        expected = mix_of_parts(plan, i, own[i], other)
        torch.testing.assert_close(mixed.x[i], expected)


def test_a_peak_behind_the_end_of_the_original_is_not_there():
    x, lengths = events(at=[800, 100]), torch.tensor([1000, 500])
    x[0, 0, 300:320] = 0.5  # a lesser event of the first
    plan = SaliencyMix(alpha=30)(x, lengths=lengths, generator=seeded()).plans[0]
    start, stop = (plan.span * 1000).round().unbind(1)
    assert (stop <= 500).all()
    assert start[1] <= 310 <= stop[1]


def test_a_label_by_saliency_says_what_is_heard():
    """Known answer: one half of a uniform clip, and all of the event of its partner."""
    x = torch.zeros(2, 1, 1024)
    x[0, 0, ::2], x[0, 0, 1::2] = 0.5, -0.5
    x[1, 0, 500:524:2], x[1, 0, 501:524:2] = 1, -1
    mixer = SaliencyMix(label="saliency", alpha=1e6, num_classes=2)  # half is cut
    mixed = mixer(x, torch.tensor([0, 1]), generator=seeded())
    plan = mixed.plans[0]
    kept = 1 - float(plan.span[0, 1] - plan.span[0, 0])
    assert kept == pytest.approx(0.5, abs=0.01)
    assert plan.weight[0].item() == pytest.approx(kept / (kept + 1), abs=1e-6)
    assert mixed.target[0].tolist() == pytest.approx([kept / (kept + 1), 1 / (kept + 1)], abs=1e-6)
    area = SaliencyMix(alpha=1e6)(x, generator=seeded()).plans[0]
    assert area.weight[0].item() == pytest.approx(kept)
    assert torch.equal(area.span, plan.span)
    assert (plan.share_of, area.share_of) == (None, "area")  # what the audit can tell from the sound


def test_a_silent_original_counts_as_alike_everywhere():
    x = events()
    x[2] = 0
    plan = SaliencyMix(label="saliency")(x, generator=seeded(1)).plans[0]
    cut = float(plan.span[2, 1] - plan.span[2, 0])
    assert 0.05 < cut < 0.95
    theirs = 1.0  # nearly all of the saliency is in the event
    assert plan.weight[2].item() == pytest.approx((1 - cut) / (1 - cut + theirs), abs=0.01)


def test_labels_by_saliency_and_by_area_agree_where_all_is_alike():
    x = torch.ones(4, 1, 1024)
    x[..., ::2] = -1
    plans = [SaliencyMix(label=label)(x, generator=seeded()).plans[0] for label in ("saliency", "area")]
    torch.testing.assert_close(plans[0].weight, plans[1].weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("silence", [0.0, 0.3])
def test_a_silent_partner_is_no_partner_and_the_plan_says_why(silence):
    x = events()
    x[3] = silence
    mixer = SaliencyMix(num_classes=6)
    mixed = mixer(x, torch.arange(6), generator=seeded(1))
    plan = mixed.plans[0]
    alone = plan.partner == 3
    assert alone.sum() == 1
    assert [text == NOT_SALIENT for text in plan.why] == alone.tolist()
    assert plan.complete.tolist() == (~alone).tolist()
    assert torch.equal(mixed.x[alone], x[alone])
    assert (plan.weight[alone] == 1).all()
    assert plan.describe(int(alone.nonzero()))["why"] == NOT_SALIENT
    everywhere = mixer(torch.full((4, 1, 500), silence), torch.arange(4), generator=seeded())
    assert everywhere.plans[0].why == (NOT_SALIENT,) * 4
    assert torch.equal(everywhere.target, torch.eye(4, 6))


def test_a_clip_that_is_not_drawn_is_not_said_to_be_silent():
    plan = SaliencyMix(p=0)(torch.zeros(4, 1, 500), generator=seeded()).plans[0]
    assert set(plan.why) == {NOT_DRAWN}


def test_the_numbers_are_drawn_before_the_sound_is_looked_at():
    """The same seed gives the same shares whatever is salient."""
    a, b = (SaliencyMix(saliency=s)(events(), generator=seeded()).plans[0] for s in ("energy", "spectral_flux"))
    torch.testing.assert_close(a.weight, b.weight)
    assert torch.equal(a.partner, b.partner)


def test_the_function_of_cutmix_replays_the_plan():
    spec = noise(6, 1, 16, 50)
    for mixer in (SaliencyMix("box"), SaliencyMix(offset="free"), SaliencyMix("freq", label="saliency")):
        mixed = mixer(spec, generator=seeded())
        assert torch.equal(cutmix(spec, Plan.from_json(mixed.plans[0].to_json())), mixed.x)


def test_half_precision_cuts_at_the_same_place():
    x = events()
    for dtype in (torch.float16, torch.bfloat16):
        plan = SaliencyMix()(x.to(dtype), generator=seeded()).plans[0]
        exact = SaliencyMix()(x.to(dtype).float(), generator=seeded()).plans[0]
        assert torch.equal(plan.span, exact.span)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="saliency must be one of energy, spectral_flux"):
        SaliencyMix(saliency="loudness")
    with pytest.raises(ValueError, match="label must be one of area, saliency, got 'salience': did you mean"):
        SaliencyMix(label="salience")
    with pytest.raises(ValueError, match="offset must be 'same' with kind='freq'"):
        SaliencyMix("freq", offset="free")
    with pytest.raises(ValueError, match="a waveform"):
        SaliencyMix("box")(noise(4, 1, 1000))
    spec = noise(4, 1, 8, 20)
    with pytest.raises(ValueError, match="plan must be a SaliencyPlan, got a SpanPlan"):
        SaliencyMix()(spec, plan=CutMix()(spec, generator=seeded()).plans[0])


def test_one_frame_and_one_sample_are_left_or_swapped():
    for x in (noise(4, 1, 1), noise(4, 1, 8, 1)):
        plan = SaliencyMix()(x, generator=seeded()).plans[0]
        assert ((plan.weight == 0) | (plan.weight == 1)).all()


def test_clips_that_know_their_lengths_only():
    """The smallest call of `draw` itself: no notes, no target."""
    own = Clips(events(), torch.tensor([1000, 0, 3, 500, 999, 1]))
    plan = SaliencyMix().draw(own, own, generator=seeded())
    assert (plan.span[:, 1] * 1000 <= own.valid + 1e-9).all()
