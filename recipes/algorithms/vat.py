r"""VAT: the prediction on a clip stays the same where a small change of the spectrogram alters it most.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{B + U} \sum_z
          D_\mathrm{KL}\big(f(z) \,\Vert\, f(z + r_z)\big) + \lambda_e \, \frac{1}{B + U} \sum_z H(f(z))

.. math:: r_z = \epsilon \, \frac{d}{\lVert d \rVert}, \qquad
          d \leftarrow \nabla_r D_\mathrm{KL}\big(f(z) \,\Vert\, f(z + r)\big) \Big|_{r = \xi d / \lVert d \rVert}

z are all clips, labelled ones and weak views of unlabelled ones. d is normal noise at first, and each clip's d has a
length of its own; the second line is repeated for more than one power iteration. The gradient does not go through f(z)
in the divergence, nor through r_z. Miyato et al., "Virtual Adversarial Training: A Regularization Method for Supervised
and Semi-Supervised Learning", IEEE TPAMI 2019, equations 5 to 8, algorithm 1, and its section on conditional entropy
for the last term (Grandvalet and Bengio, NeurIPS 2005).

The norm is the root mean square over bands and frames, in dB of the spectrogram: the network's input is normalised, so
r is epsilon_db / std there. In the paper it is the square root of the sum, so its epsilon is
:math:`\sqrt{F N}` times larger for the same change of every value: 8 on CIFAR-10's 3072 whitened values is 0.14 of a
standard deviation, 2 dB where spectrograms have one of 14.

Batch norm: one pass over all clips moves its running statistics. The passes over changed clips hold the same clips, so
that their statistics differ by the change alone, and leave the running statistics as they were, as the authors' code
does. The power iteration is in full precision: what a small change does to a prediction is lost in bfloat16.

In a run of several processes each draws the first d of its slice.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..data.views import Views
from ..models._modes import freeze_batch_norm
from ._pseudo_labels import pseudo_label_logs, study_passes
from .base import Algorithm, Labelled, Unlabelled

__all__ = ["VAT"]

_SMALL: dict[str, Any] = {"weight_entropy": 0.1}


class VAT(Algorithm):
    """Virtual adversarial training; the method mixes nothing.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        None: the method mixes nothing.
    weight : str or float
        lambda, the factor of the divergence: a number or a schedule. 1 in the paper.
    weight_entropy : str or float
        lambda_e, the factor of the entropy of the predictions: a number or a schedule. 0 is VAT, 1 the paper's
        "VAT + EntMin".
    epsilon_db : float
        epsilon, the root mean square of the change of a spectrogram, in dB. Of an embedding, which has no dB, one
        standard deviation counts as 14.
    xi_db : float
        xi, the same of the change at which the gradient is taken.
    power_iterations : int
        How often d is replaced by the gradient; each costs two passes. 1 in the paper.

    References
    ----------
    Miyato et al., "Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised Learning",
    IEEE TPAMI 2019.

    Deviations
    ----------
    - xi is 0.1 dB, not 1e-6 of the input's unit: in float32 the divergence of so close predictions is rounding error.
    - epsilon is a root mean square of 2 dB, which is about the paper's 8 on 3,072 whitened values of CIFAR-10.
    - The learning rate falls as FixMatch's, in the authors' code linearly over the last third of the training, with
      Adam's beta_1 at 0.5, here at 0.9.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {"weight_entropy": 1.0},
        "study": {},
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    # github.com/takerum/vat_tf at c5125d2, train_semisup.py: batches of 32 and 128, Adam with 0.001
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {
            "optimiser": "adam",
            "lr": 1e-3,
            "decay": "cos7pi16",
            "batch_labelled": 32,
            "batch_unlabelled": 128,
            "epochs": study_passes(128),
        }
    }
    strong_views = 0

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = 1.0,
        weight_entropy: str | float = 0.0,
        epsilon_db: float = 2.0,
        xi_db: float = 0.1,
        power_iterations: int = 1,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.weight_entropy = Schedule.of(weight_entropy, "weight_entropy").within("weight_entropy", 0)
        self.epsilon_db = check.number("epsilon_db", epsilon_db, 0, 100)
        self.xi_db = check.number("xi_db", xi_db, 1e-6, 100, slip="below, rounding errors decide")
        self.power_iterations = check.integer("power_iterations", power_iterations, 1)
        self.unit_db = 1.0

    def fit(self, views: Views) -> None:
        """Take in how many dB one unit of the network's input is; see `Algorithm.fit`."""
        self.unit_db = views.unit_db

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return ``labelled``, ``adversarial`` and, where it has a weight, ``entropy``, with their weights.

        See `Algorithm.losses`.
        """
        assert unlabelled is not None
        size, z = len(labelled.x), torch.cat([labelled.x, unlabelled.weak])
        logits = model(z).float()  # (B + U, K)
        change = self.adversarial_change(model, z, logits.detach(), generator)
        with freeze_batch_norm(model):
            changed = model(z + change).float()
        p = logits.softmax(-1)
        self._logs = pseudo_label_logs(p[size:].detach(), unlabelled.hidden)
        terms = {
            "labelled": F.cross_entropy(logits[:size], labelled.target),
            "adversarial": self.weight(progress) * divergence(logits.detach(), changed).mean(),
        }
        if any(self.weight_entropy.values):
            entropy = -(p * logits.log_softmax(-1)).sum(-1).mean()
            terms["entropy"] = self.weight_entropy(progress) * entropy
        return terms

    def adversarial_change(
        self, model: nn.Module, z: Tensor, logits: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Return r for clips `z` (B, 1, F, N), whose logits are `logits` (B, K); same shape, without gradient."""
        d = draw.normal(1, z.numel(), generator=generator).to(z).view(z.shape)
        device = z.device.type
        mixed = torch.is_autocast_enabled(device)
        with freeze_batch_norm(model), torch.autocast(device, enabled=False):
            if mixed:  # these differ from float32 by more than a small change makes
                with torch.no_grad():
                    logits = model(z).float()
            for _ in range(self.power_iterations):
                r = (self.xi_db / self.unit_db * unit(d)).requires_grad_()
                with torch.enable_grad():
                    (d,) = torch.autograd.grad(divergence(logits, model(z + r).float()).sum(), r)
        return self.epsilon_db / self.unit_db * unit(d)


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergences (B,), in nats, of predictions from others: logits (B, K), float32."""
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p - others.log_softmax(-1))).sum(-1)


def unit(d: Tensor) -> Tensor:
    """Return directions (B, ...) whose root mean square, of each clip by itself, is 1; one of zeros stays so.

    >>> unit(torch.tensor([[3e-30, 4e-30], [0.0, 0.0]]).view(2, 1, 1, 2)).flatten(1)
    tensor([[0.8485, 1.1314],
            [0.0000, 0.0000]])
    """
    tiny, axes = torch.finfo(d.dtype).tiny, tuple(range(1, d.ndim))
    d = d / d.abs().amax(axes, keepdim=True).clamp_min(tiny)  # squares of small gradients underflow
    return d / d.square().mean(axes, keepdim=True).sqrt().clamp_min(tiny)
