"""Tiny batches on which the terms of recipes' methods are worked out by hand, and two processes in one."""

import threading

import torch
from sounds import seeded
from ssl_tables import CLASSES, Table, clips
from torch import nn

from audiomix import MixUp, Plan
from recipes.algorithms.base import Labelled, Unlabelled

LABELLED = Labelled(clips([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]]), torch.tensor([0, 1]), torch.arange(2))
SURE, UNSURE, UNIFORM = [0.96, 0.02, 0.02], [0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3]


def unlabelled(weak, strong=None, hidden=None, index=None):
    strong = strong or [UNIFORM] * len(weak)
    hidden = torch.tensor(hidden or [0] * len(weak))
    index = torch.arange(len(weak)) if index is None else torch.tensor(index)
    return Unlabelled((clips(weak),), (clips(strong),), hidden, index)


def losses(method, batch, labelled=LABELLED, seed=0, model=None, progress=0.5):
    return method.losses(model or Table(), labelled, batch, progress=progress, generator=seeded(seed))


def made(kind, *arguments, clips=16, network=None, **options):
    """Return a method that was set up for so many unlabelled clips, and as many labelled ones."""
    method = kind(CLASSES, *arguments, **options)
    method.labelled_clips = clips
    method.setup(network or Table(), lambda name: Table(), clips)
    return method


class Half(MixUp):
    """A mixer whose partners come in turn, and whose original has three quarters."""

    plan_type = Plan

    def draw(self, own, source, *, progress=None, generator=None):
        return Plan(torch.arange(len(own)) % len(source), torch.full((len(own),), 0.75).double())


def linear(bands, frames):
    """Return a network without batch norm, in which clips cannot meet."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(bands * frames, CLASSES))


class Embedder(nn.Module):
    """A network without batch norm whose features are no logits."""

    def __init__(self, bands, frames):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer, self.head = nn.Linear(bands * frames, 5), nn.Linear(5, CLASSES)

    def features(self, x):
        return torch.tanh(self.layer(x.flatten(1)))

    def forward(self, x):
        return self.head(self.features(x))


def noise(count_labelled, count_unlabelled, bands=8, frames=12, seed=0):
    """Return a batch of random clips."""
    generator = seeded(seed)
    x, weak, strong = (
        torch.randn(count, 1, bands, frames, generator=generator)
        for count in (count_labelled, count_unlabelled, count_unlabelled)
    )
    labelled = Labelled(x, torch.arange(count_labelled) % CLASSES, torch.arange(count_labelled))
    hidden = torch.arange(count_unlabelled) % (CLASSES + 1) - 1
    return labelled, Unlabelled((weak,), (strong,), hidden, torch.arange(count_unlabelled))


def parts(batch, count=2):
    """Return the halves of a batch, as `count` processes have them."""
    labelled, unlabelled = batch
    return [
        (
            Labelled(*(t.chunk(count)[i] for t in labelled)),
            Unlabelled(
                *(tuple(v.chunk(count)[i] for v in views) for views in unlabelled[:2]),
                *(t.chunk(count)[i] for t in unlabelled[2:]),
            ),
        )
        for i in range(count)
    ]


def together(tasks):
    """Run ``task(gather)`` for all tasks at the same time, where gather joins their tensors; return what each says.

    A process that calls gather more often than another would wait for ever: after 20 seconds the barrier breaks.
    """
    barrier, slots, found = threading.Barrier(len(tasks), timeout=20), [None] * len(tasks), [None] * len(tasks)

    def work(rank, task):
        def gather(x):
            assert not x.requires_grad
            slots[rank] = x
            barrier.wait()
            joined = torch.cat(list(slots))
            barrier.wait()
            return joined

        try:
            found[rank] = task(gather)
        except BaseException as error:
            found[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


def trained(method, model, batches, gather=None):
    """Take the terms of batches one after another; return the last gradient, terms, logs and state of the method."""
    if gather is not None:
        method.gather = gather
    for labelled, batch in batches:
        model.zero_grad()
        terms = losses(method, batch, labelled, model=model)
        torch.stack(list(terms.values())).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return gradient, {k: v.detach() for k, v in terms.items()}, method.logs(), method.state_dict()


def assert_two_processes_are_one(kind, network=linear, **options):
    """Assert that gradients, logs and statistics of two processes are those of one with all their clips.

    The network has no batch norm, which would normalise each process's clips with their own statistics.
    """
    batches = [noise(4, 8, seed=seed) for seed in range(3)]
    # here: threads would share the global generator
    networks = [network(8, 12) for _ in range(3)]
    methods = [made(kind, network=networks[0] if network is Embedder else None, **options) for _ in range(3)]
    whole = trained(methods[2], networks[2], batches)
    halves = [
        lambda gather, i=i: trained(methods[i], networks[i], [parts(b)[i] for b in batches], gather) for i in range(2)
    ]
    found = together(halves)
    torch.testing.assert_close((found[0][0] + found[1][0]) / 2, whole[0])
    for name, term in whole[1].items():
        torch.testing.assert_close((found[0][1][name] + found[1][1][name]) / 2, term, msg=name)
    torch.testing.assert_close(found[0][2].pop("count") + found[1][2].pop("count"), whole[2]["count"])
    for half in found:
        torch.testing.assert_close(half[2], {k: v for k, v in whole[2].items() if k != "count"}, equal_nan=True)
        torch.testing.assert_close(half[3], whole[3])
    return whole
