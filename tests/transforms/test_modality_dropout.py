"""Modality dropout: frequencies, never both, and what is missing already."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix.plan import Plan
from audiomix.transforms.modality_dropout import DropoutPlan, ModalityDropout


def streams(size, seed=1):
    """Return a sound (B, N, D) and a picture (B, N, C, H, W) without a single zero."""
    return noise(size, 7, 3, seed=seed).abs() + 0.1, noise(size, 5, 1, 2, 3, seed=seed + 1).abs() + 0.1


def gone(stream):
    """Return which clips are zero throughout, judged from the values; a clip is gone wholly or not at all."""
    zero = (stream == 0).flatten(1)
    assert bool((zero.all(1) == zero.any(1)).all())
    return zero.all(1)


@pytest.mark.parametrize(("p", "share"), [(0.5, 0.5), (0.5, 0.2), (1.0, 0.7), (0.2, 1.0)])
def test_frequencies_per_sample(p, share):
    size = 4000
    sound, picture = streams(size)
    left = ModalityDropout(p, sound=share)(sound, picture, generator=seeded())
    no_sound, no_picture = gone(left.sound), gone(left.picture)
    assert not bool((no_sound & no_picture).any())
    for found, expected in [(no_sound, p * share), (no_picture, p * (1 - share))]:
        tolerance = 4 * math.sqrt(expected * (1 - expected) / size)
        assert found.double().mean().item() == pytest.approx(expected, abs=tolerance + 1e-12)
    assert torch.equal(left.present, torch.stack([~no_sound, ~no_picture], 1))
    assert torch.equal(left.sound[~no_sound], sound[~no_sound])
    assert torch.equal(left.picture[~no_picture], picture[~no_picture])


def test_frequencies_per_batch_are_av_huberts():
    drop, generator, runs = ModalityDropout(0.5, sound=0.5, per="batch"), seeded(), 1000
    sound, picture = streams(3)
    counts = {(False, False): 0, (True, False): 0, (False, True): 0}
    for _ in range(runs):
        left = drop(sound, picture, generator=generator)
        no_sound, no_picture = gone(left.sound), gone(left.picture)
        assert len(no_sound.unique()) == len(no_picture.unique()) == 1  # all clips alike
        counts[bool(no_sound[0]), bool(no_picture[0])] += 1
    for key, expected in [((False, False), 0.5), ((True, False), 0.25), ((False, True), 0.25)]:
        assert counts[key] / runs == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / runs))


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_a_clip_that_lacks_a_stream_keeps_the_other(per):
    sound, picture = streams(300)
    drop = ModalityDropout(1.0, sound=0.5, per=per)
    present = torch.ones(300, 2, dtype=torch.bool)
    present[:100, 0], present[100:200, 1] = False, False
    for seed in range(8):
        left = drop(sound, picture, present=present, generator=seeded(seed))
        no_sound, no_picture = gone(left.sound), gone(left.picture)
        assert not bool(no_picture[:100].any())
        assert not bool(no_sound[100:200].any())
        assert bool((no_sound ^ no_picture)[200:].all())
        assert bool(left.present.any(1).all())
        assert not bool((left.present & ~present).any())


def test_none_is_a_stream_that_is_missing():
    sound, picture = streams(50)
    left = ModalityDropout(1.0)(None, picture, generator=seeded())
    assert left.sound is None
    assert torch.equal(left.picture, picture)
    assert left.present.tolist() == [[False, True]] * 50
    left = ModalityDropout(1.0)(sound, None, generator=seeded())
    assert torch.equal(left.sound, sound)
    assert left.picture is None
    with pytest.raises(ValueError, match="sound or picture must be a tensor"):
        ModalityDropout()(None, None)


def test_a_nan_goes_with_the_stream_that_is_dropped():
    """AV-HuBERT's ``features * 0`` keeps it."""
    sound, picture = streams(4)
    sound[:] = math.nan
    left = ModalityDropout(1.0, sound=1.0)(sound, picture)
    assert bool((left.sound == 0).all())
    assert bool(sound.isnan().all())


def test_eval_is_the_identity():
    sound, picture = streams(20)
    left = ModalityDropout(1.0).eval()(sound, picture)
    assert left.sound is sound
    assert left.picture is picture
    assert bool(left.present.all())


def test_a_plan_replays_and_goes_through_json():
    sound, picture = streams(40)
    drop = ModalityDropout(0.6)
    first = drop(sound, picture, generator=seeded())
    plan = Plan.from_json(first.plan.to_json())
    assert isinstance(plan, DropoutPlan)
    again = drop(sound, picture, plan=plan)
    assert torch.equal(first.sound, again.sound)
    assert torch.equal(first.picture, again.picture)
    assert torch.equal(plan.weight, torch.ones(40).double())
    with pytest.raises(ValueError, match="drawn for 39 clips"):
        drop(sound[:39], picture[:39], plan=plan)
    with pytest.raises(ValueError, match="leaves each clip a stream"):
        drop(sound, None, plan=plan)
    with pytest.raises(ValueError, match="at most one stream"):
        DropoutPlan.of(torch.ones(2, 2, dtype=torch.bool))


def test_a_learned_token_stands_in_the_place_and_learns():
    token = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    drop = ModalityDropout(1.0, sound=1.0, sound_fill=token)
    assert list(drop.parameters()) == [token]
    sound, picture = streams(4)
    left = drop(sound.half(), picture)
    assert left.sound.dtype == torch.float16
    assert torch.equal(left.sound, token.half().expand(4, 7, 3))
    left.sound.sum().backward()
    assert token.grad.tolist() == [28, 28, 28]
    buffered = ModalityDropout(1.0, sound=0.0, picture_fill=torch.tensor(0.5))
    assert bool((buffered(sound, picture).picture == 0.5).all())


def test_a_schedule_and_gradients():
    sound, picture = streams(200)
    drop = ModalityDropout("linear:0:1", sound=1.0)
    assert not bool(gone(drop(sound, picture, progress=0).sound).any())
    sound.requires_grad_()
    left = drop(sound, picture, progress=0.5, generator=seeded())
    left.sound.sum().backward()
    dropped = gone(left.sound)
    assert 60 < dropped.sum() < 140
    assert torch.equal(sound.grad, (~dropped).float()[:, None, None].expand_as(sound))


def test_wrong_arguments_are_named():
    sound, picture = streams(4)
    with pytest.raises(ValueError, match="picture must be of 4 clips"):
        ModalityDropout()(sound, picture[:3])
    with pytest.raises(ValueError, match="present must be bool of shape"):
        ModalityDropout()(sound, picture, present=torch.ones(4, 2))
    with pytest.raises(ValueError, match="did you mean 0.5"):
        ModalityDropout(sound=50)
    with pytest.raises(TypeError, match="manual_seed"):
        ModalityDropout()(sound, picture, generator=3)
    with pytest.raises(TypeError, match="floating point"):
        ModalityDropout()(sound, picture.to(torch.uint8))
