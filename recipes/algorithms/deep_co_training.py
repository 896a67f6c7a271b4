r"""Deep Co-Training: two networks agree on unlabelled clips, and each resists the adversaries of the other.

.. math:: L = H(y, p_1) + H(y', p_2) + \frac{\lambda_c}{U} \sum_u \Big[ H(\tfrac{p_1 + p_2}{2})
          - \tfrac{1}{2} (H(p_1) + H(p_2)) \Big] + \frac{\lambda_d}{B + U} \Big[ \sum_z H(p_1(z), p_2(z^1))
          + \sum_{z'} H(p_2(z'), p_1(z'^2)) \Big]

p_1(.) and p_2(.) are the networks' class probabilities; z: the first network's B labelled clips and the U unlabelled
ones, z' with the second network's; z^i are adversaries of network i, :math:`z + \epsilon \, \mathrm{sign} \nabla_z
H(t, p_i(z))` with t the label, or for unlabelled clips the network's own prediction. Qiao et al., "Deep
Co-Training for Semi-Supervised Image Recognition", ECCV 2018, equations 1 to 6; Goodfellow et al., ICLR 2015.

Both networks differ in their first weights and in their labelled clips: one half of the labelled batch is the first's,
the other the second's, so `batch_labelled` counts both. The gradient goes through both sides of the third and fourth
term, as the equations are written, but not into adversaries. Those are made in eval mode: batch norm's statistics do
not change. Each network has two passes: clips, then the other's adversaries.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..data.views import Views
from ..models._modes import eval_mode
from ..training.config import Config
from ._ensemble import Ensemble
from ._pseudo_labels import pseudo_label_logs, study_passes
from .base import Algorithm, Labelled, Unlabelled

__all__ = ["DeepCoTraining"]

_SMALL: dict[str, Any] = {
    "weight_agree": "sigmoid_ramp:0:1:0.4",
    "weight_differ": "sigmoid_ramp:0:0.5:0.4",
    "epsilon_db": 0.5,
}


class DeepCoTraining(Algorithm):
    """Two networks; the first one's error is reported.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes the unlabelled clips among themselves before anything else, as in the founding study; alpha 0.4, one
        weight a batch. Logged pseudo-labels are then of mixed clips. See `mix_labelled`.
    weight_agree : str or float
        lambda_c, the factor of the agreement on unlabelled clips: a number or a schedule. The paper: 10, ramped up over
        80 of 600 epochs. The study: 1, over 160 of 300.
    weight_differ : str or float
        lambda_d, the factor of the adversaries' term. Paper and study: 0.5, with the same ramp.
    epsilon_db : float
        epsilon, the size of the adversaries' step, in dB of the spectrogram; the network's input changes by
        epsilon_db / std of the front end. 0.02 in the study, and in the paper of pictures, whose range is 1. Of an
        embedding, which has no dB, one standard deviation counts as 14.
    report : str
        Whose error is the method's, also with averaged weights (EMA): first, the first network's; or mean, that of both
        networks' mean prediction.
    mix_labelled : bool
        With a mixer: mix each network's labelled clips too, and their labels.

    References
    ----------
    Qiao et al., "Deep Co-Training for Semi-Supervised Image Recognition", ECCV 2018.

    Deviations
    ----------
    - Adversaries move every value of a spectrogram by 2 dB, 0.02 of a range of 100 dB; the authors moved pictures,
      whose range is 1, by 0.02.
    - Batches hold 8 + 8 labelled and 92 unlabelled clips, as for 4,000 of CIFAR-10's 50,000 labels, whatever the share
      of clips with labels; in the paper it is that share.
    """

    uses_mixer = True
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.4, "per": "batch"}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {"epsilon_db": 2.0},
        "study": {"weight_agree": "sigmoid_ramp:0:1:0.533", "weight_differ": "sigmoid_ramp:0:0.5:0.533"},
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        # github.com/AlanChou/Deep-Co-Training-for-Semi-Supervised-Image-Recognition at 1b56dc1, main.py, which has the
        # paper's numbers by its own account (epsilon by a message of the authors): batches of 100 with labelled and
        # unlabelled clips as the data set has them, 0.05 (1 + cos(pi t)) over 600 epochs, no Nesterov.
        "original": {
            "optimiser": "sgd",
            "lr": 0.1,
            "sgd_momentum": 0.9,
            "nesterov": False,
            "weight_decay": 1e-4,
            "decay": "cosine_epochs",
            "batch_labelled": 16,
            "batch_unlabelled": 92,
            "epochs": study_passes(92),
        },
        # 6 and 6 labelled, 58 unlabelled clips a step, and half the learning rate
        "study": {"batch_labelled": 12, "batch_unlabelled": 58, "lr": 5e-4},
        "small": {"batch_labelled": 30},
    }
    strong_views = 0

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight_agree: str | float = "sigmoid_ramp:0:10:0.133",
        weight_differ: str | float = "sigmoid_ramp:0:0.5:0.133",
        epsilon_db: float = 0.02,
        report: Literal["first", "mean"] = "first",
        mix_labelled: bool = False,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight_agree = Schedule.of(weight_agree, "weight_agree").within("weight_agree", 0)
        self.weight_differ = Schedule.of(weight_differ, "weight_differ").within("weight_differ", 0)
        self.epsilon_db = check.number("epsilon_db", epsilon_db, 0, 100)
        self.report = check.choice("report", report, ["first", "mean"])
        self.mix_labelled = mix_labelled
        self.unit_db = 1.0

    def check_config(self, config: Config) -> None:
        """Refuse batches without a labelled clip for each network, and `mix_labelled` without a mixer.

        See `Algorithm.check_config`.
        """
        half_size(config.batch_labelled // config.devices)
        self.require_mixer("mix_labelled", self.mix_labelled)

    def fit(self, views: Views) -> None:
        """Take in how many dB one unit of the network's input is; see `Algorithm.fit`."""
        self.unit_db = views.unit_db

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the second network, with first weights of its own; see `Algorithm.setup`."""
        self.second = make_network("second")

    def select_reported(self, model: nn.Module) -> nn.Module:
        """Return the first network, or the mean of both; see `Algorithm.select_reported`."""
        return model if self.report == "first" else Ensemble(model, self.second)

    def select_averaged(self, model: nn.Module) -> nn.Module:
        """Return the reported network: both networks or the first are averaged; see `Algorithm.select_averaged`."""
        return self.select_reported(model)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` (of both networks), ``agree`` and ``differ``, with their weights.

        See `Algorithm.losses`.
        """
        assert unlabelled is not None
        half = half_size(len(labelled.x))
        u, networks = unlabelled.weak, (model, self.second)
        if self.mixer is not None:
            u, _ = self.mix_views(u, None, progress, generator)
        z: list[Tensor] = []
        y: list[Tensor] = []
        for own in (slice(half), slice(half, None)):
            x, label = labelled.x[own], self.one_hot(labelled.target[own])
            if self.mixer is not None and self.mix_labelled:
                x, plan = self.mix_views(x, None, progress, generator)
                label = self.mixer.mix_target(label, plan)
            z.append(torch.cat([x, u]))
            y.append(label)

        adversaries = [self.adversary(f, zi, yi) for f, zi, yi in zip(networks, z, y)]
        clean = [f(zi).float() for f, zi in zip(networks, z)]  # (B_i + U, K)
        attacked = [f(zi).float() for f, zi in zip(networks, reversed(adversaries))]  # 1 sees the adversaries of 2
        p1, p2 = (logits[len(yi) :].softmax(-1) for logits, yi in zip(clean, y))

        self._logs = pseudo_label_logs(p1.detach(), unlabelled.hidden)
        known = [F.cross_entropy(logits[: len(yi)], yi) for logits, yi in zip(clean, y)]
        agree = (entropy((p1 + p2) / 2) - (entropy(p1) + entropy(p2)) / 2).mean()  # both parts divided by U
        differ = [F.cross_entropy(a, c.softmax(-1)) for a, c in zip(attacked, reversed(clean))]
        return {
            "labelled": known[0] + known[1],
            "agree": self.weight_agree(progress) * agree,
            "differ": self.weight_differ(progress) * (differ[0] + differ[1]),
        }

    def adversary(self, network: nn.Module, z: Tensor, label: Tensor) -> Tensor:
        """Return clips whose every value is moved by `epsilon_db` in the direction that increases the network's loss.

        `z` (B + U, 1, F, N) are labelled clips, whose labels are `label` (B, K), then unlabelled ones, for which the
        network's own predictions are taken.
        """
        z = z.detach().requires_grad_()
        with eval_mode(network), torch.enable_grad():
            logits = network(z).float()
            predicted = self.one_hot(logits[len(label) :].argmax(-1))
            (slope,) = torch.autograd.grad(F.cross_entropy(logits, torch.cat([label, predicted])), z)
        return (z + self.epsilon_db / self.unit_db * slope.sign()).detach()


def half_size(labelled: int) -> int:
    """Return how many of the labelled clips of a step are the first network's; fewer than two are refused."""
    if labelled < 2:
        check.fail("batch_labelled", "at least 2, a labelled clip for each network", labelled)
    return labelled // 2


def entropy(p: Tensor) -> Tensor:
    """Return entropies (B,), in nats, of class probabilities (B, K); 0 log 0 is 0."""
    return -torch.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny)).sum(-1)
