"""The functions beside the mixers: the same as their mixers for every plan, and clear about what does not fit."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import (
    AlignMix,
    CutMix,
    FilterAugment,
    FMix,
    GridMix,
    MaxMix,
    MixUp,
    ResizeMix,
    SaliencyMix,
    SelfMix,
    SmoothMix,
    SpecAugment,
    SpecMix,
    TimeShift,
    alignmix,
    cutmix,
    filter_augment,
    max_mix,
    mixup,
    mixup_power,
    resize_mix,
    self_mix,
    spec_augment,
    time_shift,
)
from audiomix.mixers._band_plan import band_mix
from audiomix.mixers._mask_plan import mask_mix

MODES = [
    (alignmix, AlignMix(cells=7)),
    (alignmix, AlignMix(cells=5, pairing="self")),
    (cutmix, SaliencyMix("box")),
    (mixup, MixUp()),
    (mixup, MixUp(pairing="self")),
    (mixup, MixUp(sources=(2, 4), gain_law="unit_power")),
    (mixup, MixUp(domain="as_is")),
    (mixup, MixUp(sources=3, domain="as_is")),
    (mixup_power, MixUp(domain="power")),
    (mixup_power, MixUp(domain="power", pairing="self")),
    (mixup_power, MixUp(sources=3, domain="power")),
    (cutmix, CutMix("box")),
    (cutmix, CutMix("time", pairing="self")),
    (cutmix, CutMix("box", offset="free")),
    (resize_mix, ResizeMix("spectrogram")),
    (self_mix, SelfMix()),
    (self_mix, SelfMix("swap")),
    (max_mix, MaxMix()),
    (max_mix, MaxMix(regions=2, pairing="self")),
    (resize_mix, ResizeMix("spectrogram", pairing="self")),
    (mask_mix, FMix()),
    (mask_mix, FMix("time_freq", soft=0.2)),
    (mask_mix, SmoothMix("time_freq", pairing="self")),
    (band_mix, GridMix("time_freq")),
    (band_mix, SpecMix()),
    (spec_augment, SpecAugment("mix", freq_width=4)),
    (spec_augment, SpecAugment("cut", freq_width=4, pairing="self")),
    (spec_augment, SpecAugment(freq_width=4)),
    (filter_augment, FilterAugment("step")),
    (time_shift, TimeShift()),
]


def name(value):
    """What a function or a mixer is called in the name of a test: a repr would hold its address."""
    return getattr(value, "__name__", None) or repr(value)


@pytest.mark.parametrize(("function", "mixer"), MODES, ids=name)
def test_a_function_does_with_a_plan_what_its_mixer_does(function, mixer):
    x = noise(6, 1, 16, 50)
    mixed = mixer(x, generator=seeded(2))
    torch.testing.assert_close(function(x, mixed.plans[0]), mixed.x)
    out = torch.empty_like(x)
    assert function(x, mixed.plans[0], out=out) is out
    assert torch.equal(out, mixed.x)


@pytest.mark.parametrize(("function", "mixer"), MODES, ids=name)
def test_what_does_not_fit_the_plan_is_named(function, mixer):
    x = noise(6, 1, 16, 50)
    plan = mixer(x, generator=seeded(2)).plans[0]
    with pytest.raises(ValueError, match="x must be of 6 items, as the batch is, got 4 items"):
        function(x[:4], plan)
    if mixer.needs.sources == (1, 1) or mixer.pairing == "self":
        return
    with pytest.raises(ValueError, match=r"plan.partner must be in 0\.\.1, got 5: was it drawn with other="):
        function(x, plan, other=x[:2])
    if function is max_mix:  # which does not know what silence is
        with pytest.raises(ValueError, match="other must be as long as the plan reaches, got 30 frames"):
            function(x, plan, other=x[..., :30])
        return
    if mixer.needs.partner == "whole":  # from partners of any length
        assert function(x, plan, other=x[..., :30]).shape == x.shape
        return
    with pytest.raises(ValueError, match=r"other must be of shape \(M, 1, 16, 50\), as x is, got \(6, 1, 16, 30\)"):
        function(x, plan, other=x[..., :30])


def test_whole_numbers_are_refused_where_they_would_be_cut():
    x = torch.zeros(6, 1, 16, 50, dtype=torch.int64)
    for function, mixer in ((mixup, MixUp()), (mixup_power, MixUp(domain="power")), (filter_augment, FilterAugment())):
        plan = mixer(x.double()).plans[0]
        with pytest.raises(TypeError, match="x must be floating point"):
            function(x, plan)


@pytest.mark.parametrize("mixer", [m for f, m in MODES if f is not time_shift], ids=repr)
def test_padding_may_hold_anything_and_no_gradient_goes_there(mixer):
    x, lengths = noise(6, 1, 16, 50), torch.tensor([30, 50, 50, 0, 41, 50])
    for i, end in enumerate(lengths.tolist()):
        x[i, ..., end:] = torch.nan
    x.requires_grad_()
    mixed = mixer(x, lengths=lengths, generator=seeded(2)).x
    for i, end in enumerate(lengths.tolist()):
        assert mixed[i, ..., :end].isfinite().all()
    (gradient,) = torch.autograd.grad(mixed[mixed.isfinite()].sum(), x)
    assert gradient.isfinite().all()
