"""A picture of curricula: the share of the picture over the training, for a stated course of entropy and loss."""

from collections.abc import Callable, Mapping
from pathlib import Path

from .. import check
from ..streams.curriculum import Curriculum, UncertaintyCurriculum, make_curriculum
from ..streams.curriculum_base import Adaptive
from .figures import COLOURS, new_figure, save

__all__ = ["curriculum_picture", "ratios"]

# What a model would show at (progress, ratio): its normalised entropy or its loss
Course = Callable[[float, float], float]
_STEPS = 1000


def ratios(
    curriculum: Curriculum, *, entropy: Course | None = None, loss: Course | None = None, steps: int = _STEPS
) -> list[tuple[float, float, float | None]]:
    """Run a curriculum through a training of so many steps on a stated course.

    Parameters
    ----------
    curriculum : Curriculum
        It is moved on; pass a fresh one.
    entropy, loss : callable
        (progress, ratio) to the normalised entropy on pure video and to the loss. Needed by the curricula that
        follow them.
    steps : int
        Steps of the training.

    Returns
    -------
    list of (progress, ratio, observed)
        The observed value is None for a schedule.

    Examples
    --------
    >>> plateau = make_curriculum("plateau:step=0.5,patience=1,smoothing=0")
    >>> [ratio for _, ratio, _ in ratios(plateau, loss=lambda progress, ratio: 2.0, steps=4)]
    [0.0, 0.0, 0.5, 0.5]
    """
    course = entropy if isinstance(curriculum, UncertaintyCurriculum) else loss
    if isinstance(curriculum, Adaptive) and course is None:
        name = "entropy" if curriculum.needs == "logits" else "loss"
        check.fail(name, f"given for a {type(curriculum).__name__}", None)
    rows = []
    for step in range(check.integer("steps", steps, 2)):
        progress = step / (steps - 1)
        ratio, seen = curriculum.ratio_at(progress), None
        if isinstance(curriculum, Adaptive) and course is not None:
            seen = course(progress, ratio)
            curriculum.update(seen)
        rows.append((progress, ratio, seen))
    return rows


def curriculum_picture(
    path: str | Path,
    curricula: Mapping[str, Curriculum | str],
    *,
    entropy: Course | None = None,
    loss: Course | None = None,
    steps: int = _STEPS,
    note: str = "",
) -> Path:
    """Draw the share of the picture over progress, and below it what the adaptive curricula saw, into a PNG file.

    Parameters
    ----------
    path : path
        The file to write.
    curricula : mapping of name to Curriculum or its string
        Adaptive ones are moved on.
    entropy, loss, steps
        See `ratios`.
    note : str
        Says what was simulated; below the picture.
    """
    figure, (top, bottom) = new_figure(6.8, 3.8, rows=2, heights=(2.4, 1))
    right, lines = bottom.twinx(), []
    for (name, curriculum), colour in zip(curricula.items(), COLOURS * 3):
        made = make_curriculum(curriculum)
        progress, ratio, seen = zip(*ratios(made, entropy=entropy, loss=loss, steps=steps))
        adaptive = isinstance(made, Adaptive)
        top.plot(progress, ratio, color=colour, linewidth=2.0 if adaptive else 1.4, label=name)
        if adaptive:
            axes, what = (bottom, "entropy") if made.needs == "logits" else (right, "loss")
            axes.plot(progress, seen, color=colour, linewidth=0.8)
            axes.set_ylabel(f"{what} seen", color=colour, fontsize=8)
            lines.append(what)
    top.set_ylabel("share of the picture")
    top.set_ylim(-0.03, 1.03)
    top.tick_params(labelbottom=False)
    top.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
    bottom.set_xlabel("progress" + (f"    ({note})" if note else ""))
    bottom.set_ylim(bottom=0)
    right.set_ylim(bottom=0)
    right.tick_params(labelsize=7, right="loss" in lines, labelright="loss" in lines)
    for axes in (top, bottom):
        axes.set_xlim(0, 1)
        axes.grid(color="#d9dfe6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    right.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return save(figure, path)
