"""Caption-paired mixtures, tested on the sound: levels, order and what can be heard are measured in the mix."""

import json
import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import CaptionMix, MixUp, OneOf, Pipeline, Plan
from audiomix.audio import level
from audiomix.captions.layout import holds, relation
from audiomix.captions.scene import active_span
from audiomix.captions.templates import CaptionQuery
from audiomix.parts import stems
from audiomix.plan import NOT_DRAWN

RATE = 16000
NAMES = [
    "A dog barks.", "Rain falls on a roof.", "A child laughs.", "An engine idles.", "Birds sing.", "I play the organ.",
]  # fmt: skip


def tone(hz, seconds, lead=0.0, tail=0.0, gain=0.3):
    """A tone with silence before and behind, its edges so soft that they stay in its band: (1, T)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    edge = (torch.minimum(time, seconds - time) / 0.02).clamp(max=1)
    sound = gain * torch.sin(2 * math.pi * hz * time) * torch.sin(math.pi / 2 * edge).square()
    return torch.nn.functional.pad(sound, (round(lead * RATE), round(tail * RATE)))[None]


def batch(sounds):
    """Clips of any lengths as a padded batch, and their lengths."""
    sizes = torch.tensor([s.shape[-1] for s in sounds])
    x = torch.stack([torch.nn.functional.pad(s, (0, int(sizes.max()) - s.shape[-1])) for s in sounds])
    return x, sizes


def band(x, hz):
    """What of a mono sound (T,) lies within 250 Hz of a tone: wide, so that edges stay where they are."""
    spectrum = torch.fft.rfft(x.double())
    frequency = torch.fft.rfftfreq(len(x), 1 / RATE)
    return torch.fft.irfft(spectrum * ((frequency - hz).abs() < 250), len(x))


CLIPS = [tone(440, 2.0, 0.7, 1.0), tone(1000, 3.0, 0.2, 0.1), tone(2200, 1.5, 0.0, 2.0), tone(3600, 2.5, 0.4, 0.0)]
PITCH = [440, 1000, 2200, 3600]


def mixed(mixer, clips=CLIPS, names=NAMES, seed=0, **more):
    x, lengths = batch(clips)
    return mixer(x, lengths=lengths, captions=names[: len(clips)], generator=seeded(seed), **more)


@pytest.mark.parametrize("placement", ["together", "offset", "sequence", "random"])
@pytest.mark.parametrize("kind", ["active", "rms"])
def test_the_snr_is_exact_whichever_clip_is_longer(placement, kind):
    """Wu et al.'s loader scales the wrong clip where the partner is longer: 12 dB apart became 24."""
    two = [tone(440, 1.0, 0.3, 0.5, gain=0.4), tone(2200, 3.0, 0.1, 0.4, gain=0.1)]
    for clips in (two, two[::-1]):
        out = mixed(CaptionMix((3, 3), placement=placement, level=kind, rate=RATE, min_share=0.0), clips)
        plan = out.plans[0]
        assert plan.why == ("", "")
        for i, j in ((0, 1), (1, 0)):
            end = int(out.lengths[i])
            pitch = {id(two[0]): 440, id(two[1]): 2200}
            sounds = [band(out.x[i, 0, :end], pitch[id(clips[k])]).float()[None] for k in (i, j)]
            if kind == "rms":  # over what of each clip is heard, from its first to its last sample
                spans = [(plan.at[i, k], plan.piece[i, k]) for k in (0, 1)]
                sizes = [(p[1] - p[0]) * out.plans[0].seconds[i] * RATE for _, p in spans]
                sounds = [
                    s[:, round(float(at) * float(plan.seconds[i]) * RATE) :][:, : round(float(size))]
                    for s, (at, _), size in zip(sounds, spans, sizes)
                ]
                found = 20 * torch.log10(level.rms(sounds[0][None]) / level.rms(sounds[1][None]))
            else:
                loud = [level.level(sound[None], "active") for sound in sounds]
                found = 20 * torch.log10(loud[0] / loud[1])
            assert abs(float(found) - 3) < 0.1


