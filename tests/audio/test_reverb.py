"""Convolution with impulse responses, judged against NumPy's direct convolution in float64."""

import warnings

import numpy as np
import pytest
import torch
from sounds import noise

from audiomix.audio.reverb import Responses, _block_size, _groups, convolve, direct_path, reverberate


def direct(x, response):
    """The whole convolution of (B, C, T) with (B or 1, C or 1, L), sample by sample; float64."""
    rows = np.broadcast_to(response.double().numpy(), (*x.shape[:2], response.shape[-1]))
    return torch.from_numpy(
        np.stack([[np.convolve(a, b) for a, b in zip(*clip)] for clip in zip(x.double().numpy(), rows)])
    )


def room(taps, seed=3, at=0, channels=1):
    """Noise that decays by 60 dB, its direct sound at `at`."""
    response = noise(channels, taps, seed=seed) * torch.exp(-6.9 * torch.arange(taps) / taps) * 0.3
    response[:, :at] = 0
    response[:, at] = 1.0
    return response


def level(x):
    return float(x.double().square().mean().sqrt())


@pytest.mark.parametrize(
    ("size", "taps", "first", "wanted"),
    [(3000, 700, 0, None), (3000, 700, 33, 3000), (50, 700, 20, 700), (50, 700, 0, 50), (40000, 90, 7, 40000),
     (40000, 1500, 1499, None), (5000, 100, 5, 5094), (1, 1, 0, 1), (300, 1, 0, 300), (1, 500, 3, 490)],
)  # fmt: skip
def test_fft_is_direct_convolution(size, taps, first, wanted):
    x, response = noise(3, 2, size), room(taps)[None]
    expected = torch.nn.functional.pad(direct(x, response), (0, size))[..., first : first + (wanted or size)]
    got = convolve(x, response, first=first, size=wanted)
    assert got.shape == expected.shape
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    got = convolve(x.double(), response.double(), first=first, size=wanted)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-10)


def test_both_ways_are_taken():
    assert _block_size(3000, 700, 0, 3000) is None
    assert _block_size(40000, 90, 7, 40000) >= 1024


def test_more_samples_than_there_are_come_as_zeros():
    got = convolve(noise(2, 1, 100), room(20)[None], first=5, size=300)
    assert got.shape == (2, 1, 300)
    assert (got[..., 114:] == 0).all()
    with pytest.raises(ValueError, match=r"first must be in 0\.\.118"):
        convolve(noise(2, 1, 100), room(20)[None], first=119)


def test_half_precision_is_convolved_in_float32():
    x = noise(2, 1, 30000).half()
    got = convolve(x, room(500)[None])
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, convolve(x.float(), room(500)[None]))


@pytest.mark.parametrize("taps", [30, 400])
def test_gradients_pass_to_clips_and_to_responses(taps):
    x, response = noise(2, 2, 60).double().requires_grad_(), room(taps)[None].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: convolve(a, b, first=3), (x, response))
    x, response = noise(2, 1, 9000).double().requires_grad_(), room(40)[None].double().requires_grad_()  # in blocks
    convolve(x, response, first=3).square().sum().backward()
    alone = direct(x.detach(), response.detach())[..., 3:9003]
    wanted = sum(float((alone[:, :, t] * x.detach()[:, :, t - 2]).sum()) for t in range(2, 9000))  # d/dh[5]: y . x
    assert float(response.grad[0, 0, 5]) == pytest.approx(2 * wanted, rel=1e-9)
    assert x.grad.isfinite().all()


NORMALISE = ("power", "energy", "direct", None)


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("at", [0, 1, 77])
@pytest.mark.parametrize("size", [500, 30000])
def test_a_delta_is_the_identity(normalise, at, size):
    x = noise(3, 2, size) * 0.3
    delta = torch.zeros(1, 1, 200)
    delta[..., at] = 1.0
    torch.testing.assert_close(reverberate(x, delta, normalise=normalise), x, atol=1e-6, rtol=1e-6)


