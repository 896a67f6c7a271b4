"""StemRemix: stems of songs are exchanged, each by itself; what comes out are the stems, and their exact sum."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from sounds import noise, seeded
from torch.utils.data import DataLoader

from audiomix import Clips, Collate, Indexed, MixUp, OneOf, Pipeline, Plan, StemPlan, StemRemix, remix_stems
from audiomix.audio import level


def marked(songs=6, stems=4, channels=2, size=50):
    """Stems that tell where they come from: a value for each song, stem and channel."""
    song, stem, channel = (torch.arange(n, dtype=torch.float32) for n in (songs, stems, channels))
    values = 100 * (song[:, None, None] + 1) + 10 * (stem[:, None] + 1) + channel + 1
    return values[..., None].expand(songs, stems, channels, size).clone()


def test_the_mix_is_the_exact_sum_of_the_stems_that_come_back():
    stems = noise(6, 4, 2, 300)
    for mixer in (StemRemix(), StemRemix((-12, 2), swap=0.5, invert=0.5), StemRemix(levels="speakers", peak=0.1)):
        mixed = mixer(stems, generator=seeded())
        assert torch.equal(mixed.mix, mixed.x.sum(1))
        assert mixed.mix.shape == (6, 2, 300)
        x, target, plans, lengths = mixed  # it is a Mixed
        assert x is mixed.x
        assert target is None
        assert isinstance(plans[0], StemPlan)
        assert lengths is None
    clean = StemRemix().eval()(stems)
    assert torch.equal(clean.mix, stems.sum(1))


def test_every_stem_is_used_once_and_none_stays_in_its_song():
    stems = marked()
    mixed = StemRemix()(stems, generator=seeded())
    assert torch.equal(mixed.x.sort(0).values, stems)  # the multiset of each stem is kept
    assert (mixed.x != stems).all()
    assert len({tuple(column) for column in mixed.plans[0].songs.T.tolist()}) == 4  # each stem by a draw of its own


@pytest.mark.parametrize("derange", [True, False])
def test_a_song_that_is_not_drawn_gives_nothing_away(derange):
    """Else its stems would be heard twice, and another song's never."""
    stems = marked(16)
    for seed in range(4):
        mixed = StemRemix(derange=derange, p=0.5)(stems, generator=seeded(seed))
        assert torch.equal(mixed.x.sort(0).values, stems)
        assert 0 < int(mixed.plans[0].mixed.sum()) < 16


def test_by_chance_every_song_is_equally_likely():
    """Demucs: a permutation of each stem, in which a stem may stay."""
    stems, counts = marked(4, 2, 1, 3), torch.zeros(4, 4)
    mixer = StemRemix(derange=False)
    for seed in range(600):
        songs = mixer(stems, generator=seeded(seed)).plans[0].songs[:, 0]
        songs = torch.where(songs < 0, torch.arange(4), songs)
        assert songs.sort().values.tolist() == [0, 1, 2, 3]
        counts[torch.arange(4), songs] += 1
    chi2 = ((counts - 150) ** 2 / 150).sum()  # 9 degrees of freedom; 99.99 % below 33.7
    assert chi2 < 33.7, counts


def test_what_is_left_out_stays_and_is_not_given_away():
    stems, eligible = marked(8), torch.tensor([1, 1, 0, 1, 1, 0, 1, 1], dtype=torch.bool)
    for mixer in (StemRemix((-6, 6)), StemRemix((-6, 6), derange=False)):
        mixed = mixer(stems, eligible=eligible, generator=seeded())
        assert torch.equal(mixed.x[~eligible], stems[~eligible])
        assert not set(mixed.plans[0].songs.flatten().tolist()) & {2, 5}
        alone = mixer(stems, eligible=torch.arange(8) == 3, generator=seeded())
        assert torch.equal(alone.x, stems)
        assert alone.plans[0].why[3].startswith("without a partner")
        assert alone.plans[0].why[0].startswith("not drawn")


def test_gains_signs_and_channels_are_those_of_the_plan():
    stems = marked(60, 3)
    mixer = StemRemix([(-6, -6), (0, 0), (-20, 0)], swap=0.5, invert=0.5)
    mixed = mixer(stems, generator=seeded())
    plan = mixed.plans[0]
    assert (plan.gain_db[:, 0] == -6).all()
    assert (plan.gain_db[:, 1] == 0).all()
    for i in range(60):
        for k in range(3):
            stem = stems[int(plan.songs[i, k]), k] * 10 ** (plan.gain_db[i, k].item() / 20)
            stem = stem.flip(0) if plan.channel_swap[i, k] else stem
            stem = -stem if plan.inversion[i, k] else stem
            torch.testing.assert_close(mixed.x[i, k], stem)
    for flips in (plan.channel_swap, plan.inversion):  # 180 fair coins
        assert abs(int(flips.sum()) - 90) < 4 * math.sqrt(45)
    assert stats.kstest((plan.gain_db[:, 2] + 20) / 20, "uniform").pvalue > 1e-4


