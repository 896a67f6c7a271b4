"""``audiomix-recipes av``: lip reading with the help of sound."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from rich.console import Console

from ..console import console
from ..lipreading.features import BOX, Box, read_boxes
from ..lipreading.report import table
from ..lipreading.settings import Settings
from ..lipreading.study import CURRICULA, Source, conditions_of, errors_file, prepare, run_all
from ..lipreading.train import VIDEO

__all__ = ["av"]

_Several = Parameter(consume_multiple=True, negative=())
_Training = Group("Training (the same for every condition)")
_DEFAULT = Settings()
_WIDTH = 170


def av(
    folder: Path,
    *,
    condition: Annotated[tuple[str, ...], _Several] = ("all",),
    seed: Annotated[tuple[int, ...], _Several] = (0,),
    box: str | None = None,
    out: Path = Path("runs/av"),
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    workers: int | None = None,
    settings: Annotated[Settings, Parameter(name="*", group=_Training)] = _DEFAULT,
) -> int:
    """Learn to read words from a mouth, with the help of its sound: video alone beside StreamMix, tested without sound.

    Parameters
    ----------
    folder : Path
        A speaker in GRID's layout: video/ID.mpg and align/ID.align, six words a clip.
    condition : tuple
        video (no sound), linear, cosine, exponential, steps, uncertainty, plateau, any curriculum as in cosine:0.1:1,
        or all.
    seed : tuple
        Seeds: of the held-out clips, the first weights and the batches.
    box : str
        Where the mouth is: x,y,w,h in pixels, or a CSV with the columns id,x,y,w,h. By default GRID's framing.
    out : Path
        Folder of the results.
    store : Path
        Folder of crops and filterbanks, computed once; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished trainings are kept.
    workers : int
        Trainings at once, each on one core; by default as many as there are cores. Results do not depend on it.
    """
    conditions = conditions_of((VIDEO, *CURRICULA) if condition == ("all",) else condition)
    boxes = BOX if box is None else read_boxes(Path(box)) if Path(box).is_file() else Box.of(box)
    source = Source(folder, boxes, store or out.parent / "stores")
    speaker = prepare(source, workers=workers)
    command = shlex.join(["audiomix-recipes", *sys.argv[1:]])
    outcomes = run_all(
        settings,
        source,
        speaker,
        conditions=conditions,
        seeds=seed,
        out=out,
        workers=workers,
        resume=resume,
        command=command,
    )
    # wider than 80 columns a narrow terminal folds the lines; a table squeezed into 80 cannot be read
    Console(width=max(Console().width, _WIDTH)).print(table(outcomes, speaker, settings))
    console.print(f"results in {out}", highlight=False)
    if not speaker.errors:
        return 0
    path = errors_file(out, speaker.errors)
    console.print(f"{len(speaker.errors)} clips could not be used: {path}", style="red", highlight=False)
    return 3
