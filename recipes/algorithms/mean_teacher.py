r"""Mean Teacher: the student agrees with an average of its own past.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f_\theta(x_i)) + \lambda(t) \, \frac{1}{(B + U) K}
          \sum_z \lVert f_\theta(z) - f_{\theta'}(z') \rVert^2, \qquad
          \theta' \leftarrow \alpha_n \theta' + (1 - \alpha_n) \theta, \quad \alpha_n = \min(1 - 1 / (n + 1), \alpha)

z: what the student sees of all clips, labelled or not, z' what the teacher sees; f are class probabilities, n counts
steps from 0, so that the first one makes the teacher a copy of the student. Tarvainen and Valpola, "Mean teachers are
better role models", NeurIPS 2017. The gradient goes through the student alone, and the teacher moves after the
optimiser has.

With a mixer the teacher alone sees mixed clips, as in the founding study. `interpolate` is Verma et al., "Interpolation
Consistency Training", IJCAI 2019: the student sees mixed clips and learns the mix of the teacher's answers.
"""

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..training.config import Config
from ..training.ema import move_towards, tensors
from ._pseudo_labels import pseudo_label_logs, study_passes
from .base import Algorithm, Labelled, Unlabelled

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
        K, the number of classes.
    mixer : Mixer, optional
        Mixes what the teacher sees, labelled and unlabelled clips each among themselves; labels and answers are not
        mixed, as in the founding study (alpha 0.4, one weight a batch). Logged pseudo-labels are then of mixed clips.
        See `interpolate`.
    weight : str or float
        lambda, the factor of the consistency term: a number or a schedule. The authors' CIFAR-10 runs: 100, ramped up
        over 5 of 180 epochs. The study: 1, over 50 of 200.
    teacher_decay : float
        Largest alpha: 0.97 in the authors' CIFAR-10 runs with 1,000 labels, 0.99 in those with 4,000.
    student : str
        View of an unlabelled clip that the student sees; the teacher sees a weak view. weak: another weak view. same:
        the teacher's. strong: a strong view. A labelled clip has one view, for both.
    buffers : str
        Statistics of the teacher's batch norm. own: it runs in training mode and keeps statistics of its own inputs, as
        in the authors' code. average: it runs in eval mode with averages of the student's statistics.
    interpolate : bool
        With a mixer: mix all clips of the student's consistency term, and the teacher's answers.
    divide_by : str
        The labelled term is divided by the number B of labelled clips (labelled), or by that of all clips, B + U (all),
        as in the authors' code: the consistency then weighs the more, the fewer clips of a batch have labels.

    References
    ----------
    Tarvainen and Valpola, "Mean teachers are better role models: Weight-averaged consistency targets improve
    semi-supervised deep learning results", NeurIPS 2017.

    Deviations
    ----------
    - The network has one output for both terms; the authors' has two, held together by their square difference times
      0.01.
    - The teacher starts as a copy of the student; the authors' has first weights of its own, of which the first update
      keeps a half.
    - A labelled clip has one view, for student and teacher; the authors' has two.
    - The student's own average (EMA), reported besides the teacher, is not in the paper; it has the teacher's decay.
    """

    uses_mixer = True
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.4, "per": "batch"}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {"teacher_decay": 0.97, "divide_by": "all"},
        "study": {"weight": "sigmoid_ramp:0:1:0.25", "student": "same"},
        "small": _SMALL,
        "strong": _SMALL | {"teacher_decay": 0.999},
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        # github.com/CuriousAI/mean-teacher at 546348f, pytorch/experiments/cifar10_test.py for 1,000 labels, and
        # main.py
        "original": {
            "optimiser": "sgd",
            "lr": 0.05,
            "sgd_momentum": 0.9,
            "nesterov": True,
            "weight_decay": 2e-4,
            "decay": "cosine_6_7",
            "batch_labelled": 31,
            "batch_unlabelled": 97,
            "epochs": study_passes(97),
            "ema": 0.97,
        },
        # 5 steps an epoch on ESC-10 with 10 % labels: 6 labelled and 58 unlabelled clips a step
        "study": {"batch_labelled": 6, "batch_unlabelled": 58, "epochs": 200},
    }
    updates: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = "sigmoid_ramp:0:100:0.0278",
        teacher_decay: float = 0.999,
        student: Literal["weak", "same", "strong"] = "weak",
        buffers: Literal["own", "average"] = "own",
        interpolate: bool = False,
        divide_by: Literal["labelled", "all"] = "labelled",
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.teacher_decay = check.fraction("teacher_decay", teacher_decay)
        self.student = check.choice("student", student, ["weak", "same", "strong"])
        self.buffers_mode = check.choice("buffers", buffers, ["own", "average"])
        self.interpolate = interpolate
        self.divide_by = check.choice("divide_by", divide_by, ["labelled", "all"])
        self.weak_views, self.strong_views = {"weak": (2, 0), "same": (1, 0), "strong": (1, 1)}[student]
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def check_config(self, config: Config) -> None:
        """Refuse `interpolate` without a mixer; see `Algorithm.check_config`."""
        self.require_mixer("interpolate", self.interpolate)

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Copy the network: the teacher; see `Algorithm.setup`."""
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def select_reported(self, model: nn.Module) -> nn.Module:
        """Return the teacher; see `Algorithm.select_reported`."""
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
        """Return the terms ``labelled`` and ``consistency``, the second with its weight; see `Algorithm.losses`."""
        assert unlabelled is not None
        x, weak, size = labelled.x, unlabelled.weak, len(labelled.x)
        view = {"weak": unlabelled.weaks[-1], "same": weak, "strong": (unlabelled.strongs or (weak,))[0]}[self.student]
        z, z_teacher = torch.cat([x, view]), torch.cat([x, weak])
        if self.mixer is not None and not self.interpolate:
            z_teacher = torch.cat([self.mix_views(part, None, progress, generator)[0] for part in (x, weak)])
        answer = self.answer(z_teacher)  # (B + U, K)
        self._logs = pseudo_label_logs(answer[size:], unlabelled.hidden)
        if self.mixer is not None and self.interpolate:
            z, plan = self.mix_views(z, None, progress, generator)
            answer = self.mixer.mix_target(answer, plan)
            on_labelled, on_z = model(torch.cat([x, z])).split([size, len(z)])
        else:
            on_z = model(z)
            on_labelled = on_z[:size]
        share = size / (size + len(weak)) if self.divide_by == "all" else 1.0
        return {
            "labelled": share * F.cross_entropy(on_labelled, labelled.target),
            "consistency": self.weight(progress) * F.mse_loss(on_z.float().softmax(-1), answer),
        }

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """Return the teacher's class probabilities (B, K) of spectrograms, in the mode that `buffers` asks for."""
        self.teacher.train(self.buffers_mode == "own")
        return self.teacher(x).float().softmax(-1)

    def after_step(self, model: nn.Module) -> None:
        """Move the teacher towards the student; see `Algorithm.after_step`."""
        n = int(self.updates)
        alpha = min(1 - 1 / (n + 1), self.teacher_decay)
        own, other = (list(m.parameters()) if self.buffers_mode == "own" else tensors(m) for m in (self.teacher, model))
        move_towards(own, other, alpha)
        self.updates += 1