def test_the_words_state_what_is_heard():
    """Onsets and offsets are found again in the mix by band-pass; the caption's relation must be theirs."""
    seen = set()
    for seed in range(12):
        out = mixed(CaptionMix((0, 0), rate=RATE), seed=seed)
        plan = out.plans[0]
        for i in range(4):
            assert plan.why[i] == ""
            j, end = int(plan.partner[i]), int(out.lengths[i])
            spans = [active_span(band(out.x[i, 0, :end], PITCH[k]).float()[None], RATE) for k in (i, j)]
            found = relation(*spans)
            text = plan.caption[i]
            first = text.lower().find(NAMES[i].lower().rstrip(".")) < text.lower().find(NAMES[j].lower().rstrip("."))
            reversing = any(word in text for word in (" after ", "preceded by", "following"))
            sequence = any(word in text for word in ("followed by", " then ", " before ", " after ", "preceded by"))
            seen.add(found)
            if found == "together":
                assert not sequence, text
            else:
                assert sequence, (text, spans)
                assert (found == "before") == (first != reversing), (text, spans)
    assert seen == {"before", "after", "together"}


@pytest.mark.parametrize("sources", [3, 5])
def test_trees_of_several_sounds_hold(sources):
    clips = [*CLIPS, tone(5000, 4.0, 0.1, 0.2), tone(6500, 1.0)]
    pitch = [*PITCH, 5000, 6500]
    made = 0
    for seed in range(2):
        mixer = CaptionMix((0, 0), placement="tree", sources=(sources, sources), rate=RATE)
        out = mixed(mixer, clips, seed=seed)
        plan = out.plans[0]
        for i in range(len(clips)):
            if plan.why[i]:
                continue
            made += 1
            members = [i, *plan.sources(i)]
            assert len(set(members)) == sources
            sound = out.x[i, 0, : int(out.lengths[i])]
            spans = {k: active_span(band(sound, pitch[m]).float()[None], RATE) for k, m in enumerate(members)}
            assert all(abs(a - b) < 0.05 for k in spans for a, b in zip(spans[k], plan.active[i, k] * plan.seconds[i]))
            named = [k for k in range(sources) if plan.named[i, k]]
            for k in named:
                assert NAMES[members[k]].rstrip(".").lower()[3:] in plan.caption[i].lower()
            for k in range(sources):
                if k not in named:
                    assert NAMES[members[k]].rstrip(".").lower()[3:] not in plan.caption[i].lower()
            assert holds(plan.scene(i), spans)
    assert made >= 4


def test_a_cross_fade_keeps_its_power():
    """CompA fades both and then puts them end to end: a dip. Here they overlap."""
    clips = [noise(1, 3 * RATE, seed=1) * 0.1, noise(1, 3 * RATE, seed=2) * 0.1]
    out = mixed(CaptionMix((0, 0), placement="sequence", crossfade=0.2, rate=RATE, min_share=0.0), clips)
    plan = out.plans[0]
    sound = out.x[0, 0, : int(out.lengths[0])]
    assert len(sound) == round(5.8 * RATE)
    frames = sound.unfold(0, 800, 400).square().mean(1).log10() * 10
    assert float(frames.min()) > float(frames.median()) - 1.5
    assert abs(float(plan.active[0, :, 0].max() * plan.seconds[0]) - 2.8) < 0.05


def test_what_cannot_be_heard_is_not_named():
    clips = [noise(1, 32000) * 0.2, noise(1, 32000, seed=3) * 0.2]
    plan = mixed(CaptionMix((60, 60), placement="together", rate=RATE), clips).plans[0]
    assert plan.named.tolist() == [[True, False], [True, False]]
    assert plan.caption == tuple(NAMES[:2])
    heard = mixed(CaptionMix((0, 0), placement="together", rate=RATE)).plans[0]
    assert heard.named.all()


def test_sounds_follow_each_other_by_their_active_parts_not_by_their_files():
    """The clips have up to 2 s of nothing at their ends: it must not be heard between them."""
    for seed in range(4):
        out = mixed(CaptionMix((0, 0), placement="sequence", crossfade=0.1, rate=RATE), seed=seed)
        plan = out.plans[0]
        for i, j in enumerate(plan.partner.tolist()):
            sound = out.x[i, 0, : int(out.lengths[i])]
            spans = sorted(active_span(band(sound, PITCH[k]).float()[None], RATE) for k in (i, j))
            assert -0.14 < spans[1][0] - spans[0][1] < 0.05  # spans are seen in steps of 32 ms


