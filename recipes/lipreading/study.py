"""All conditions and seeds on one speaker, each on a core of its own."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audiomix import check
from audiomix.offline.parallel import WorkerDied, run_tasks, usable_cores
from audiomix.streams.curriculum import make_curriculum

from ..console import say
from ..training.config import check_seed
from ..training.run_folder import lock_folder
from .data import Speaker, assemble
from .features import Boxes, open_features
from .grid import hold_out, index
from .report import write_results
from .settings import CURRICULA, LipSettings
from .train import VIDEO, LipResult, train

__all__ = ["SpeakerFiles", "conditions_of", "prepare", "run_all"]


@dataclass(frozen=True)
class SpeakerFiles:
    """Where a speaker comes from: what a process needs to open it for itself."""

    root: Path  # the folder of videos and alignments
    boxes: Boxes  # where the mouth is: in all clips, or in each by its id
    store: Path  # where stores live


def conditions_of(names: Sequence[str]) -> list[str]:
    """Return the conditions without repetitions: ``video`` and curricula, a short name as the string it stands for.

    Raises
    ------
    ValueError
        A name is neither, nor a curriculum; or there is none.

    Examples
    --------
    >>> conditions_of(["video", "linear"])
    ['video', 'linear:0:1:0.8']
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


def prepare(files: SpeakerFiles, *, workers: int | None = None, quiet: bool = False) -> Speaker:
    """Return the speaker, computing crops and filterbanks if they are not there; see `open_features`."""
    utterances, errors = index(files.root)
    store = open_features(utterances, files.store, files.boxes, workers=workers, quiet=quiet)
    return assemble(utterances, store, errors)


def run_all(
    settings: LipSettings,
    files: SpeakerFiles,
    speaker: Speaker,
    *,
    conditions: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    workers: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str = "",
) -> list[LipResult]:
    """Train every condition with every seed; write ``results.csv``, ``results.md`` and ``results.html`` after each.

    Each training runs on one core with one thread, so that its numbers do not depend on how many run at once.

    Parameters
    ----------
    settings : LipSettings
        What all conditions share.
    files, speaker
        Where the speaker comes from, and what `prepare` made of it.
    conditions, seeds : sequence of str, sequence of int
        Each condition, see `conditions_of`, is trained with each seed.
    out : Path
        Holds a folder for each training.
    workers : int, optional
        Trainings at once; by default as many as there are cores.
    resume, quiet : bool
        Go on with what is in `out`, keeping trainings that are finished; show no progress.
    command : str
        The command line, for the record.

    Raises
    ------
    FileExistsError
        `out` holds results, and they are not to be resumed.
    ValueError
        There are too few clips, a training to be resumed has other settings, or another command writes into `out`.
    """
    seeds = list(dict.fromkeys(check_seed(seed) for seed in seeds))
    if not seeds:
        check.fail("seed", "at least one", "none")
    hold_out(speaker.ids, settings.holdout, seeds[0])
    if not resume and (out / "results.csv").exists():
        raise FileExistsError(f"{out} holds results already: go on with --resume, or choose another --out")
    jobs = []
    for seed in seeds:
        for condition in conditions_of(conditions):
            folder = out / f"{re.sub(r'[^A-Za-z0-9.=_-]', '_', condition)}-seed{seed}"
            jobs.append((settings, files, condition, seed, folder, resume))
    workers = min(len(jobs), check.integer("workers", workers or usable_cores(), 1))
    results: dict[tuple[int, str], LipResult] = {}
    with lock_folder(out):
        for result in _results(jobs, speaker, workers, quiet):
            results[result.seed, result.condition] = result
            ordered = [results[s, c] for _, _, c, s, *_ in jobs if (s, c) in results]
            write_results(out, ordered, speaker, settings, command)
            if not quiet:
                shown = f"error {100 * result.error:.1f} % of the words, {result.seconds:.0f} s"
                say(f"{result.condition}, seed {result.seed}: {shown}")
    return ordered


_Job = tuple[LipSettings, SpeakerFiles, str, int, Path, bool]


def _results(jobs: list[_Job], speaker: Speaker, workers: int, quiet: bool) -> Iterator[LipResult]:
    if workers == 1:
        for settings, _, condition, seed, out, resume in jobs:
            yield train(settings, speaker, condition, seed=seed, out=out, resume=resume, quiet=quiet)
        return
    results = run_tasks(_Trainer, (), jobs, workers=workers, name=lambda job: f"{job[2]}, seed {job[3]}")
    with closing(results):
        try:
            for result in results:
                yield result.get()
        except WorkerDied:  # each training goes on from its last checkpoint with --resume
            ended = f"the process of a training was ended from outside: too little memory for {workers}?"
            raise ChildProcessError(f"{ended} go on with --resume, and with a smaller --workers") from None


class _Trainer:
    """Trains one job after another with one thread, in a process that opens the speaker for itself."""

    def __init__(self) -> None:
        self.speaker: Speaker | None = None

    def __call__(self, job: _Job) -> LipResult:
        settings, files, condition, seed, out, resume = job
        if self.speaker is None:
            self.speaker = prepare(files, workers=1, quiet=True)
        return train(settings, self.speaker, condition, seed=seed, out=out, resume=resume, quiet=True)
