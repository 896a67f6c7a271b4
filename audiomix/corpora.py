r"""Several data sets as one stream: exact proportions, such as of real to synthetic clips, fixed or found on the way.

.. math:: \left| d_i(n) - n r_i \right| \le 1 - \frac{1}{2 (m - 1)} \quad \text{for all } n

for the number d_i(n) of clips of data set i among the first n, and its ratio r_i of m data sets: not only an epoch but
every stretch of it has the proportions (Tijdeman, "The chairman assignment problem", Discrete Mathematics 1980). Where
ratios are changed n is counted anew.
"""

from collections.abc import Callable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from . import check, draw
from .arguments import Recorded
from .draw import Generator

__all__ = ["Aioli", "CorpusSampler"]

# Credits that differ by less are equal: what is added up in float64 depends on the order
_ROUNDING = 1e-9


class CorpusSampler(Recorded, Sampler[int]):
    r"""Indices of the clips of several data sets, in exact proportions; for ``DataLoader(ConcatDataset(...))``.

    Source: Ghosh et al., "Synthio: Augmenting Small-Scale Audio Classification Datasets with Synthetic Data", ICLR 2025
    (real clips with so many synthetic ones a class); the order within an epoch is ours.

    Parameters
    ----------
    sizes : sequence of int or of data sets
        How many clips each has, in the order of ``torch.utils.data.ConcatDataset``.
    ratios : sequence of float
        How often each is drawn from, of at least 0: ``(2, 1)`` for two real clips to each synthetic one.
    num_samples : int, optional
        Clips of an epoch; by default as many as it takes to go through the first data set once.
    seed : int
        Of the orders.

    Raises
    ------
    ValueError, TypeError
        Other numbers of sizes and ratios, one without clips that is to be drawn from, or another wrong argument.

    Notes
    -----
    An epoch is `num_samples` clips. It does not start anew: each data set is gone through in an order that is drawn for
    each pass, and no clip comes again before all others of its data set have come. So a small data set is repeated
    within an epoch, and a large one goes on in the next. Epochs differ, and are the same for the same seed.

    `set_ratios` and a number of clips given with it count from the next epoch on: a DataLoader with workers asks for
    indices long before their clips are trained on. Other ratios start the count of the proportions anew; the orders of
    the data sets go on.

    One process reads it. With several ranks give each one whole batches, not every n-th index: of two data sets in
    equal parts every second clip is of one of them.

    See Also
    --------
    Aioli : Finds ratios while training.

    Examples
    --------
    >>> real, synthetic = list(range(6)), list(range(100, 104))
    >>> sampler = CorpusSampler([real, synthetic], (2, 1))
    >>> data = torch.utils.data.ConcatDataset([real, synthetic])
    >>> ["synthetic" if data[i] >= 100 else "real" for i in sampler]
    ['real', 'synthetic', 'real', 'real', 'synthetic', 'real', 'real', 'synthetic', 'real']
    """

    def __init__(
        self,
        sizes: Sequence[int | Sized],
        ratios: Sequence[float],
        *,
        num_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(sizes, str) or not hasattr(sizes, "__len__") or not len(sizes):
            check.fail("sizes", "one or more numbers of clips, or data sets", repr(sizes), "", TypeError)
        self.sizes = tuple(check.integer("sizes", len(s) if hasattr(s, "__len__") else s, 0) for s in sizes)
        self.seed = check.integer("seed", seed)
        self.ratios = self._read_ratios(ratios)
        if num_samples is None and not self.ratios[0]:
            check.fail("num_samples", "given where the first data set is not drawn from", None)
        length = round(self.sizes[0] / self.ratios[0]) if num_samples is None else num_samples
        self.num_samples = check.integer("num_samples", length, 1)
        # at the start of this epoch: clips that each data set has given, and what it still is to give by its ratio
        self._drawn = [0] * len(self.sizes)
        self._credit = [0.0] * len(self.sizes)
        self._next: dict[str, Any] | None = None  # the state after this epoch, once it has begun
        self._then: dict[str, Any] = {}  # what `set_ratios` has changed for the epoch after this one
        self._skip = 0
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the next epoch; of a state that was loaded, what was left of its epoch."""
        if self._next is not None:
            self._begin(self._next | self._then)
        skip, self._skip = self._skip, 0
        self._next = self._after()
        return islice(self._draw(), skip, None)

    def set_ratios(self, ratios: Sequence[float], *, num_samples: int | None = None) -> None:
        """Set the proportions from the next epoch on; of a state that was loaded, after what is left of its epoch.

        Parameters
        ----------
        ratios : sequence of float
            One for each data set.
        num_samples : int, optional
            Clips of an epoch from then on.
        """
        found = self._read_ratios(ratios)
        if num_samples is not None:
            self._then["num_samples"] = check.integer("num_samples", num_samples, 1)
        if found != self._then.get("ratios", self.ratios):
            # what a data set was still to give by other ratios would make it give by these too much, or with none
            self._then |= {"ratios": found, "credit": [0.0] * len(self.sizes)}
        if self._next is None and not self._skip:
            self._begin(self._state(0) | self._then | {"then": {}})

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Return where the sampler is, as plain values.

        Parameters
        ----------
        taken : int, optional
            Clips of this epoch that have been trained on, those before a resume among them. By default the epoch is
            over, or has not begun: how far a DataLoader has read ahead says nothing.

        Raises
        ------
        ValueError
            More clips than an epoch has.
        """
        if taken is None or (self._next is not None and taken == self.num_samples):
            return self._state(self._skip) if self._next is None else self._next | self._then
        if check.integer("taken", taken, 0) > self.num_samples:
            slip = "those of this epoch alone, in clips, not in batches"
            check.fail("taken", f"at most the {self.num_samples} clips of an epoch", taken, slip)
        return self._state(taken)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called; the data sets must have as many clips as then.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        ValueError
            The state of other data sets or of another seed.
        """
        for name in ("sizes", "seed"):
            here = getattr(self, name)
            there = tuple(state[name]) if name == "sizes" else state[name]  # a list, where it was written as JSON
            if there != here:
                check.fail("state", f"of {name} {here}", there, "another set of clips?")
        self._begin(state)

    def _state(self, taken: int) -> dict[str, Any]:
        return {
            "sizes": self.sizes,
            "seed": self.seed,
            "ratios": self.ratios,
            "num_samples": self.num_samples,
            "given": list(self._drawn),
            "credit": list(self._credit),
            "epoch": self.epoch,
            "taken": taken,
            "then": dict(self._then),
        }

    def _begin(self, state: dict[str, Any]) -> None:
        self.ratios, self.num_samples = tuple(state["ratios"]), state["num_samples"]
        self._drawn, self._credit = list(state["given"]), list(state["credit"])
        self.epoch, self._skip, self._next = state["epoch"], state["taken"], None
        self._then = dict(state["then"])

    def _after(self) -> dict[str, Any]:
        """Return the state at the end of the epoch that starts at this one."""
        given, credit = list(self._drawn), list(self._credit)
        for _ in range(self.num_samples):
            given[self._choose(credit)] += 1
        return self._state(0) | {"given": given, "credit": credit, "epoch": self.epoch + 1, "then": {}}

    def _draw(self) -> Iterator[int]:
        """Yield the indices of the epoch that starts here."""
        given, credit = list(self._drawn), list(self._credit)
        starts = [sum(self.sizes[:k]) for k in range(len(self.sizes))]
        orders: dict[int, tuple[int, list[int]]] = {}  # of each data set the pass and its order
        for _ in range(self.num_samples):
            k = self._choose(credit)
            turn, place = divmod(given[k], self.sizes[k])
            if orders.get(k, (-1, []))[0] != turn:
                generator = draw.generator_for(self.seed, "corpus", k, turn)
                orders[k] = turn, draw.permutation(self.sizes[k], generator=generator).tolist()
            given[k] += 1
            yield starts[k] + orders[k][1][place]

    def _choose(self, credit: list[float]) -> int:
        """Return the data set that gives the next clip, and charge it: of those with enough credit, the most urgent."""
        least = 1 / (2 * max(1, len(credit) - 1))
        best, soonest = 0, float("inf")
        for k, ratio in enumerate(self.ratios):
            credit[k] += ratio
            if ratio and credit[k] >= least - _ROUNDING:
                urgency = (1 - least - credit[k]) / ratio
                if urgency < soonest - _ROUNDING:
                    best, soonest = k, urgency
        credit[best] -= 1
        return best

    def _read_ratios(self, ratios: Sequence[float]) -> tuple[float, ...]:
        values = ratios.tolist() if isinstance(ratios, Tensor) else list(ratios)
        if len(values) != len(self.sizes):
            check.fail("ratios", f"one for each of {len(self.sizes)} data sets", f"{len(values)}")
        found = [check.number("ratios", value, 0) for value in values]
        if not sum(found):
            check.fail("ratios", "above 0 for one data set at least", ratios)
        for k, (ratio, size) in enumerate(zip(found, self.sizes)):
            if ratio and not size:
                check.fail("ratios", f"0 for data set {k}, which has no clips", f"{ratio:g}")
        return tuple(ratio / sum(found) for ratio in found)


class Aioli(Recorded):
    r"""Proportions of data sets that follow what each does for the validation losses of all.

    .. math:: \delta_{ji} = \sum_k q_{ik} A_{jk}, \quad
              r_i \propto \exp\Big( \eta \sum_j \hat A_{ji} \Big)

    delta_ji is by how much the loss j fell in some steps with the probing ratios q_i, most of them data set i; A is
    what solves these equations, then shifted so that none of it is below 0, scaled to a sum of 1 and averaged over the
    rounds.

    Source: Chen et al., "Aioli: A Unified Optimization Framework for Language Model Data Mixing", ICLR 2025, which is
    about text.

    Parameters
    ----------
    count : int
        Data sets m, each with a validation loss; two or more.
    probe : float
        The share of a data set in its probing ratios, above 1 / m and at most 1; the others share the rest.
    eta : float
        How strongly ratios follow, of at least 0. They differ at most by the factor exp(eta).
    average : float, optional
        Weight of the earlier rounds in the running mean of A. None: no mean, and each round's factor is multiplied into
        the ratios of the round before, as the reference does it then. Ratios are not bounded so.

    Raises
    ------
    ValueError, TypeError
        A wrong argument.

    Examples
    --------
    >>> aioli = Aioli(2)
    >>> [tuple(round(r, 3) for r in aioli.probe_ratios(i)) for i in range(2)]
    [(0.75, 0.25), (0.25, 0.75)]
    >>> drops = torch.tensor([[0.3, 0.1], [0.3, 0.1]])  # while it saw the first one mostly, both losses fell more
    >>> [round(r, 3) for r in aioli.update(drops)]
    [0.731, 0.269]
    """

    def __init__(self, count: int, *, probe: float = 0.75, eta: float = 1.0, average: float | None = 0.1) -> None:
        self.count = check.integer("count", count, 2)
        self.probe = check.number("probe", probe, 0, 1)
        if self.probe <= 1 / self.count + _ROUNDING:
            check.fail("probe", f"above {1 / self.count:g}, the equal share of {count} data sets", probe)
        self.eta = check.number("eta", eta, 0)
        self.average = None if average is None else check.fraction("average", average)
        self.ratios: tuple[float, ...] = (1 / self.count,) * self.count
        self._mean: Tensor | None = None

    def probe_ratios(self, index: int) -> tuple[float, ...]:
        """Return the ratios of the steps that tell what a data set does.

        Parameters
        ----------
        index : int
            Which one, from 0.
        """
        rest = (1 - self.probe) / (self.count - 1)
        return tuple(self.probe if k == index else rest for k in range(self.count))

    def update(self, drops: Tensor) -> tuple[float, ...]:
        """Return new ratios, which sum to 1.

        Parameters
        ----------
        drops : Tensor, shape (m, m)
            By how much validation loss j (row) fell during the steps with the probing ratios of data set i (column);
            below 0 where it rose. The mean over several sweeps.

        Raises
        ------
        ValueError, TypeError
            Another shape, or losses that are not finite.
        """
        found = check.finite("drops", check.floating("drops", drops)).detach().cpu().double()
        if found.shape != (self.count, self.count):
            expected = f"of shape ({self.count}, {self.count}), losses by data sets"
            check.fail("drops", expected, tuple(found.shape))
        probes = torch.tensor([self.probe_ratios(i) for i in range(self.count)], dtype=torch.float64)
        effect = torch.linalg.solve(probes, found.T).T
        effect = effect - effect.min().clamp(max=0)
        total = float(effect.sum())
        # where all losses fell alike no data set is better than another: what differs are rounding errors
        alike = total <= _ROUNDING * float(found.abs().max())
        effect = torch.full_like(effect, 1 / self.count**2) if alike else effect / total
        if self.average is None:
            factor = torch.tensor(self.ratios, dtype=torch.float64)
        else:
            if self._mean is not None:
                effect = (1 - self.average) * effect + self.average * self._mean
            factor = torch.ones(self.count, dtype=torch.float64)
        self._mean = effect
        # a softmax, as exp alone overflows for a large eta
        self.ratios = tuple(torch.softmax(factor.log() + self.eta * effect.sum(0), 0).tolist())
        return self.ratios

    def run_round(
        self,
        train: Callable[[tuple[float, ...]], None],
        validate: Callable[[], Tensor],
        *,
        sweeps: int = 1,
        generator: Generator = None,
    ) -> tuple[float, ...]:
        """Probe all data sets and return new ratios.

        Parameters
        ----------
        train : callable
            Trains for some steps with the ratios that it is given; 10 steps in the paper.
        validate : callable
            Returns the validation loss of each data set, (m,).
        sweeps : int
            How often each data set is probed, in an order that is drawn for each sweep.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        """
        drops = torch.zeros(self.count, self.count, dtype=torch.float64)
        before = self._losses(validate())
        for _ in range(check.integer("sweeps", sweeps, 1)):
            for i in draw.permutation(self.count, generator=generator).tolist():
                train(self.probe_ratios(i))
                after = self._losses(validate())
                drops[:, i] += before - after
                before = after
        return self.update(drops / sweeps)

    def state_dict(self) -> dict[str, Any]:
        """Return ratios and running mean, as plain values."""
        return {"ratios": self.ratios, "mean": None if self._mean is None else self._mean.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called.

        Parameters
        ----------
        state : dict
            What `state_dict` returned, of as many data sets.

        Raises
        ------
        ValueError
            The state of another number of data sets.
        """
        if len(state["ratios"]) != self.count:
            check.fail("state", f"of {self.count} data sets", len(state["ratios"]))
        self.ratios = tuple(state["ratios"])
        mean = state["mean"]
        self._mean = None if mean is None else torch.tensor(mean, dtype=torch.float64)

    def _losses(self, value: Tensor) -> Tensor:
        losses = check.tensor("what validate returns", value).detach().cpu().double()
        if losses.shape != (self.count,):
            check.fail("what validate returns", f"{self.count} losses, one for each data set", tuple(losses.shape))
        return losses
