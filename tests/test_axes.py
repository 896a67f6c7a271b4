"""Frames before bins: ``time_axis=-2`` on batches as AST, lhotse and ESPnet have them, and the warning without it."""

import warnings

import pytest
import torch
from sounds import noise, seeded

from audiomix import CutMix, MixUp, OneOf, Pipeline, SNRMix, SpecAugment, TimeShift


def test_cutmix_cuts_frames_of_asts_input():
    """(B, 1024, 128): before, a cut in time cut mel bins without a word."""
    x, frames = noise(4, 1024, 128), torch.eye(4)[:, :, None].repeat(1, 1, 1024)
    lengths = torch.tensor([1024, 500, 700, 1024])
    mixed = CutMix("time", time_axis=-2)(x, frames, lengths=lengths, generator=seeded(1))
    assert torch.equal(mixed.lengths, lengths)
    assert mixed.x.is_contiguous()
    changed = mixed.x != x
    assert torch.equal(changed.all(2), changed.any(2))  # whole frames, all bins
    assert (changed.any(2).sum(1) > 0).any()
    for i, end in enumerate(lengths.tolist()):
        assert not changed[i, end:].any()
        own = mixed.target[i, i] == 1
        assert torch.equal(own, ~changed[i].any(1))  # frame labels are cut at the same frames
        kept = 1 - changed[i].any(1).sum() / end
        assert kept.item() == pytest.approx(mixed.plans[0].weight[i].item(), abs=1e-6)


def test_a_warning_names_the_shape_where_axes_matter():
    x, lengths = noise(3, 1024, 128), torch.tensor([128, 100, 90])
    for mixer, given in (
        (CutMix("time"), {}),
        (CutMix("freq"), {}),
        (TimeShift(), {}),
        (SpecAugment(), {}),
        (OneOf([MixUp(), CutMix()]), {}),
        (MixUp(pairing="self"), {}),  # rolls the clips along time
        (MixUp(), {"lengths": lengths}),
    ):
        with pytest.warns(UserWarning, match=r"x of shape \(3, 1024, 128\) looks like 1024 frames of 128 bins.*=-2"):
            mixer(x, **given)


def test_there_is_no_warning_where_there_is_no_doubt():
    long = noise(3, 1024, 128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MixUp()(long)  # whole clips are added: axes are alike
        CutMix(time_axis=-1)(long)
        CutMix(time_axis=-2)(long)
        CutMix().eval()(long)
        for shape in ((3, 128, 1024), (3, 1, 513, 128), (3, 1, 128, 100), (3, 1, 128, 64), (3, 2, 16000), (3, 40)):
            CutMix()(noise(*shape))
        SNRMix()(long)  # waveforms


def test_a_wrong_axis_is_named():
    for value in (1, 0, -3):
        with pytest.raises(ValueError, match=r"time_axis must be -1 or -2, .* got .* N, F\)\? time_axis=-2"):
            MixUp(time_axis=value)
    with pytest.raises(ValueError, match="time_axis must be the same for all mixers, got -2, -1"):
        OneOf([MixUp(time_axis=-1), CutMix(time_axis=-2)])
    with pytest.raises(ValueError, match=r"lengths must be within \[0, 30\]"):
        MixUp(time_axis=-2)(noise(2, 30, 12), lengths=torch.tensor([31, 2]))


def test_a_choice_takes_the_axis_of_its_mixers():
    x = noise(8, 60, 12)
    choice = OneOf([CutMix(time_axis=-2), MixUp(), None], per="clip")
    turned = OneOf([CutMix(), MixUp(), None], per="clip")
    assert torch.equal(choice(x, generator=seeded()).x, turned(x.mT, generator=seeded()).x.mT)


def test_out_itself_comes_back():
    """As with time last: a caller may write ``assert mixed.x is out``; before, a view of it came back."""
    x, out = noise(4, 60, 12), torch.empty(4, 60, 12)
    for mixer in (CutMix(time_axis=-2), MixUp(time_axis=-2, p=0), TimeShift(time_axis=-2)):
        assert mixer(x, generator=seeded(), out=out).x is out
        assert torch.equal(out, mixer(x, generator=seeded()).x)
        assert mixer.eval()(x, out=out).x is out
        assert torch.equal(out, x)


def test_embeddings_have_no_other_axis():
    x = noise(5, 12)
    assert torch.equal(MixUp(time_axis=-2)(x, generator=seeded()).x, MixUp()(x, generator=seeded()).x)


def test_a_pipeline_carries_lengths_along_the_axis_of_its_mixers():
    class Halve(torch.nn.Module):
        def forward(self, x):
            return x[:, ::2] if x.shape[1] > x.shape[2] else x[..., ::2]

    class Turn(torch.nn.Module):
        def forward(self, x):
            return x.mT

    x, lengths = noise(3, 100, 12), torch.tensor([100, 50, 31])
    mixed = Pipeline([CutMix(time_axis=-2), Halve(), MixUp(time_axis=-2)])(x, lengths=lengths)
    assert mixed.lengths.tolist() == [50, 25, 16]
    mixed = Pipeline([MixUp(), Halve(), Turn(), CutMix(time_axis=-2)])(x.mT, lengths=lengths)
    assert mixed.lengths.tolist() == [50, 25, 16]
    assert mixed.x.shape == (3, 50, 12)