def test_a_negative_direct_sound_is_the_direct_path():
    """The argmax without abs (lhotse 1.33) takes the echo: the direct sound falls out, the echo comes in its place."""
    response = torch.zeros(1, 1, 1000)
    response[..., 50], response[..., 700] = -1.0, 0.4
    assert direct_path(response[0]) == 50
    click = torch.zeros(1, 1, 4000)
    click[..., 100] = 1.0
    heard = reverberate(click, response, normalise=None)[0, 0]
    expected = torch.zeros(4000)
    expected[100], expected[750] = -1.0, 0.4
    torch.testing.assert_close(heard, expected, atol=1e-6, rtol=0)


def test_the_first_of_equal_peaks_is_the_direct_path():
    assert direct_path(torch.tensor([0.0, 0.5, -0.5, 0.5])) == 1
    assert direct_path(torch.tensor([[0.1, -0.5, 0.2], [9.0, 0.0, 0.0]])) == 1  # of the first channel


def test_a_click_stays_at_its_sample_in_any_room():
    onsets = [0, 100, 3999]
    click = torch.zeros(3, 1, 4000)
    for i, at in enumerate(onsets):
        click[i, :, at] = 1.0
    responses = torch.stack([room(900, seed=i, at=at) for i, at in enumerate((0, 300, 899))])
    heard = reverberate(click, responses, normalise="direct")
    assert heard[:, 0].abs().argmax(-1).tolist() == onsets
    torch.testing.assert_close(heard.abs().amax(-1)[:, 0], torch.ones(3), atol=1e-5, rtol=0)


