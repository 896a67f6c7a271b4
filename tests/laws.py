"""Laws that every mixer obeys, one function each: `LAWS`. They take an `Example`: any mixer can be held to them.

A law is judged from the sound, from the label and from the plan's parts; none knows a mixer by name.
"""

import copy
import dataclasses
import math
import pickle

import pytest
import torch
from sounds import noise, seeded

from audiomix import BeatGrid, Mixer, OneOf, Plan
from audiomix.clips import Clips, silence_padding
from audiomix.parts import mix_of_parts
from audiomix.plan import AS_DRAWN, NOT_DRAWN, ORIGINAL

CLASSES = 8


def batch(example, size=6, seed=1, dtype=torch.float32):
    """Clips of the example's shape: sounds, or log spectrograms around -50 dB."""
    x = noise(size, *example.shape, seed=seed, dtype=dtype) * 0.3
    return x - 50 if is_spectral(example) else x


def is_spectral(example):
    return len(example.shape) > 2 and "stems" not in example.mixer.needs.domain


def is_wave(example):
    return "wave" in example.mixer.needs.domain and not is_spectral(example)


def frames(example):
    """The number of samples or frames of a clip; streams have them on the axis before the last."""
    return example.shape[-2] if is_stream(example) else example.shape[-1]


def wants_second(example):
    return example.partners == "second"


def wants_partner(example):
    """Whether a clip is changed by another one: a transform changes it alone."""
    return example.mixer.needs.sources != (1, 1)


def is_stream(example):
    return "stream" in example.mixer.needs.domain


def call(example, x, target=None, *, mixer=None, seed=0, **given):
    """Call a mixer as its example wants it."""
    given = {**example.notes(len(x)), **given}
    if wants_second(example) and "other" not in given:
        given["other"] = noise(len(x), *x.shape[1:], seed=7, dtype=x.dtype)
    for beats, lengths in (("beats", "lengths"), ("other_beats", "other_lengths")):
        if given.get(beats) is not None and isinstance(given.get(lengths), torch.Tensor):  # no beat lies in the padding
            ends = (given[lengths] / example.mixer.rate).tolist()
            given[beats] = [g and BeatGrid.of(g).between(0.0, end) for g, end in zip(given[beats], ends)]
    if "plan" not in given and "generator" not in given:
        given["generator"] = seeded(seed)
    return (example.mixer if mixer is None else mixer)(x, target, **given)


def changed(example, **changes):
    """The example's mixer, made again with other arguments; None where it has no such argument."""
    try:
        return example.mixer.replace(**changes)
    except TypeError:
        return None


def with_classes(example):
    mixer = changed(example, num_classes=CLASSES)
    assert mixer is not None, "every mixer takes num_classes"
    return mixer


def same_plan(a, b):
    return a.to_json() == b.to_json()


def check_reasons(example, plan):
    """Whoever is left as it is has a reason, and whoever is mixed has none, or one that says what was done instead."""
    assert len(plan.why) in ((0, len(plan)) if plan.mixed.all() else (len(plan),)), (plan.mixed, plan.why)
    for mixed, why in zip(plan.mixed.tolist(), plan.why):
        several = example.mixer.needs.notes or example.mixer.needs.sources[1] > 2  # without one of them, or unaligned
        otherwise = mixed and several and why not in AS_DRAWN
        assert mixed != bool(why) or otherwise, (mixed, why)


