"""What stream mixing refuses, named before anything is drawn, and what looks like it and passes."""

import copy
import pickle

import pytest
import torch
from mixers.frames import MODES, streams
from sounds import noise, seeded

from audiomix import MixUp, Plan, StreamMix


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_frames_that_are_not_finite_are_named(mode, grad):
    v, a = streams(3, 60)
    a[2, 5, 3] = torch.nan
    mixer = StreamMix(0.5, mode=mode)
    with pytest.raises(ValueError, match="other must be finite .* NaN in the sound, row 2, frame 5"):
        mixer(v.requires_grad_(grad), other=a)
    w = noise(3, 60, 7)
    w[1, 59] = -torch.inf
    with pytest.raises(ValueError, match="x must be finite .* infinite values in the picture, row 1, frame 59"):
        mixer(w.requires_grad_(grad), other=noise(3, 60, 7))
    fast = noise(3, 240, 7)
    fast[0, 13] = torch.nan
    with pytest.raises(ValueError, match=r"NaN in the sound, row 0, frame 13"):
        StreamMix(0.5, mode=mode, other_rate=100)(noise(3, 60, 7), other=fast)
    for ratio in (0, 1):  # in the stream that is not heard, too: whether it raises must not hang on what is drawn
        with pytest.raises(ValueError, match="NaN in the sound, row 2, frame 5"):
            StreamMix(ratio, mode=mode)(v, other=a)
        with pytest.raises(ValueError, match="in the picture, row 1, frame 59"):
            StreamMix(ratio, mode=mode)(w, other=noise(3, 60, 7))
    huge = torch.full((2, 30, 3), 1e30)
    assert torch.equal(mixer(huge, other=huge).x, huge)


V, A = streams()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "other must be the sound stream .* no sound stream"),
        ({"x": V[0]}, ValueError, r"x must be a stream of frames .* pooled already"),
        ({"x": V[:, :1]}, ValueError, r"x must be a stream .* got shape \(6, 1, 7\): pooled already"),
        ({"x": V[:, None]}, ValueError, "spectrograms"),
        ({"x": V.long()}, TypeError, "x must be floating point"),
        ({"other": A[:, :1]}, ValueError, "other must be a stream .* pooled already"),
        ({"other": noise(6, 16000)}, ValueError, r"other must be a stream .* waveforms \(B, T\)"),
        ({"other": noise(6, 1, 16000)}, ValueError, r"waveforms \(B, 1, T\)"),
        ({"other": A[:4]}, ValueError, "other must be of the 6 utterances of x, got 4"),
        ({"other": A.double()}, ValueError, r"other must be torch\.float32"),
        ({"other": A[..., :5]}, ValueError, r"x has 7 features, other 5: project one with nn\.Linear\(5, 7\)"),
        ({"other": A, "other_target": torch.zeros(6, 3)}, ValueError, "other_target must be left out"),
        ({"other": A, "ids": list("abcdef"), "other_ids": list("abdcef")}, ValueError, "'d' beside 'c' in row 2"),
        ({"other": A, "ids": list("abcdef")}, ValueError, "ids and other_ids must be both given"),
        ({"other": A, "ratio": 1.2}, ValueError, "ratio must be a number in .* got 1.2"),
        ({"other": A, "ratio": 80}, ValueError, r"did you mean 0\.8\?"),
        ({"other": A, "ratio": torch.tensor([0.5, 2, 0, 0, 0, 0])}, ValueError, r"ratio must be in \[0, 1\]"),
        ({"other": A, "ratio": [0.5, 0.5]}, ValueError, "ratio must be one number, or 6"),
        ({"other": A, "weight": 0.5}, TypeError, "takes no argument 'weight'"),
        ({"other": noise(6, 200, 7)}, ValueError, "they fit at other_rate=100"),
        ({"other": A[:, :20]}, ValueError, r"2 s \(50 frames at 25/s\)"),
        ({"other": A, "lengths": torch.tensor([50] * 5 + [10])}, ValueError, r"padded\? pass other_lengths="),
        ({"other": A, "lengths": torch.tensor([51] * 6)}, ValueError, r"lengths must be within \[0, 50\]"),
        ({"other": A, "other_lengths": torch.tensor([51] * 6)}, ValueError, r"other_lengths must be within \[0, 50\]"),
        ({"other_lengths": torch.tensor([5] * 6)}, ValueError, "other must be given with other_lengths"),
        ({"other": A, "plan": MixUp()(V).plans[0]}, ValueError, "plan must be a StreamPlan, got a GainPlan"),
        (
            {"other": A, "plan": Plan(torch.arange(6), torch.full((6,), 0.5).double())},
            ValueError,
            "plan must be a StreamPlan",
        ),
    ],
)
def test_bad_input_is_named_before_anything_is_drawn(given, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        StreamMix(0.5, spread=0.1, mode="replace")(given.pop("x", V), generator=generator, **given)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_swapped_rates_are_named():
    with pytest.raises(ValueError, match=r"rates swapped\? rate=25, other_rate=100"):
        StreamMix(rate=100, other_rate=25)(noise(2, 50, 3), other=noise(2, 200, 3))
    with pytest.raises(ValueError, match="whole multiple of rate=100 .* swapped"):
        StreamMix(rate=100, other_rate=25, align="stack")
    with pytest.raises(ValueError, match=r"12 \(4 frames of 3 stacked\)"):
        StreamMix(other_rate=100, align="stack")(noise(2, 50, 3), other=noise(2, 200, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": "linear:0:2"}, "ratio must be"),
        ({"mode": "spans"}, "mode must be .* did you mean 'span'"),
        ({"spread": 0.6}, "spread must be"),
        ({"rate": 16000}, "frames a second, not samples"),
        ({"tolerance": 2}, "tolerance must be .* did you mean 0.02"),
        ({"other_rate": 60, "align": "stack"}, "other_rate must be a whole multiple"),
        ({"normalise": "batch"}, "normalise must be"),
        ({"per": "clip"}, "per must be"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        StreamMix(**options)


def test_ids_that_agree_pass_and_it_pickles():
    mixer = StreamMix(0.5, mode="replace", normalise="rms")
    twin = pickle.loads(pickle.dumps(copy.deepcopy(mixer)))
    first = mixer(V, other=A, ids=torch.arange(6), other_ids=list(range(6)), generator=seeded())
    assert torch.equal(twin(V, other=A, generator=seeded()).x, first.x)
    assert "mode='replace'" in repr(mixer)
    assert "normalise='rms'" in repr(mixer)


def test_ids_are_one_for_each_utterance():
    v, a = streams(3)
    with pytest.raises(ValueError, match="ids must be of 3 utterances, as x is, got 2"):
        StreamMix()(v, other=a, ids=["a", "b"], other_ids=["a", "b"])
    with pytest.raises(ValueError, match="other_ids must be of 3 utterances, as x is, got 4"):
        StreamMix()(v, other=a, ids=["a", "b", "c"], other_ids=["a", "b", "c", "d"])
    with pytest.raises(TypeError, match="exact must be True or False, got str"):
        StreamMix(mode="replace", exact="no")


def test_another_utterance_is_guessed_from_its_length():
    v, _ = streams(2, 50)
    with pytest.raises(ValueError, match="of another utterance"):
        StreamMix()(v, other=noise(2, 60, 7))