def test_a_sliver_of_a_sound_is_not_named():
    clips = [tone(440, 3.0), tone(1000, 3.0)]
    for seed in range(8):
        out = mixed(CaptionMix((0, 0), placement="offset", max_seconds=3.5, rate=RATE), clips, seed=seed)
        plan = out.plans[0]
        for i in range(2):
            for k in plan.source_numbers(i) if not plan.why[i] else ():
                start, stop = (plan.active[i, k] * plan.seconds[i]).tolist()
                assert stop - start >= 1.5 - 0.05
    tiny = mixed(CaptionMix(rate=RATE), [torch.ones(1, 1), torch.ones(1, 300)])
    assert all(tiny.plans[0].why)


def test_limits_hold_for_clips_that_stay_alone_too():
    mixer = CaptionMix(p=0, max_words=3, max_seconds=0.5, rate=RATE)
    clips = [tone(440, 2.0), tone(1000, 3.0)]
    out = mixed(mixer, clips, [["A dog barks loudly.", "A dog barks."], "An engine idles in the yard."])
    plan = out.plans[0]
    assert plan.caption == ("A dog barks.", "")
    assert plan.chosen[0, 0] == 1
    assert out.lengths.tolist() == [8000, 8000]


def test_captions_without_a_word_are_left_out_and_numbers_stay():
    texts = [["", "!!!", "A dog barks."], [None, "Rain."]]
    plan = mixed(CaptionMix(placement="together", rate=RATE), CLIPS[:2], texts).plans[0]
    assert plan.chosen[0].tolist() == [2, 1]
    none = mixed(CaptionMix(rate=RATE), CLIPS[:2], ["!!!", "Rain."]).plans[0]
    assert none.caption == ("", "Rain.")


def test_negatives_name_only_what_is_heard():
    clips = [noise(1, 32000, seed=k) * 0.2 for k in range(3)]
    mixer = CaptionMix((60, 60), placement="together", sources=(3, 3), negatives=True, rate=RATE)
    plan = mixed(mixer, clips, distractor_captions=[["A bell rings."]] * 3).plans[0]
    assert plan.named.sum() < 9
    for i in range(3):
        assert plan.describe(i)["negatives"] == []  # one sound is named


def test_levels_as_in_between_class_learning():
    out = mixed(CaptionMix(level="between_class", placement="together", rate=RATE, min_share=0.0), CLIPS[:2])
    plan = out.plans[0]
    sounds = torch.stack([band(out.x[0, 0, : int(out.lengths[0])], hz).float() for hz in PITCH[:2]])
    loud = level.a_weighted_level(sounds[:, None], RATE)
    assert abs(float(loud[0] - loud[1] - plan.snr_db[0, 1])) < 0.2


def test_silence_and_equal_captions_stay_alone_and_say_why():
    silent = [CLIPS[0], torch.zeros(1, RATE)]
    out = mixed(CaptionMix(rate=RATE), silent)
    assert "silence cannot be named" in out.plans[0].why[0]
    assert out.x.isfinite().all()
    assert torch.equal(out.x[0, :, : CLIPS[0].shape[-1]], CLIPS[0])
    same = mixed(CaptionMix(rate=RATE), CLIPS[:2], ["Rain falls.", "rain falls"])
    assert all(same.plans[0].why)
    assert same.plans[0].caption == ("Rain falls.", "rain falls")
    assert (same.plans[0].weight == 1).all()
    empty = mixed(CaptionMix(rate=RATE), CLIPS[:2], ["Rain falls.", ""])
    assert all(empty.plans[0].why)


def test_one_of_several_captions_is_drawn_and_recorded():
    several = [["A dog barks.", "A hound."], ["Rain.", "It pours.", "Drops fall."]]
    seen = set()
    for seed in range(20):
        plan = mixed(CaptionMix(placement="together", rate=RATE), CLIPS[:2], several, seed).plans[0]
        for k, (clip, index) in enumerate(zip((0, 1), plan.chosen[0].tolist())):
            assert plan.texts[0][k] == several[clip][index]
        seen.add(tuple(plan.chosen[0].tolist()))
    assert len(seen) == 6


def test_the_longest_caption_is_kept_to():
    plan = mixed(CaptionMix(placement="together", rate=RATE, max_words=7), CLIPS[:2]).plans[0]
    for text, why in zip(plan.caption, plan.why):
        assert len(text.split()) <= 7
        assert not why or "7 words" in why


