"""What lies at a path, and the page that shows it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ... import check, draw
from ...audio import io
from ...audit.rows import AuditRow, read_mix_output, read_rows
from ...beats.grid import BeatGrid
from ...datasets import tables
from ...datasets.source import metadata_tables
from ...terminal import Progress
from ..page import Page
from .beats import draw_song, facts_of, tempo_chart
from .distributions import distributions
from .mixes import ShownMix, draw_mix
from .runs import add_runs, find_runs

__all__ = ["BUDGET", "make_page"]

# A page is to be no larger, in bytes.
BUDGET = 15_000_000
# What pictures and text of one sound take at most, what a second of it takes at most (lanes.encode; a third is added by
# base64), and what the rest of a page takes.
_DRAWN, _SECOND, _REST = 30_000, 6_000, 400_000
# Sounds on which annotations are looked for.
_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".opus")


def make_page(
    path: Path, *, items: int = 12, seed: int = 0, seconds: float = 12.0,
    sources: str | Path | Sequence[str | Path] | None = None, progress: bool = False,
) -> tuple[Page, dict[str, Any]]:  # fmt: skip
    """Return a page of one file that shows what lies at a path, and what it shows, as plain values.

    Parameters
    ----------
    path : Path
        A folder of `audiomix augment`, or a table of mixes; what `audiomix mix` printed, in a .json file, or a folder
        of such files; a sound; a ``.beats`` text; a folder of a run of ``audiomix-recipes``.
    items : int
        At most so many mixes are drawn, as many pieces of a song.
    seed : int
        What the sample of mixes depends on.
    seconds : float
        Of longer mixes so much is drawn and played at most; less where the page would grow beyond `BUDGET`.
    sources : path, or several, optional
        Folders that sources are relative to, where they are not where the manifest says.
    progress : bool
        Show on stderr how many mixes are drawn.

    Raises
    ------
    ValueError
        There is no such path, or nothing at it that can be shown.
    """
    items, seconds = check.integer("items", items, 1), check.number("seconds", seconds, 0.1)
    if not path.exists():
        check.fail("PATH", "a file or folder", repr(str(path)), "there is no such path")
    kind, rows = _recognise(path, sources)
    single = kind == "Mixes in" and len(rows) == 1
    page = Page(f"Mix {Path(rows[0].path).name}" if single else f"{kind} {path.resolve().name}")
    if kind == "Run":
        runs = find_runs(path)
        add_runs(page, runs)
        return page, {"kind": "run", "runs": len(runs)}
    if kind in ("Beats of", "Sound"):
        return page, _show_song(page, path, items, seconds)
    return page, _show_mixes(page, path, rows, items, seed, seconds, progress)


def _recognise(path: Path, sources: Any) -> tuple[str, list[AuditRow]]:
    """Return what lies at a path, and its mixes."""
    if path.is_dir():
        if not metadata_tables(path) and find_runs(path):
            return "Run", []
        if not metadata_tables(path) and _errors(path):  # a run that could mix nothing
            return "Mixes in", []
        return "Mixes in", read_rows(path, sources, need_sources=False)
    suffix = path.suffix.lower()
    if suffix == ".beats":
        return "Beats of", []
    if tables.is_table(path) or suffix == ".json":
        return "Mixes in", read_rows(path, sources, need_sources=False)
    printed = path.with_suffix(".json")
    if printed.is_file() and read_mix_output(printed) is not None:
        return "Mix", read_rows(printed, sources, need_sources=False)
    for table in metadata_tables(path.parent) if not path.with_suffix(".beats").is_file() else []:
        rows = [row for row in read_rows(table, sources, need_sources=False) if Path(row.path) == path]
        if rows:
            return "Mix", rows
    return ("Beats of" if path.with_suffix(".beats").is_file() else "Sound"), []


def _show_mixes(
    page: Page, path: Path, rows: list[AuditRow], items: int, seed: int, seconds: float, progress: bool
) -> dict[str, Any]:
    """Add a sample of mixes, and the whole data set in charts."""
    chosen = sorted(draw.permutation(len(rows), generator=draw.generator_for(seed, "show"))[:items].tolist())
    lanes = sum(1 + len(rows[i].sources) for i in chosen)
    channels = _channels(rows[chosen[0]]) if chosen else 1
    most = min(seconds, (BUDGET - _REST - lanes * _DRAWN) / (max(1, lanes) * _SECOND * channels))
    shown: list[ShownMix] = []
    with Progress(shown=progress) as bar:
        for i in bar.track(chosen, len(chosen), description="drawing", unit="mixes"):
            shown.append(draw_mix(rows[i], len(shown), max(0.5, most)))
    errors = _errors(path)
    if len(rows) != 1:
        said = f"{len(rows)} mixes" + (f", {len(errors)} could not be made" if errors else "")
        drawn = "all" if len(shown) == len(rows) else f"{len(shown)} of them, drawn with seed {seed}"
        page.text(f"{said}. Below are {drawn}." if rows else f"{said}.")
        page.add("charts_", items=distributions(rows, errors, [one.loudness for one in shown]))
    if len(rows) > 1:
        page.heading("Mixes")
    if most < seconds:
        page.text(f"Of longer mixes {most:.1f} s are drawn and played, so that the page stays small.", muted=True)
    if shown:
        _add_items(page, shown)
    return {"kind": "mixes", "mixes": len(rows), "shown": len(shown), "not_made": len(errors)}


def _channels(row: AuditRow) -> int:
    known = row.row.get("channels")
    return min(2, known) if isinstance(known, int) and known > 0 else 2


def _errors(path: Path) -> list[dict[str, Any]]:
    """Return what a run could not mix."""
    file = path / "errors.jsonl"
    if not file.is_file():
        return []
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _show_song(page: Page, path: Path, items: int, seconds: float) -> dict[str, Any]:
    """Add a sound and its beats."""
    if path.suffix.lower() == ".beats":
        sound = next((path.with_suffix(end) for end in _SOUNDS if path.with_suffix(end).is_file()), None)
        annotation: Path | None = path
    else:
        beside = path.with_suffix(".beats")
        sound, annotation = path, beside if beside.is_file() else None
    clip = None if sound is None else io.read(sound)
    grid = None if annotation is None else BeatGrid.read(annotation)
    if grid is None:
        page.text(f"No beats lie beside it: audiomix beats {path.name} --save finds and writes them.", muted=True)
    elif annotation is not None:
        page.add("facts", pairs=facts_of(grid, annotation.name))
        if (chart := tempo_chart(grid)) is not None:
            page.add("chart", chart=chart)
    if clip is None:
        page.text("No sound lies beside it: there are clicks alone.", muted=True)
    pieces = draw_song((sound or path).name, clip, grid, items=items, seconds=seconds)
    _add_items(page, pieces)
    return {"kind": "beats" if grid is not None else "sound", "beats": 0 if grid is None else len(grid)}


def _add_items(page: Page, shown: Sequence[ShownMix]) -> None:
    """Add mixes with their filters: those that leave something to choose."""
    kinds = {
        "mixer": sorted({one.mixer for one in shown}), "label": sorted({name for one in shown for name in one.labels})
    }  # fmt: skip
    choices = [
        {"name": key, "key": key, "values": values} for key, values in kinds.items()
        if len(values) > 1 and len(shown) > 1
    ]  # fmt: skip
    bpm = sorted(one.bpm for one in shown if one.bpm is not None)
    tempo = (f"{bpm[0]:.0f}", f"{bpm[-1]:.0f}") if len(bpm) > 1 and bpm[0] < bpm[-1] else None
    page.add("items", items=shown, choices=choices, tempo=tempo)
