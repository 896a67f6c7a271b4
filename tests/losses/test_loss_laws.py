"""What holds for all losses: half precision, gradients, sizes, and options as a module."""

import importlib
import inspect
import pkgutil

import pytest
import torch
from sounds import noise, seeded

from audiomix import Plan, losses
from audiomix.losses import Loss
from audiomix.plan_sources import SourcesPlan

PLAN = Plan(torch.tensor([1, 0, 3, 2]), torch.tensor([0.7, 0.4, 1.0, 0.5], dtype=torch.float64))
LABEL = torch.tensor([0, 1, 2, 1])
LOGITS = (4, 3)
FEATURES = (4, 5)

# by name: how the loss is called with one tensor, and the shape of that
CALLS = {
    "anyloss": (lambda f, z: f(z, LABEL), LOGITS),
    "comp_sum": (lambda f, z: f(z, LABEL), LOGITS),
    "correctness": (lambda f, z: f(z, LABEL), LOGITS),
    "decoupled": (lambda f, z: f(z, LABEL, PLAN), LOGITS),
    "fine_grained_loss": (lambda f, z: f(z, z, LABEL, PLAN, num_classes=3), LOGITS),
    "hard_views": (lambda f, z: f(z, z.detach().roll(1, -1)), (2, 4, 3)),
    "info_nce": (lambda f, x: f(x, x.detach().roll(1, -1)), FEATURES),
    "limited_confidence": (lambda f, z: f(z, LABEL), LOGITS),
    "m2_mix": (lambda f, x: f(x, x.detach().roll(1, -1), 0.5), FEATURES),
    "m3col": (lambda f, x: f(x, x.detach().roll(1, -1), PLAN), FEATURES),
    "metrix": (lambda f, x: f(x, LABEL, generator=seeded()), FEATURES),
    "mi_mix": (lambda f, x: f(x, x.detach().roll(1, -1), PLAN), FEATURES),
    "mix_consistency": (lambda f, z: f(z, z.detach().roll(1, -1), PLAN), LOGITS),
    "mix_contrast": (lambda f, x: f(x, x.detach().roll(1, -1), PLAN), FEATURES),
    "mix_kd": (lambda f, z: f(z, z.detach().roll(1, -1), LABEL), LOGITS),
    "mixed_ae": (lambda f, x: f(x, x.detach().roll(1, -1), patches(x)), (4, 6, 3)),
    "mixed_binary_cross_entropy": (lambda f, z: f(z, torch.eye(3)[LABEL]), LOGITS),
    "mixed_cross_entropy": (lambda f, z: f(z, LABEL), LOGITS),
    "mixoe": (lambda f, z: f(z, LABEL, PLAN), LOGITS),
    "mochi": (lambda f, x: f(x, x.detach(), noise(9, 5), mixes=4, query_mixes=4, generator=seeded()), FEATURES),
    "ranked_gain": (lambda f, z: f([z], z.roll(1, 0), LABEL, [PLAN]), LOGITS),
    "ranking": (lambda f, z: f(z, z.roll(1, 0), LABEL, PLAN), LOGITS),
    "sft_mix": (lambda f, x: f(x, LABEL[:, None].expand(4, 6), PLAN, lambda h: h[:, :3]), (4, 6, 5)),
    "soft_clip": (lambda f, x: f(x, x.detach().roll(1, -1)), FEATURES),
    "source_contrast": (lambda f, x: f(x, patches(x)), (4, 6, 3)),
    "supremix": (lambda f, x: f(x, torch.tensor([1.0, 2.0, 3.0, 1.0]), generator=seeded()), FEATURES),
    "symmetric_kl": (lambda f, z: f(z, z.roll(1, 0)), LOGITS),
    "transcript_loss": (lambda f, z: f(lambda rows: -z.log_softmax(1)[torch.arange(4), LABEL[rows]], PLAN), LOGITS),
}  # fmt: skip
# what these return is no loss, or is made of several
NO_LOSSES = {
    "mix_negatives", "mix_patches", "negative_weights", "outlier_target", "region_means", "select_view",
    "standardise_logits", "stream_loss",
}  # fmt: skip


def patches(x):
    return losses.mixed_ae.mix_patches(x.detach(), generator=seeded())


def functions():
    found = {}
    for module in pkgutil.iter_modules(losses.__path__):
        if not module.name.startswith("_"):
            where = importlib.import_module(f"{losses.__name__}.{module.name}")
            found |= {name: getattr(where, name) for name in where.__all__ if inspect.isfunction(getattr(where, name))}
    return found


FUNCTIONS = functions()


