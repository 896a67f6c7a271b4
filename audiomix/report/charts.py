"""Charts of pages, drawn by the browser in the page's own colours: what lies where, in the units of an SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .lanes import nice_step, path_of

__all__ = ["Chart", "bar_list", "forest", "histogram", "line_chart", "scatter"]

_WIDTH, _HEIGHT = 360.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 8.0, 34.0
# Colours of the style sheet.
_COLOURS = 6
# Height of a row of a list, and the letters that its names may have.
_ROW, _LETTERS = 22.0, 26


@dataclass
class Chart:
    """What is drawn; places are those of an SVG of `size`.

    Parameters
    ----------
    title, alt : str
        What stands above it, and what it shows, in words.
    size : (float, float)
        Width and height.
    wide : bool
        It is drawn as wide as the page.
    grid, areas, boxes, lines, dots, texts, legend
        What ``templates/charts.html`` draws.
    """

    title: str
    alt: str
    size: tuple[float, float] = (_WIDTH, _HEIGHT)
    wide: bool = False
    grid: list[tuple[float, float, float, float]] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    dots: list[dict[str, Any]] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    legend: list[dict[str, Any]] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, *, anchor: str = "middle", kind: str = "tick") -> None:
        """Add a text.

        Parameters
        ----------
        x, y : float
            Its place.
        text : str
            The words.
        anchor : str
            ``start``, ``middle`` or ``end``: which of its places that is.
        kind : str
            ``tick`` or ``name``.
        """
        self.texts.append({"x": round(x, 1), "y": round(y, 1), "text": text, "anchor": anchor, "kind": kind})

    def box(
        self, x: float, y: float, width: float, height: float, title: str, colour: int = 0, fill: float | None = None
    ) -> None:
        """Add a rectangle, with what is said of it where the pointer rests on it.

        Parameters
        ----------
        x, y, width, height : float
            Its place.
        title : str
            What is said of it.
        colour : int
            Which of the page's.
        fill : float, optional
            How opaque it is.
        """
        place = {"x": round(x, 1), "y": round(y, 1), "width": round(width, 1), "height": round(height, 1)}
        self.boxes.append({**place, "title": title, "colour": colour % _COLOURS, "fill": fill})


class _Axes:
    """The places of values in a chart with two axes, which draws their ticks."""

    def __init__(
        self, chart: Chart, x: tuple[float, float], y: tuple[float, float], name: str, *, whole: bool = False,
    ) -> None:  # fmt: skip
        self.chart, self.x, self.y = chart, _widen(x), _widen(y)
        width, height = chart.size
        self.area = (_LEFT, width - _RIGHT, height - _BOTTOM, _TOP)
        for value in _round_values(self.y, 4, least=1.0 if whole else 0.0):
            place = self.down(value)
            chart.grid.append((_LEFT, round(place, 1), round(width - _RIGHT, 1), round(place, 1)))
            chart.text(_LEFT - 5, place + 4, _short(value), anchor="end")
        for value in _round_values(self.x, 5 if width < 500 else 9):
            chart.text(self.across(value), height - _BOTTOM + 14, _short(value))
        chart.text((_LEFT + width - _RIGHT) / 2, height - 5, name)

    def across(self, value: float) -> float:
        """Return the place of a value on the axis to the right."""
        left, right = self.area[:2]
        return left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (right - left)

    def down(self, value: float) -> float:
        """Return the place of a value on the axis upwards."""
        bottom, top = self.area[2:]
        return bottom + (value - self.y[0]) / (self.y[1] - self.y[0]) * (top - bottom)


def _widen(edges: tuple[float, float]) -> tuple[float, float]:
    low, high = edges
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _round_values(edges: tuple[float, float], count: int, least: float = 0.0) -> list[float]:
    step = max(least, nice_step((edges[1] - edges[0]) / count))
    first, last = math.ceil(edges[0] / step - 1e-9), math.floor(edges[1] / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _short(value: float) -> str:
    text = f"{value:.4g}"
    return "0" if text in ("-0", "0") else text.replace("-", "−")


def histogram(title: str, values: Sequence[float], unit: str = "", *, bins: int = 24) -> Chart:
    """Return how often which values come.

    Parameters
    ----------
    title : str
        Of what.
    values : sequence of float
        Those that are no numbers are left out.
    unit : str
        Stands at the axis.
    bins : int
        At most so many bars; their edges are round numbers.

    Examples
    --------
    >>> chart = histogram("shares", [0.1, 0.1, 0.9])
    >>> [box["title"] for box in chart.boxes]
    ['0.1 to 0.15: 2', '0.85 to 0.9: 1']
    """
    known = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(known):
        return Chart(title, f"{title}: no numbers")
    low, high = float(known.min()), float(known.max())
    step = nice_step(max(high - low, 1e-6 * max(1.0, abs(high))) / bins)
    first = math.floor(low / step + 1e-6)
    count = max(1, math.ceil(high / step - 1e-6) - first)
    places = np.clip(np.floor(known / step + 1e-6).astype(np.int64) - first, 0, count - 1)
    counts = np.bincount(places, minlength=count).tolist()
    middle = float(np.median(known))
    alt = f"{title}: {len(known)} values from {_short(low)} to {_short(high)}, median {_short(middle)} {unit}".rstrip()
    chart = Chart(title, alt)
    axes = _Axes(chart, (first * step, (first + count) * step), (0, max(counts)), unit, whole=True)
    for i, number in enumerate(counts):
        if number:
            left, right = axes.across((first + i) * step), axes.across((first + i + 1) * step)
            said = f"{_short((first + i) * step)} to {_short((first + i + 1) * step)}: {number}"
            chart.box(left + 0.5, axes.down(number), max(1.0, right - left - 1), axes.down(0) - axes.down(number), said)
    return chart


def bar_list(
    title: str, counts: Mapping[str, float], second: Mapping[str, float] | None = None,
    names: tuple[str, str] = ("", ""), *, most: int = 12,
) -> Chart:  # fmt: skip
    """Return named numbers as bars, the largest first.

    Parameters
    ----------
    title : str
        Of what.
    counts : mapping of str to float
        Number by name.
    second : mapping, optional
        Another number of the same names, beside it.
    names : (str, str)
        What the two numbers are.
    most : int
        So many are shown; how many there are besides is said.

    Examples
    --------
    >>> chart = bar_list("labels", {"dog": 3, "rain": 5})
    >>> [text["text"] for text in chart.texts]
    ['rain', '5', 'dog', '3']
    """
    rows = sorted(counts, key=lambda name: (-counts[name], name))
    shown, left_out = rows[:most], len(rows) - most
    tall = _ROW * (1.6 if second else 1)
    height = tall * len(shown) + (_ROW if left_out > 0 else 0) + 6
    said = ", ".join(f"{_cut(name)} {_short(counts[name])}" for name in shown[:3])
    chart = Chart(title, f"{title}: {said}", size=(_WIDTH, height))
    largest = max([*counts.values(), *(second or {}).values(), 1e-12])
    edge = 150.0
    for i, name in enumerate(shown):
        y = tall * i
        chart.text(edge - 8, y + tall / 2 + 4, _cut(name), anchor="end", kind="name")
        for j, group in enumerate([counts, second] if second else [counts]):
            value = (group or {}).get(name, 0.0)
            width = (_WIDTH - edge - 52) * value / largest
            thick = 14.0 if second is None else 11.0
            top = y + (tall - thick * (2 if second else 1)) / 2 + j * thick
            chart.box(edge, top, max(width, 1.0), thick - 1, f"{name}: {_short(value)}", j)
            chart.text(
                edge + width + 6, top + thick - 3, f"{value:.3g}" if value < 100 else f"{value:.0f}", anchor="start"
            )
    if left_out > 0:
        chart.text(edge, height - 8, f"and {left_out} more", anchor="start")
    chart.legend = [{"name": name, "colour": i} for i, name in enumerate(names)] if second else []
    return chart


def _cut(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"


def line_chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    bands: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    x: str = "step",
    low: float | None = 0.0,
    high: float | None = None,
    diagonal: bool = False,
) -> Chart:
    """Return named curves, some with a band around them.

    Parameters
    ----------
    title : str
        What they show.
    series : mapping of str to sequence of (float, float)
        Points of each curve.
    bands : mapping of str to sequence of (float, float, float), optional
        Of some of them x, and from where to where the band goes there.
    x : str
        What the axis to the right is; the title says what is drawn over it.
    low, high : float, optional
        Edges of the axis upwards; None for those of the curves.
    diagonal : bool
        Draw the line of equal x and y.

    Examples
    --------
    >>> chart = line_chart("error", {"mixup": [(0, 90), (100, 40)]})
    >>> chart.alt, [line["path"] for line in chart.lines]
    ('error: mixup ends at 40', ['M44,8L708,151'])
    """
    bands = bands or {}
    some = {name: [p for p in points if math.isfinite(p[1])] for name, points in series.items()}
    xs = [p[0] for points in some.values() for p in points] or [0.0]
    ys = [p[1] for points in some.values() for p in points] or [0.0]
    ys += [edge for band in bands.values() for _, *pair in band for edge in pair]
    last = "; ".join(f"{name} ends at {_short(points[-1][1])}" for name, points in some.items() if points)
    chart = Chart(title, f"{title}: {last}", size=(720.0, 300.0), wide=True)
    several = len(some) > 1
    edges = min(ys) if low is None else min(low, *ys), max(ys) if high is None else high
    axes = _Axes(chart, (min(xs), max(xs)), edges, x)
    if diagonal:
        ends = np.array([max(axes.x[0], axes.y[0]), min(axes.x[1], axes.y[1])])
        chart.lines.append({"path": _path(axes, ends, ends), "colour": _COLOURS - 1, "dash": True})
    for i, (name, points) in enumerate(some.items()):
        colour, dash = i % _COLOURS, i >= _COLOURS
        chart.legend += [{"name": name, "colour": colour}] if several else []
        if band := bands.get(name):
            place, bottom, top = np.array(band, dtype=np.float64).T
            line = _path(axes, np.concatenate([place, place[::-1]]), np.concatenate([bottom, top[::-1]]))
            chart.areas.append({"path": line + "Z", "colour": colour})
        if points:
            chart.lines.append({"path": _path(axes, *np.array(points, dtype=np.float64).T), "colour": colour,
                                "dash": dash})  # fmt: skip
        if 0 < len(points) <= 20:
            for a, b in points:
                title_ = f"{name}: {_short(a)}, {_short(b)}"
                chart.dots.append({"x": round(axes.across(a), 1), "y": round(axes.down(b), 1), "r": 3, "colour": colour,
                                   "title": title_})  # fmt: skip
    return chart


def _path(axes: _Axes, x: np.ndarray, y: np.ndarray) -> str:
    return path_of(np.array([axes.across(v) for v in x]), np.array([axes.down(v) for v in y]))


def forest(title: str, rows: Sequence[tuple[str, float, float, float]], *, x: str) -> Chart:
    """Return differences with their intervals, a row each, around the line of no difference.

    Parameters
    ----------
    title : str
        What they are.
    rows : sequence of (str, float, float, float)
        Name, difference, and both ends of its interval, NaN where there is none.
    x : str
        What the axis is.

    Examples
    --------
    >>> chart = forest("gains", [("mixup", 2.0, 1.0, 3.0)], x="points")
    >>> chart.dots[0]["title"]
    'mixup: 2 (1 to 3)'
    """
    height = _ROW * 1.2 * len(rows) + _BOTTOM + 12
    said = "; ".join(f"{name} {_short(value)}" for name, value, *_ in rows)
    chart = Chart(title, f"{title}: {said}", size=(720.0, height), wide=True)
    known = [v for _, *values in rows for v in values if math.isfinite(v)]
    low, high = min([0.0, *known]), max([0.0, *known])
    margin = 0.06 * (high - low or 1.0)
    left, right = 250.0, 700.0
    edges = low - margin, high + margin

    def across(value: float) -> float:
        return left + (value - edges[0]) / (edges[1] - edges[0]) * (right - left)

    for value in _round_values(edges, 6):
        chart.grid.append((round(across(value), 1), 4, round(across(value), 1), height - _BOTTOM))
        chart.text(across(value), height - _BOTTOM + 14, _short(value))
    chart.text((left + right) / 2, height - 4, x)
    chart.lines.append(
        {"path": f"M{across(0):.1f},4L{across(0):.1f},{height - _BOTTOM:.1f}", "colour": 5, "dash": True}
    )
    for i, (name, value, bottom, top) in enumerate(rows):
        y = 14 + _ROW * 1.2 * i
        chart.text(left - 12, y + 4, name if len(name) <= 42 else name[:41] + "…", anchor="end", kind="name")
        interval = ""
        colour = 5
        if math.isfinite(bottom) and math.isfinite(top):
            interval = f" ({_short(bottom)} to {_short(top)})"
            colour = 2 if bottom > 0 else 1 if top < 0 else 5
            chart.lines.append({"path": f"M{across(bottom):.1f},{y:.1f}L{across(top):.1f},{y:.1f}", "colour": colour,
                                "dash": False})  # fmt: skip
        chart.dots.append({"x": round(across(value), 1), "y": y, "r": 5, "colour": colour,
                           "title": f"{name}: {_short(value)}{interval}"})  # fmt: skip
    return chart


def scatter(title: str, points: Sequence[tuple[str, float, float, float, float]], *, x: str) -> Chart:
    """Return named points with an interval upwards and downwards, and the line of 0.

    A name stands beside its point; where that would lie over another, it is shown where the pointer rests on the point.

    Parameters
    ----------
    title : str
        What is drawn upwards.
    points : sequence of (str, float, float, float, float)
        Name, place to the right, value, and both ends of its interval, NaN where there is none.
    x : str
        What the axis to the right is.

    Examples
    --------
    >>> chart = scatter("gain against cost", [("mixup", 1.1, 2.0, 1.0, 3.0)], x="cost")
    >>> chart.dots[0]["title"], chart.texts[-1]["text"]
    ('mixup: 1.1, 2 (1 to 3)', 'mixup')
    """
    said = "; ".join(f"{name} {_short(place)}, {_short(value)}" for name, place, value, *_ in points)
    chart = Chart(title, f"{title}: {said}", size=(720.0, 360.0), wide=True)
    places = [place for _, place, *_ in points] or [0.0]
    known = [v for _, _, *values in points for v in values if math.isfinite(v)]
    room = 0.12 * (max(places) - min(places) or 1.0)  # for the names
    axes = _Axes(chart, (min(places) - room / 3, max(places) + room), (min([0.0, *known]), max([0.0, *known])), x)
    left, right = axes.area[:2]
    chart.lines.append({"path": f"M{left:.1f},{axes.down(0):.1f}L{right:.1f},{axes.down(0):.1f}", "colour": 5,
                        "dash": True})  # fmt: skip
    named: list[tuple[float, float]] = []
    for name, place, value, bottom, top in sorted(points, key=lambda point: -abs(point[2])):
        across, down = axes.across(place), axes.down(value)
        colour, interval = 5, ""
        if math.isfinite(bottom) and math.isfinite(top):
            interval = f" ({_short(bottom)} to {_short(top)})"
            colour = 2 if bottom > 0 else 1 if top < 0 else 5
            ends = f"M{across:.1f},{axes.down(bottom):.1f}L{across:.1f},{axes.down(top):.1f}"
            chart.lines.append({"path": ends, "colour": colour, "dash": False})
        chart.dots.append({"x": round(across, 1), "y": round(down, 1), "r": 4, "colour": colour,
                           "title": f"{name}: {_short(place)}, {_short(value)}{interval}"})  # fmt: skip
        if all(abs(down - y) > 11 or abs(across - at) > 90 for at, y in named):
            named.append((across, down))
            chart.text(across + 7, down + 4, name, anchor="start")
    return chart
