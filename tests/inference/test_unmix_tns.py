"""Normalisation that follows a stream, against what is written out."""

import copy

import pytest
import torch
from sounds import noise, seeded
from torch import nn

from audiomix.inference import UnMixTNS, replace_batch_norm


def layer(channels=3):
    made = nn.BatchNorm1d(channels).eval()
    made.running_mean.copy_(noise(channels))
    made.running_var.copy_(noise(channels, seed=2).square() + 0.5)
    with torch.no_grad():
        made.weight.copy_(noise(channels, seed=3))
        made.bias.copy_(noise(channels, seed=4))
    return made


def test_at_the_start_the_mixture_has_the_mean_and_variance_of_the_layer():
    trained = layer()
    found = [UnMixTNS(trained, generator=seeded(s)) for s in range(2000)]
    means = torch.stack([f.means for f in found]).double()
    variance = torch.stack([f.variances for f in found]).double().mean((0, 1)) + means.var(1, correction=0).mean(0)
    torch.testing.assert_close(variance.float(), trained.running_var, rtol=0.02, atol=0)
    torch.testing.assert_close(means.mean((0, 1)).float(), trained.running_mean, rtol=0, atol=0.03)


def test_it_is_what_the_equations_say():
    trained, x = layer(), noise(4, 3, 50, seed=5)
    stream = UnMixTNS(trained, 5, momentum=0.3, generator=seeded())
    mu, v = stream.means.clone(), stream.variances.clone()
    got, moves = stream(x), []
    for b in range(4):
        m, s = x[b].mean(1), x[b].var(1, correction=0)
        p = torch.tensor([float(torch.cosine_similarity(m, mu[k], dim=0)) / 0.07 for k in range(5)]).softmax(0)
        assert float(p.sum()) == pytest.approx(1)
        means = (1 - p)[:, None] * mu + p[:, None] * m
        mean = means.mean(0)
        variance = ((1 - p)[:, None] * v + p[:, None] * s).mean(0) + means.var(0, correction=0)
        y = trained.weight[:, None] * (x[b] - mean[:, None]) / (variance + trained.eps).sqrt()[:, None]
        torch.testing.assert_close(got[b], y + trained.bias[:, None], rtol=1e-4, atol=1e-5)
        moves.append((p[:, None] * (m - mu), p[:, None] * (s - v)))
    rate = 1 - 0.7 ** (4 / 64)
    torch.testing.assert_close(stream.means, mu + rate * torch.stack([a for a, _ in moves]).mean(0))
    torch.testing.assert_close(stream.variances, v + rate * torch.stack([b for _, b in moves]).mean(0))


def test_a_clip_has_one_part_in_so_many_as_there_are_components_of_its_own_mean():
    """The shares of a clip sum to 1 over K components, of which the mean is taken."""
    stream = UnMixTNS(layer(), momentum=0.0, generator=seeded())
    stream.eps = 0.0
    x = noise(1, 3, 40, seed=6).requires_grad_()
    mean = x.mean(2)
    with torch.no_grad():
        share = (nn.functional.cosine_similarity(mean[:, None], stream.means, dim=2) / 0.07).softmax(1)
    assert float(share.mean()) == pytest.approx(1 / 16)


def test_one_component_is_instance_normalisation():
    trained, x = layer(), noise(4, 3, 50, seed=5)
    own = nn.functional.instance_norm(x, weight=trained.weight, bias=trained.bias, eps=trained.eps)
    torch.testing.assert_close(UnMixTNS(trained, 1)(x), own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 50), (4, 3, 7, 50)])
def test_padding_makes_no_difference(shape):
    lengths, x = torch.tensor([50, 20, 1, 33]), noise(*shape, seed=5)
    spoilt = x.clone()
    for row, length in zip(spoilt, lengths):
        row[..., length:] = float("nan")
    first, second = (UnMixTNS(layer(), generator=seeded()) for _ in range(2))
    got, expected = first(x, lengths), [second(x[i : i + 1, ..., :n], None) for i, n in enumerate(lengths.tolist())][:1]
    torch.testing.assert_close(got[:1], expected[0], rtol=1e-4, atol=1e-5)
    third = UnMixTNS(layer(), generator=seeded())(spoilt, lengths)
    for i, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(third[i, ..., :n], got[i, ..., :n])


def test_a_long_stream_of_one_class_stays_finite_and_momentum_0_stays_still():
    stream = UnMixTNS(layer(), generator=seeded())
    before = stream.means
    for seed in range(300):
        got = stream(5 + 1e-3 * noise(2, 3, 20, seed=seed))
    assert got.isfinite().all()
    assert (stream.variances > 0).all()
    assert before is stream.means  # a buffer that is written, not replaced: what holds on to it follows
    still = UnMixTNS(layer(), momentum=0.0, generator=seeded())
    first = still(noise(4, 3, 20))
    torch.testing.assert_close(still(noise(4, 3, 20)), first)


def test_all_layers_of_a_network_are_replaced_and_it_is_saved_whole():
    shared = nn.BatchNorm2d(4)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), shared, nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), shared)
    assert replace_batch_norm(network, generator=seeded()) == 2
    assert network[1] is network[3]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    x, state = noise(2, 1, 12, 20), copy.deepcopy(network.state_dict())
    first = network(x)
    first.sum().backward()
    network(noise(2, 1, 12, 20, seed=9))
    network.load_state_dict(state)
    torch.testing.assert_close(network(x), first)
    for wrong, slip in ((nn.Linear(2, 2), "Linear"), (nn.BatchNorm1d(2), "wrap it")):
        with pytest.raises(ValueError, match=f"network must be a network with batch normalisation inside.*{slip}"):
            replace_batch_norm(wrong)
    with pytest.raises(ValueError, match="layer must be a batch normalisation with running statistics"):
        UnMixTNS(nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(ValueError, match="x must be of 3 channels"):
        UnMixTNS(layer())(noise(2, 4, 9))


def test_loud_half_precision_is_normalised_in_float32():
    loud = 300 + 300 * noise(2, 3, 50)  # the squares have no place in float16
    for cast in (lambda m: m, lambda m: m.half()):
        stream, plain = cast(UnMixTNS(layer(), generator=seeded())), UnMixTNS(layer(), generator=seeded())
        got = stream(loud.half())
        assert got.dtype == torch.float16
        torch.testing.assert_close(got.float(), plain(loud), rtol=0.02, atol=0.02)
        assert stream.means.isfinite().all()


def test_a_clip_without_a_valid_frame_moves_nothing():
    stream = UnMixTNS(layer(), generator=seeded())
    before = copy.deepcopy(stream.state_dict())
    stream(noise(2, 3, 50), torch.tensor([0, 0]))
    for name, value in stream.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_momentum_is_that_of_the_layer():
    assert [UnMixTNS(nn.BatchNorm1d(2, momentum=m)).momentum for m in (0.0, 0.3, None)] == [0.0, 0.3, 0.1]