def test_the_early_part_is_counted_from_the_direct_path():
    """From the file's start (lhotse 1.33) the first 50 ms of a response whose direct path is at 75 ms are silence."""
    rate = 16000
    response, x = room(8000, at=round(0.075 * rate))[None], noise(2, 1, 9000)
    early = reverberate(x, response, normalise=None, early=round(0.05 * rate))
    assert level(early) > 0.5
    expected = direct(x, response[..., : 1200 + 800 + 1])[..., 1200:10200]
    torch.testing.assert_close(early.double(), expected, atol=1e-4, rtol=1e-4)
    alone = reverberate(x, response, normalise="direct", early=0)
    torch.testing.assert_close(alone, x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("normalise", NORMALISE)
def test_early_and_late_parts_sum_to_the_whole(normalise):
    x, response = noise(2, 1, 6000), room(3000, at=40)[None]
    late = response.clone()
    late[..., : 40 + 501] = 0
    whole = reverberate(x, response, normalise=normalise)
    early = reverberate(x, response, normalise=normalise, early=500)
    rest = direct(x, late)[..., 40:6040]
    scale = ((whole - early).double() * rest).sum((1, 2)) / rest.square().sum((1, 2))
    torch.testing.assert_close((whole - early).double(), scale[:, None, None] * rest, atol=1e-4, rtol=1e-3)
    assert (scale > 0).all()


def test_power_is_that_of_the_clip_over_its_valid_samples():
    """torch-audiomentations leaves the level to the response."""
    x, lengths = noise(3, 2, 8000) * torch.tensor([0.001, 0.1, 1.0])[:, None, None], torch.tensor([8000, 3000, 5000])
    heard = reverberate(x, 40 * room(4000, channels=2)[None], lengths=lengths)
    for i, end in enumerate(lengths.tolist()):
        assert level(heard[i, :, :end]) == pytest.approx(level(x[i, :, :end]), rel=1e-5)


def test_energy_keeps_the_power_of_white_noise_and_direct_that_of_the_direct_sound():
    x = noise(1, 1, 200000)
    assert level(reverberate(x, 7 * room(500)[None], normalise="energy")) == pytest.approx(level(x), rel=0.02)
    two = torch.cat([room(500), 0.1 * room(500, seed=9)])[None] * -3
    heard = reverberate(x.expand(-1, 2, -1), two, normalise="energy")
    assert level(heard) == pytest.approx(level(x), rel=0.02)
    assert level(heard[:, 1]) / level(heard[:, 0]) == pytest.approx(level(two[0, 1]) / level(two[0, 0]), rel=0.02)
    click = torch.zeros(1, 2, 100)
    click[..., 10] = 1.0
    peak = reverberate(click, two, normalise="direct")[0, 0, 10]
    assert float(peak) == pytest.approx(-1.0, abs=1e-5)  # polarity stays


def test_delays_between_microphones_stay():
    """One microphone is nearer, whichever is the first."""
    for delay in (-6, 9):
        response = torch.zeros(1, 2, 100)
        response[0, 0, 30], response[0, 1, 30 + delay] = 1.0, -0.7
        click = torch.zeros(1, 2, 400)
        click[..., 200] = 1.0
        heard = reverberate(click, response, normalise=None)[0]
        assert heard.abs().argmax(-1).tolist() == [200, 200 + delay]
        torch.testing.assert_close(heard.abs().amax(-1), torch.tensor([1.0, 0.7]), atol=1e-6, rtol=0)


def test_one_response_serves_all_channels():
    x, response = noise(2, 3, 900), room(200, at=20)[None]
    heard = reverberate(x, response, normalise=None)
    for c in range(3):
        alone = reverberate(x[:, c : c + 1], response, normalise=None)
        torch.testing.assert_close(heard[:, c : c + 1], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("normalise", ["power", None])
@pytest.mark.parametrize("early", [None, 30])
def test_a_clip_in_a_batch_is_the_clip_alone_in_any_order(normalise, early):
    lengths = [3, 40, 900, 5000, 41, 6000, 20, 700]
    responses = torch.zeros(8, 1, 6000)
    for i, taps in enumerate(lengths):
        responses[i, :, :taps] = room(taps, seed=i, at=min(taps - 1, 11 * i))
    x, index = noise(10, 1, 4000), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 5, -1])
    options = {"normalise": normalise, "early": early}
    heard = reverberate(x, responses, index, **options)
    assert torch.equal(heard[9], x[9])
    order = torch.tensor([9, 4, 2, 0, 1, 3, 8, 7, 6, 5])
    turned = reverberate(x[order], responses, index[order], **options)
    torch.testing.assert_close(turned, heard[order], atol=2e-5, rtol=0)
    for i in range(9):
        alone = reverberate(x[i : i + 1], responses, index[i : i + 1], **options)
        torch.testing.assert_close(alone, heard[i : i + 1], atol=2e-5, rtol=0)
        if normalise is None:
            h = responses[index[i] : index[i] + 1]
            d = direct_path(h[0])
            h = h if early is None else h[..., : d + early + 1]
            expected = direct(x[i : i + 1], h)[..., d : d + 4000]
            torch.testing.assert_close(heard[i : i + 1].double(), expected[..., :4000], atol=5e-5, rtol=0)


def test_clips_with_responses_of_like_length_go_together():
    """A response of 5 s would otherwise make the transforms of all clips longer."""
    assert _groups([900, 10, 500, 400, 19, 700], [0, 1, 2, 3, 4, -1]) == [[0, 2], [3], [1, 4]]


def test_padding_is_not_heard_and_stays_silent():
    x, lengths, response = noise(3, 1, 3000), torch.tensor([3000, 1200, 0]), room(2000, at=100)[None]
    outside = torch.arange(3000) >= lengths[:, None, None]
    for tail in (0, 700):
        for early in (None, 300):
            heard = [
                reverberate(x.masked_fill(outside, fill), response, lengths=lengths, tail=tail, early=early)
                for fill in (0.0, 1e9, torch.nan)
            ]
            assert torch.equal(heard[0], heard[1])
            assert torch.equal(heard[0], heard[2])
            for i, end in enumerate(lengths.tolist()):
                assert (heard[0][i, :, end + tail :] == 0).all()
            assert (heard[0][2] == 0).all()  # nothing sounds in a clip of no samples
    assert torch.equal(x, noise(3, 1, 3000))