def test_mono_has_no_channels_to_exchange():
    plan = StemRemix(swap=1.0)(noise(4, 2, 1, 30), generator=seeded()).plans[0]
    assert not plan.channel_swap.any()


def test_levels_of_speakers_are_those_of_dynamic_mixing():
    """The level of the first over the second has mean 2.51 and deviation 2.66 dB; in a batch all are measured."""
    utterances = noise(2000, 2, 1, 100) * torch.logspace(-3, 0, 2000)[:, None, None, None]
    mixed = StemRemix(levels="speakers")(utterances, generator=seeded())
    first, second = (level.db(level.rms(mixed.x[:, k])) for k in (0, 1))
    ratio = first - second
    assert ratio.mean().item() == pytest.approx(2.51, abs=4 * 2.66 / 2000**0.5)
    assert ratio.std().item() == pytest.approx(2.66, abs=4 * 2.66 / 4000**0.5)
    assert first.mean().item() == pytest.approx(-27.43, abs=4 * 2.57 / 2000**0.5)
    assert first.max() <= 1e-3


def test_levels_are_those_of_what_is_heard():
    """Of a longer song the end is cut: its level counts to there. A wrong measure would be 20 dB off."""
    stems = noise(2, 2, 1, 1000)
    stems[1, :, :, 500:] *= 100
    lengths = torch.tensor([500, 1000])
    mixed = StemRemix(levels="speakers")(stems, lengths=lengths, generator=seeded())
    songs, gain_db = mixed.plans[0].songs, mixed.plans[0].gain_db
    assert songs.tolist() == [[1, 1], [0, 0]]
    drawn = StemRemix(levels="speakers")(noise(2, 2, 1, 1000), lengths=lengths, generator=seeded())  # the same numbers
    for i, end in enumerate((500, 500)):  # both are heard for 500 samples
        got, same = (level.db(level.rms(one.x[i, :, :, :end])) for one in (mixed, drawn))
        torch.testing.assert_close(got, same, atol=0.01, rtol=0)
    assert gain_db.isfinite().all()


def test_one_gain_keeps_the_mix_below_the_peak():
    """SpeechBrain scales the sum and then not all that it is a sum of: mix and stems must stay one."""
    stems = noise(12, 3, 1, 400)
    stems[:10] *= 0.001  # each of two loud songs gives away three stems: at least six mixes stay quiet
    plain = StemRemix((-3, 3))(stems, generator=seeded())
    mixed = StemRemix((-3, 3), peak=0.9)(stems, generator=seeded())
    loud = plain.mix.abs().amax((1, 2))
    assert (mixed.mix.abs().amax((1, 2)) <= 0.9 * (1 + 1e-5)).all()
    assert (loud > 0.9).any()
    assert (loud < 0.9).any()
    for i in range(12):
        gain = min(1.0, 0.9 / float(loud[i]))
        torch.testing.assert_close(mixed.x[i], plain.x[i] * gain)


@pytest.mark.parametrize("levels", ["kept", "speakers"])
def test_a_silent_stem_stays_silent_or_another_is_drawn(levels):
    stems = noise(6, 2, 1, 80, seed=3)
    stems[:3, 1] = 0
    kept = StemRemix((-6, 6), levels=levels)(stems, generator=seeded())
    assert kept.x.isfinite().all()
    assert int((kept.x[:, 1] == 0).all(-1).sum()) == 3
    assert kept.plans[0].gain_db.isfinite().all()
    drawn = StemRemix((-6, 6), levels=levels, silent="redraw")(stems, generator=seeded())
    assert drawn.x.any(-1).all()
    assert set(drawn.plans[0].songs[:, 1].tolist()) <= {3, 4, 5}
    assert drawn.plans[0].complete.all()
    stems[4:, 1] = 0  # song 3 has the only one: nobody else can give it one
    lone = StemRemix(levels=levels, silent="redraw")(stems, generator=seeded()).plans[0]
    assert lone.songs[:, 1].tolist() == [3, 3, 3, -1, 3, 3]
    assert lone.why[3] == "no other song for stem 1"
    assert lone.complete.tolist() == [True, True, True, False, True, True]