def law_parts_placed_and_summed_are_the_mix(example):
    """The plan's parts tell all that is in the mix: nobody has to ask the mixer."""
    if not example.mixer.needs.summed:
        return
    axis = -2 if is_stream(example) else -1
    size = frames(example)
    for ragged in (False, True):
        for second in {"either": (False, True), "batch": (False,), "second": (True,)}[example.partners]:
            x, given = batch(example), {}
            source, notes = x, example.notes(6)
            if second:
                source = given["other"] = batch(example, 6 if wants_second(example) else 4, seed=9)
                if not wants_second(example):
                    notes |= {f"other_{name}": value[:4] for name, value in notes.items() if name in OF_BOTH}
            lengths = torch.tensor([size, size // 2, size // 3, size, size - 1, max(1, size // 20)])
            if ragged:
                given["lengths"] = lengths
                if is_stream(example):
                    given["other_lengths"] = lengths
            mixed = call(example, x, **{**notes, **given})
            plan = mixed.plans[0]
            own, partners, valid = x, source, None
            if is_stream(example):
                own, partners = own.transpose(1, 2), partners.transpose(1, 2)
            if ragged and not is_spectral(example):
                own = silence_padding(own, lengths)
            if source is x:
                partners, valid = own, lengths if ragged else None
            for i in range(6):
                expected = mix_of_parts(plan, i, own[i], partners, valid=valid)
                got = mixed.x[i].transpose(0, 1) if axis == -2 else mixed.x[i]
                end = min(expected.shape[-1], got.shape[-1])
                if ragged:
                    end = min(end, int(mixed.lengths[i]))
                torch.testing.assert_close(got[..., :end], expected[..., :end], atol=2e-4, rtol=1e-4)


OF_BOTH = ("beats", "captions", "ids", "attention")


def law_a_mixed_clip_is_changed_and_names_its_partner(example):
    x = batch(example)
    mixed = call(example, x)
    plan = mixed.plans[0]
    for i in range(len(x)):
        parts = plan.parts(i)
        assert parts[0].source == ORIGINAL or not bool(plan.mixed[i]), parts
        if not bool(plan.mixed[i]):
            assert plan.sources(i) == []
            assert float(plan.weight[i]) == 1
        assert len(set(plan.sources(i))) == len(plan.sources(i))
        _, most = example.mixer.needs.sources
        assert len(plan.sources(i)) <= most - 1 or not example.mixer.needs.target
        assert isinstance(plan.describe(i), dict)
        assert not plan.why or isinstance(plan.why[i], str)
    assert plan.complete.shape == (len(x),)
    check_reasons(example, plan)


def law_the_label_is_the_originals_at_the_plans_weight(example):
    x = batch(example, CLASSES)
    mixer = with_classes(example)
    mixed = call(example, x, torch.arange(CLASSES), mixer=mixer)
    target, plan = mixed.target, mixed.plans[0]
    assert target.dtype == torch.float32
    assert target.shape == (CLASSES, CLASSES)
    if not mixer.needs.target:
        assert torch.equal(target, torch.eye(CLASSES))
        return
    if mixer.rule != "linear":
        return
    torch.testing.assert_close(target.sum(1), torch.ones(CLASSES))  # label mass
    own = target.diagonal().double()
    torch.testing.assert_close(own, plan.weight.expand(CLASSES), atol=1e-5, rtol=0)


def law_the_generator_alone_decides(example):
    x = batch(example)
    torch.manual_seed(5)
    first = call(example, x)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    second = call(example, x)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    assert torch.equal(first.x, second.x)
    assert same_plan(first.plans[0], second.plans[0])
    torch.manual_seed(3)
    free = call(example, x, generator=None)
    torch.manual_seed(3)
    assert torch.equal(free.x, call(example, x, generator=None).x)


def law_a_plan_replays_to_the_bit_through_json(example):
    x, mixer = batch(example), with_classes(example)
    mixed = call(example, x, torch.arange(6), mixer=mixer)
    plan = Plan.from_json(mixed.plans[0].to_json())
    again = call(example, x, torch.arange(6), mixer=mixer, plan=plan)
    assert torch.equal(mixed.x, again.x)
    assert torch.equal(mixed.target, again.target)
    assert same_plan(plan, mixed.plans[0])
    assert "NaN" not in plan.to_json()
    assert plan.to(torch.device("cpu"), torch.float16) is plan


def law_the_input_is_left_unchanged(example):
    x, labels = batch(example), torch.arange(6)
    before = x.clone()
    call(example, x, labels, mixer=with_classes(example))
    assert torch.equal(x, before)
    assert torch.equal(labels, torch.arange(6))


def law_eval_is_the_identity_with_the_mixers_own_plan(example):
    x = batch(example, CLASSES)
    mixer = with_classes(example)
    trained = call(example, x, mixer=mixer).plans[0]
    evaluated = call(example, x, torch.arange(CLASSES), mixer=copy.deepcopy(mixer).eval())
    plan = evaluated.plans[0]
    assert type(plan) is type(trained)
    assert {f.name for f in dataclasses.fields(plan)} == {f.name for f in dataclasses.fields(trained)}
    assert (plan.weight == 1).all()
    assert not plan.mixed.any()
    assert set(plan.why) == {NOT_DRAWN}
    assert torch.equal(evaluated.target, torch.eye(CLASSES))
    assert plan.to_json() == Plan.from_json(plan.to_json()).to_json()
    clean = call(example, x, plan=plan).x  # replayed in training it is the identity too
    assert torch.equal(clean, evaluated.x)
    if example.normalises:
        return
    assert torch.equal(evaluated.x, x)


def law_p_zero_changes_nothing_and_p_half_mixes_half(example):
    x = batch(example, 60)
    never = changed(example, p=0)
    if never is None:
        return
    unmixed = call(example, x, mixer=never)
    assert not unmixed.plans[0].mixed.any()
    assert set(unmixed.plans[0].why) == {NOT_DRAWN}
    assert example.normalises or torch.equal(unmixed.x, x)
    always = sum(int(call(example, x, seed=s).plans[0].mixed.sum()) for s in range(8))
    half = sum(int(call(example, x, mixer=changed(example, p=0.5), seed=s).plans[0].mixed.sum()) for s in range(8))
    whole = type(example.mixer.p).of(0.5)(None) and always
    # fair coins; four standard deviations (kornia applied p twice and mixed a quarter)
    assert abs(half - whole / 2) < 4 * math.sqrt(max(whole, 1) * 0.25) + 1


def law_a_clip_that_is_not_mixed_keeps_its_bits(example):
    mixer = changed(example, p=0.5)
    if mixer is None or example.normalises:
        return
    x = batch(example, 12)
    mixed = call(example, x, mixer=mixer)
    check_reasons(example, mixed.plans[0])
    for i in range(12):
        if not bool(mixed.plans[0].mixed[i]):
            assert torch.equal(mixed.x[i, ..., : x.shape[-1]], x[i])
            assert not mixed.x[i, ..., x.shape[-1] :].any()  # where another mix is longer


def law_a_batch_of_one_is_unchanged(example):
    if wants_second(example) or not wants_partner(example):
        return
    x = batch(example, 1)
    mixed = call(example, x, torch.zeros(1, dtype=torch.int64), mixer=with_classes(example))
    assert torch.equal(mixed.x, x)
    assert mixed.plans[0].weight.tolist() == [1.0]
    if example.mixer.p(None) == 1:  # of a choice, or of a number of sources, the other one may be drawn
        seeds = (call(example, x, seed=seed).plans[0].why for seed in range(9))
        assert any(not set(why) & AS_DRAWN for why in (mixed.plans[0].why, *seeds))
    assert mixed.target.tolist() == [[1.0, 0, 0, 0, 0, 0, 0, 0]]


def law_dtype_is_kept_and_labels_are_not_cast_to_it(example):
    mixer = changed(example, num_classes=4096)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = batch(example, 4, dtype=dtype)
        mixed = call(example, x, torch.tensor([2049, 1, 2, 3]), mixer=mixer)
        assert mixed.x.dtype == dtype
        assert mixed.x.isfinite().all()
        assert mixed.target.dtype == torch.float32
        assert mixed.target[0, 2049] > 0 or bool(mixed.plans[0].mixed[0])  # half precision has no 2049


def law_half_precision_loses_no_gain(example):
    if not example.exact:
        return
    for dtype in (torch.float16, torch.bfloat16):
        x = batch(example).to(dtype)
        given = {"other": noise(6, *example.shape, seed=7).to(dtype)} if wants_second(example) else {}
        mixed = call(example, x, **given)
        given = {name: value.double() for name, value in given.items()}
        exact = call(example, x.double(), plan=mixed.plans[0], **given)
        error = (mixed.x.double() - exact.x).abs()
        # one rounding of each sound that is added, and one of the sum
        most = torch.finfo(dtype).eps * (exact.x.abs() + x.double().abs().max())
        assert (error <= most + 1e-6).all(), error.max()


def law_silence_stays_finite(example):
    for x in (torch.zeros(4, *example.shape), torch.cat([torch.zeros(2, *example.shape), batch(example, 2)])):
        mixed = call(example, x)
        assert mixed.x.isfinite().all()
        assert mixed.plans[0].weight.isfinite().all()


def law_padding_is_never_mixed_in(example):
    if wants_second(example):
        return
    x, size = batch(example, CLASSES), frames(example)
    lengths = (torch.tensor([1.0, 0.7, 0.3, 1.0, 0.05, 0.99, 0.01, 0.5]) * size).round().long()
    behind = (torch.arange(size) >= lengths[:, None]).view(CLASSES, *[1] * (x.ndim - 2), size).expand_as(x)
    spectral = is_spectral(example)
    quiet, loud = x.masked_fill(behind, -100 if spectral else 0), x.masked_fill(behind, 1e6)
    for seed in range(3):
        plan = call(example, quiet, lengths=lengths, seed=seed).plans[0]
        drawn = call(example, loud, lengths=lengths, seed=seed)  # levels, too, ignore the padding
        assert same_plan(drawn.plans[0], plan)
        a, b = (call(example, clips, lengths=lengths, plan=plan) for clips in (quiet, loud))
        for i, end in enumerate(a.lengths.tolist()):
            assert torch.equal(a.x[i, ..., :end], b.x[i, ..., :end])
            if example.mixer.needs.length == "kept":  # behind it: silence, or the original's own padding
                rest, own = b.x[i, ..., end:], loud[i, ..., end:]
                assert ((rest == 0) & (not spectral) | (rest == own)).all()
        if example.mixer.needs.length == "kept":
            assert torch.equal(b.lengths, lengths)


def law_full_lengths_are_no_lengths(example):
    if example.mixer.needs.length == "free":
        return
    x, size = batch(example), frames(example)
    plain = call(example, x)
    full = torch.full((6,), size)
    given = call(example, x, lengths=full, **({"other_lengths": full} if is_stream(example) else {}))
    torch.testing.assert_close(plain.x, given.x)
    torch.testing.assert_close(plain.plans[0].weight, given.plans[0].weight)


def law_plans_carry_no_gradient_and_gradients_flow(example):
    x = batch(example).requires_grad_()
    if not is_spectral(example):
        with torch.no_grad():
            x[0] = 0  # the gradient of a level is infinite at silence
    mixed = call(example, x, torch.arange(6), mixer=with_classes(example))
    copy.deepcopy(mixed.plans[0])
    assert not mixed.target.requires_grad
    mixed.x.square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="out must be None where a gradient is needed"):
        call(example, x, plan=mixed.plans[0], out=torch.empty(6, *example.shape))


def law_frames_may_stand_before_bins(example):
    """``time_axis=-2`` on (B, ..., N, F) is the mixer on (B, ..., F, N), turned: in x, other and out; labels stay."""
    if not is_spectral(example) or "spectrogram" not in example.mixer.needs.domain or is_stream(example):
        return
    turned = changed(example, time_axis=-2)
    assert turned is not None, "every mixer and transform of spectrograms takes time_axis"
    x, target = batch(example), noise(6, CLASSES, 20, seed=3).abs().clamp(max=1)
    lengths = torch.tensor([1.0, 0.7, 0.3, 1.0, 0.05, 0.99]).mul(frames(example)).round().long()
    other = {"other": batch(example, 6, seed=9), "other_target": target, "other_lengths": lengths.flip(0)}
    other |= {f"other_{name}": value for name, value in example.notes(6).items() if name in OF_BOTH}
    for given in ({}, {"lengths": lengths}, {"lengths": lengths, **(other if example.partners == "either" else {})}):
        there = {name: value.mT if name == "other" else value for name, value in given.items()}
        for view in (x.mT, x.mT.contiguous()):
            plain = call(example, x, target, **given)
            mixed = call(example, view, target, mixer=turned, **there)
            torch.testing.assert_close(mixed.x, plain.x.mT)
            assert same_plan(mixed.plans[0], plain.plans[0])
            assert torch.equal(mixed.target, plain.target)
            assert (mixed.lengths is plain.lengths is None) or torch.equal(mixed.lengths, plain.lengths)
            if example.writes_out:
                out = torch.full_like(view, torch.nan)
                written = call(example, view, target, mixer=turned, plan=plain.plans[0], out=out, **there).x
                assert written.data_ptr() == out.data_ptr()
                torch.testing.assert_close(out, plain.x.mT)
    assert torch.equal(call(example, x.mT, mixer=turned.eval()).x, call(example, x, mixer=changed(example).eval()).x.mT)


def law_out_is_written_and_equals_the_plain_call(example):
    x = batch(example)
    plan = call(example, x).plans[0]
    plain = call(example, x, plan=plan).x
    out = torch.full_like(x, torch.nan)
    if plain.shape == x.shape and example.writes_out:
        assert call(example, x, plan=plan, out=out).x is out
        torch.testing.assert_close(out, plain)
        with pytest.raises(ValueError, match="out must be memory of its own"):
            call(example, x, plan=plan, out=x)
    evaluated = copy.deepcopy(example.mixer).eval()
    assert call(example, x, mixer=evaluated, out=out.fill_(torch.nan)).x is out
    torch.testing.assert_close(out, call(example, x, mixer=evaluated).x)


def law_a_plan_of_another_mixer_is_refused(example):
    @dataclasses.dataclass(frozen=True, eq=False)
    class Foreign(Plan):
        pass

    plan = Foreign(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]).double())
    with pytest.raises(ValueError, match="plan must be a .*Plan, got a Foreign"):
        call(example, batch(example, 2), plan=plan)


