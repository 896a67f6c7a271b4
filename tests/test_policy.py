import dataclasses
import inspect
import math

import pytest
import torch
from laws import CLASSES, all_examples, batch, call
from scipy import stats
from sounds import noise, seeded

from audiomix import AVMix, CutMix, MixUp, OneOf, Plan, SNRMix, SpecAugment, StreamMix, TimeShift, mixers
from audiomix.targets.correspondence import correspondence, mix_captions
from audiomix.targets.pictures import mix_pictures


@pytest.mark.parametrize("per", ["batch", "clip"])
def test_each_mixer_is_chosen_as_often_as_asked(per):
    mixer = OneOf([MixUp(), CutMix(), None], [0.5, 0.3, 0.2], per=per)
    wave, counts = noise(5, 1, 50), torch.zeros(3)
    for seed in range(600):
        choice = mixer(wave, generator=seeded(seed)).plans[0].choice
        counts += torch.bincount(choice[: 1 if per == "batch" else 5], minlength=3)
    assert stats.chisquare(counts.numpy(), (counts.sum() * torch.tensor([0.5, 0.3, 0.2])).numpy()).pvalue > 1e-4


def test_every_clip_goes_through_the_mixer_of_its_plan():
    mixer = OneOf([CutMix(), SNRMix((0, 0), label="keep"), None], per="clip", num_classes=12)
    wave = noise(12, 1, 400)
    x, target, (plan,), _ = mixer(wave, torch.arange(12), generator=seeded())
    kept = (x == wave).all(-1)[:, 0]
    assert kept[plan.choice == 2].all()
    for i in (plan.choice == 0).nonzero().flatten().tolist():  # cut: every sample is one of the two
        assert ((x[i] == wave[i]) | (x[i] == wave[plan.partner[i]])).all()
    for i in (plan.choice == 1).nonzero().flatten().tolist():  # noise: the label is kept
        assert target[i].argmax() == i
        assert target[i].max() == 1
        assert not kept[i]
    assert len(plan.choice.unique()) == 3


def test_label_rules_stay_with_their_mixer():
    mixer = OneOf([SNRMix((0, 0), label="union"), MixUp()], per="clip", num_classes=30)
    _, target, (plan,), _ = mixer(noise(30, 1, 100), torch.arange(30), generator=seeded())
    assert (target[plan.choice == 0].sum(1) == 2).all()
    torch.testing.assert_close(target[plan.choice == 1].sum(1), torch.ones(int((plan.choice == 1).sum())))


def test_it_stops_when_told():
    mixer = OneOf([MixUp()], p="stop_after:0.5")
    wave = noise(6, 1, 100)
    assert not torch.equal(mixer(wave, generator=seeded(), progress=0.49).x, wave)
    assert torch.equal(mixer(wave, generator=seeded(), progress=0.5).x, wave)


def test_a_share_p_is_mixed():
    count = sum(
        int((OneOf([MixUp()], p=0.3)(noise(100, 1, 8), generator=seeded(s)).plans[0].choice >= 0).sum())
        for s in range(20)
    )
    assert abs(count - 600) < 4 * math.sqrt(2000 * 0.21)


def test_frames_of_a_nested_plan_survive_json():
    mixer = OneOf([CutMix(), MixUp()], per="clip")
    frames = torch.eye(6)[:, :, None].repeat(1, 1, 20)
    mixed = mixer(noise(6, 1, 100), frames, generator=seeded())
    plan = Plan.from_json(mixed.plans[0].to_json())
    assert torch.equal(mixer(noise(6, 1, 100), frames, plan=plan).target, mixed.target)
    assert torch.equal(plan.share(20), mixed.plans[0].share(20))


def test_it_fails_for_every_draw_or_for_none():
    wave, other = noise(4, 1, 100), noise(2, 1, 100)
    for seed in range(10):
        with pytest.raises(ValueError, match="other_target must be given"):
            OneOf([SNRMix(label="keep"), MixUp()], num_classes=4)(
                wave, torch.arange(4), other=other, generator=seeded(seed)
            )
        with pytest.raises(ValueError, match="spectrograms"):
            OneOf([CutMix("freq"), MixUp()])(wave, generator=seeded(seed))


