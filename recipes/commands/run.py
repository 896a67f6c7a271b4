"""``audiomix-recipes run``: one method on one data set, with every option that there is."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, field, fields, make_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter
from rich.console import Console

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.options import literal_converter
from audiomix.registry import is_path

from .. import algorithms
from ..console import console, tell_unread
from ..data.copies import with_unlabelled
from ..data.protocol import read_dataset
from ..training.config import PRESETS, Config, resolved
from ..training.dataset_settings import settings_for

__all__ = ["command"]

_CONFIGURATION = Group("Configuration (defaults: the preset's)")
_PRESET = "small"

_HELP = """Train a method on a data set and report its error on held-out clips.

Parameters
----------
method : str
    A method, such as supervised or fixmatch; audiomix-recipes list shows all. Or one's own, as mine.py:MyMethod.
dataset : str
    A data set, such as esc10, folder or demo; audiomix-recipes list shows all. Or a function of one's own that lists
    the clips below ROOT, as mine.py:my_data_set.
root : Path
    Folder of the data; the bundled demo needs none.
preset : str
    small (CPU), study (the founding study's settings), original (each method as in its own paper), strong (a
    GPU) or demo.
fold : tuple
    Folds to hold out in turn: names, or all.
seed : tuple
    Seeds to run each fold with.
mixer : str
    Mix batches: a mixer's name, with options as in mixup:alpha=0.75,keep_larger=true, or one's own, as
    mine.py:RollMix; none for no mixing.
unlabelled : Path
    Folder of more clips without labels, to be trained on besides those of the data set; copies of its files are left
    out.
out : Path
    Folder of the results; by default runs/DATASET-PRESET-METHOD.
store : Path
    Folder of the decoded audio; by default stores beside OUT.
resume : bool
    Go on where an interrupted command stopped; finished runs are kept.
track : bool
    Write learning curves for TensorBoard too.
