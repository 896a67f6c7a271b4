r"""ReMixMatch: the weak view's prediction, aligned and sharpened, is learnt on strong views; all is mixed with all.

.. math:: q = \mathrm{sharpen}(\mathrm{mean}(\mathrm{align}(f(u))), T), \qquad
          X, Y = \mathrm{mix}\big((x, y) \cup (u'_1, q) \cup \dots \cup (u'_K, q) \cup (u, q)\big)

.. math:: L = \frac{1}{B} \sum_{i \le B} H(Y_i, f(X_i)) + r(t) \Big[ \frac{\lambda_u}{(K + 1) U} \sum_{i > B}
          H(Y_i, f(X_i)) + \frac{\lambda_s}{U} \sum_j H(q_j, f(u'_{1,j})) \Big]
          + \frac{\lambda_t}{U} \sum_j H(t_j, h(\mathrm{turn}_{t_j}(u'_{1,j})))

x labelled clips, u the weak view and u'_k the strong views of the unlabelled ones, r one ramp for two terms. Berthelot
et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring", ICLR 2020.

mean, with the option `memory`, is over all predictions on the clip so far; otherwise it is this prediction. It is not
in the paper: Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017.

In the paper images are rotated. Here h, a linear layer on the network's features, predicts how a spectrogram was
turned: not, time flipped, frequency flipped or both, drawn for every clip. That is the founding study's audio
self-supervision.

With the option `networks` several networks predict together: f(u) above is the mean of their probabilities. L is the
sum of the L of each network, with strong views, mixing and turns of its own. Their mean prediction is reported, also
with averaged weights (EMA). Predicting together is from Li, Socher and Hoi, "DivideMix", ICLR 2020.

Batch norm: one pass over the weak views predicts, in training mode and without gradient; one pass over X and the
unmixed u'_1 learns; one over the turned clips. All three move the running statistics, the first not if `quiet_guess`.
The study's code has a pass of its own for mixed labelled clips, mixed unlabelled clips and u'_1 each.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..training.choices import Choice, Facts, is_event
from ..training.config import Config
from ._alignment import RunningAlignment, WindowAlignment
from ._ensemble import EnsembleAlgorithm
from ._pseudo_labels import GOOGLE, PredictionMemory, predict_probabilities, pseudo_label_logs, sharpen
from .base import Labelled, Unlabelled

__all__ = ["ReMixMatch"]

TURNS = ((), (-1,), (-2,), (-2, -1))  # axes that are flipped: time is the last, frequency the one before
_MOMENTUM = 0.95  # of the running class frequencies: about twenty batches
_SMALL: dict[str, Any] = {
    "weight": 1.0,
    "weight_strong": 0.0,
    "weight_turn": 1.0,
    "ramp": "sigmoid_ramp:0:1:0.4",
    "views": 1,
    "alignment": "average",
    "turns": "auto",
}


class ReMixMatch(EnsembleAlgorithm):
    """ReMixMatch with the audio self-supervision.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes labelled clips, strong and weak views, all with all, labels and pseudo-labels too. By default a run has
        mixup: alpha 0.75, the larger share to the original, one weight a batch (study) or a clip (original).
    weight : float
        lambda_u, the factor of the mixed unlabelled clips.
    weight_strong : float
        lambda_s, the factor of the first strong view, unmixed.
    weight_turn : float
        lambda_t, the factor of predicting how a clip was turned; without ramp.
    turns : str
        on, off, or auto: off where a turned clip may be of another class, in speech and where a clip is one short
        event (see `recipes.training.choices.is_event`).
    ramp : str or float
        r, a schedule. The authors' code: over one 64th of the training. The study: none.
    views : int
        K, strong views of each unlabelled clip. 2 in the study; 8 in the paper.
    temperature : float
        T, of the sharpening: below 1 the pseudo-labels have less entropy.
    alignment : str
        The predictions are aligned: their class frequencies are those of the last 128 batches without this one
        (history) or a running mean of about twenty with it (average); or they are not (none).
    align_to : str
        What to: the run's prior (prior: the paper), or the labels of the batches, remembered as the predictions are
        (labels: the study).
    memory : float in [0, 1)
        alpha, the weight of earlier predictions on a clip against the present one; 0 takes the present one alone. 0.6
        in "Temporal Ensembling".
    networks : int
        Networks that are trained side by side, each for as much time as one; they predict together, and their mean
        prediction is reported.
    quiet_guess : bool
        Keep the predicting pass out of batch norm's running statistics, as the authors' code does; the study's does
        not.

    References
    ----------
    Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring",
    ICLR 2020.

    Deviations
    ----------
    - Spectrograms are turned by flips in time and frequency, one drawn for each clip; the paper rotates pictures, a
      quarter of the batch by each angle.
    - Strong views are the founding study's, drawn at random; there is no CTAugment.
    - Predictions are aligned to the frequencies of the labelled clips' classes with one clip more of each (`--prior`);
      in the paper to those of the labels as they are.
    - One pass learns from all mixed clips and the first strong view, and batch norm normalises them together. The
      published code has 2 + K passes of 64 clips each, interleaved, of which the last moves the running statistics.
    - No clip is its own partner, as it may be in the paper's permutation.
    - The weights decay before the step of Adam, in the authors' code after it: a difference of lr^2 times the decay.
    """

    uses_mixer = True
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.75, "keep_larger": True, "per": "batch"}
    default_mixers: ClassVar[dict[str, str]] = {"": "mixup", "original": "mixup:per=clip"}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {"quiet_guess": True, "views": 8},
        "study": {"ramp": 1.0, "align_to": "labels"},
        # Chosen on ESC-10's training folds, a fifth of whose recordings were held out
        # (`--validation 20% --threads 1`, error_valid_ema, mean of 5 folds). Seed 11
        # with `--model-options pool=mean`: 24.6 % without turns, 22.1 at 0.5, 23.1 at 1 (seed 12, 0.5: 22.7); without
        # turns 25.2 with two views, 28.7 with mixup:domain=power. As it is now, seeds 11 and 12: 20.6 and 23.4. With
        # some 60 clips a run, two points say nothing. A memory of 0.7 gains 0.3 points on the test folds
        # (assets/results/esc10-small).
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    embedding_options: ClassVar[dict[str, Any]] = {"weight_turn": 0.0}  # an embedding cannot be turned
    # The labelled clips are strong views in the paper too, and its unlabelled clips are all:
    # scripts/create_unlabeled.py.
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "original": GOOGLE | {"labelled_view": "strong", "reuse_labelled": True},
        "study": {"labelled_view": "strong"},
    }

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: float = 1.5,
        weight_strong: float = 0.5,
        weight_turn: float = 0.5,
        turns: Literal["auto", "on", "off"] = "on",
        ramp: str | float = "linear:0:1:0.015625",
        views: int = 2,
        temperature: float = 0.5,
        alignment: Literal["history", "average", "none"] = "history",
        align_to: Literal["prior", "labels"] = "prior",
        memory: float = 0.0,
        networks: int = 1,
        quiet_guess: bool = False,
    ) -> None:
        super().__init__(num_classes, mixer, networks=networks)
        self.weight = check.number("weight", weight, 0, 1e6)
        self.weight_strong = check.number("weight_strong", weight_strong, 0, 1e6)
        check.choice("turns", turns, ["auto", "on", "off"])
        # auto is on where nobody has chosen: a run has, before it makes the method
        self.weight_turn = 0.0 if turns == "off" else check.number("weight_turn", weight_turn, 0, 1e6)
        self.ramp = Schedule.of(ramp, "ramp").within("ramp", 0)
        self.views = check.integer("views", views, 1)
        self.strong_views = views * networks
        self.temperature = check.number("temperature", temperature, 0.01, 100)
        check.choice("alignment", alignment, ["history", "average", "none"])
        self.align_to = check.choice("align_to", align_to, ["prior", "labels"])
        self.align: nn.Module | None = None
        if alignment != "none":
            windowed = alignment == "history"
            self.align = WindowAlignment(num_classes) if windowed else RunningAlignment(num_classes, _MOMENTUM)
        if check.fraction("memory", memory) == 1:
            check.fail("memory", "below 1", memory, "new predictions would have no weight")
        self.memory = memory
        self.quiet_guess = quiet_guess
        self.needs_features = self.weight_turn > 0

    @classmethod
    def choose_options(cls, options: dict[str, Any], facts: Facts) -> tuple[dict[str, Any], list[Choice]]:
        """Choose `turns` where it is auto; see `Algorithm.choose_options`."""
        if options.get("turns") != "auto" or options.get("weight_turn") == 0:
            return dict(options), []
        if facts.speech:
            choice = Choice("turns", "off", "the clips are speech: a turned word is another")
        elif facts.speech is None and is_event(facts):
            choice = Choice("turns", "off", f"a clip is one event of {facts.sound:.2g} s, turned maybe another class")
        else:
            why = "the data set is none of speech" if facts.speech is False else "sounds go on through the clip"
            choice = Choice("turns", "on", why)
        return {**options, "turns": choice.value}, [choice]

    def check_config(self, config: Config) -> None:
        """Refuse turns of embeddings; see `Algorithm.check_config`."""
        if config.embedding is not None and self.weight_turn:
            slip = "an embedding has no time and no frequency to flip"
            check.fail("weight_turn", "0 with embeddings", self.weight_turn, slip)

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the other networks, the memory, and the layers that predict turns; see `Algorithm.setup`."""
        super().setup(model, make_network, unlabelled)
        if self.memory:
            self.remembered = PredictionMemory(unlabelled, self.num_classes, self.memory)
        if self.weight_turn:
            head = check.one_of_types("model.head", getattr(model, "head", None), nn.Linear, "a linear layer")
            # without initialisation: torch's global generator would draw weights that are overwritten below
            layer = partial(nn.utils.skip_init, nn.Linear, head.in_features, len(TURNS))
            self.turn_heads = nn.ModuleList(layer() for _ in range(self.networks))
            for parameter in self.turn_heads.parameters():
                nn.init.zeros_(parameter)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``unlabelled``, and where they have a weight ``strong`` and ``turn``.

        See `Algorithm.losses`.
        """
        assert unlabelled is not None
        networks = [model, *self.others]
        q = self.pseudo_labels(networks, unlabelled.weak, self.one_hot(labelled.target), unlabelled.index)  # (U, K)
        self._logs = pseudo_label_logs(q, unlabelled.hidden)
        each = [
            self.network_losses(i, network, labelled, unlabelled, q, progress, generator)
            for i, network in enumerate(networks)
        ]
        return {name: torch.stack([terms[name] for terms in each]).sum() for name in each[0]}

    def network_losses(
        self,
        i: int,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled,
        q: Tensor,
        progress: float,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """Return the terms of network number `i`, which has strong views and a turn layer of its own; see `losses`."""
        size, strongs = len(labelled.x), unlabelled.strongs[i * self.views : (i + 1) * self.views]
        x = torch.cat([labelled.x, *strongs, unlabelled.weak])
        y = torch.cat([self.one_hot(labelled.target), q.repeat(len(strongs) + 1, 1)])  # view by view, as x is
        if self.mixer is not None:
            x, plan = self.mix_views(x, None, progress, generator)
            y = self.mixer.mix_target(y, plan)
        logits = model(torch.cat([x, strongs[0]]) if self.weight_strong else x)
        ramp, end = self.ramp(progress), len(x)
        terms = {
            "labelled": F.cross_entropy(logits[:size], y[:size]),
            "unlabelled": ramp * self.weight * F.cross_entropy(logits[size:end], y[size:]),
        }
        if self.weight_strong:
            terms["strong"] = ramp * self.weight_strong * F.cross_entropy(logits[end:], q)
        if self.weight_turn:
            terms["turn"] = self.weight_turn * self.turn_loss(i, model, strongs[0], generator)
        return terms

    def pseudo_labels(self, networks: Sequence[nn.Module], weak: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Return distributions (U, K): predictions, aligned, averaged with earlier ones, then sharpened.

        All `networks` predict on the weak views (U, 1, F, N) of the unlabelled clips at `index` (U,); `y` (L, K) are
        labels of labelled clips.
        """
        each = [predict_probabilities(network, weak, quiet=self.quiet_guess) for network in networks]
        q = torch.stack(each).mean(0)
        if self.align is not None:
            fixed = self.align_to == "prior"
            q = self.align(q, self.batch_mean(q), self.prior if fixed else self.batch_mean(y), fixed=fixed)
        if self.memory:
            q = self.remembered(q, index, self.gather)
        return sharpen(q, self.temperature)

    def turn_loss(self, i: int, model: nn.Module, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Turn clips `x` (U, 1, F, N) at random and return the cross-entropy of network number `i` predicting how."""
        which = draw.integers(torch.full((len(x),), len(TURNS)), generator=generator).to(x.device)
        features = model.features(turn(x, which))  # type: ignore[operator]
        return F.cross_entropy(self.turn_heads[i](features.float()), which)


def turn(x: Tensor, which: Tensor) -> Tensor:
    """Return spectrograms flipped in time, in frequency, in both or not at all; `which` (B,) are indices of `TURNS`.

    >>> turn(torch.arange(6.0).view(1, 1, 2, 3), torch.tensor([1]))
    tensor([[[[2., 1., 0.],
              [5., 4., 3.]]]])
    """
    for index, axes in enumerate(TURNS):
        if axes:
            x = torch.where((which == index).view(-1, 1, 1, 1), x.flip(axes), x)
    return x