@pytest.mark.parametrize("per", ["batch", "clip"])
def test_transforms_alone_keep_class_ids_as_each_of_them_does(per):
    x, ids = noise(6, 1, 12, 60), torch.arange(6)
    hide, swap = SpecAugment(freq_width=4), SpecAugment("cut", freq_width=4)
    for choice in ([TimeShift(), hide, None], [swap, TimeShift()], [None], [OneOf([hide, None], per=per), hide]):
        mixer = OneOf(choice, per=per)
        assert mixer(x, ids, generator=seeded()).target is ids
        assert mixer.eval()(x, ids).target is ids
        assert torch.equal(mixer.replace(num_classes=6)(x, ids, generator=seeded()).target, torch.eye(6))
    with pytest.raises(ValueError, match="pass num_classes=K"):
        OneOf([TimeShift(), MixUp()])(x, ids)
    with pytest.raises(ValueError, match="target must be of 6 items"):
        OneOf([TimeShift()])(x, ids[:3])


def test_a_choice_of_nothing_is_a_copy_and_classes_come_from_the_members():
    wave = noise(3, 1, 50)
    mixed = OneOf([None, MixUp(num_classes=3)], [1, 0])(wave, torch.arange(3))
    assert torch.equal(mixed.x, wave)
    assert mixed.x is not wave
    assert torch.equal(mixed.target, torch.eye(3))


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="mixers must be at least one"):
        OneOf([])
    with pytest.raises(TypeError, match="mixers must be mixers or None"):
        OneOf([torch.nn.ReLU()])
    with pytest.raises(ValueError, match="probabilities must be 1 numbers"):
        OneOf([MixUp()], [0.5, 0.5])
    with pytest.raises(ValueError, match="sum above 0"):
        OneOf([MixUp()], [0])


# what methods of plans take, by the name of the argument; with an index they tell of one clip, else of all
ARGUMENTS = {
    "size": 7,
    "lengths": torch.arange(1, CLASSES + 1),
    "stream": "picture",
    "at": torch.linspace(0, 1, 9).double().expand(CLASSES, 9),
    "timed_ends": True,
}
STREAM, STREAMS = noise(CLASSES, 3, 7), ("move_frames", "roll_stream", "place_frames")
OFFERED = {**vars(Plan), **{field.name: field for field in dataclasses.fields(Plan)}}
NAMES = sorted(n for n, v in OFFERED.items() if n[0] != "_" and not isinstance(v, (classmethod, staticmethod)))
OF_NO_CLIP = ("to", "to_json", "rows", "keeps_labels", "changes_any", "partner_rows")  # these tell of no single clip
NAMES = [name for name in NAMES if name not in OF_NO_CLIP]


def told(plan, name, i):
    """What a plan says of one clip by one of its properties or methods, as something that can be compared."""
    value = getattr(plan, name)
    if callable(value):
        given = {**ARGUMENTS, "index": i, **({"stream": STREAM} if name in STREAMS else {})}
        arguments = {p: given[p] for p in inspect.signature(value).parameters}
        value = value(**arguments)
        if "index" in arguments:
            return repr(value)
    if name == "why":
        return value[i] if value else ""
    if isinstance(value, (str, float, type(None))):
        return value
    if name == "label_shares":  # plans of more sources have more columns; what nobody has a share of says nothing
        sources = [-1, *value[0][i].tolist()]
        shares = value[1][i].expand(-1, ARGUMENTS["size"]).tolist()
        return [(source, share) for source, share in zip(sources, shares) if any(share)]
    rows = torch.stack(value, 1) if isinstance(value, tuple) else value
    return rows[i].expand(ARGUMENTS["size"]).tolist() if name == "share" else rows[i].tolist()


@pytest.mark.parametrize("example", [*all_examples(map(mixers.get, mixers.available()))])
def test_its_plan_says_of_each_clip_what_the_plan_of_its_mixer_says(example):
    """All that `Plan` offers, by its own list: a new property or method is held to this as well."""
    mixer = OneOf([example.mixer, None], [3, 1], per="clip")
    plan = call(example, batch(example, CLASSES), mixer=mixer).plans[0]
    own, still = plan.plans[0], Plan.identity(CLASSES)
    assert len(NAMES) > 15
    for i, chosen in enumerate((plan.choice == 0).tolist()):
        for name in NAMES:
            if name in ("share_of", "axis_seconds"):  # one value for all clips
                assert getattr(plan, name) == getattr(own, name)
            elif chosen or name != "partner":
                assert told(plan, name, i) == told(own if chosen else still, name, i), (name, i)
    assert len(plan.choice.unique()) == 2


