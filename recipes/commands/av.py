"""``audiomix-recipes av``: lip reading with the help of sound."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from audiomix.offline.progress import ErrorLimit
from audiomix.terminal import Exit, Summary, show

from ..console import say
from ..lipreading.features import BOX, Box, read_boxes
from ..lipreading.report import table
from ..lipreading.settings import CURRICULA, LipSettings
from ..lipreading.study import SpeakerFiles, conditions_of, prepare, run_all
from ..lipreading.train import VIDEO
from ..training.run_folder import check_folder, write_json

__all__ = ["av"]

_Several = Parameter(consume_multiple=True, negative=())
_Training = Group("Training (the same for every condition)")
_DEFAULT = LipSettings()
_WIDTH = 170  # of the table, whose lines a narrower terminal folds


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
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    settings: Annotated[LipSettings, Parameter(name="*", group=_Training)] = _DEFAULT,
) -> Summary:
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
    strict : bool
        Train nothing if any clip cannot be used, and end with exit code 3.
    max_errors : int
        Train nothing if more clips than this cannot be used, and end with exit code 3; by default any number may.
    """
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was trained")
    conditions = conditions_of((VIDEO, *CURRICULA) if condition == ("all",) else condition)
    boxes = BOX if box is None else read_boxes(Path(box)) if Path(box).is_file() else Box.of(box)
    files = SpeakerFiles(folder, boxes, store or out.parent / "stores")
    for name, path in {"out": out, "store": files.store}.items():
        check_folder(path, name)
    speaker = prepare(files, workers=workers)
    for name, reason in speaker.errors.items():
        limit.add(name, reason)
    results = run_all(
        settings,
        files,
        speaker,
        conditions=conditions,
        seeds=seed,
        out=out,
        workers=workers,
        resume=resume,
        command=shlex.join(["audiomix-recipes", *sys.argv[1:]]),
    )
    show(table(results, speaker, settings), width=_WIDTH)
    say(f"results in {out}")
    errors = {r.condition: [one.error for one in results if one.condition == r.condition] for r in results}
    facts = {"out": out, "word_errors": errors, "errors": speaker.errors}
    if not speaker.errors:
        return Summary(Exit.DONE, facts)
    write_json(path := out / "errors.json", speaker.errors)
    say(f"{len(speaker.errors)} clips could not be used: {path}", style="red")
    return Summary(Exit.SOME, facts)