def law_a_plan_of_partners_that_are_not_there_is_refused(example):
    """Those that are heard count, and those whose label is mixed in: a plan may keep the label."""
    if example.mixer.needs.notes or example.partners == "batch" or is_stream(example) or not wants_partner(example):
        return
    x, many, few = batch(example, 6), batch(example, 12, seed=7), batch(example, 2, seed=7)
    for mixer in (example.mixer, OneOf([example.mixer], per="clip")):
        plans = (call(example, x, mixer=mixer, other=many, seed=seed).plans[0] for seed in range(9))
        plan = next(plan for plan in plans if plan.mixed.any())  # a choice for the batch may be of none
        with pytest.raises(ValueError, match=r"plan\.(partner|voices) must be in 0\.\.1"):
            mixer(x, other=few, plan=plan)
        first = plan.rows(torch.tensor([int(plan.mixed.nonzero()[0])]))  # one that is there
        read = max(first.sources(0))
        mixer(x[:1], other=many[: read + 1], plan=first)


def law_partners_come_from_the_second_batch(example):
    if example.partners != "either" or not example.mixer.needs.target:
        return
    x, other = batch(example, 5), batch(example, 3, seed=2)
    notes = example.notes(5)
    notes |= {f"other_{name}": value[:3] for name, value in example.notes(3).items() if name in OF_BOTH}
    mixer = with_classes(example)
    given = {**notes, "other": other, "other_target": torch.tensor([5, 6, 7])}
    mixed = call(example, x, torch.arange(5), mixer=mixer, **given)
    plan = mixed.plans[0]
    for i in range(5):
        assert all(0 <= j < 3 for j in plan.sources(i))
    if mixer.rule == "linear":
        own = mixed.target[torch.arange(5), torch.arange(5)].double()
        torch.testing.assert_close(own, plan.weight, atol=1e-5, rtol=0)
    generator = seeded()
    del given["other_target"]
    with pytest.raises(ValueError, match="other_target must be given"):
        call(example, x, torch.arange(5), mixer=mixer, generator=generator, **given)
    assert torch.equal(generator.get_state(), seeded().get_state())


