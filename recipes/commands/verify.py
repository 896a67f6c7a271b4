"""``audiomix-recipes verify``: the methods' defaults on data sets that no setting was chosen on."""

import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from audiomix import check
from audiomix.terminal import Exit, Summary, show

from .. import algorithms
from ..benchmark.held_out import (
    RULE,
    SEEDS,
    SETS,
    Comparison,
    HeldOutSet,
    broken_by,
    compare,
    dataset_of,
    make_page,
    terminal_table,
)
from ..benchmark.record import BenchmarkRecord
from ..console import say
from ..training.run_folder import check_folder, write_text
from ._config_options import SEVERAL
from .bench import bench

__all__ = ["verify"]


def verify(
    *,
    esc10: Path | None = None,
    digits: Path | None = None,
    speech_commands: Path | None = None,
    folder: Path | None = None,
    methods: Annotated[tuple[str, ...], SEVERAL, Parameter(show_default=lambda _: "all")] = (),
    jobs: int = 1,
    threads: int | None = None,
    device: str | None = None,
    out: Path = Path("runs/verify"),
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
) -> Summary:
    """Compare the methods at their defaults with supervised training on data sets that no setting was chosen on.

    The seeds are 100 to 102, all folds are held out in turn, the preset is small. No method may be significantly worse
    than supervised training of as many steps; where one is, the exit code is 1. Choose nothing by these numbers: a
    default that fails is chosen anew on other data, else the sets are held out no longer.

    Parameters
    ----------
    esc10 : Path
        Folder of ESC-10: 3 labels a class.
    digits : Path
        Folder made by assets/make_speech.py --set held-out: 10 % of the labels.
    speech_commands : Path
        Folder of Speech Commands, of which the speakers of the official validation and test parts are taken, in folds
        of their own: 10 labels a class.
    folder : Path
        A folder of one's own, with a folder a class, or a manifest: 10 % of the labels.
    methods : tuple
        Names of methods, without options: settings are the defaults.
    jobs : int
        Runs side by side.
    threads : int
        Threads of each run.
    device : str
        auto, cpu or cuda.
    out : Path
        Folder of the results: a benchmark for each set, its log, and verify.md.
    store : Path
        Folder of the decoded audio; by default stores in OUT.
    resume : bool
        Go on where an interrupted command stopped.
    """
    roots = {"esc10": esc10, "digits": digits, "speech_commands": speech_commands, "folder": folder}
    chosen = [(one, root) for one in SETS if (root := roots[one.name]) is not None]
    if not chosen:
        check.fail("the data sets", "one at least", "none", "--esc10 ROOT, --digits, --speech-commands or --folder")
    for text in methods:
        check.choice("methods", text, algorithms.available())
    names = [*dict.fromkeys(("supervised", *methods))] if methods else []
    check_folder(out)
    machine = {k: v for k, v in (("threads", threads), ("device", device)) if v is not None}
    found: list[Comparison] = []
    commands: list[str] = []
    for one, root in chosen:
        say(f"{one.name}: {one.what}; {out / one.name / 'log.txt'} tells how far it is")
        commands.append(_train(one, root, names, out, store or out / "stores", jobs, machine, resume))
        found += compare(one.name, BenchmarkRecord(out / one.name))
    page, broken = make_page(found, commands), broken_by(found)
    write_text(out / "verify.md", page.markdown())
    show(terminal_table(found))
    for line in broken:
        say(f"worse than supervised training: {line}", style="red")
    facts = {"out": out, "rule": RULE, "broken_by": broken}
    return Summary(Exit.SOME if broken else Exit.DONE, facts)


def _train(
    one: HeldOutSet,
    root: Path,
    methods: list[str],
    out: Path,
    stores: Path,
    jobs: int,
    machine: dict[str, Any],
    resume: bool,
) -> str:
    """Train the methods on a set, and return the command line of `bench` that does so; what it prints is logged."""
    dataset, folder = dataset_of(one, root), out / one.name
    words = ["bench", dataset, str(root), *(["--methods", *methods] if methods else []), "--labelled", one.labelled]
    words += ["--seed", *map(str, SEEDS), *(w for k, v in machine.items() for w in (f"--{k}", str(v)))]
    command = shlex.join(["audiomix-recipes", *words, "--out", str(folder)])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        done = bench(
            dataset,
            root,
            methods=tuple(methods),
            labelled=(one.labelled,),
            seed=SEEDS,
            jobs=jobs,
            out=folder,
            store=stores,
            resume=resume,
            config=machine,
            command=command,
        )
    if done.facts["not_done"]:
        check.fail(f"the runs on {one.name}", "all done", f"{len(done.facts['not_done'])} not", f"see {folder}/log.txt")
    return command
