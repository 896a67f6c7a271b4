r"""Correctness-aware calibration: a clip's confidence is to be 1 where the network is right of it, 0 where it is wrong.

.. math:: L = \frac{1}{B} \sum_i c_i \left(\max_k \mathrm{softmax}(z_i / T_i)_k - [\arg\max_k z_{i,k} = y_i]\right)^2,
          \qquad c_i = 1 - \mathrm{acc} \text{ where it is right, } \mathrm{acc} \text{ where it is wrong}

T of a clip is what a small network makes of the predictions on some augmented views of it. It is trained on held-out
clips; which class is predicted never changes.
"""

import torch
from torch import Tensor, nn

from .. import check
from ..arguments import Recorded
from ._inputs import check_logits

__all__ = ["ViewTemperature", "correctness"]

_LEAST, _MOST = 0.1, 10.0  # the temperatures of the paper's code


def correctness(logits: Tensor, label: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """Return how far confidences are from being right, what is right and what is wrong counting alike in all.

    Source: Liu et al., "Optimizing Calibration by Gaining Aware of Prediction Correctness", arXiv:2404.13016, 2024.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network on the held-out clips.
    label : Tensor, shape (B,), int64
        Their classes.
    temperature : float or Tensor, shape (B,)
        Divides the logits, above 0: what `ViewTemperature` returns.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where the network is right of all clips, or of none: there is nothing to tell apart.

    Raises
    ------
    ValueError, TypeError
        Labels that do not fit, or another wrong argument.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # as sure when right as when wrong
    >>> label = torch.tensor([0, 1])
    >>> correctness(logits, label) > correctness(logits, label, torch.tensor([0.5, 4.0]))
    tensor(True)
    """
    z = check_logits("logits", logits)
    label = check.batch("label", label, len(z), ndim=1).to(z.device)
    if label.ndim != 1 or label.is_floating_point():
        check.fail("label", "class ids (B,)", f"{label.dtype} of shape {tuple(label.shape)}")
    if int(label.min()) < 0 or int(label.max()) >= z.shape[1]:
        check.fail("label", f"in 0..{z.shape[1] - 1}", f"{int(label.min())}..{int(label.max())}")
    t = torch.as_tensor(temperature, dtype=z.dtype, device=z.device)
    if t.shape not in ((), (len(z),)) or not bool((t > 0).all()):
        check.fail("temperature", f"above 0, one or ({len(z)},)", f"shape {tuple(t.shape)}")
    right = (z.argmax(1) == label).to(z)
    accuracy = right.mean()
    weight = torch.where(right > 0, 1 - accuracy, accuracy)
    confidence = (z / t.reshape(-1, 1)).softmax(1).amax(1)
    return (weight * (confidence - right).square()).mean()


class ViewTemperature(Recorded, nn.Module):
    """A temperature for each clip, from the predictions on augmented views of it.

    Source: Liu et al., "Optimizing Calibration by Gaining Aware of Prediction Correctness", arXiv:2404.13016, 2024.
    For sound take a gain, a small shift and a little noise as views; that choice is ours.

    Parameters
    ----------
    views : int
        How many views there are.
    top : int
        How many of the classes that are most likely for the clip itself are looked at in each view.
    hidden : int
        Width of the hidden layer.

    Examples
    --------
    >>> network = ViewTemperature(views=3, top=4)
    >>> network(torch.randn(2, 10), torch.randn(3, 2, 10))  # before it is trained
    tensor([1., 1.], grad_fn=<ClampBackward1>)
    """

    def __init__(self, views: int = 3, *, top: int = 4, hidden: int = 5) -> None:
        super().__init__()
        self.views, self.top = check.integer("views", views, 1), check.integer("top", top, 1)
        last = nn.Linear(check.integer("hidden", hidden, 1), 1)
        # at 1, in the middle of the range: a clamped number has no gradient
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
        self.layers = nn.Sequential(nn.Linear(views * top, hidden), nn.ReLU(), last)

    def forward(self, logits: Tensor, view_logits: Tensor) -> Tensor:
        """Return a temperature for each clip, (B,).

        Parameters
        ----------
        logits : Tensor, shape (B, K), floating point
            On the clips themselves.
        view_logits : Tensor, shape (V, B, K), floating point
            On the views.
        """
        z = check_logits("logits", logits)
        expected = (self.views, *z.shape)
        if check.floating("view_logits", view_logits).shape != expected:
            check.fail("view_logits", f"of shape {expected}", tuple(view_logits.shape))
        if z.shape[1] < self.top:
            check.fail("logits", f"of {self.top} classes or more", z.shape[1], f"top={z.shape[1]}?")
        index = z.topk(self.top, dim=1).indices
        found = view_logits.to(z).softmax(2).gather(2, index.expand(self.views, -1, -1))
        features = found.transpose(0, 1).flatten(1).to(next(self.parameters()))
        return self.layers(features)[:, 0].clamp(_LEAST, _MOST).to(z)