@pytest.mark.parametrize("options", [{"keep": "original"}, {"max_seconds": 2.5}])
def test_a_cut_scene_is_still_true(options):
    seen = set()
    for seed in range(6):
        mixer = CaptionMix((0, 0), rate=RATE, **options)
        out = mixed(mixer, seed=seed)
        plan = out.plans[0]
        for i in range(4):
            end = int(out.lengths[i])
            assert end <= (2.5 * RATE if "max_seconds" in options else CLIPS[i].shape[-1])
            if not plan.why[i]:
                j = int(plan.partner[i])
                sound = out.x[i, 0, :end].clone()
                sound[-320:] *= torch.linspace(1, 0, 320)  # a hard end would be heard in every band
                spans = [active_span(band(sound, PITCH[k]).float()[None], RATE) for k in (i, j)]
                tree = plan.scene(i)
                expected = "together" if tree[0] == "while" else "before" if tree[1] == 0 else "after"
                seen.add(expected)
                assert relation(*spans) == expected
    assert len(seen) > 1


def test_stems_labels_and_frames_follow_the_scene():
    mixer = CaptionMix((0, 0), placement="sequence", rate=RATE, num_classes=4)
    x, lengths = batch(CLIPS)
    out = mixer(x, torch.arange(4), lengths=lengths, captions=NAMES[:4], generator=seeded(1))
    plan = out.plans[0]
    for i in range(4):
        parts = list(stems(plan, i, x[i], x).values())
        torch.testing.assert_close(sum(parts), out.x[i][..., : int(out.lengths[i])], atol=1e-6, rtol=1e-5)
        energy = torch.stack([part.double().square().sum() for part in parts])
        torch.testing.assert_close(out.target[i, i].double(), energy[0] / energy.sum(), atol=1e-6, rtol=0)
    torch.testing.assert_close(out.target.sum(1), torch.ones(4))
    # frame labels: 1 where the clip is active; in the mix 1 where that pitch is heard
    size = 550
    frames = torch.zeros(4, 4, size)
    for k, clip in enumerate(CLIPS):
        start, stop = (round(v * RATE / x.shape[-1] * size) for v in active_span(clip, RATE))
        frames[k, k, start:stop] = 1
    moved = mixer.mix_target(frames, plan)
    for i, j in enumerate(plan.partner.tolist()):
        for k in (i, j):
            start, stop = active_span(band(out.x[i, 0], PITCH[k]).float()[None], RATE)
            found = moved[i, k].nonzero().flatten() / size * x.shape[-1] / RATE
            assert abs(float(found[0]) - start) < 0.06
            assert abs(float(found[-1]) - stop) < 0.06


def test_replay_through_json():
    mixer = CaptionMix(sources=(2, 4), rate=RATE, num_classes=4)
    x, lengths = batch(CLIPS)
    call = {"lengths": lengths, "captions": NAMES[:4]}
    out = mixer(x, torch.arange(4), generator=seeded(5), **call)
    plan = Plan.from_json(out.plans[0].to_json())
    again = mixer(x, torch.arange(4), plan=plan, **call)
    assert torch.equal(again.x, out.x)
    assert torch.equal(again.target, out.target)
    assert plan.caption == out.plans[0].caption
    assert again.lengths.tolist() == out.lengths.tolist()


def test_hard_negatives_are_false_and_differ():
    mixer = CaptionMix((0, 0), placement="sequence", negatives=True, rate=RATE)
    out = mixed(mixer, distractor_captions=[["A bell rings."]] * 4)
    rows = [out.plans[0].describe(i) for i in range(4)]
    for row in rows:
        kinds = {n["kind"] for n in row["negatives"]}
        assert kinds == {"order", "connector", "source"}
        texts = [n["caption"] for n in row["negatives"]]
        assert row["caption"] not in texts
        assert len(set(texts)) == 3
    json.dumps(rows)


WRONG_CAPTIONS = [
    ({}, TypeError, r"captions must be given: CaptionMix\(\.\.\.\)\(x, captions=texts\).*words='none'"),
    ({"captions": "A dog."}, ValueError, r"captions must be a list of 4 texts"),
    ({"captions": ["A dog."]}, ValueError, r"captions must be a list of 4 texts.* got 1 items"),
    ({"captions": [3, "a", "b", "c"]}, TypeError, r"captions\[0\] must be a text"),
    ({"captions": NAMES[:4], "other": torch.zeros(1, 1, 9)}, TypeError, r"other_captions must be given"),
]


def test_wrong_captions_are_named():
    for call, error, message in WRONG_CAPTIONS:
        with pytest.raises(error, match=message):
            CaptionMix(rate=RATE)(batch(CLIPS)[0], **call)


