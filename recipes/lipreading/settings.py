"""What all conditions share; the options of the command line."""

from dataclasses import dataclass

from audiomix import check

__all__ = ["CURRICULA", "LipSettings"]

# The picture's share over the training. All end on pure video, which is what is tested: the schedules from 0.8 of the
# steps on, and the two that follow the model too, which may not get there themselves (with labels smoothed by 0.1 a
# model that is as sure as it should be has a normalised entropy of 0.25 among 4 words, so a share of 0.75).
CURRICULA = {
    "linear": "linear:0:1:0.8",
    "cosine": "cosine:0:1:0.8",
    "exponential": "exp_ramp:0.05:1:0.8",
    "steps": "steps:0:0.5@0.33:1@0.67",
    "uncertainty": "uncertainty:smoothing=0.95,end=1,end_at=0.8",
    "plateau": "plateau:step=0.1,patience=20,threshold=0.005,end=1,end_at=0.8",
}


@dataclass(frozen=True)
class LipSettings:
    """What all conditions share.

    Parameters
    ----------
    steps : int
        Steps of the optimiser in each training.
    batch : int
        Clips a step.
    lr : float
        Learning rate of AdamW; it falls along a cosine to 0 after the warm-up.
    weight_decay : float
        AdamW's.
    warmup : float
        Share of the steps in which the learning rate rises.
    smoothing : float
        Of the labels.
    mode : str
        StreamMix's: linear, replace or span.
    consistency : float
        Weight of the symmetric Kullback-Leibler divergence between what is read from the mix and from the video.
    holdout : float
        Share of the clips that are held out.
    every : int
        Steps between evaluations, each with a checkpoint.
    """

    steps: int = 640
    batch: int = 24
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    smoothing: float = 0.1
    mode: str = "linear"
    consistency: float = 1.0
    holdout: float = 0.15
    every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "every"):
            check.integer(name, getattr(self, name), 1)
        for name in ("lr", "weight_decay", "consistency"):
            check.number(name, getattr(self, name), 0)
        check.choice("mode", self.mode, ("linear", "replace", "span"))
        for name in ("warmup", "smoothing", "holdout"):
            check.fraction(name, getattr(self, name))