def test_every_loss_is_tried_here():
    assert set(FUNCTIONS) - NO_LOSSES == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_half_precision_is_computed_in_float32_and_gradients_are_finite(name):
    call, shape = CALLS[name]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = (3 * noise(*shape)).to(dtype).requires_grad_()
        loss = call(FUNCTIONS[name], x)
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        loss.backward()
        assert x.grad.dtype == dtype
        assert x.grad.isfinite().all()
    double = call(FUNCTIONS[name], 3 * noise(*shape, dtype=torch.float64))
    single = call(FUNCTIONS[name], 3 * noise(*shape))
    torch.testing.assert_close(single.double(), double.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_autocast_changes_nothing(name):
    call, shape = CALLS[name]
    x = 3 * noise(*shape)
    plain = call(FUNCTIONS[name], x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = call(FUNCTIONS[name], x)
    torch.testing.assert_close(loss, plain)


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("degenerate", ["zeros", "alike", "far"])
def test_what_has_no_direction_or_no_measure_has_a_finite_loss_and_gradient(name, degenerate):
    call, shape = CALLS[name]
    x = {"zeros": torch.zeros(shape), "alike": noise(*shape[:-1], 1).expand(shape[:-1] + shape[-1:]).clone(),
         "far": 1e4 * noise(*shape)}[degenerate].requires_grad_()  # fmt: skip
    loss = call(FUNCTIONS[name], x)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"transcript_loss"}))
def test_what_is_no_batch_of_numbers_is_refused(name):
    call, shape = CALLS[name]
    for wrong in (torch.zeros(shape, dtype=torch.int64), noise(*shape[:-1]), noise(*shape, 2, 2)):
        with pytest.raises((ValueError, TypeError), match="must"):
            call(FUNCTIONS[name], wrong)


def plans(monkeypatch, plan, name):
    """Call a loss with another plan than that of this file."""
    monkeypatch.setitem(globals(), "PLAN", plan)
    call, shape = CALLS[name]
    x = noise(*shape).requires_grad_()
    return call(FUNCTIONS[name], x), x


WITH_PLAN = sorted(name for name, (call, _) in CALLS.items() if "PLAN" in call.__code__.co_names)


# mixoe needs no labels of the second batch, and that of transcripts is known to the caller's function alone
@pytest.mark.parametrize("name", sorted(set(WITH_PLAN) - {"mixoe", "transcript_loss"}))
def test_partners_of_a_second_batch_are_refused_where_there_is_none(monkeypatch, name):
    with pytest.raises(ValueError, match="plan must be of partners in"):
        plans(monkeypatch, Plan(torch.tensor([7, 0, 3, 2]), PLAN.weight), name)


# embeddings "of any length"
EMBEDDINGS = ["info_nce", "m2_mix", "m3col", "metrix", "mi_mix", "mix_contrast", "mochi", "soft_clip",
              "source_contrast", "supremix"]  # fmt: skip


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("size", [1e-25, 1e25])  # squares are 0 and infinite
def test_the_length_of_embeddings_makes_no_difference(name, size):
    call, shape = CALLS[name]
    x = noise(*shape)
    scaled = (size * x).requires_grad_()
    loss = call(FUNCTIONS[name], scaled)
    torch.testing.assert_close(loss, call(FUNCTIONS[name], x))
    loss.backward()
    assert scaled.grad.isfinite().all()


@pytest.mark.parametrize("name", WITH_PLAN)
def test_plans_of_three_sources_are_refused_or_count_by_their_shares(monkeypatch, name):
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    first = torch.tensor([1, 0, 3, 2])
    partners = torch.stack([first, torch.tensor([2, -1, -1, -1])], 1)  # the third source has no share
    try:
        loss, x = plans(monkeypatch, SourcesPlan.of(partners, shares, shares), name)
    except ValueError as error:
        assert "of one partner" in str(error)  # noqa: PT017 - either is right
        return
    pairs, _ = plans(monkeypatch, Plan(first, shares[:, 0].contiguous()), name)
    torch.testing.assert_close(loss, pairs)
    loss.backward()
    assert x.grad.isfinite().all()


# others decide each class on its own, divide by a mean over all, or have a teacher that must rule it out too
RULING_OUT = ["comp_sum", "correctness", "decoupled", "fine_grained_loss", "limited_confidence", "mixed_cross_entropy",
              "mixoe"]  # fmt: skip


@pytest.mark.parametrize("name", RULING_OUT)
@pytest.mark.parametrize("out", [[2], [1, 2]])
def test_a_class_that_is_ruled_out_and_not_asked_for_counts_nowhere(monkeypatch, name, out):
    monkeypatch.setitem(globals(), "LABEL", torch.tensor([0, 1, 0, 1]) if out == [2] else torch.zeros(4, dtype=int))
    if name == "mixoe":  # of a mix with an unknown sound all classes are asked for
        monkeypatch.setitem(globals(), "PLAN", Plan.identity(4))
    z = noise(4, 3)
    z[:, out] = -torch.inf
    z.requires_grad_()
    loss = CALLS[name][0](FUNCTIONS[name], z)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def test_a_loss_with_options_is_a_module():
    z = noise(4, 3)
    criterion = Loss(FUNCTIONS["decoupled"], eta=0.5)
    torch.testing.assert_close(criterion(z, LABEL, PLAN), FUNCTIONS["decoupled"](z, LABEL, PLAN, eta=0.5))
    torch.testing.assert_close(criterion(z, LABEL, PLAN, eta=0.0), FUNCTIONS["decoupled"](z, LABEL, PLAN, eta=0.0))
    assert repr(criterion) == "Loss(decoupled, eta=0.5)"
    with pytest.raises(TypeError, match="function must be a loss function, got module: from audiomix.losses.decoupled"):
        Loss(losses.decoupled)
    with pytest.raises(TypeError, match="etta must be an option of decoupled: eta, weighting, mode, threshold, other"):
        Loss(FUNCTIONS["decoupled"], etta=0.5)