def law_eligible_clips_alone_take_part(example):
    x, eligible = batch(example, CLASSES), torch.tensor([1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.bool)
    plan = call(example, x, eligible=eligible).plans[0]
    assert not plan.mixed[~eligible].any()
    assert {plan.why[i] for i in range(CLASSES) if not eligible[i]} == {NOT_DRAWN}
    check_reasons(example, plan)
    if example.mixer.needs.target:
        for i in eligible.nonzero().flatten().tolist():
            assert all(bool(eligible[j]) and j != i for j in plan.sources(i))


def law_classes_differ_or_agree_as_asked(example):
    if wants_second(example) or not example.mixer.needs.target:
        return
    x, labels = batch(example, 9), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    for pairing in ("different_class", "same_class"):
        mixer = changed(example, pairing=pairing, num_classes=3)
        if mixer is None:
            return
        plan = call(example, x, labels, mixer=mixer).plans[0]
        for i in range(9):
            for j in plan.sources(i)[:1]:
                assert (labels[j] == labels[i]) == (pairing == "same_class")
                assert j != i


def law_a_clip_may_be_its_own_partner(example):
    """Pairing self: the clip read from another place, told by the plan; the label stays. Else it is refused."""
    if not example.mixer.takes_self:
        with pytest.raises(ValueError, match=f"pairing must be another one for {type(example.mixer).__name__}"):
            example.mixer.replace(pairing="self")
        return
    if example.mixer.needs.sources[1] > 2 and changed(example, pairing="any"):
        with pytest.raises(ValueError, match="sources must be 2 with pairing='self'"):
            example.mixer.replace(pairing="self")
        return
    mixer = changed(example, pairing="self", num_classes=CLASSES) if wants_partner(example) else None
    if mixer is None:
        return
    x, size = batch(example, CLASSES), frames(example)
    lengths = torch.tensor([size, size // 2, size // 3, size, size - 1, max(2, size // 20), 1, 0])
    for ends in (None, lengths):
        mixed = call(example, x, torch.arange(CLASSES), mixer=mixer, lengths=ends)
        plan = Plan.from_json(mixed.plans[0].to_json())
        again = call(example, x, torch.arange(CLASSES), mixer=mixer, lengths=ends, plan=plan)
        assert torch.equal(again.x, mixed.x)
        assert torch.equal(mixed.target, torch.eye(CLASSES))
        assert bool(plan.mixed[:6].any())
        assert ((plan.roll >= 0.25) & (plan.roll <= 0.75)).all()
        own = x if ends is None or is_spectral(example) else silence_padding(x, ends)
        for i in range(CLASSES):
            assert plan.sources(i) == ([i] if bool(plan.mixed[i]) else [])
            end = size if ends is None else int(ends[i])
            if example.mixer.needs.summed:
                expected = mix_of_parts(plan, i, own[i], own, valid=ends)
                torch.testing.assert_close(mixed.x[i, ..., :end], expected[..., :end], atol=2e-4, rtol=1e-4)
        if ends is not None:
            assert not plan.mixed[6:].any()
            reasons = ("partner", "silent", "no cell")  # of a mask no cell lies in a clip without a length
            assert all(any(text in plan.why[i] for text in reasons) for i in (6, 7)), plan.why
    leaf = x.clone().requires_grad_()
    followed = call(example, leaf, mixer=mixer, lengths=lengths, plan=plan).x
    torch.testing.assert_close(followed.detach(), mixed.x)
    followed.square().sum().backward()
    assert leaf.grad.isfinite().all()
    assert call(example, x, mixer=copy.deepcopy(mixer).eval()).plans[0].roll is None
    with pytest.raises(ValueError, match="other must be left out with pairing='self'"):
        call(example, x, mixer=mixer, other=x)


def law_the_caller_says_who_may_be_a_partner(example):
    """`allowed` and `pairing_weights` reach every mixer that chooses partners."""
    mixer = changed(example, pairing="any")
    if mixer is None or wants_second(example) or not wants_partner(example):
        return
    x, few = batch(example, 7), example.mixer.needs.sources[1] > 2  # of several some clips may be asked for none
    allowed = torch.zeros(7, 7, dtype=torch.bool)
    allowed[torch.arange(7), (torch.arange(7) + 3) % 7] = True
    allowed[6] = False
    for seed in range(3):
        plan = call(example, x, mixer=mixer, allowed=allowed, seed=seed).plans[0]
        assert all(plan.sources(i) in ([], [(i + 3) % 7]) for i in range(7))
        assert not bool(plan.mixed[6])
        assert few or plan.why[6]
        weights = torch.tensor([0, 0, 1e300, 3, 0, 0, 0], dtype=torch.float64)
        plan = call(example, x, mixer=mixer, pairing_weights=weights, seed=seed).plans[0]
        assert all(plan.sources(i) in ([], [3 if i == 2 else 2], [2, 3], [3, 2], [3]) for i in range(7))
        plan = call(example, x, mixer=mixer, pairing_weights=torch.zeros(7), seed=seed).plans[0]
        assert not plan.mixed.any()
        assert few or all(plan.why)


def law_render_compiles_to_one_graph(example):
    if example.mixer.needs.notes or not (example.exact and example.compiles) or example.partners != "either":
        return
    own = Clips(batch(example, 4))
    plan = call(example, own.x).plans[0]
    torch._dynamo.reset()
    compiled = torch.compile(example.mixer.mix, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(own, own, plan), example.mixer.mix(own, own, plan))


def law_mixers_chain(example):
    if example.mixer.needs.notes or wants_second(example) or example.mixer.rule != "linear":
        return
    x, mixer = batch(example), with_classes(example)
    first = call(example, x, torch.arange(6), mixer=mixer)
    second = call(example, first.x, first.target, mixer=mixer, seed=1)
    torch.testing.assert_close(second.target.sum(1), torch.ones(6))


def law_it_pickles_copies_and_says_how_it_was_made(example):
    x, mixer = batch(example, 4), example.mixer
    twins = [copy.deepcopy(mixer), mixer.replace()]
    if example.pickles:
        twins.append(pickle.loads(pickle.dumps(mixer)))
    for twin in twins:
        assert torch.equal(call(example, x, mixer=twin).x, call(example, x).x)
        assert repr(twin) == repr(mixer)
    assert repr(mixer).startswith(f"{type(mixer).__name__}(")
    if "wave" in mixer.needs.domain:
        assert mixer.at_rate(12345).options().get("rate", 12345) in (12345, None)


def law_schedules_ask_for_progress(example):
    x = batch(example, 4)
    mixer = changed(example, p="linear:0:1")
    if mixer is None:
        return
    generator = seeded()
    with pytest.raises(TypeError, match="progress must be given, since p is the schedule"):
        call(example, x, mixer=mixer, generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())
    call(example, x, mixer=mixer, progress=0.5)
    call(example, x, mixer=copy.deepcopy(mixer).eval())  # nothing is drawn


LAWS = [law for name, law in list(globals().items()) if name.startswith("law_")]


def all_examples(kinds):
    """Every example of every mixer class, with a name for it."""
    for kind in kinds:
        assert issubclass(kind, Mixer)
        for example in kind.examples():
            yield pytest.param(example, id=repr(example.mixer)[:120])
