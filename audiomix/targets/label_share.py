r"""How the label's shares follow from the sound's: a second share for labels, and clips without a class.

==================  ====================================================================================
label_weight        the original's share v of the label, at the sound's share w
==================  ====================================================================================
same                w
a number, schedule  that number; partners share the rest in proportion to the sound
beta:a=1,b=1        drawn from Beta(a, b), a number of its own [Zou et al., "The Benefits of Mixup for
                    Feature Learning", ICML 2023: sound and label need not have the same share]
remix:k=3,tau=0.5   0 where the original's class has at least k times the clips of its partner's and
                    w < tau; 1 the other way round; else w [Chou et al., "Remix: Rebalanced Mixup",
                    ECCV workshops 2020]
mamix:f=-0.25       with m = n^f / (n^f + n'^f) of the class counts n, n' and u = 1 - w:
                    1 - u / (2 m) where u < m, else w / (2 (1 - m)) [Cheng, Ha and Lin, margin-aware
                    mixup]: the rarer class has half of the label at less than half of the sound
==================  ====================================================================================

Where no partner sounds (w = 1) the label is the original's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator
from ..options import read_values
from ..schedule import Schedule

__all__ = ["LABEL_WEIGHTS", "LabelShare", "drop_no_calls", "find_no_calls", "mamix_share", "remix_share"]

# The options of each, with their defaults
LABEL_WEIGHTS: dict[str, dict[str, float]] = {
    "same": {},
    "beta": {"a": 1.0, "b": 1.0},
    "remix": {"k": 3.0, "tau": 0.5},
    "mamix": {"f": -0.25},
}
_BY_COUNTS = ("remix", "mamix")


def remix_share(ratio: Tensor, own: Tensor, partner: Tensor, *, k: float = 3.0, tau: float = 0.5) -> Tensor:
    """Return the original's share of the label by Remix.

    Parameters
    ----------
    ratio : Tensor, shape (B,)
        Its share of the sound.
    own, partner : Tensor, shape (B,)
        How many clips the original's class and the partner's have.
    k : float
        How many times larger a class must be.
    tau : float
        Below which share of the sound it gives its label up.

    Examples
    --------
    >>> remix_share(torch.tensor([0.4, 0.6]), torch.tensor([900, 100]), torch.tensor([100, 900]))
    tensor([0., 1.])
    """
    give = (own >= k * partner) & (ratio < tau)
    take = (partner >= k * own) & (1 - ratio < tau)
    return torch.where(give, 0.0, torch.where(take, 1.0, ratio))


def mamix_share(ratio: Tensor, own: Tensor, partner: Tensor, *, f: float = -0.25) -> Tensor:
    """Return the original's share of the label by margin-aware mixup.

    Parameters
    ----------
    ratio : Tensor, shape (B,)
        Its share of the sound.
    own, partner : Tensor, shape (B,)
        How many clips the original's class and the partner's have.
    f : float
        Exponent; below 0 the rarer class gains.

    Examples
    --------
    >>> mamix_share(torch.tensor([0.5]), torch.tensor([900.0]), torch.tensor([100.0]))
    tensor([0.3943])
    """
    middle = 1 / (1 + (partner.to(ratio) / own.to(ratio)) ** f)
    theirs = 1 - ratio
    return torch.where(theirs < middle, 1 - theirs / (2 * middle), ratio / (2 * (1 - middle)))


@dataclass(frozen=True)
class LabelShare:
    """What `label_weight` says, with the class counts that it reads.

    Parameters
    ----------
    name : str
        One of `LABEL_WEIGHTS`, or ``constant``.
    options : tuple of (str, float)
        Of the name.
    schedule : Schedule, optional
        The share, where it is ``constant``.
    class_counts : tuple of float, optional
        Clips of each class in the training set.
    """

    name: str
    options: tuple[tuple[str, float], ...] = ()
    schedule: Schedule | None = None
    class_counts: tuple[float, ...] | None = None

    @classmethod
    def read(
        cls, value: Any, class_counts: Any = None, num_classes: int | None = None, sources: int = 2
    ) -> "LabelShare":
        """Return what an option says, or raise.

        Parameters
        ----------
        value : str, number or Schedule
            ``NAME:key=value,...``, or the share itself.
        class_counts : sequence of float, optional
            Clips of each class; needed by ``remix`` and ``mamix``.
        num_classes : int, optional
            How many there are to be.
        sources : int
            Largest number of sources of a mix.
        """
        name, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        counts = None
        if name in _BY_COUNTS:
            counts = _read_counts(class_counts, name, num_classes)
            if sources > 2:
                slip = "a number, beta, or same"
                check.fail("sources", f"2 with label_weight={name!r}, which is defined for pairs", sources, slip)
        elif class_counts is not None:
            check.fail("class_counts", "left out unless label_weight is remix or mamix", "given")
        if name in LABEL_WEIGHTS:
            options = LABEL_WEIGHTS[name] | read_values(text, dict.fromkeys(LABEL_WEIGHTS[name], float), name)
            _check_options(name, options)
            return cls(name, tuple(options.items()), class_counts=counts)
        if name.isalpha() and not text:
            check.choice("label_weight", name, LABEL_WEIGHTS)
        return cls("constant", schedule=Schedule.of(value, "label_weight").within("label_weight", 0, 1))

    @property
    def reads_classes(self) -> bool:
        """Whether class ids are needed."""
        return self.name in _BY_COUNTS

    def shares(
        self,
        ratios: Tensor,
        classes: tuple[Tensor, Tensor] | None = None,
        *,
        same: bool = False,
        progress: float | None = None,
        generator: Generator = None,
    ) -> Tensor:
        """Return the label's shares for those of the sound.

        Parameters
        ----------
        ratios : Tensor, shape (B, S + 1), float64
            Shares of the sound, the original's first.
        classes : (Tensor, Tensor), shape (B,) each, optional
            Ids of the classes of original and partner.
        same : bool
            One draw for all clips.
        progress : float, optional
            Fraction of the training in [0, 1], for a schedule.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Returns
        -------
        Tensor, shape (B, S + 1), float64
        """
        own, options = ratios[:, 0], dict(self.options)
        if self.name == "same":
            return ratios
        if self.schedule is not None:
            share = torch.full_like(own, self.schedule(progress))
        elif self.name == "beta":
            size = 1 if same else len(own)
            drawn = draw.beta(options["a"], size, partner=options["b"], generator=generator)
            share = drawn.expand(len(own))
        else:
            assert classes is not None
            mine, theirs = (self._count(ids) for ids in classes)
            if self.name == "remix":
                share = remix_share(own, mine, theirs, **options)
            else:
                share = mamix_share(own, mine, theirs, **options)
        share = torch.where(own < 1, share, 1.0)
        rest = ratios[:, 1:] / ratios[:, 1:].sum(1, keepdim=True).clamp(min=1e-300)
        return torch.cat([share[:, None], rest * (1 - share)[:, None]], 1)

    def _count(self, ids: Tensor) -> Tensor:
        """Return how many clips the classes of these ids have."""
        counts = torch.tensor(self.class_counts, dtype=torch.float64)
        if len(ids) and int(ids.max()) >= len(counts):
            check.fail("class_counts", f"of at least {int(ids.max()) + 1} classes, as target has", len(counts))
        found = counts[ids]
        if bool((found == 0).any()):
            wrong = int(ids[found == 0][0])
            check.fail(f"class_counts[{wrong}]", "above 0, since there is a clip of that class", 0)
        return found


def _check_options(name: str, options: dict[str, float]) -> None:
    bounds = {"a": (1e-6, 1e6), "b": (1e-6, 1e6), "k": (1, 1e9), "tau": (0, 1), "f": (-10, 10)}
    for option, value in options.items():
        check.number(f"{option} of label_weight {name}", value, *bounds[option])


def _read_counts(value: Any, name: str, num_classes: int | None) -> tuple[float, ...]:
    expected = "numbers of clips, one for each class"
    if value is None:
        check.fail("class_counts", f"given for label_weight={name!r}", None, "torch.bincount(labels)?")
    row = check.to_tensor("class_counts", value, expected).double()
    if row.ndim != 1 or (num_classes is not None and len(row) != num_classes):
        check.fail("class_counts", f"{num_classes or 'K'} {expected}", f"shape {tuple(row.shape)}")
    if not bool(((row >= 0) & row.isfinite()).all()) or not bool(row.any()):
        check.fail("class_counts", "finite and at least 0, not all 0", row.tolist())
    return tuple(row.tolist())


def find_no_calls(name: str, target: Tensor, no_call: int | str) -> Tensor:
    """Return which clips have no class; bool, (B,), on the CPU.

    Parameters
    ----------
    name : str
        The argument, for the message.
    target : Tensor, shape (B,), (B, K) or (B, K, N)
        Class ids, labels or frame labels.
    no_call : int or str
        ``zero``: clips whose labels are all zero. A class id: clips that have this class and no other.
    """
    if target.ndim == 1:
        if no_call == "zero":
            slip = f"class ids: which of them is it? no_call=ID; or one_hot({name})"
            check.fail(name, "labels (B, K) for no_call='zero'", f"shape {tuple(target.shape)}", slip)
        return target.cpu() == int(no_call)
    there = (target > 0).flatten(2).any(2) if target.ndim > 2 else target > 0
    if no_call == "zero":
        return ~there.any(1).cpu()
    if int(no_call) >= there.shape[1]:
        check.fail("no_call", f"a class id in 0..{there.shape[1] - 1}, as {name} has", no_call)
    return (there[:, int(no_call)] & (there.sum(1) == 1)).cpu()


def drop_no_calls(shares: Tensor, calls: Tensor) -> Tensor:
    """Return shares of the label of the sources that have a class alone; where none has, as they are.

    Parameters
    ----------
    shares : Tensor, shape (B, S + 1), float64
        Of all sources.
    calls : Tensor, shape (B, S + 1), bool
        Which of them have a class.

    Examples
    --------
    >>> drop_no_calls(torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.tensor([[True, False], [False, False]]))
    tensor([[1.0000, 0.0000],
            [0.2000, 0.8000]])
    """
    calling = shares * calls
    total = calling.sum(1, keepdim=True)
    return torch.where(total > 0, calling / total.clamp(min=1e-300), shares)