"""


def command(argv: list[str]) -> Callable[..., int]:
    """Return the command with the options of the method on the command line."""
    name = _method_in(argv)
    method_options = _options(name, _preset_in(argv)) if name else _as_dataclass("Options", [], None)
    title = f"Options of {name}" if name else "Options of the method: audiomix-recipes run METHOD --help"

    def run(
        method: str,
        dataset: str,
        root: Path | None = None,
        *,
        preset: str = _PRESET,
        fold: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ("all",),
        seed: Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative=())] = (0,),
        mixer: str | None = None,
        unlabelled: Path | None = None,
        out: Path | None = None,
        store: Path | None = None,
        resume: Annotated[bool, Parameter(negative=())] = False,
        track: Annotated[bool, Parameter(negative=())] = False,
        options: Annotated[Any, Parameter(name="*")] = None,
        config: Annotated[Any, Parameter(name="*")] = None,
    ) -> int:
        settings = {"fold": fold, "seed": seed, "store": store, "resume": resume, "track": track, "command": argv}
        given, changed = _given(options), _given(config)
        return _resolved(method, dataset, root, preset, given, changed, mixer, unlabelled, out, settings)

    run.__doc__ = _HELP
    hints = run.__annotations__
    hints["options"] = Annotated[method_options, Parameter(name="*", group=Group(title))]
    hints["config"] = Annotated[_overrides(), Parameter(name="*", group=_CONFIGURATION, show_default=False)]
    return run


def _resolved(
    method: str,
    dataset: str,
    root: Path | None,
    preset: str,
    given: dict[str, Any],
    changed: dict[str, Any],
    mixer: str | None,
    unlabelled: Path | None,
    out: Path | None,
    settings: dict[str, Any],
) -> int:
    """Train with what the preset, the method and the user want."""
    kind = algorithms.get(method)
    check.choice("preset", preset, PRESETS)
    found = read_dataset(dataset, root)
    config, options = resolved(preset, kind, given, of_data=settings_for(found.name), **changed)
    if unlabelled is not None:
        found = with_unlabelled(found, unlabelled)
    folder = out or Path("runs") / _name(dataset, preset, method, given, mixer)
    mixing = algorithms.mixer_for(mixer, kind, preset)
    return _run(config, found, method, folder, options=options, mixer=mixing, **settings)


def _method_in(argv: list[str]) -> str | None:
    """Return the method on the command line, so that its options can be read; None where there is none.

    It is the first word that is the name of a method, or a path that is not the value of another option.
    """
    names = algorithms.available()
    words = [(before, word) for before, word in pairwise(argv) if not word.startswith("-")]
    for before, word in words:
        if word in names or (is_path(word) and (before == "--method" or not before.startswith("--"))):
            return word
    if words:
        check.choice("method", words[0][1], names)
    return None


def _preset_in(argv: list[str]) -> str:
    """Return the preset on the command line, so that its values can be shown; a wrong one is told later."""
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--preset":
            return value if equals else (argv[i + 1] if i + 1 < len(argv) else _PRESET)
    return _PRESET


def _run(
    config: Config,
    dataset: Dataset,
    method: str,
    out: Path,
    *,
    fold: tuple[str, ...],
    seed: tuple[int, ...],
    store: Path | None,
    command: list[str],
    options: dict[str, Any],
    mixer: str | None,
    resume: bool,
    track: bool,
) -> int:
    if mixer is not None:
        algorithms.make_mixer(mixer, algorithms.get(method))  # a wrong one is told before anything is decoded

    # torch and Lightning Fabric are loaded only now: --help and a slip of the pen are answered at once
    from ..data.loader import prepare
    from ..training.metrics_log import check_tracking
    from ..training.summary import check_folders, check_runs, run_all, table

    stores = store or out.parent / "stores"
    check_folders(out, stores)
    if track:
        check_tracking()
    names, numbers = check_runs(config, dataset, method, () if fold == ("all",) else fold, seed, options)
    data = prepare(config, dataset, stores)
    tell_unread(data.errors)
    line = shlex.join(["audiomix-recipes", *command])
    switches: dict[str, Any] = {"options": options, "mixer": mixer, "resume": resume, "track": track}
    results = run_all(config, data, method, out=out, folds=names, seeds=numbers, command=line, **switches)
    Console().print(table(results))
    console.print(f"results in {out}", highlight=False)
    if not data.errors:
        return 0
    (out / "errors.json").write_text(json.dumps(data.errors, indent=1) + "\n", encoding="utf-8")
    console.print(f"{len(data.errors)} files could not be read: {out / 'errors.json'}", style="red", highlight=False)
    return 3


def _name(dataset: str, preset: str, method: str, options: dict[str, Any], mixer: str | None) -> str:
    parts = [dataset, preset, method, *(k if v is True else f"{k}={v}" for k, v in options.items())]
    return "-".join([*parts, *([mixer] if mixer else [])]).replace(":", "_").replace("/", "_")


def _given(options: Any) -> dict[str, Any]:
    """Return what the user gave, be it what it would be anyway."""
    return {} if options is None else {k: v for k, v in asdict(options).items() if v is not None}


def _options(method: str, preset: str) -> type:
    """Return the options of a method as a dataclass, which is what the command line is read into; None means unset.

    What an unset one is, at this preset, is shown as its default.
    """
    kind = algorithms.get(method)
    own = kind.presets.get(preset, {})
    entries: list[tuple[str, Any, Any]] = []
    for name, option in algorithms.options(kind).items():
        shown = Parameter(show_default=_Shown(own.get(name, option.default)), converter=literal_converter(option.kind))
        entries.append((name, Annotated[option.kind | None, shown], field(default=None)))
    return _as_dataclass("Options", entries, kind.__doc__)


class _Shown:
    """What the help shows as a default."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _: Any) -> str:
        return str(self.value)


def _overrides() -> type:
    """Return the fields of `Config` as a dataclass in which None means "as the preset has it"."""
    hints = get_type_hints(Config)
    entries: list[tuple[str, Any, Any]] = []
    for f in fields(Config):
        hint: Any = hints[f.name] | None
        if f.name == "model_options":
            hint = Annotated[hint, Parameter(consume_multiple=True, negative=())]
        entries.append((f.name, hint, field(default=None)))
    return _as_dataclass("Overrides", entries, Config.__doc__)


def _as_dataclass(name: str, entries: list[tuple[str, Any, Any]], doc: str | None) -> type:
    # cyclopts looks into classes of the user's modules only, and make_dataclass would put this one into `types`
    made = make_dataclass(name, entries, namespace={"__module__": __name__})
    made.__doc__ = doc
    return made