@pytest.mark.parametrize("example", [*all_examples(map(mixers.get, mixers.available()))])
@pytest.mark.parametrize("graded", [False, True])
def test_every_mixer_works_on_its_rows_as_it_does_on_the_batch(example, graded):
    """What comes out is defined by mixing all clips with every mixer, and choosing; rows alone are much cheaper."""
    twin = example.mixer.replace(p=0.7)
    mixer = OneOf([example.mixer, twin, None], per="clip")
    x, size = batch(example, CLASSES), example.shape[-2 if "stream" in example.mixer.needs.domain else -1]
    for lengths in (None, torch.tensor([1.0, 0.7, 0.3, 1.0, 0.5, 0.9, 0.2, 0.5]).mul(size).round().long()):
        given = {} if lengths is None else {"lengths": lengths}
        if "stream" in example.mixer.needs.domain and given:
            given["other_lengths"] = lengths
        mixed = call(example, x.clone().requires_grad_(graded), mixer=mixer, **given)
        plan = mixed.plans[0]
        own, source = mixer.take_clips(x, None, **sides(example, x, given))
        for i, k in enumerate(plan.choice.tolist()):
            whole = mixer.unmixed(own, source) if k not in (0, 1) else None
            one = mixer.mixers[k].mix(own, source, plan.plans[k])[i] if whole is None else whole[i]
            if not plan.mixed.any():  # x comes back as it is, padding too
                one = x[i]
            end = min(one.shape[-1], mixed.x.shape[-1])
            torch.testing.assert_close(mixed.x[i, ..., :end], one[..., :end], atol=1e-6, rtol=1e-5)
            assert not mixed.x[i, ..., end:].any()
    assert len(plan.choice.unique()) > 1


def sides(example, x, given):
    """The arguments of `take_clips` for what `call` passes."""
    notes = example.notes(len(x))
    given = {"lengths": None, "other": None, "other_target": None, "other_lengths": None, "eligible": None, **given}
    if example.partners == "second":
        given["other"] = noise(len(x), *x.shape[1:], seed=7)
    return {**given, "notes": notes}


def test_large_clips_are_mixed_in_place():
    x = noise(6, 1, 200_000)
    mixer = OneOf([MixUp(), CutMix(), SNRMix(), None], per="clip", p=0.8)
    for lengths in (None, torch.tensor([200_000, 150_000, 100_000, 9, 0, 200_000])):
        out = torch.full_like(x, torch.nan)
        mixed = mixer(x, lengths=lengths, generator=seeded(1), out=out)
        assert mixed.x is out
        for i in range(6):
            k = int(mixed.plans[0].choice[i])
            own = mixer.take_clips(x, None, lengths=lengths, notes={})[0]
            one = own.x if k in (-1, 3) else mixer.mixers[k].mix(own, own, mixed.plans[0].plans[k])
            torch.testing.assert_close(out[i], one[i])


def test_pictures_captions_and_correspondence_follow_the_mixer_of_each_clip():
    mixer = OneOf([AVMix(mode="box"), AVMix(mode="swap"), MixUp(), None], per="clip")
    plan = mixer(noise(12, 1, 400), generator=seeded(3)).plans[0]
    assert set(plan.choice.tolist()) == {0, 1, 2, 3}
    frames, texts = torch.rand(12, 5, 3, 6, 8, generator=seeded(1)), [f"Sound {i}." for i in range(12)]
    pictures, captions = mix_pictures(frames, plan), mix_captions(texts, plan)
    for i, k in enumerate(plan.choice.tolist()):
        one = plan.plans[k] if k < 3 else Plan.identity(12)
        assert torch.equal(pictures[i], mix_pictures(frames, one)[i])
        assert captions[i] == mix_captions(texts, one)[i]
        assert correspondence(plan)[i] == correspondence(one)[i]


def test_a_choice_among_mixers_of_streams_takes_streams():
    picture, sound = noise(6, 40, 12), noise(6, 40, 12, seed=2)
    lengths = torch.tensor([40, 30, 20, 40, 5, 10])
    mixer = OneOf([StreamMix(0.5, normalise="layer"), StreamMix(0.3, normalise="layer")], per="clip", p=0.5)
    given = {"other": sound, "lengths": lengths, "other_lengths": lengths}
    x, target, (plan,), ends = mixer(picture, list("abcdef"), **given, generator=seeded(2))
    assert (target, ends.tolist()) == (list("abcdef"), lengths.tolist())
    assert set(plan.choice.tolist()) == {-1, 0, 1}
    clean = mixer.members[0].clean_view(picture, lengths)
    assert torch.equal(x[plan.choice < 0], clean[plan.choice < 0])
    assert torch.equal(mixer.eval()(picture, **given).x, clean)
