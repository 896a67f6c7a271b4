"""The table: each slot's error beside chance, with what it rests on."""

import csv
import io as text_io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table

from audiomix.audio import io

from .data import Speaker
from .grid import SLOTS, hold_out
from .settings import CURRICULA, Settings
from .train import VIDEO, Outcome

__all__ = ["chance", "majority", "short", "table", "write_results"]


def chance() -> dict[str, float]:
    """Return the error of a guess in each slot.

    >>> chance()["letter"]
    0.96
    """
    return {slot: 1 - 1 / len(words) for slot, words in SLOTS.items()}


def majority(speaker: Speaker, settings: Settings, seed: int) -> dict[str, float]:
    """Return the error of always saying the word that is the most frequent in training (the first of several)."""
    where = {name: i for i, name in enumerate(speaker.ids)}
    train, held = (speaker.words[[where[n] for n in names]] for names in hold_out(speaker.ids, settings.holdout, seed))
    wrong = {}
    for i, (slot, words) in enumerate(SLOTS.items()):
        guess = int(torch.bincount(train[:, i], minlength=len(words)).argmax())
        wrong[slot] = float((held[:, i] != guess).double().mean())
    return wrong


def _rows(outcomes: Sequence[Outcome], speaker: Speaker, settings: Settings) -> list[list[str]]:
    seeds = sorted({o.seed for o in outcomes})
    guesses = {"chance": [chance()], "most frequent word": [majority(speaker, settings, seed) for seed in seeds]}
    rows = []
    for name, every in guesses.items():
        means = [statistics.fmean(e[slot] for e in every) for slot in SLOTS]
        rows.append([name, *(f"{100 * m:.1f}" for m in means), f"{100 * statistics.fmean(means):.1f}", "", "", "", ""])
    for condition in dict.fromkeys(o.condition for o in outcomes):
        runs = [o for o in outcomes if o.condition == condition]
        name = "video alone" if condition == VIDEO else f"StreamMix {short(condition)}"
        slots = [_spread([o.errors[slot] for o in runs]) for slot in SLOTS]
        clock = [f"{statistics.fmean(getattr(o, c) for o in runs):.0f}" for c in ("seconds", "cpu_seconds")]
        mean = _spread([o.error for o in runs])
        rows.append([name, *slots, mean, _against(runs, outcomes), str(len(runs)), *clock])
    return rows


def short(condition: str) -> str:
    """Return the name of a curriculum that has one.

    >>> short("linear:0:1:0.8"), short("linear:0:1")
    ('linear', 'linear:0:1')
    """
    return next((name for name, text in CURRICULA.items() if text == condition), condition)


def _spread(values: list[float]) -> str:
    sd = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{sd}"


def _against(runs: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str:
    """Return the mean error less video alone's on the same clips, with its standard error over clips."""
    alone = {o.seed: o.wrong for o in outcomes if o.condition == VIDEO}
    pairs = [(a - b) / len(SLOTS) for o in runs if o.seed in alone for a, b in zip(o.wrong, alone[o.seed])]
    if not pairs or runs[0].condition == VIDEO:
        return ""
    error = f" ± {100 * statistics.stdev(pairs) / math.sqrt(len(pairs)):.1f}" if len(pairs) > 1 else ""
    return f"{100 * statistics.fmean(pairs):+.1f}{error}"


_HEADINGS = ["% of words read wrongly", *SLOTS, "mean", "less video alone", "seeds", "s", "CPU s"]


def _caption(outcomes: Sequence[Outcome], speaker: Speaker, settings: Settings) -> str:
    held, seeds = len(outcomes[0].wrong), sorted({o.seed for o in outcomes})
    share = statistics.fmean(o.error for o in outcomes)
    slot, mean = (100 * math.sqrt(share * (1 - share) / n) for n in (held, held * len(SLOTS)))
    enough = "" if held >= 30 else " So few clips show that the recipe runs, and nothing else."
    return (
        f"{len(speaker.ids)} clips: {len(speaker.ids) - held} to train on, {held} held out: {held} words a slot, "
        f"{held * len(SLOTS)} in all, read from video alone, word boundaries given. Binomial standard error at the "
        f"mean error: {slot:.1f} points for a slot, {mean:.1f} for the mean.{enough} {settings.steps} steps of "
        f"{settings.batch} clips for every row, the same clips in the same views; s and CPU s are of one training on "
        f"one core. 'less video alone' ± its standard error over the held-out clips; below 0 is better. "
        f"{_named(outcomes)}"
        f"Seeds: {' '.join(map(str, seeds))}; ± in the other columns is the standard deviation over them."
    )


def _named(outcomes: Sequence[Outcome]) -> str:
    """Say which curricula the names in the table stand for."""
    found = [c for c in dict.fromkeys(o.condition for o in outcomes) if short(c) != c]
    return f"Share of the picture: {'; '.join(f'{short(c)} is {c}' for c in found)}. " if found else ""


def table(outcomes: Sequence[Outcome], speaker: Speaker, settings: Settings) -> Table:
    """Return the results as a table for the terminal."""
    shown = Table(caption=_caption(outcomes, speaker, settings), caption_justify="left")
    for i, heading in enumerate(_HEADINGS):
        shown.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    for row in _rows(outcomes, speaker, settings):
        shown.add_row(*row)
    return shown


def write_results(
    out: Path, outcomes: Sequence[Outcome], speaker: Speaker, settings: Settings, command: str = ""
) -> None:
    """Write ``results.csv``, a row a training in fractions, and ``results.md``, the table with its command line."""
    text = text_io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["condition", "seed", "held_out", *SLOTS, "error", "error_train", "seconds", "cpu_seconds"])
    writer.writerow(["chance", "", "", *chance().values(), statistics.fmean(chance().values()), "", "", ""])
    for o in outcomes:
        row = [o.condition, o.seed, len(o.wrong), *o.errors.values(), o.error, o.error_train, o.seconds, o.cpu_seconds]
        writer.writerow(row)
    lines = ["# Words read from a mouth", ""]
    rule = ["---", *["---:"] * (len(_HEADINGS) - 1)]
    lines += [f"| {' | '.join(cells)} |" for cells in (_HEADINGS, rule, *_rows(outcomes, speaker, settings))]
    lines += ["", _caption(outcomes, speaker, settings), *(["", f"    {command}"] if command else []), ""]
    out.mkdir(parents=True, exist_ok=True)
    for name, content in {"results.csv": text.getvalue(), "results.md": "\n".join(lines)}.items():
        with io.atomic_file(out / name) as file:
            file.write(content.encode())