def test_songs_of_different_lengths_end_where_both_do():
    stems = torch.ones(4, 2, 1, 100)
    lengths = torch.tensor([100, 60, 30, 80])
    mixed = StemRemix()(stems, lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    heard = (mixed.x[:, :, 0] != 0).sum(-1)
    assert torch.equal(heard, torch.minimum(lengths[:, None], lengths[plan.songs]))
    assert torch.equal(mixed.lengths, lengths)


def test_stems_of_a_second_batch_are_fitted():
    stems, other = marked(4, size=50), marked(9, size=70) + 0.5
    ends = torch.tensor([70, 20] * 4 + [10])
    mixed = StemRemix((-3, 0))(stems, other=other, other_lengths=ends, generator=seeded())
    plan = mixed.plans[0]
    assert (plan.songs >= 0).all()
    again = remix_stems(stems, plan, other=other, other_lengths=ends)
    assert torch.equal(again, mixed.x)
    heard = (mixed.x[:, :, 0] != 0).sum(-1)
    assert torch.equal(heard, ends[plan.songs].clamp(max=50))
    longer = StemRemix()(other, other=stems, generator=seeded())  # shorter ones are padded
    assert longer.x.shape == other.shape
    assert not longer.x[..., 50:].any()


def test_rows_of_a_plan_are_rendered_alone():
    stems = marked(5)
    mixer = StemRemix((-6, 0), derange=False, swap=0.5)
    mixed = mixer(stems, generator=seeded(4))
    own = Clips(stems)
    for i in range(5):
        parts = mixer.take_rows(own, own, mixed.plans[0], torch.tensor([i]))
        assert torch.equal(mixer.render_into(*parts), mixed.x[i : i + 1])


def test_out_of_any_layout_is_written():
    stems = marked(4, 3, 2, 20)
    mixer = StemRemix((-6, 0), swap=0.5)
    plan = mixer(stems, generator=seeded()).plans[0]
    plain = mixer(stems, plan=plan).x
    for out in (torch.full_like(stems, torch.nan), torch.full_like(stems.transpose(1, 2).contiguous(), torch.nan)):
        out = out if out.shape == stems.shape else out.transpose(1, 2)
        assert mixer(stems, plan=plan, out=out).x is out
        assert torch.equal(out, plain)
    with pytest.raises(ValueError, match="out must be memory of its own"):
        remix_stems(stems, plan, out=stems)


def test_gradients_reach_every_stem():
    stems = noise(4, 2, 2, 30).requires_grad_()
    mixed = StemRemix((-6, 6), invert=0.5, swap=0.5, levels="speakers", peak=0.5)(stems, generator=seeded())
    mixed.mix.square().sum().backward()
    assert stems.grad.isfinite().all()
    assert (stems.grad != 0).any(-1).all()


def test_the_label_is_left_alone_and_a_loader_passes_stems_on():
    rows = [(marked(1)[0] + i, i) for i in range(4)]
    loader = DataLoader(Indexed(rows), batch_size=4, collate_fn=Collate(StemRemix(num_classes=4), seed=0))
    batch = next(iter(loader))
    assert torch.equal(batch[1], torch.eye(4))
    assert batch[0].shape == (4, 4, 2, 50)


def test_it_stands_in_a_chain_and_in_a_choice():
    stems = noise(6, 2, 2, 40)
    chain = Pipeline([StemRemix((-3, 3)), torch.nn.Identity()])
    mixed = chain(stems, generator=seeded())
    assert torch.equal(mixed.x, StemRemix((-3, 3))(stems, generator=seeded()).x)
    chosen = OneOf([StemRemix(), StemRemix((-3, 3), invert=1.0)], per="clip")(stems, generator=seeded())
    assert chosen.x.shape == stems.shape
    assert {bool(inverted) for inverted in (chosen.x < 0).flatten()} == {True, False}


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"x must be stems \(B, S, C, T\).*stems\.unsqueeze\(2\)"):
        StemRemix()(noise(4, 2, 100))
    with pytest.raises(ValueError, match=r"x must be stems .* a spectrogram\?"):
        StemRemix()(noise(4, 1, 64, 100))
    with pytest.raises(ValueError, match=r"of at most 16 channels.*channels before stems\?"):
        StemRemix()(noise(4, 2, 64, 100))
    with pytest.raises(ValueError, match="gain_db must be 1 or 2 ranges, as x has stems, got 3"):
        StemRemix([(0, 1)] * 3)(noise(4, 2, 1, 100))
    with pytest.raises(ValueError, match="the other way round"):
        StemRemix((3, -3))
    with pytest.raises(TypeError, match=r"gain_db must be \(lowest, highest\) in dB"):
        StemRemix("-3:3")
    with pytest.raises(ValueError, match="swap must be 0 for 4 channels"):
        StemRemix(swap=0.5)(noise(4, 2, 4, 100))
    plan = StemRemix()(noise(4, 2, 1, 10), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be for 3 stems, as x has, got one for 2"):
        StemRemix()(noise(4, 3, 1, 10), plan=plan)
    with pytest.raises(ValueError, match="plan must be a GainPlan, got a StemPlan"):
        MixUp(num_classes=3)(noise(4, 3, 1, 10), plan=plan)


def test_a_plan_says_what_it_is():
    plan = StemRemix((-6, 0))(noise(4, 2, 1, 10), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="gain_db must be float64 of shape"):
        replace(plan, gain_db=torch.zeros(4, 3).double())
    with pytest.raises(ValueError, match="inversion must be bool of shape"):
        replace(plan, inversion=torch.zeros(4, 2))
    again = Plan.from_json(plan.to_json())
    assert torch.equal(again.songs, plan.songs)
    assert again.sources(0) == plan.sources(0) != []
