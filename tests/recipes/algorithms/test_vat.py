import numpy as np
import pytest
import torch
from ssl_tables import CLASSES, batches_seen, buffers, network
from tables import linear, losses, noise

from recipes.algorithms.vat import VAT, divergence, unit
from recipes.models._modes import freeze_batch_norm

BANDS, FRAMES = 8, 12
SIZE = BANDS * FRAMES


def made(unit_db=10.0, **options):
    method = VAT(CLASSES, **options)
    method.unit_db = unit_db
    return method


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return (p * (np.log(p) - np.log(q))).sum(-1)


def weights(model):
    return [p.detach().double().numpy() for p in model[1].parameters()]


def change_of(method, model, z, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return method.adversarial_change(model, z, model(z).detach(), generator)


def clips(count, seed=0):
    return noise(count, 1, BANDS, FRAMES, seed=seed)[0].x


def expected_direction(model, z, seed=0, iterations=1):
    """Return the directions of the power iteration: of a linear network its Hessian is W' (diag p - p p') W."""
    weight, bias = weights(model)
    flat = z.flatten(1).double().numpy()
    start = torch.randn(z.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = []
    for x, d in zip(flat, start.view(len(z), -1).numpy()):
        p = softmax(weight @ x + bias)
        hessian = weight.T @ (np.diag(p) - np.outer(p, p)) @ weight
        for _ in range(iterations):
            d = hessian @ d
            d = d / np.linalg.norm(d)
        found.append(d)
    return np.array(found)


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_change_is_the_power_iteration_of_the_divergences_hessian(iterations):
    model, z = linear(BANDS, FRAMES), clips(4)
    found = change_of(made(xi_db=0.01, power_iterations=iterations), model, z).flatten(1).double().numpy()
    wanted = expected_direction(model, z, iterations=iterations)
    for a, b in zip(found, wanted):
        assert a @ b / np.linalg.norm(a) == pytest.approx(1, abs=1e-3)


def test_each_clips_change_has_the_same_size_in_db():
    # The second clip is predicted almost surely, so its gradient is a million times smaller. One norm of the batch, as
    # of a tensor (B, 1, F, N) along its first axes, would leave it as good as unchanged.
    model, z = linear(BANDS, FRAMES), clips(3)
    z[1] += 60 * model[1].weight[0].detach().view(1, BANDS, FRAMES)
    p = model(z).softmax(-1).amax(-1)
    assert p[1] > 0.99999 > 0.9 > p[0]
    for unit_db, epsilon in ((10.0, 2.0), (1.0, 2.0), (10.0, 5.0)):
        change = change_of(made(unit_db, epsilon_db=epsilon), model, z)
        size = change.square().mean((1, 2, 3)).sqrt() * unit_db
        torch.testing.assert_close(size, torch.full((3,), epsilon))


def test_a_unit_is_of_each_clip_however_small():
    d = torch.tensor([[3e-35, 4e-35], [3e20, 4e20], [0.0, 0.0]]).view(3, 1, 1, 2)
    each = torch.tensor([0.6, 0.8]) * 2**0.5
    torch.testing.assert_close(unit(d).flatten(1), torch.stack([each, each, torch.zeros(2)]))


def test_the_divergence_is_the_mean_over_labelled_and_unlabelled_clips():
    model = linear(BANDS, FRAMES)
    known, batch = noise(3, 5, BANDS, FRAMES)
    z = torch.cat([known.x, batch.weak])
    found = losses(made(weight=3.0), batch, known, model=model)
    change = change_of(made(), model, z, seed=0)  # the generator of `losses`
    weight, bias = weights(model)
    p, q = (softmax(x.flatten(1).double().numpy() @ weight.T + bias) for x in (z, z + change))
    assert found["adversarial"].item() == pytest.approx(3 * kl(p, q).sum() / 8, rel=1e-4)
    assert list(found) == ["labelled", "adversarial"]


def test_the_prediction_on_the_clip_is_a_target_without_gradient():
    model = linear(BANDS, FRAMES)
    known, batch = noise(3, 5, BANDS, FRAMES)
    z = torch.cat([known.x, batch.weak])
    change = change_of(made(), model, z)
    losses(made(), batch, known, model=model)["adversarial"].backward()
    weight, bias = weights(model)
    p, q = (softmax(x.flatten(1).double().numpy() @ weight.T + bias) for x in (z, z + change))
    np.testing.assert_allclose(model[1].bias.grad.numpy(), (q - p).mean(0), rtol=1e-3, atol=1e-7)
    slope = (q - p).T @ (z + change).flatten(1).double().numpy() / 8
    np.testing.assert_allclose(model[1].weight.grad.numpy(), slope, rtol=1e-3, atol=1e-6)
    assert np.abs(slope).max() > 1e-3


def test_the_change_increases_the_divergence_more_than_noise():
    model, z = network(), clips(8)
    with freeze_batch_norm(model), torch.no_grad():
        logits = model(z)
        by_change = divergence(logits, model(z + change_of(made(epsilon_db=2.0), model, z))).mean()
        noises = 0.2 * unit(torch.randn(z.shape, generator=torch.Generator().manual_seed(3)))
        by_noise = divergence(logits, model(z + noises)).mean()
    assert by_change > 2 * by_noise


def test_without_a_change_there_is_no_divergence_though_batch_norm_uses_the_batch():
    # The passes over changed clips hold all clips, as the first one does: other statistics would be a divergence.
    model = network()
    known, batch = noise(3, 5, BANDS, FRAMES)
    assert losses(made(epsilon_db=0.0), batch, known, model=model)["adversarial"].item() == pytest.approx(0, abs=1e-6)
    assert losses(made(epsilon_db=2.0), batch, known, model=model)["adversarial"] > 1e-4


def test_batch_norm_takes_in_the_clips_and_no_changed_ones():
    model, plain = network(), network()
    known, batch = noise(3, 5, BANDS, FRAMES)
    losses(made(power_iterations=2), batch, known, model=model)
    plain(torch.cat([known.x, batch.weak]))
    assert batches_seen(model) == 1
    for name, buffer in buffers(plain).items():
        assert torch.equal(buffers(model)[name], buffer), name


def test_the_parameters_get_no_gradient_from_the_search():
    model = linear(BANDS, FRAMES)
    change_of(made(), model, clips(3))
    assert all(p.grad is None for p in model.parameters())


def test_the_search_is_in_full_precision():
    model, z = linear(BANDS, FRAMES), clips(4)
    wanted = change_of(made(), model, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made().adversarial_change(model, z, model(z).float().detach(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, wanted)


def test_a_network_that_no_change_alters_makes_no_nan():
    model = linear(BANDS, FRAMES)
    torch.nn.init.zeros_(model[1].weight)
    known, batch = noise(3, 5, BANDS, FRAMES)
    terms = losses(made(), batch, known, model=model)
    assert all(term.isfinite() for term in terms.values())
    assert terms["adversarial"] == 0


def test_entropy_is_minimised_over_all_clips():
    model = linear(BANDS, FRAMES)
    known, batch = noise(3, 5, BANDS, FRAMES)
    weight, bias = weights(model)
    p = softmax(torch.cat([known.x, batch.weak]).flatten(1).double().numpy() @ weight.T + bias)
    term = losses(made(weight_entropy=2.0), batch, known, model=model)["entropy"]
    assert term.item() == pytest.approx(-2 * (p * np.log(p)).sum() / 8, rel=1e-4)
    term.backward()
    assert model[1].weight.grad.any()


def test_units_follow_the_front_end():
    class FrontEnd:
        unit_db = 7.0

    method = VAT(CLASSES)
    method.fit(FrontEnd())
    assert method.unit_db == 7.0
