"""``audiomix-recipes continual``: classes that come task by task."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from audiomix.offline.progress import ErrorLimit
from audiomix.terminal import Exit, Summary, show

from ..benchmark.summary import check_folders
from ..console import print_unreadable, say
from ..continual.methods import METHODS, read_method
from ..continual.settings import ContinualSettings
from ..continual.study import run_all, table
from ..data.loader import prepare
from ..data.protocol import read_dataset
from ..training.config import Config
from ..training.run_folder import write_json

__all__ = ["continual"]

_Several = Parameter(consume_multiple=True, negative=())
_Training = Group("Training (the same for every method)")
_DEFAULT = ContinualSettings()
_WIDTH = 130  # of the table, whose lines a narrower terminal folds


def continual(
    dataset: str,
    root: Path | None = None,
    *,
    method: Annotated[tuple[str, ...], _Several] = tuple(METHODS),
    fold: Annotated[tuple[str, ...], _Several] = ("first",),
    seed: Annotated[tuple[int, ...], _Several] = (0,),
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    model: str = "resnet_small",
    device: str = "auto",
    threads: int = 2,
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    settings: Annotated[ContinualSettings, Parameter(name="*", group=_Training)] = _DEFAULT,
) -> Summary:
    """Learn classes task by task with a small memory of the earlier ones; report accuracy and forgetting.

    Parameters
    ----------
    dataset : str
        A data set, such as esc10 or folder; audiomix-recipes list shows all.
    root : Path
        Folder of the data; the bundled demo needs none.
    method : tuple
        plain, dualmix, wa, dualmix+wa: audiomix-recipes list says what they are.
    fold : tuple
        Folds to hold out in turn: their names, all, or first.
    seed : tuple
        Seeds: of the order of the classes, the memory, the first weights, batches, views and mixes.
    out : Path
        Folder of the results; by default runs/continual-DATASET.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped, from its last finished task. Finished trainings are kept, and stay
        in the tables with methods, folds and seeds that are not named.
    model : str
        Network: as of audiomix-recipes run, with a linear last layer named head.
    device : str
        auto, cpu or cuda.
    threads : int
        Threads of a CPU run; they change the last digits of results.
    strict : bool
        Train nothing if any file cannot be read, and end with exit code 3.
    max_errors : int
        Train nothing if more files than this cannot be read, and end with exit code 3; by default any number may.
    """
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was trained")
    for name in method:
        read_method(name)
    found = read_dataset(dataset, root)
    config = Config(labelled="100%", labelled_view=settings.view, model=model, device=device, threads=threads)
    folder = out or Path("runs") / f"continual-{dataset}".replace(":", "_").replace("/", "_")
    stores = store or folder.parent / "stores"
    check_folders(folder, stores)
    data = prepare(config, found, stores)
    errors = {**dict(found.skipped), **data.errors}
    print_unreadable(errors)
    for name, reason in errors.items():
        limit.add(name, reason)
    folds = () if fold == ("all",) else found.folds[:1] if fold == ("first",) else fold
    command = shlex.join(["audiomix-recipes", *sys.argv[1:]])
    where: dict[str, Any] = {"methods": method, "folds": folds, "seeds": seed, "out": folder}
    results = run_all(config, settings, data, **where, resume=resume, command=command)
    show(table(results, settings), width=_WIDTH)
    say(f"results in {folder}")
    named = ("method", "fold", "seed", "average_accuracy", "forgetting", "seconds")
    facts = {"out": folder, "runs": [{n: getattr(r, n) for n in named} for r in results], "errors": errors}
    if not errors:
        return Summary(Exit.DONE, facts)
    write_json(path := folder / "errors.json", errors)
    say(f"{len(errors)} files could not be read: {path}", style="red")
    return Summary(Exit.SOME, facts)