WRONG_OPTIONS = [
    ({}, r"rate must be given"),
    ({"rate": RATE, "snr_db": (5, -5)}, r"snr_db must be .* the other way round\?"),
    ({"rate": RATE, "sources": (1, 2)}, r"sources must be a number in \[2, 5\]"),
    ({"rate": RATE, "placement": "sequenz"}, r"did you mean 'sequence'\?"),
    ({"rate": RATE, "min_share": 20}, r"did you mean 0.2\?"),
]


def test_wrong_options_are_named():
    for options, message in WRONG_OPTIONS:
        with pytest.raises((TypeError, ValueError), match=message):
            CaptionMix(**options)


def test_in_a_pipeline_and_from_a_second_batch():
    x, lengths = batch(CLIPS)
    chain = Pipeline([CaptionMix(placement="together", keep="original", rate=RATE)], num_classes=5)
    out = chain(x, torch.arange(4), lengths=lengths, captions=NAMES[:4], generator=seeded())
    assert out.plans[0].caption[0]
    other = noise(2, 1, 3 * RATE) * 0.1
    mixer = CaptionMix(sources=(3, 3), placement="sequence", rate=RATE, min_share=0.0)
    given = {"captions": NAMES[:4], "other_captions": ["Hiss.", "Wind."]}
    out = mixer(x, lengths=lengths, other=other, generator=seeded(), **given)
    assert not any(out.plans[0].why)
    assert sorted(out.plans[0].sources(0)) == [0, 1]


def test_eval_tells_the_first_caption_and_leaves_the_sound():
    mixer = CaptionMix(negatives=True, rate=RATE).eval()
    texts = [["", "A dog barks."], "Rain.", None, "Birds sing."]
    out = mixed(mixer, CLIPS, texts)
    plan = out.plans[0]
    assert plan.caption == ("A dog barks.", "Rain.", "", "Birds sing.")
    assert plan.chosen[:, 0].tolist() == [1, 0, -1, 0]
    assert out.lengths.tolist() == [clip.shape[-1] for clip in CLIPS]
    for i, clip in enumerate(CLIPS):
        row = plan.describe(i)
        assert (row["tree"], row["caption_by"], row["why"], row["negatives"]) == ("0", None, NOT_DRAWN, [])
        start, stop = active_span(clip, RATE)
        assert abs(row["events"][0]["onset"] - start) < 1e-5
        assert abs(row["events"][0]["offset"] - stop) < 1e-5
    assert mixer(batch(CLIPS)[0]).plans[0].caption == ("",) * 4  # no captions, nothing to say
    with pytest.raises(ValueError, match="captions must be a list of 4 texts"):
        mixed(mixer, CLIPS, texts[:3])


def test_needs_follow_the_options():
    needs = CaptionMix(sources=(2, 4), max_words=9, rate=RATE).needs
    assert (needs.sources, needs.length, needs.partner, needs.caption) == ((2, 4), "free", "whole", "written")
    assert needs.notes == {"captions": CaptionQuery(max_words=9)}
    needs = CaptionMix(words="none", keep="original", rate=RATE).needs
    assert (needs.length, needs.notes, needs.caption) == ("kept", {}, "original")


def test_one_of_mixes_scenes_beside_sums():
    x, lengths = batch(CLIPS)
    choice = OneOf([CaptionMix((0, 0), placement="sequence", rate=RATE), MixUp()], per="clip", num_classes=4)
    out = choice(x, torch.arange(4), lengths=lengths, captions=NAMES[:4], generator=seeded(2))
    plan = out.plans[0]
    assert set(plan.choice.tolist()) == {0, 1}
    for i in range(4):
        assert ("caption" in plan.describe(i)) == (int(plan.choice[i]) == 0)
        assert (int(out.lengths[i]) > int(lengths[i])) == (int(plan.choice[i]) == 0)


def test_plans_of_the_first_edition_are_read():
    mixer = CaptionMix((0, 0), keep="original", rate=RATE)
    out = mixed(mixer)
    data = json.loads(out.plans[0].to_json())
    del data["keep_length"], data["measure"]
    data["in"] = "audiomix.targets.scene_plan"
    plan = Plan.from_json(json.dumps(data))
    assert torch.equal(mixed(mixer, plan=plan).x, out.x)
    assert plan.describe(0)["caption"] == out.plans[0].describe(0)["caption"]
