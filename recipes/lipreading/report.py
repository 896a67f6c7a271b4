"""The table: each slot's error beside chance, with what it rests on."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from audiomix.report.page import Page

from ..training.run_folder import write_csv, write_text
from .data import Speaker
from .grid import SLOTS, hold_out
from .settings import CURRICULA, LipSettings
from .train import VIDEO, LipResult, slot_errors

__all__ = ["chance", "majority", "short", "table", "write_results"]


def chance() -> dict[str, float]:
    """Return the error of a guess in each slot.

    >>> chance()["letter"]
    0.96
    """
    return {slot: 1 - 1 / len(words) for slot, words in SLOTS.items()}


def majority(speaker: Speaker, settings: LipSettings, seed: int) -> dict[str, float]:
    """Return the error of always guessing the word that is the most frequent in training (the first of several).

    `settings` and `seed` decide which of the speaker's clips are held out.
    """
    where = {name: i for i, name in enumerate(speaker.ids)}
    train, held = (speaker.words[[where[n] for n in names]] for names in hold_out(speaker.ids, settings.holdout, seed))
    sizes = [len(words) for words in SLOTS.values()]
    guess = [int(torch.bincount(train[:, i], minlength=size).argmax()) for i, size in enumerate(sizes)]
    return slot_errors(torch.tensor(guess), held)


def _rows(results: Sequence[LipResult], speaker: Speaker, settings: LipSettings) -> list[list[str]]:
    seeds = sorted({r.seed for r in results})
    guesses = {"chance": [chance()], "most frequent word": [majority(speaker, settings, seed) for seed in seeds]}
    rows = []
    for name, every in guesses.items():
        means = [statistics.fmean(e[slot] for e in every) for slot in SLOTS]
        rows.append([name, *(f"{100 * m:.1f}" for m in means), f"{100 * statistics.fmean(means):.1f}", "", "", "", ""])
    for condition in dict.fromkeys(r.condition for r in results):
        runs = [r for r in results if r.condition == condition]
        name = "video alone" if condition == VIDEO else f"StreamMix {short(condition)}"
        slots = [_spread([r.errors[slot] for r in runs]) for slot in SLOTS]
        clock = [f"{statistics.fmean(getattr(r, c) for r in runs):.0f}" for c in ("seconds", "cpu_seconds")]
        mean = _spread([r.error for r in runs])
        rows.append([name, *slots, mean, _against(runs, results), str(len(runs)), *clock])
    return rows


def short(condition: str) -> str:
    """Return the name of a curriculum that has one, else the curriculum.

    >>> short("linear:0:1:0.8"), short("linear:0:1")
    ('linear', 'linear:0:1')
    """
    return next((name for name, text in CURRICULA.items() if text == condition), condition)


def _spread(values: list[float]) -> str:
    sd = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{sd}"


def _against(runs: Sequence[LipResult], results: Sequence[LipResult]) -> str:
    """Return the mean error less video alone's on the same clips, with its standard error over clips."""
    alone = {r.seed: r.wrong for r in results if r.condition == VIDEO}
    pairs = [(a - b) / len(SLOTS) for r in runs if r.seed in alone for a, b in zip(r.wrong, alone[r.seed])]
    if not pairs or runs[0].condition == VIDEO:
        return ""
    error = f" ± {100 * statistics.stdev(pairs) / math.sqrt(len(pairs)):.1f}" if len(pairs) > 1 else ""
    return f"{100 * statistics.fmean(pairs):+.1f}{error}"


_HEADINGS = ["% of words read wrongly", *SLOTS, "mean", "less video alone", "seeds", "s", "CPU s"]


def _caption(results: Sequence[LipResult], speaker: Speaker, settings: LipSettings) -> str:
    held, seeds = len(results[0].wrong), sorted({r.seed for r in results})
    share = statistics.fmean(r.error for r in results)
    slot, mean = (100 * math.sqrt(share * (1 - share) / n) for n in (held, held * len(SLOTS)))
    enough = "" if held >= 30 else " So few clips show that the recipe runs, and nothing else."
    named = [c for c in dict.fromkeys(r.condition for r in results) if short(c) != c]
    legend = f"Share of the picture: {'; '.join(f'{short(c)} is {c}' for c in named)}. " if named else ""
    return (
        f"{len(speaker.ids)} clips: {len(speaker.ids) - held} to train on, {held} held out: {held} words a slot, "
        f"{held * len(SLOTS)} in all, read from video alone, word boundaries given. Binomial standard error at the "
        f"mean error: {slot:.1f} points for a slot, {mean:.1f} for the mean.{enough} {settings.steps} steps of "
        f"{settings.batch} clips for every row, the same clips in the same views; s and CPU s are of one training on "
        f"one core. 'less video alone' ± its standard error over the held-out clips; below 0 is better. {legend}"
        f"Seeds: {' '.join(map(str, seeds))}; ± in the other columns is the standard deviation over them."
    )


def table(results: Sequence[LipResult], speaker: Speaker, settings: LipSettings) -> Table:
    """Return the results of all trainings of a speaker under one setting as a table for the terminal."""
    shown = Table(caption=_caption(results, speaker, settings), caption_justify="left")
    for i, heading in enumerate(_HEADINGS):
        shown.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    for row in _rows(results, speaker, settings):
        shown.add_row(*row)
    return shown


def write_results(
    out: Path, results: Sequence[LipResult], speaker: Speaker, settings: LipSettings, command: str = ""
) -> None:
    """Write ``results.csv``, a row a training in fractions, and the table as ``results.md`` and ``results.html``.

    They are of all trainings of a speaker under one setting, made by `command`, and lie in the folder `out`.
    """
    of_chance = {"error": statistics.fmean(chance().values())}
    rows: list[dict[str, Any]] = [{"condition": "chance", **chance(), **of_chance}]
    for r in results:
        errors = {**r.errors, "error": r.error, "error_train": r.error_train}
        times = {"seconds": r.seconds, "cpu_seconds": r.cpu_seconds}
        rows.append({"condition": r.condition, "seed": r.seed, "held_out": len(r.wrong), **errors, **times})
    columns = ["condition", "seed", "held_out", *SLOTS, "error", "error_train", "seconds", "cpu_seconds"]
    write_csv(out / "results.csv", rows, columns)
    page = Page("Words read from a mouth")
    page.table(_HEADINGS, _rows(results, speaker, settings))
    page.text(_caption(results, speaker, settings))
    if command:
        page.code(command)
    write_text(out / "results.md", page.markdown())
    write_text(out / "results.html", page.html())
