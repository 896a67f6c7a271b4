"""All conditions and seeds on one speaker, each on a core of its own, and what they come to."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audiomix import check
from audiomix.offline.parallel import WorkerDied, run_tasks
from audiomix.streams.curriculum import make_curriculum

from ..console import console
from ..training.config import checked_seed
from .data import Speaker, assemble
from .features import Boxes
from .grid import hold_out, index
from .report import write_results
from .settings import CURRICULA, Settings
from .store import open_store
from .train import VIDEO, Outcome, train

__all__ = ["CURRICULA", "Source", "conditions_of", "prepare", "run_all"]


@dataclass(frozen=True)
class Source:
    """Where a speaker comes from: what a process needs to open it for itself."""

    root: Path
    boxes: Boxes
    store: Path


def conditions_of(names: Sequence[str]) -> list[str]:
    """Return the conditions without repetitions: ``video`` and curricula, a short name as the string it stands for.

    Raises
    ------
    ValueError
        A name is neither, nor a curriculum; or there is none.
    """
    found = []
    for name in names:
        text = CURRICULA.get(name, name)
        if text != VIDEO:
            try:
                make_curriculum(text)
            except ValueError as error:
                check.fail("condition", f"{VIDEO}, {', '.join(CURRICULA)} or a curriculum", repr(name), str(error))
        found.append(text)
    if not found:
        check.fail("condition", "at least one", "none")
    return list(dict.fromkeys(found))


def prepare(source: Source, *, workers: int | None = None, quiet: bool = False) -> Speaker:
    """Return the speaker of a source, computing its crops and filterbanks if they are not there."""
    utterances, errors = index(source.root)
    store = open_store(utterances, source.store, source.boxes, workers=workers, quiet=quiet)
    return assemble(utterances, store, errors)


def run_all(
    settings: Settings,
    source: Source,
    speaker: Speaker,
    *,
    conditions: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    workers: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str = "",
) -> list[Outcome]:
    """Train every condition with every seed; write ``results.csv`` and ``results.md`` after each.

    Each training runs on one core with one thread, so that its numbers do not depend on how many run at once.

    Parameters
    ----------
    settings, source, speaker
        The speaker is that of the source.
    conditions : sequence of str
        See `conditions_of`.
    seeds : sequence of int
    out : Path
        Holds a folder for each training.
    workers : int, optional
        Trainings at once; by default as many as there are cores.
    resume : bool
        Go on with what is in `out`; trainings that are finished are kept.
    command : str
        The command line, for the record.

    Raises
    ------
    FileExistsError
        `out` holds results, and they are not to be resumed.
    ValueError
        There are too few clips, or a training to be resumed has other settings.
    """
    seeds = list(dict.fromkeys(checked_seed(seed) for seed in seeds))
    if not seeds:
        check.fail("seed", "at least one", "none")
    hold_out(speaker.ids, settings.holdout, seeds[0])
    if not resume and (out / "results.csv").exists():
        raise FileExistsError(f"{out} holds results already: go on with --resume, or choose another --out")
    jobs = [(settings, source, c, s, out / _folder(c, s), resume) for s in seeds for c in conditions_of(conditions)]
    workers = min(len(jobs), check.integer("workers", workers or os.cpu_count() or 1, 1))
    done: dict[tuple[int, str], Outcome] = {}
    for outcome in _outcomes(jobs, speaker, workers, quiet):
        done[outcome.seed, outcome.condition] = outcome
        ordered = [done[s, c] for _, _, c, s, *_ in jobs if (s, c) in done]
        write_results(out, ordered, speaker, settings, command)
        if not quiet:
            shown = f"error {100 * outcome.error:.1f} % of the words, {outcome.seconds:.0f} s"
            console.print(f"{outcome.condition}, seed {outcome.seed}: {shown}", highlight=False)
    return ordered


Job = tuple[Settings, Source, str, int, Path, bool]


def _outcomes(jobs: list[Job], speaker: Speaker, workers: int, quiet: bool) -> Iterator[Outcome]:
    if workers == 1:
        for settings, _, condition, seed, out, resume in jobs:
            yield train(settings, speaker, condition, seed=seed, out=out, resume=resume, quiet=quiet)
        return
    results = run_tasks(_Alone, (), jobs, workers=workers, name=lambda job: f"{job[2]}, seed {job[3]}")
    with closing(results):
        try:
            for result in results:
                yield result.get()
        except WorkerDied:  # each training goes on from its last checkpoint with --resume
            ended = f"the process of a training was ended from outside: too little memory for {workers}?"
            raise ChildProcessError(f"{ended} go on with --resume, and with a smaller --workers") from None


class _Alone:
    """Trains one job after another with one thread, in a process that opens the speaker for itself."""

    def __init__(self) -> None:
        self.speaker: Speaker | None = None

    def __call__(self, job: Job) -> Outcome:
        settings, source, condition, seed, out, resume = job
        if self.speaker is None:
            self.speaker = prepare(source, workers=1, quiet=True)
        return train(settings, self.speaker, condition, seed=seed, out=out, resume=resume, quiet=True)


def _folder(condition: str, seed: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9.=_-]', '_', condition)}-seed{seed}"


def errors_file(out: Path, errors: dict[str, str]) -> Path:
    """Write the clips that could not be used, with their reasons."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "errors.json"
    path.write_text(json.dumps(errors, indent=1) + "\n", encoding="utf-8")
    return path
