"""Why a clip is left as it is, for input of which little or nothing can be mixed: a right reason, or a clear error."""

import re
from contextlib import contextmanager

import pytest
import torch
from laws import all_examples, batch, call, check_reasons, is_spectral, is_stream, wants_second
from sounds import seeded

from audiomix import CutMix, FMix, MaskMix, MixUp, PatchMix, SaliencyMix, mixers
from audiomix.mixers._mask_plan import ONE_CELL
from audiomix.plan import AS_DRAWN, NO_PARTNER, NO_SAMPLE, NOT_DRAWN, WHOLE
from audiomix.plan_sources import PlacedPlan

EXAMPLES = [
    parameter
    for parameter in all_examples([mixers.get(name) for name in mixers.available()])
    if not is_stream(parameter.values[0])
    and not parameter.values[0].mixer.needs.notes
    and parameter.values[0].mixer.p(None) == 1
]


@contextmanager
def suppress_clear_error():
    """Let through an error that names what was expected and what came."""
    try:
        yield
    except ValueError as error:
        if not re.search(r" must be .*got ", str(error)):
            raise


def check_left(example, x, mixed, *, lengths=None):
    """What is left has its bits, what is mixed is finite, all have a reason or none; all clips took part."""
    plan = mixed.plans[0]
    check_reasons(example, plan)
    assert mixed.x.isfinite().all()
    assert NOT_DRAWN not in plan.why
    for i, one in enumerate(plan.mixed.tolist()):
        end = x.shape[-1] if lengths is None else int(lengths[i])
        if not one and not example.normalises:
            assert torch.equal(mixed.x[i, ..., :end], x[i, ..., :end])
            assert plan.sources(i) == []


def sizes(example):
    """Shapes of clips of one to three samples or frames; an embedding has no time."""
    return [(*example.shape[:-1], size) for size in (1, 2, 3)] if len(example.shape) > 1 else []


@pytest.mark.parametrize("example", EXAMPLES)
def test_clips_too_short_to_be_mixed(example):
    """Clips of one to three samples or frames, and batches in which some have none that is valid."""
    for shape in sizes(example):
        x = torch.randn(4, *shape, generator=seeded(1)) * 0.3 - 50 * is_spectral(example)
        given = {"other": x.flip(0)} if wants_second(example) else {}
        with suppress_clear_error():
            for seed in range(2):
                check_left(example, x, call(example, x, seed=seed, **given))
    if wants_second(example) or not sizes(example):
        return
    x, lengths = batch(example, 6), torch.tensor([example.shape[-1], 0, 1, 2, 0, 3])
    mixed = call(example, x, lengths=lengths)
    if isinstance(mixed.plans[0], PlacedPlan):
        return  # a clip that is padded is placed in a scene, which changes it
    check_left(example, x, mixed, lengths=lengths)
    assert not mixed.plans[0].mixed[lengths == 0].any()
    assert all(mixed.plans[0].why[i] not in AS_DRAWN for i in (1, 4))


def without_share(example):
    """The mixer with ``alpha=0``, which leaves the original all of most clips; None where it has no such share."""
    try:
        return example.mixer.replace(alpha=0)
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("example", [e for e in EXAMPLES if without_share(e.values[0])])
def test_a_share_that_is_drawn_whole_is_the_reason(example):
    x, mixer = batch(example, 6), without_share(example)
    mixed = call(example, x, mixer=mixer)
    check_left(example, x, mixed)
    plan = mixed.plans[0]
    assert {plan.why[i] for i in range(6) if not plan.mixed[i]} <= {WHOLE}
    assert set(call(example, x, mixer=mixer.replace(p=0)).plans[0].why) == {NOT_DRAWN}


@pytest.mark.parametrize(
    ("mixer", "shape", "why"),
    [
        (MaskMix((64, 256)), (1, 12, 100), ONE_CELL),  # the cell is larger than the spectrogram
        (PatchMix("time_freq", patch=(64, 256)), (1, 12, 100), ONE_CELL),
        (PatchMix(patch=2000), (1, 1000), ONE_CELL),
        (PatchMix(partner_share=0.01, patch=100), (1, 1000), WHOLE),  # a tenth of a patch
        (FMix(alpha=0), (1, 1000), WHOLE),
        (CutMix(alpha=0), (1, 1000), WHOLE),
        (CutMix("box", alpha=0), (1, 12, 100), WHOLE),
        (SaliencyMix(alpha=0), (1, 1000), WHOLE),
        (MixUp(alpha=0), (1, 1000), WHOLE),
        (MixUp(weight=1.0), (1, 1000), WHOLE),
    ],
)
def test_the_reason_is_the_one_that_holds(mixer, shape, why):
    x, labels = torch.randn(4, *shape, generator=seeded(1)), torch.tensor([0, 1, 1, 1])
    assert mixer(x).plans[0].why == (why,) * 4
    some = mixer.replace(p=0.5, pairing="same_class", num_classes=2)
    plan = some(x, labels, eligible=[True, True, True, False], generator=seeded()).plans[0]
    assert plan.why[3] == NOT_DRAWN
    assert plan.why[0] in (NO_PARTNER, NOT_DRAWN)
    assert {*plan.why[1:3]} <= {NOT_DRAWN, why}
    always = mixer.replace(pairing="same_class", num_classes=2)(x, labels, eligible=[True, True, True, False])
    assert always.plans[0].why == (NO_PARTNER, why, why, NOT_DRAWN)


def test_a_partner_without_a_sample_is_the_reason():
    for mixer in (MixUp(), CutMix(), CutMix(offset="free")):
        mixed = mixer(torch.randn(3, 1, 100), lengths=[100, 0, 50], other=torch.randn(2, 1, 100), other_lengths=[0, 0])
        assert mixed.plans[0].why == (NO_SAMPLE,) * 3
