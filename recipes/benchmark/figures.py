"""Figures of trainings: each function returns a figure of some rows, or None where there is nothing to draw.

`network` is ``raw`` for the networks as trained, ``ema`` for their running averages.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from audiomix.report.figures import INK

from ..training.run_folder import RunResult, read_json
from .gains import NETWORKS
from .summary import error_name

__all__ = ["RunGroup", "accuracies", "confusions", "counts", "errors", "losses", "masks", "sweep"]

_MUTED, _GRID = "#5d6b7a", "#d9dfe6"
_COLOURS = (
    "#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#20a4a4", "#e07b39", "#8c564b", "#c25fb0", "#5d6b7a",
)  # fmt: skip
_STYLES = ("-", "--", ":")
_FEW = 15  # classes up to which an axis has their names
_NUMBERS = 12  # classes up to which a confusion matrix shows its numbers
_COLUMNS = 3
_ASIDE = 1.04  # factor of the number of labels from row to row, so that their bars do not overlap


@dataclass(frozen=True)
class RunGroup:
    """The runs of a row at a number of labels: a curve is their mean."""

    title: str  # the row as tables show it
    label: str  # labels kept
    runs: list[RunResult]  # finished runs
    classes: tuple[str, ...]  # names of the classes
    place: int  # index of the row among all rows: its colour in every figure

    def curve(self, column: str) -> tuple[list[float], list[list[float]]]:
        """Return the steps, and at each step the values in a column of ``metrics.csv`` of all runs that have one."""
        found: dict[float, list[float]] = defaultdict(list)
        for run in self.runs:
            for row in run.history:
                if row.get(column) is not None:
                    found[row["step"]].append(row[column])
        return sorted(found), [found[step] for step in sorted(found)]

    def columns(self, start: str) -> list[str]:
        """Return the names of the columns of ``metrics.csv`` that begin with `start`."""
        return list(dict.fromkeys(name for run in self.runs for name in run.history[0] if name.startswith(start)))

    @property
    def style(self) -> dict[str, Any]:
        """Colour and line style, for matplotlib."""
        line = _STYLES[self.place // len(_COLOURS) % len(_STYLES)]
        return {"color": _COLOURS[self.place % len(_COLOURS)], "linestyle": line}


def errors(groups: Sequence[RunGroup], network: str) -> Any:
    """Return the error on the clips that are measured on against the step; with up to three rows the range too."""
    on = groups[0].runs[0].measured_on if groups else "test"
    titles = {f"error{NETWORKS[network]}": f"error on the {on} clips (%)"}
    return _against_step(groups, titles, spread=len(groups) <= 3)


def masks(groups: Sequence[RunGroup]) -> Any:
    """Return the share of accepted pseudo-labels against the step."""
    return _against_step(groups, {"mask": "share of clips believed"}, top=1.02)


def accuracies(groups: Sequence[RunGroup]) -> Any:
    """Return the share of correct pseudo-labels against the step: of all, and of the accepted ones."""
    titles = {"guess_accuracy": "guesses that are right", "believed_accuracy": "of those believed, right"}
    return _against_step(groups, titles, top=1.02, size=(6.0, 3.6))


def _against_step(
    groups: Sequence[RunGroup],
    titles: dict[str, str],
    *,
    top: float | None = None,
    spread: bool = False,
    size: tuple[float, float] = (9.0, 4.2),
) -> Any:
    """Return a panel for each column of ``metrics.csv`` that some run has: the mean over runs, a line for each row."""
    shown = {column: title for column, title in titles.items() if any(g.curve(column)[0] for g in groups)}
    if not shown:
        return None
    figure, panels = _figure(size[0] * len(shown), size[1], 1, len(shown))
    for axes, (column, title) in zip(panels, shown.items()):
        for group in groups:
            steps, values = group.curve(column)
            if not steps:
                continue
            axes.plot(steps, [statistics.fmean(v) for v in values], label=group.title, linewidth=1.6, **group.style)
            if spread and len(group.runs) > 1:
                low, high = [min(v) for v in values], [max(v) for v in values]
                axes.fill_between(steps, low, high, color=group.style["color"], alpha=0.12, linewidth=0)
        axes.set_ylim(bottom=0, top=top)
        _label_axes(axes, "step", title)
    _legend(figure, panels)
    return figure


def losses(groups: Sequence[RunGroup]) -> Any:
    """Return the terms of the loss against the step, with their weights, a panel for each row."""
    return _panels([group for group in groups if group.columns("loss_")], _draw_losses, 2.6)


def _draw_losses(axes: Any, group: RunGroup) -> None:
    for i, column in enumerate(group.columns("loss_")):
        steps, values = group.curve(column)
        means = [statistics.fmean(v) for v in values]
        axes.plot(steps, means, color=_COLOURS[i], linewidth=1.4, label=column.removeprefix("loss_"))
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.legend(frameon=False, fontsize=7)
    _label_axes(axes, "step", "")


def counts(groups: Sequence[RunGroup]) -> Any:
    """Return how frequent each class is among the pseudo-labels, against the step, a panel for each row."""
    known = [group for group in groups if group.columns("count_")]
    return _panels(known, _draw_counts, 2.8, bar="guesses / (all / classes)")


def _draw_counts(axes: Any, group: RunGroup) -> Any:
    columns = [f"count_{name}" for name in group.classes]
    means = torch.tensor([[statistics.fmean(v) for v in group.curve(column)[1]] for column in columns])
    steps = group.curve(columns[0])[0]
    shares = means / means.sum(0)  # NaN, drawn as nothing, where no pseudo-label was accepted
    size = len(columns)
    image = axes.imshow(
        (shares * size).numpy(), aspect="auto", cmap="RdBu_r", vmin=0, vmax=2, interpolation="nearest",
        extent=(0, steps[-1], size - 0.5, -0.5),
    )  # fmt: skip
    _label_classes(axes, group.classes, x=False)
    _label_axes(axes, "step", "")
    return image


def confusions(groups: Sequence[RunGroup], network: str) -> Any:
    """Return the confusion matrix of all runs after the last step, in percent of the true class, a panel a row."""
    known = [group for group in groups if all(network in run.measures for run in group.runs)]
    return _panels(known, partial(_draw_confusion, network=network), 4.2, bar="% of the true class (row)")


def _draw_confusion(axes: Any, group: RunGroup, network: str) -> Any:
    matrix = torch.tensor([run.measures[network]["confusion"] for run in group.runs]).sum(0).double()
    shares = 100 * matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    size = len(shares)
    _label_classes(axes, group.classes)
    for i in range(size if size <= _NUMBERS else 0):
        for j in range(size):
            if shares[i, j] >= 0.5:
                colour = "white" if shares[i, j] > 55 else INK
                axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=6, color=colour)
    return image


def sweep(groups: Sequence[RunGroup], network: str) -> Any:
    """Return the error after the last step against the number of labels, with the standard deviation of all runs."""
    rows: dict[int, list[RunGroup]] = defaultdict(list)
    for group in groups:
        rows[group.place].append(group)
    if not any(len(some) > 1 for some in rows.values()):
        return None
    figure, (axes,) = _figure(9.0, 4.2, 1, 1)
    by_label: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        by_label[group.label].append(count_labelled_clips(group))
    # one position on the axis for all rows, though their folds may differ
    clips = {label: statistics.fmean(counts) for label, counts in by_label.items()}
    for i, some in enumerate(rows.values()):
        aside = _ASIDE ** (i - (len(rows) - 1) / 2)
        points = []
        for group in some:
            found = [getattr(run, f"error_last{NETWORKS[network]}") for run in group.runs]
            spread = statistics.stdev(found) if len(found) > 1 else 0.0
            points.append((clips[group.label] * aside, statistics.fmean(found), spread))
        xs, ys, spreads = zip(*sorted(points))
        axes.errorbar(xs, ys, spreads, marker="o", markersize=4, linewidth=1.6, capsize=3, label=some[0].title,
                      **some[0].style)  # fmt: skip
    axes.set_xscale("log")
    at = {x: ", ".join(label for label in clips if clips[label] == x) for x in clips.values()}
    axes.set_xticks(list(at), [f"{text}\n({x:.0f} clips)" for x, text in at.items()])
    axes.minorticks_off()
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    _label_axes(axes, "labels", f"{error_name(groups[0].runs[0].measured_on)} after the last step (%)")
    _legend(figure, [axes])
    return figure


def count_labelled_clips(group: RunGroup) -> float:
    """Return the mean number of labelled clips of the runs of a row."""
    splits = (read_json(Path(run.folder) / "split.json", "labelled") for run in group.runs)
    return statistics.fmean(len(split["labelled"]) for split in splits)


def _panels(groups: Sequence[RunGroup], draw: Callable[[Any, RunGroup], Any], height: float, bar: str = "") -> Any:
    """Return a figure with a panel for each row, filled by `draw`, which with a `bar` returns the coloured image."""
    if not groups:
        return None
    columns = 2 if len(groups) == 4 else min(_COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure, axes = _figure(4.0 * columns + 0.6 * bool(bar), height * rows, rows, columns)
    image = None
    for each, group in zip(axes, groups):
        image = draw(each, group)
        each.set_title(group.title, fontsize=8, color=INK, wrap=True)
    for each in axes[len(groups) :]:
        each.set_visible(False)
    if bar and image is not None:
        shown = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        shown.set_label(bar, fontsize=8, color=INK)
        shown.ax.tick_params(labelsize=7, colors=_MUTED)
    return figure


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Any, list[Any]]:
    # Figure instead of pyplot: no global state, no window system
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for each in axes:
        each.tick_params(labelsize=7, colors=_MUTED)
        for spine in each.spines.values():
            spine.set_color(_GRID)
    return figure, axes


def _label_axes(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8, color=INK)
    axes.set_ylabel(y, fontsize=8, color=INK)
    if not axes.images:
        axes.grid(color=_GRID, linewidth=0.6)


def _label_classes(axes: Any, names: Sequence[str], *, x: bool = True) -> None:
    shown = list(names) if len(names) <= _FEW else []
    axes.set_yticks(range(len(shown)), shown, fontsize=6)
    if x:
        axes.set_xticks(range(len(shown)), shown, fontsize=6, rotation=90)


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    handles = {label: handle for each in axes for handle, label in zip(*each.get_legend_handles_labels())}
    figure.legend(handles.values(), handles, loc="outside right upper", frameon=False, fontsize=8)
