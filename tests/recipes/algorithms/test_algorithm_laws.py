"""Laws every method obeys. A new file in recipes/algorithms is held to them unedited."""

import copy
import math

import pytest
import torch
from sounds import seeded
from torch import nn

from recipes import algorithms, models
from recipes.algorithms.base import Labelled, Unlabelled
from recipes.training.config import PRESETS, Config, preset

CLASSES, BANDS, FRAMES = 3, 8, 12
LABELLED = 16  # labelled clips of a run
# These learn from weak views too, as inputs. What is guessed of them is held to the same law; see also their own tests.
LEARN_FROM_WEAK_VIEWS = (
    "mean_teacher", "deep_co_training", "mixmatch", "remixmatch", "pseudo_label", "pi_model", "vat",
)  # fmt: skip
# Options with which the guesses of an untrained network are accepted; with the defaults it would learn none of them.
ACCEPTING = {
    "comatch": {"threshold": 0.0},
    "dash": {"least_loss": 9.0},
    "simmatch": {"threshold": 0.0},
    "uda": {"threshold": 0.0},
}


class Linear(nn.Module):
    """A model without batch norm, in which clips cannot meet."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.set_rng_state(seeded(seed).get_state())
            self.head = nn.Linear(BANDS * FRAMES, CLASSES)

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


def small(key="network"):
    return models.build("resnet_small", CLASSES, seed=0, key=key, width=4).train()


@pytest.fixture(params=algorithms.available())
def kind(request):
    return algorithms.get(request.param)


@pytest.fixture
def network():
    return small()


@pytest.fixture
def linear():
    return Linear()


def made(kind, model, mixer=None, *, switches=True, unlabelled=6, **options):
    """Return a method that is set up for `model`, by default with every switch on."""
    if switches:
        on = {name: True for name, p in algorithms.options(kind).items() if p.default is False}
        options = on | ACCEPTING.get(kind.name(), {}) | options
    algorithm = kind(CLASSES, algorithms.make_mixer(mixer, kind) if mixer else None, **options)
    algorithm.labelled_clips = LABELLED
    algorithm.setup(model, (lambda key: Linear(1)) if isinstance(model, Linear) else small, unlabelled)
    return algorithm


@pytest.fixture(params=[None, "mixup"], ids=["plain", "mixup"])
def mixer(request, kind):
    if request.param and not kind.uses_mixer:
        pytest.skip("mixes nothing")
    return request.param


@pytest.fixture
def algorithm(kind, mixer, network):
    return made(kind, network, mixer)


@pytest.fixture
def batch():
    # 4 labelled and 6 unlabelled clips: never as many
    x, target = torch.randn(4, 1, BANDS, FRAMES, generator=seeded(1)), torch.tensor([0, 1, 2, 0])
    labelled = Labelled(x, target, torch.tensor([5, 0, 9, 2]))
    views = [torch.randn(6, 1, BANDS, FRAMES, generator=seeded(s)) for s in (2, 3, 4, 5)]
    return labelled, Unlabelled(tuple(views[:2]), tuple(views[2:]), torch.tensor([0, 1, 2, 0, 1, -1]), torch.arange(6))


def terms(algorithm, model, batch, progress=0.5, seed=0):
    return algorithm.losses(model, *batch, progress=progress, generator=seeded(seed))


def total(losses):
    return torch.stack(list(losses.values())).sum()


def numbers(losses):
    return {name: term.item() for name, term in losses.items()}


def gradient(model, losses):
    model.zero_grad()
    total(losses).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def step(algorithm, model, batch, seed=0):
    """Train one step, as the engine does."""
    parameters = [p for part in (model, algorithm) for p in part.parameters() if p.requires_grad]
    for p in parameters:
        p.grad = None
    total(terms(algorithm, model, batch, seed=seed)).backward()
    torch.optim.SGD(parameters, lr=0.1).step()
    algorithm.after_step(model)


def test_every_term_is_a_finite_number_whose_gradient_reaches_the_model(algorithm, network, batch):
    step(algorithm, network, batch)  # a layer that starts at zero has no gradient for what is below
    # with these mixes strong views are of two classes: FreeMatch's fairness compares classes
    losses = terms(algorithm, network, batch, seed=2)
    assert "labelled" in losses
    for name, term in losses.items():
        assert term.shape == (), name
        assert term.isfinite(), name
        network.zero_grad()
        term.backward(retain_graph=True)
        assert network.stem[0].weight.grad.any(), name


def test_what_the_setup_makes_is_trained_or_wants_no_gradient(algorithm, network, batch):
    total(terms(algorithm, network, batch)).backward()
    for name, p in algorithm.named_parameters():
        assert not p.requires_grad or p.grad is not None, name
    reported = algorithm.select_reported(network)
    assert reported.eval()(batch[0].x).shape == (4, CLASSES)


def test_the_generator_alone_decides(algorithm, network, batch):
    torch.manual_seed(0)
    first = terms(copy.deepcopy(algorithm), copy.deepcopy(network), batch)
    torch.manual_seed(1)
    again = terms(copy.deepcopy(algorithm), copy.deepcopy(network), batch)
    assert numbers(first) == numbers(again)


def test_the_setup_leaves_torchs_own_generator_alone(kind, network):
    before = torch.get_rng_state()
    made(kind, network, unlabelled=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mixer_that_needs_to_know_classes_is_refused(kind):
    for pairing in ("same_class", "different_class"):
        with pytest.raises(ValueError, match=f"pairing must be one that needs no classes, got {pairing}"):
            algorithms.make_mixer(f"mixup:pairing={pairing}", kind)


USELESS = {
    "mean_teacher": {"interpolate": True},
    "deep_co_training": {"mix_labelled": True},
    **{
        name: {"mix_labels": False}
        for name in ("fixmatch", "adamatch", "softmatch", "freematch", "flexmatch", "pseudo_label", "uda", "dash")
    },
}


def test_how_a_mixer_is_used_is_refused_where_there_is_none():
    for name, options in USELESS.items():
        kind, config = algorithms.get(name), Config()
        with pytest.raises(ValueError, match="must be used with a mixer, got none: --mixer mixup"):
            kind(CLASSES, **options).check_config(config)
        kind(CLASSES, algorithms.make_mixer("mixup", kind), **options).check_config(config)
        kind(CLASSES).check_config(config)


def test_the_callers_tensors_and_the_models_mode_are_left_alone(algorithm, network, batch):
    labelled, unlabelled = batch
    before = [x.clone() for x in (*labelled, *unlabelled.weaks, *unlabelled.strongs, unlabelled.hidden)]
    network.blocks[0].eval()  # a part that is frozen stays so
    modes = [m.training for m in network.modules()]
    terms(algorithm, network, batch)
    after = (*labelled, *unlabelled.weaks, *unlabelled.strongs, unlabelled.hidden)
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    assert [m.training for m in network.modules()] == modes


class Recorder(nn.Module):
    """Keep what went into a model and what came out of it, call by call."""

    def __init__(self, model):
        super().__init__()
        self.model, self.head, self.calls = model, model.head, []

    def forward(self, x):
        answer = self.model(x)
        self.calls.append((x.detach(), answer))
        return answer

    def features(self, x):
        answer = self.model.features(x)
        self.calls.append((x.detach(), answer))
        return answer


def test_no_gradient_flows_through_pseudo_labels(algorithm, network, batch):
    # A call that sees nothing but weak views, as they are, guesses.
    recorder = Recorder(network)
    loss = total(terms(algorithm, recorder, batch))
    views = [view for weak in batch[1].weaks for view in weak]
    for x, answer in recorder.calls:
        guessing = all(any(torch.equal(row, view) for view in views) for row in x)
        if guessing and answer.requires_grad:
            (found,) = torch.autograd.grad(loss, answer, retain_graph=True, allow_unused=True)
            assert found is None or not found.any()


def test_no_gradient_reaches_the_weak_views(kind, mixer, network, batch):
    if kind.name() in LEARN_FROM_WEAK_VIEWS:
        pytest.skip("learns from weak views as inputs")
    every = {"threshold": 0.0} if "threshold" in algorithms.options(kind) else {}  # all pseudo-labels are accepted
    weak, strong = batch[1].weak.requires_grad_(), batch[1].strong.requires_grad_()
    losses = terms(made(kind, network, mixer, **every), network, batch)
    found, learnt = torch.autograd.grad(total(losses), (weak, strong), allow_unused=True)
    assert found is None or not found.any()
    assert learnt is not None or kind.name() == "supervised"


def test_the_true_classes_of_unlabelled_clips_change_no_loss(algorithm, network, batch):
    labelled, unlabelled = batch
    hidden = unlabelled._replace(hidden=torch.full((6,), -1))
    first = terms(copy.deepcopy(algorithm), copy.deepcopy(network), batch)
    second = terms(copy.deepcopy(algorithm), copy.deepcopy(network), (labelled, hidden))
    assert numbers(first) == numbers(second)


def test_with_weight_0_it_is_supervised(kind, linear, batch):
    # Without a mixer. Of two networks the first learns from its own half of the labelled clips.
    weights = {name: 0.0 for name in algorithms.options(kind) if name.startswith("weight")}
    own = gradient(linear, terms(made(kind, linear, switches=False, **weights), linear, batch))
    labelled, unlabelled = batch
    if kind.__name__ == "DeepCoTraining":
        labelled = Labelled(*(part[:2] for part in labelled))
    supervised = gradient(linear, terms(made(algorithms.get("supervised"), linear), linear, (labelled, unlabelled)))
    torch.testing.assert_close(own, supervised)


def test_statistics_are_means_over_all_processes(kind, linear, batch):
    # Two processes with the same batch have the statistics of one.
    alone, two = (made(kind, linear) for _ in range(2))
    two.gather = lambda x: torch.cat([x, x])
    for seed in range(3):
        assert numbers(terms(alone, linear, batch, seed=seed)) == pytest.approx(
            numbers(terms(two, linear, batch, seed=seed)), rel=1e-5
        )
    logs, logs_of_two = alone.logs(), two.logs()
    for name in logs:  # the engine sums the counts of processes, so they are of one
        torch.testing.assert_close(logs[name], logs_of_two[name], equal_nan=True)


def test_logs_are_numbers_or_one_number_a_class(algorithm, network, batch):
    terms(algorithm, network, batch)
    for name, value in algorithm.logs().items():
        assert value.shape in [(), (CLASSES,)], name
        assert not value.requires_grad, name


def test_a_state_dict_round_trip_changes_nothing(kind, mixer, network, batch):
    algorithm, fresh = (made(kind, network, mixer) for _ in range(2))
    for seed in range(3):
        step(algorithm, network, batch, seed=seed)
    fresh.load_state_dict(algorithm.state_dict())
    one, other = copy.deepcopy(network), copy.deepcopy(network)
    for seed in (3, 4):
        assert numbers(terms(algorithm, one, batch, seed=seed)) == numbers(terms(fresh, other, batch, seed=seed))
        step(algorithm, one, batch, seed=seed)
        step(fresh, other, batch, seed=seed)
    x = batch[0].x
    assert torch.equal(algorithm.select_reported(one).eval()(x), fresh.select_reported(other).eval()(x))


def test_bfloat16_gives_finite_terms(algorithm, network, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = terms(algorithm, network, batch)
        assert total(losses).isfinite()
    total(losses).backward()


@pytest.mark.slow
def test_fifty_steps_beat_chance_on_two_tones(kind, mixer, network):
    algorithm = made(kind, network, mixer, unlabelled=32, **kind.presets.get("small", {}))

    # Class c is a line in band 2 c + 1, at any time; a third class never sounds.
    def clips(count, seed, noise):
        generator = seeded(seed)
        target = torch.randint(2, (count,), generator=generator)
        x = noise * torch.randn(count, 1, BANDS, FRAMES, generator=generator)
        x[torch.arange(count), 0, 2 * target + 1] += 2
        return x, target

    trained = [p for part in (network, algorithm) for p in part.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=0.01)
    for i in range(50):
        labelled = Labelled(*clips(8, 1000 + i % 2, 0.3), torch.arange(8) + 8 * (i % 2))  # 16 labelled clips in all
        weak, hidden = clips(16, 2000 + i % 2, 0.3)  # 32 unlabelled ones
        strong = weak + torch.randn(weak.shape, generator=seeded(i))
        unlabelled = Unlabelled((weak, weak), (strong, strong), hidden, torch.arange(16) + 16 * (i % 2))
        losses = terms(algorithm, network, (labelled, unlabelled), progress=i / 50, seed=i)
        optimiser.zero_grad()
        total(losses).backward()
        optimiser.step()
        algorithm.after_step(network)
    x, target = clips(200, 1, 0.6)
    accuracy = (algorithm.select_reported(network).eval()(x).argmax(-1) == target).double().mean()
    assert accuracy > 0.7  # chance is 0.5


WRONG = {
    "comatch": [
        ({"threshold": 95}, r"did you mean 0\.95"),
        ({"graph_threshold": 80}, r"graph_threshold must be .* did you mean 0\.8"),
        ({"memory_size": 0}, "memory_size must be an integer of at least 1"),
        ({"weight_similarity": -1}, "weight_similarity must be a number in"),
    ],
    "dash": [
        ({"gamma": 0.5}, r"gamma must be a number in \[1, inf\].*the threshold falls"),
        ({"period": 9}, "period must be a number in .*a share of the training"),
        ({"least_loss": -1}, "least_loss must be a number in"),
    ],
    "pi_model": [({"second_view": "week"}, "did you mean 'weak'"), ({"weight": -1}, "weight must be a number in")],
    "pseudo_label": [
        ({"threshold": 95}, r"did you mean 0\.95"),
        ({"start": 0.5, "end": 0.2}, r"end must be at least start, 0\.5, got 0\.2"),
    ],
    "simmatch": [
        ({"smoothing": 2}, "smoothing must be"),
        ({"bank_momentum": 70}, r"bank_momentum must be .* did you mean 0\.7"),
        ({"temperature": 0}, "temperature must be a number in"),
        ({"dimensions": 0}, "dimensions must be an integer of at least 1"),
    ],
    "uda": [
        ({"threshold": 80}, r"did you mean 0\.8"),
        ({"temperature": 0}, "temperature must be a number in"),
        ({"annealing": "linaer"}, "did you mean 'linear'"),
    ],
    "vat": [
        ({"epsilon_db": -1}, "epsilon_db must be a number in"),
        ({"xi_db": 0}, "xi_db must be a number in .*rounding"),
        ({"power_iterations": 0}, "power_iterations must be an integer of at least 1"),
        ({"weight_entropy": -1}, "weight_entropy must be a number in"),
    ],
    "adamatch": [
        ({"threshold": 90}, r"threshold must be .* did you mean 0\.9"),
        ({"momentum": 2}, "momentum must be a"),
    ],
    "deep_co_training": [
        ({"report": "frist"}, "did you mean 'first'"),
        ({"epsilon_db": -1}, "epsilon_db must be a number in"),
        ({"weight_agree": -1}, "weight_agree must be a number in"),
    ],
    "fixmatch": [({"threshold": 95}, r"threshold must be .* did you mean 0\.95"), ({"weight": -1}, "weight must be a")],
    "flexmatch": [({"threshold": 95}, r"threshold must be .* did you mean 0\.95")],
    "freematch": [
        ({"momentum": 99}, r"did you mean 0\.99"),
        ({"fairness": math.nan}, "fairness must be a finite number"),
    ],
    "mean_teacher": [
        ({"teacher_decay": 99}, r"teacher_decay must be .* did you mean 0\.99"),
        ({"student": "week"}, "did you mean 'weak'"),
        ({"buffers": "ema"}, "buffers must be one of own, average"),
        ({"weight": -1}, "weight must be a number in"),
    ],
    "mixmatch": [
        ({"views": 0}, "views must be an integer of at least 1"),
        ({"temperature": 0}, "temperature must be a number in"),
        ({"distance": "kl"}, "distance must be one of mse, cross_entropy"),
    ],
    "remixmatch": [
        ({"networks": 0}, "networks must be an integer of at least 1"),
        ({"memory": 1}, "memory must be below 1, got 1"),
        ({"memory": 1.5}, "memory must be"),
        ({"views": 0}, "views must be an integer of at least 1"),
        ({"alignment": "histroy"}, "did you mean 'history'"),
        ({"weight_turn": -1}, "weight_turn must be a number in"),
        ({"ramp": "linear:0:-1"}, "ramp must be a number in"),
    ],
    "softmatch": [
        ({"momentum": 99}, r"did you mean 0\.99"),
        ({"sigmas": -1}, r"sigmas must be a number in \[0, inf\]"),
    ],
    "supervised": [({"networks": 0}, "networks must be an integer of at least 1, got 0")],
}


def test_wrong_options_are_refused(kind):
    for options, message in WRONG[kind.name()]:
        with pytest.raises(ValueError, match=message):
            kind(CLASSES, **options)


def test_results_carry_the_name_of_the_file(kind):
    assert kind(CLASSES).title == kind.__module__.rpartition(".")[2]


def test_presets_name_options_and_fields_that_are_there(kind):
    for options in kind.presets.values():
        kind(CLASSES, **options)
    for name, changes in kind.configs.items():
        preset(name if name in PRESETS else "small", **changes)


def test_the_default_mixers_can_be_made(kind):
    for name in ("", *kind.default_mixers):
        text = algorithms.mixer_for(None, kind, name)
        assert text is None or algorithms.make_mixer(text, kind)
    assert algorithms.mixer_for("none", kind) is None
    assert algorithms.mixer_for("cutmix", kind) == "cutmix"


def test_a_declared_mixer_is_called_and_an_undeclared_one_refused(network, batch):
    for name in algorithms.available():
        kind = algorithms.get(name)
        mixer = algorithms.make_mixer("mixup:alpha=1", kind)
        if not kind.uses_mixer:
            with pytest.raises(ValueError, match=f"mixer must be none for {name}, which mixes nothing, got MixUp"):
                kind(CLASSES, mixer)
            continue
        mixes = []
        mixer.register_forward_hook(lambda _, x, mixed, mixes=mixes: mixes.append((x[0], mixed.x)))
        algorithm = kind(CLASSES, mixer)
        algorithm.setup(network, small, 6)
        losses = terms(algorithm, copy.deepcopy(network), batch)
        assert mixes, name
        assert all(not torch.equal(x, mixed) for x, mixed in mixes), name
        plain = terms(made(kind, network, switches=False), copy.deepcopy(network), batch)
        assert numbers(losses) != numbers(plain), name


def test_an_unknown_mixer_or_option_is_named(kind):
    with pytest.raises(ValueError, match="did you mean 'mixup'"):
        algorithms.make_mixer("mixupp", kind)
    with pytest.raises(ValueError, match=r"the option of mixer mixup must be one of .* did you mean 'alpha'"):
        algorithms.make_mixer("mixup:alph=1", kind)
    with pytest.raises(ValueError, match="mixer must be one for spectrograms, got between_class: recipes mix"):
        algorithms.make_mixer("between_class", kind)


def test_a_mixer_takes_the_methods_values_unless_others_are_given(kind):
    if not kind.uses_mixer:
        pytest.skip("mixes nothing")
    assert algorithms.make_mixer("mixup", kind).alpha(0) == kind.mixing["alpha"]
    mixer = algorithms.make_mixer("mixup:alpha=0.3,keep_larger=false,pairing=any", kind)
    assert (mixer.alpha(0), mixer.keep_larger) == (0.3, False)


def test_what_follows_from_data_and_front_end_is_no_option_of_a_mixer(kind):
    for option in ("num_classes=3", "mean=-20", "std=9", "log=ln"):
        with pytest.raises(ValueError, match="the option of mixer mixup must be one of"):
            algorithms.make_mixer(f"mixup:domain=power,{option}", kind)
