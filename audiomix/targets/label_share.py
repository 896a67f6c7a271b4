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

import difflib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips
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
    """What `label_weight` and `no_call` say, with the class counts that are read.

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
    no_call : int or str, optional
        See `find_no_calls`.
    """

    name: str = "same"
    options: tuple[tuple[str, float], ...] = ()
    schedule: Schedule | None = None
    class_counts: tuple[float, ...] | None = None
    no_call: int | str | None = None

    @classmethod
    def read(
        cls,
        value: Any,
        class_counts: Any = None,
        no_call: int | str | None = None,
        *,
        num_classes: int | None = None,
        sources: int = 2,
    ) -> "LabelShare":
        """Return what the options of a mixer say, or raise.

        Parameters
        ----------
        value : str, number or Schedule
            ``NAME:key=value,...``, or the share itself.
        class_counts : sequence of float, optional
            Clips of each class; needed by ``remix`` and ``mamix``.
        no_call : int or str, optional
            See `find_no_calls`.
        num_classes : int, optional
            How many there are to be.
        sources : int
            Largest number of sources of a mix.
        """
        name, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        counts = None
        if no_call is not None and no_call != "zero":
            no_call = check.integer("no_call", no_call, 0, slip="or 'zero', for labels that are all zero")
            if num_classes is not None and no_call >= num_classes:
                check.fail("no_call", f"a class id in 0..{num_classes - 1}, as num_classes says", no_call)
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
            return cls(name, tuple(options.items()), class_counts=counts, no_call=no_call)
        if name.isalpha() and (not text or difflib.get_close_matches(name, LABEL_WEIGHTS)):
            check.choice("label_weight", name, LABEL_WEIGHTS)
        schedule = Schedule.of(value, "label_weight").within("label_weight", 0, 1)
        return cls("constant", schedule=schedule, no_call=no_call)

    @property
    def is_the_sounds(self) -> bool:
        """Whether labels have the shares of the sound."""
        return self.name == "same" and self.no_call is None

    def check_labels(self, own: Clips, source: Clips) -> None:
        """Raise where labels that are read are missing, or not to be read.

        Parameters
        ----------
        own, source : Clips
            The originals, and where partners come from.
        """
        counted = self.name in _BY_COUNTS
        if not counted and self.no_call is None:
            return
        option = f"label_weight={self.name!r}" if counted else "no_call"
        for name, side in (("target", own), ("other_target", source))[: 1 if source is own else 2]:
            if side.target is None:
                check.fail(name, f"given with {option}, which reads it", None)
            if counted:
                _class_ids(name, side.target, option)
            if self.no_call is not None:
                find_no_calls(name, side.target, self.no_call)

    def shares(
        self,
        ratios: Tensor,
        partners: Tensor,
        own: Clips,
        source: Clips,
        *,
        same: bool = False,
        progress: float | None = None,
        generator: Generator = None,
    ) -> Tensor:
        """Return the label's shares, (B, S + 1), float64, for those of the sound.

        Parameters
        ----------
        ratios : Tensor, shape (B, S + 1), float64
            Shares of the sound, the original's first.
        partners : Tensor, shape (B, S), int64
            Rows of `source`; -1 where there is none.
        own, source : Clips
            The originals, and where partners come from.
        same : bool
            One draw for all clips.
        progress : float, optional
            Fraction of the training in [0, 1], for a schedule.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        """
        if self.name == "same":
            return self.drop(ratios, partners, own, source)
        first, options = ratios[:, 0], dict(self.options)
        if self.schedule is not None:
            share = torch.full_like(first, self.schedule(progress))
        elif self.name == "beta":
            size = 1 if same else len(first)
            drawn = draw.beta(options["a"], size, partner=options["b"], generator=generator)
            share = drawn.expand(len(first))
        else:
            option = f"label_weight={self.name!r}"
            ids = (_class_ids("target", side.target, option) for side in (own, source))  # type: ignore[arg-type]
            mine, theirs = (self._count(row) for row in ids)
            function = remix_share if self.name == "remix" else mamix_share
            share = function(first, mine, theirs[partners[:, 0].clamp(min=0)], **options)  # type: ignore[operator]
        share = torch.where(first < 1, share, 1.0)
        rest = ratios[:, 1:] / ratios[:, 1:].sum(1, keepdim=True).clamp(min=1e-300)
        return self.drop(torch.cat([share[:, None], rest * (1 - share)[:, None]], 1), partners, own, source)

    def drop(self, shares: Tensor, partners: Tensor, own: Clips, source: Clips) -> Tensor:
        """Return shares (B, S + 1) of the labels of clips that have a class alone, where a mix has such clips.

        Parameters
        ----------
        shares : Tensor, shape (B, S + 1), float64
            Of all sources.
        partners, own, source
            As `shares` takes them.
        """
        if self.no_call is None or own.target is None or source.target is None:
            return shares
        calls = ~find_no_calls("target", own.target, self.no_call)
        theirs = calls if source is own else ~find_no_calls("other_target", source.target, self.no_call)
        return drop_no_calls(shares, torch.cat([calls[:, None], theirs[partners.clamp(min=0)]], 1))

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


def _class_ids(name: str, target: Tensor, option: str) -> Tensor:
    """Return class ids (B,) on the CPU, of ids or of one-hot rows (B, K), or raise."""
    if target.ndim == 1:
        return target.detach().cpu().long()
    rows = target.detach().cpu()
    if rows.ndim != 2 or not bool((((rows == 0) | (rows == 1)).all(1) & (rows.sum(1) == 1)).all()):
        got = f"{target.dtype} of shape {tuple(target.shape)}"
        slip = "soft or multi-hot labels are of no one class: mix once, and clips of one class"
        check.fail(name, f"class ids (B,), or one-hot, with {option}", got, slip, TypeError)
    return rows.argmax(1)


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
