r"""Mean Teacher: the student agrees with an average of its own past.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f_\theta(x_i)) + \lambda(t) \, \frac{1}{(B + U) K}
          \sum_z \lVert f_\theta(z) - f_{\theta'}(z') \rVert^2, \qquad
          \theta' \leftarrow \alpha_n \theta' + (1 - \alpha_n) \theta, \quad \alpha_n = \min(1 - 1 / (n + 1), \alpha)

z: what the student sees of all clips, labelled or not, z' what the teacher sees; f are class probabilities, n counts
steps from 0, so that the first one makes the teacher a copy of the student. Tarvainen and Valpola, "Mean teachers are
better role models", NeurIPS 2017. The gradient goes through the student alone, and the teacher moves after the
optimiser has.

With a mixer the teacher alone sees mixed clips, which is what the founding study did. `interpolate` is Verma et al.,
"Interpolation Consistency Training", IJCAI 2019: the student sees mixed clips and owes the mix of what the teacher says
of the clips.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..training.ema import move_towards, tensors
from ._guess import told
from .base import Algorithm, Labelled, Unlabelled

if TYPE_CHECKING:
    from ..training.config import Config

__all__ = ["MeanTeacher"]

_SMALL: dict[str, Any] = {
    "weight": "sigmoid_ramp:0:10:0.4",
    "teacher_decay": 0.99,
    "student": "strong",
    "buffers": "average",
}


class MeanTeacher(Algorithm):
    """A student, and a teacher that is its moving average and whose error is reported, as trained.

    The error with averaged weights (EMA) is that of an average of the student, with the run's own decay.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        Mixes what the teacher sees, labelled and unlabelled clips each among themselves; no label and no answer
        follows, as in the founding study (alpha 0.4, one weight a batch). Logged guesses are then of mixed clips. See
        `interpolate`.
    weight : str or float
        Factor of the consistency term: a number or a schedule. The authors' CIFAR-10 runs: 100, ramped up over 5 of
        180 epochs. The study: 1, over 50 of 200.
    teacher_decay : float
        Largest alpha.
    student : str
        What the student sees of an unlabelled clip; the teacher sees a weak view. weak: another weak view. same: the
        teacher's. strong: a strong view. Of a labelled clip there is one view, for both.
    buffers : str
        own: the teacher runs in training mode and batch norm keeps statistics of what the teacher saw, as in the
        authors' code. average: it runs in eval mode with averages of the student's statistics; counts are copied.
    interpolate : bool
        With a mixer: mix all clips that the student's consistency term sees, and the teacher's answers.
    """

    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.4, "per": "batch"}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": {"weight": "sigmoid_ramp:0:1:0.25", "student": "same"},
        "small": _SMALL,
        "strong": _SMALL | {"teacher_decay": 0.999},
        "demo": _SMALL,
    }
    # 5 steps an epoch on ESC-10 with 10 % labels: 6 labelled and 58 unlabelled clips a step
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "study": {"batch_labelled": 6, "batch_unlabelled": 58, "epochs": 200},
    }
    updates: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = "sigmoid_ramp:0:100:0.028",
        teacher_decay: float = 0.999,
        student: Literal["weak", "same", "strong"] = "weak",
        buffers: Literal["own", "average"] = "own",
        interpolate: bool = False,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.teacher_decay = check.fraction("teacher_decay", teacher_decay)
        self.student = check.choice("student", student, ["weak", "same", "strong"])
        self.buffers_mode = check.choice("buffers", buffers, ["own", "average"])
        self.interpolate = interpolate
        self.weak_views, self.strong_views = {"weak": (2, 0), "same": (1, 0), "strong": (1, 1)}[student]
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def check_config(self, config: "Config") -> None:
        """Refuse interpolation without a mixer."""
        self.needs_mixer("interpolate", self.interpolate)

    def setup(self, model: nn.Module, spare: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Copy the network: the teacher."""
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def reported(self, model: nn.Module) -> nn.Module:
        """Return the teacher."""
        return self.teacher

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``consistency``, the second with its weight."""
        assert unlabelled is not None
        x, weak, size = labelled.x, unlabelled.weak, len(labelled.x)
        seen = {"weak": unlabelled.weaks[-1], "same": weak, "strong": (unlabelled.strongs or (weak,))[0]}[self.student]
        z, z_teacher = torch.cat([x, seen]), torch.cat([x, weak])
        if self.mixer is not None and not self.interpolate:
            z_teacher = torch.cat([self.mix_views(part, None, progress, generator)[0] for part in (x, weak)])
        answer = self.answer(z_teacher)  # (B + U, K)
        self._logs = told(answer[size:], unlabelled.hidden)
        if self.mixer is not None and self.interpolate:
            z, plan = self.mix_views(z, None, progress, generator)
            answer = self.mixer.mix_target(answer, plan)
            on_labelled, on_z = model(torch.cat([x, z])).split([size, len(z)])
        else:
            on_z = model(z)
            on_labelled = on_z[:size]
        return {
            "labelled": F.cross_entropy(on_labelled, labelled.target),
            "consistency": self.weight(progress) * F.mse_loss(on_z.float().softmax(-1), answer),
        }

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """Return the class probabilities (B, K) that the teacher gives, in the mode that `buffers` says."""
        self.teacher.train(self.buffers_mode == "own")
        return self.teacher(x).float().softmax(-1)

    def after_step(self, model: nn.Module) -> None:
        """Move the teacher towards the student."""
        n = int(self.updates)
        alpha = min(1 - 1 / (n + 1), self.teacher_decay)
        own, other = (list(m.parameters()) if self.buffers_mode == "own" else tensors(m) for m in (self.teacher, model))
        move_towards(own, other, alpha)
        self.updates += 1