def test_tails_go_on_behind_the_clip():
    x, response = noise(2, 1, 1000), room(400, at=30)[None]
    heard = reverberate(x, response, normalise=None, tail=369)
    torch.testing.assert_close(heard.double(), direct(x, response)[..., 30:], atol=1e-5, rtol=1e-4)
    cut = reverberate(x, response, normalise=None)
    torch.testing.assert_close(heard[..., :1000], cut, atol=1e-5, rtol=1e-5)


def test_gradients_are_finite_in_silence_and_none_passes_through_the_level():
    x = noise(3, 1, 500).double()
    x[0] = 0
    x.requires_grad_()
    response = room(200)[None].double()
    heard = reverberate(x, response)
    assert torch.equal(heard[0], torch.zeros(1, 500).double())
    heard.sum().backward()
    assert x.grad.isfinite().all()
    gain = reverberate(x.detach(), response) / reverberate(x.detach(), response, normalise=None)
    torch.testing.assert_close(
        x.grad[1, 0, 0] / gain[1, 0, 250], response[0, 0].sum(), atol=1e-4, rtol=1e-4
    )  # each sample sounds with the response's sum


@pytest.mark.parametrize("normalise", NORMALISE)
def test_gradients_pass_to_the_responses(normalise):
    x, response = noise(3, 1, 300).double(), torch.stack([room(200, seed=i) for i in range(2)]).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heard = reverberate(x, response, [0, 1, -1], normalise=normalise)
    (heard * noise(3, 1, 300, seed=7)).sum().backward()
    assert bool(response.grad.isfinite().all() and response.grad.flatten(1).any(1).all())


def test_nothing_waits_for_the_device():
    """On the device "meta", which has no values to download, a batch comes out in its shape."""
    bank = Responses.of([room(300, seed=i, at=i) for i in range(5)] + [room(2000)], "power")
    x = torch.empty(6, 1, 900, device="meta")
    heard = bank.early(100).apply(x, torch.tensor([0, 5, 2, -1, 4, 1]), size=1000)
    assert heard.shape == (6, 1, 1000)
    assert heard.device.type == "meta"


WRONG = [
    ({"x": noise(2, 30)}, r"x must be a batch of at least 3 axes"),
    ({"responses": noise(2, 30)}, r"responses must be a batch of at least 3 axes"),
    ({"index": torch.tensor([0, 9])}, r"index must be 2 whole numbers, one a clip, below 2, got 9"),
    ({"index": torch.tensor([0])}, r"index must be 2 whole numbers"),
    ({"index": torch.tensor([0.0, 1.0])}, r"index must be 2 whole numbers, .* got torch.float32"),
    ({"responses": noise(2, 1, 9) * torch.nan}, r"responses must be finite, got 18 NaN"),
    ({"responses": noise(2, 1, 1, 9)}, r"responses must be of shape \(H, C, L\), got \(2, 1, 1, 9\)"),
    (
        {"x": noise(2, 2, 30), "responses": torch.tensor([0.0, 1.0]).view(1, 2, 1).expand(2, 2, 9)},
        r"responses must be not silent, got zeros in response 0, channel 0",
    ),
    ({"responses": torch.zeros(2, 1, 30)}, r"responses must be not silent, got zeros in response 0"),
    ({"responses": noise(2, 3, 30)}, r"x must be of 3 channels, .* got 1: .*x\.expand\(-1, 3, -1\)"),
    ({"normalise": "rms"}, r"normalise must be one of power, energy, direct, None"),
    ({"early": -1}, r"early must be an integer of at least 0"),
    ({"tail": -1}, r"tail must be an integer of at least 0"),
    ({"lengths": torch.tensor([1, 99])}, r"lengths must be within \[0, 30\]"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_wrong_arguments_are_named(given, message):
    given = {"x": noise(2, 1, 30), "responses": noise(2, 1, 9, seed=2), **given}
    with pytest.raises(ValueError, match=message):
        reverberate(given.pop("x"), given.pop("responses"), **given)
