"""``audiomix-recipes report``: one page of a benchmark or a run, with pictures in it."""

from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from audiomix import check
from audiomix.audio import io
from audiomix.datasets.dataset import natural
from audiomix.report.page import Page
from audiomix.terminal import Exit, Summary

from ..benchmark import charts, figures
from ..benchmark.figures import RunGroup
from ..benchmark.record import RECORD, BenchmarkRecord, BenchmarkTable, build_table
from ..benchmark.rows import slug
from ..benchmark.summary import add_table, measured_text
from ..benchmark.tables import amount_text, make_page
from ..console import say
from ..training.run_folder import read_json, read_run

__all__ = ["report"]

_DPI = 110


def report(
    folder: Path,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    png: Annotated[bool, Parameter(negative=())] = False,
    baseline: str | None = None,
    headline: str | None = None,
) -> Summary:
    """Draw a benchmark or a run: table, learning curves, losses, masks, pseudo-labels, confusion, numbers of labels.

    One HTML page with the pictures in it, that needs no network and no other file.

    Parameters
    ----------
    folder : Path
        What bench or run made; the folder of one fold and seed too.
    out : Path
        The page; by default report.html in FOLDER.
    png : bool
        Write the pictures beside the page too.
    baseline : str
        Row of a benchmark that the others are compared with, by default that of bench.
    headline : str
        Network whose error is drawn: raw (as trained) or ema (its average); by default that of bench, else raw.
    """
    if headline is not None:
        check.choice("headline", headline, ["raw", "ema"])
    if not folder.is_dir():
        check.fail("folder", "what bench or run made", str(folder), "there is no such folder")
    table: BenchmarkTable | None
    if (folder / RECORD).is_file():
        table = build_table(BenchmarkRecord(folder), baseline, headline)
        page, groups, headline = make_page(table), _groups(table), table.headline
    else:
        table = None
        if baseline is not None:
            check.fail("baseline", "given for what bench made", f"{baseline!r} for {folder}", "that is of run")
        page, groups = _page_of_run(folder)
    if not groups:
        check.fail("folder", "one with a finished run", str(folder), "the command that made it goes on with --resume")
    path = out or folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(groups, headline or "raw")
    for label in dict.fromkeys(group.label for group in groups):
        some = [group for group in groups if group.label == label]
        several = len(some) < len(groups)
        _add_charts(page, some, headline or "raw", f", {amount_text(label)}" if several else "", slug(label), table)
    for name, (heading, content) in pictures.items():
        if name.partition("-")[0] not in _CHARTS:
            page.heading(heading)
            page.text(_TEXTS[name.partition("-")[0]][1])
            page.embed(content, heading)
    page.write(path)
    if png:
        for name, (_, content) in pictures.items():
            with io.atomic_file(path.with_name(f"{path.stem}-{name}.png")) as file:
                file.write(content)
    count = sum(len(group.runs) for group in groups)
    say(f"{path}: {len(pictures)} pictures of {count} runs")
    return Summary(Exit.DONE, {"out": path, "pictures": len(pictures), "runs": count})


def _add_charts(
    page: Page, groups: list[RunGroup], network: str, place: str, key: str, table: BenchmarkTable | None
) -> None:
    """Add what the browser draws of the rows at a number of labels: gains, curves, calibration, confusion."""
    drawn = {
        "gains": None if table is None else charts.gain_forest(table, groups[0].label),
        "errors": charts.learning_curves(groups, network),
        "calibration": charts.calibration(groups, network),
    }
    for name, chart in drawn.items():
        if chart is not None:
            page.heading(_TEXTS[name][0] + place)
            page.text(_TEXTS[name][1])
            page.add("chart", chart=chart)
    found = [charts.confusion(group, network, f"{key}-{i}") for i, group in enumerate(groups)]
    if any(found):
        page.heading(_TEXTS["confusions"][0] + place)
        for values in found:
            if values is not None:
                page.add("confusion", **values)


def _groups(table: BenchmarkTable) -> list[RunGroup]:
    content = table.record.content
    classes, rows = tuple(content["classes"]), [row["text"] for row in content["rows"].values()]
    lines = [line for line in table.lines if line.head == "none"]  # heads have no learning curves
    return [RunGroup(line.title, line.label, line.runs, classes, rows.index(line.text)) for line in lines]


def _page_of_run(folder: Path) -> tuple[Page, list[RunGroup]]:
    """Return the page and the one group of a folder of `run`, or of a single fold and seed."""
    folders = [folder] if (folder / "config.json").is_file() else list(folder.glob("fold*-seed*"))
    if not folders:
        check.fail("folder", "what bench or run made", str(folder), "neither bench.json nor folders fold*-seed* in it")
    runs = [run for run in map(read_run, folders) if run is not None]
    if not runs:
        return Page(""), []
    runs.sort(key=lambda run: (run.seed, natural(run.fold)))
    config = read_json(Path(runs[0].folder) / "config.json", "settings", "facts")
    settings = config["settings"]
    group = RunGroup(runs[0].method, settings["config"]["labelled"], runs, tuple(config["facts"]["classes"]), 0)
    page = Page(f"{runs[0].method} on {settings['dataset']}")
    add_table(page, runs)
    page.text(
        f"{len(runs)} run{'s' * (len(runs) > 1)}, labelled {group.label}. "
        f"The best step is chosen on the clips that it is measured on. {measured_text(runs)}"
    )
    return page, [group]


# pictures of which the page has a chart instead
_CHARTS = ("errors", "confusions")
# heading and text of each picture and chart
_TEXTS = {
    "gains": ("Gains", "Green: the whole interval is better than the baseline; red: worse."),
    "errors": ("Learning curves", "Error on clips that nothing is trained on: mean over runs, and their range."),
    "calibration": ("Calibration", "On the dashed line a network is right as often as it is sure."),
    "losses": ("Terms of the loss", "As they are minimised, weights and ramps included; means between two rows."),
    "masks": ("Masks", "Share of the unlabelled clips whose guess is believed."),
    "accuracies": ("Guesses", "How many guesses are right, where labels are known; never used in training."),
    "counts": (
        "Classes of the guesses",
        "1 (white): as often as if all were guessed equally often; blank: none was.",
    ),
    "confusions": ("Confusion", "Rows are true classes, columns what they were taken for; all runs together."),
    "sweep": ("Labels", "Error after the last step against the number of labels; bars: sd of all runs."),
}


def _pictures(groups: list[RunGroup], headline: str) -> dict[str, tuple[str, bytes]]:
    """Return heading and PNG of each figure that there is something to draw for, by name."""
    found: dict[str, tuple[str, bytes]] = {}
    labels = list(dict.fromkeys(group.label for group in groups))
    if (figure := figures.sweep(groups, headline)) is not None:
        found["sweep"] = (_TEXTS["sweep"][0], _png(figure))
    for label in labels:
        some = [group for group in groups if group.label == label]
        drawn = {
            "errors": figures.errors(some, headline),
            "losses": figures.losses(some),
            "masks": figures.masks(some),
            "accuracies": figures.accuracies(some),
            "counts": figures.counts(some),
            "confusions": figures.confusions(some, headline),
        }
        for name, figure in drawn.items():
            if figure is not None:
                key, place = (f"{name}-{slug(label)}", f", {amount_text(label)}") if len(labels) > 1 else (name, "")
                found[key] = (_TEXTS[name][0] + place, _png(figure))
    return found


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, dpi=_DPI, format="png", metadata={"Software": None})
    return buffer.getvalue()
