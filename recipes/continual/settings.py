"""What all methods share; the options of the command line."""

from dataclasses import dataclass

from audiomix import check

__all__ = ["ContinualSettings"]


@dataclass(frozen=True)
class ContinualSettings:
    """What all methods share.

    Parameters
    ----------
    tasks : int
        Tasks that the classes are divided among, in an order drawn by the seed: at least two classes a task.
    memory : int
        Clips of each class that are kept after its task, drawn by the seed; 0 for none.
    batch : int
        Clips of the task a step.
    replay : int
        Clips of the memory a step, once there is one.
    steps : int
        Steps of the optimiser in each task.
    lr : float
        Learning rate of AdamW at the start of each task; it falls along a cosine to 0.
    weight_decay : float
        AdamW's.
    alpha : float
        Mixes are drawn from Beta(alpha, alpha), by dualmix.
    temperature : float
        Of the distillation, by wa.
    positive : bool
        Whether the weights of the last layer are kept at 0 or above, by wa, as its paper has it: then a longer row has
        larger logits, of features that are not negative.
    view : str
        View of the clips that are trained on: none, weak, mid or full.
    """

    tasks: int = 5
    memory: int = 4
    batch: int = 16
    replay: int = 8
    steps: int = 60
    lr: float = 2e-3
    weight_decay: float = 1e-3
    alpha: float = 1.0
    temperature: float = 2.0
    positive: bool = True
    view: str = "mid"

    def __post_init__(self) -> None:
        check.integer("tasks", self.tasks, 2)
        check.integer("memory", self.memory, 0)
        for name in ("batch", "replay", "steps"):
            check.integer(name, getattr(self, name), 1)
        for name in ("lr", "weight_decay"):
            check.number(name, getattr(self, name), 0)
        for name in ("alpha", "temperature"):
            check.number(name, getattr(self, name), 1e-3)
        check.one_of_types("positive", self.positive, bool, "true or false")
        check.choice("view", self.view, ["none", "weak", "mid", "full"])
