"""``audiomix-recipes``: semi-supervised benchmarks from the command line.

Exit codes: 0 done, 1 an error, 2 a wrong command line, 3 done but some files could not be read (they are listed), 130
interrupted (``run --resume`` goes on, and so does ``demo`` by itself).
"""

import json
import shlex
import sys
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

import audiomix
from audiomix import check, io, mixers

from . import algorithms, datasets, models
from .console import console
from .presets import PRESETS, Config, preset

__all__ = ["main"]

_EXPECTED = (ValueError, TypeError, OSError, FloatingPointError, io.AudioError)


def main(argv: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        command, bound, *_ = _app(argv).parse_args(argv, exit_on_error=False, print_error=True)
        return int(command(*bound.args, **bound.kwargs) or 0)
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        way = " with --resume" if argv[:1] == ["run"] else ""
        console.print(f"stopped; the same command{way} goes on")
        return 130
    except _EXPECTED as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def _app(argv: list[str]) -> App:
    app = App(name="audiomix-recipes", help="Semi-supervised audio recipes.", version=audiomix.__version__)
    app.command(_run_command(argv), name="run")
    app.command(_list, name="list")
    app.command(_demo, name="demo")
    return app


_CONFIGURATION = Group("Configuration (defaults: the preset's)")


def _run_command(argv: list[str]) -> Any:
    """Return the function behind ``run``, whose options are those of the method on the command line."""
    name = _method_in(argv)
    method_options = _options(name) if name else _as_dataclass("Options", [], None)
    title = f"Options of {name}" if name else "Options of the method: audiomix-recipes run METHOD --help"

    def run(
        method: str,
        dataset: str,
        root: Path | None = None,
        *,
        preset: str = "small",
        fold: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ("all",),
        seed: Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative=())] = (0,),
        mixer: str | None = None,
        out: Path | None = None,
        store: Path | None = None,
        resume: Annotated[bool, Parameter(negative=())] = False,
        options: Annotated[Any, Parameter(name="*")] = None,
        config: Annotated[Any, Parameter(name="*")] = None,
    ) -> int:
        """Train a method on a data set and report its error on held-out clips.

        Parameters
        ----------
        method : str
            supervised or fixmatch; audiomix-recipes list shows all.
        dataset : str
            esc10, folder or demo; audiomix-recipes list shows all.
        root : Path
            Folder of the data; the bundled demo needs none.
        preset : str
            small (CPU), study (the founding study's settings) or demo.
        fold : tuple
            Folds to hold out in turn: names, or all.
        seed : tuple
            Seeds to run each fold with.
        mixer : str
            Mix batches: a mixer's name, with options as in mixup:alpha=0.75,keep_larger=true.
        out : Path
            Folder of the results; by default runs/DATASET-PRESET-METHOD.
        store : Path
            Folder of the decoded audio; by default stores beside OUT.
        resume : bool
            Go on where an interrupted command stopped; finished runs are kept.
        """
        return _run(method, dataset, root, preset, fold, seed, mixer, out, store, resume, options, config, argv)

    hints = run.__annotations__
    hints["options"] = Annotated[method_options, Parameter(name="*", group=Group(title))]
    hints["config"] = Annotated[_overrides(), Parameter(name="*", group=_CONFIGURATION, show_default=False)]
    return run


def _method_in(argv: list[str]) -> str | None:
    """Return the method on the command line, so that its options can be read; None for another command or none."""
    words = [word for word in argv[1:] if not word.startswith("-")] if argv[:1] == ["run"] else []
    known = [word for word in words if word in algorithms.available()]
    if words and not known:
        check.choice("method", words[0], algorithms.available())
    return known[0] if known else None


def _run(
    method: str,
    dataset: str,
    root: Path | None,
    preset_name: str,
    fold: tuple[str, ...],
    seed: tuple[int, ...],
    mixer: str | None,
    out: Path | None,
    store: Path | None,
    resume: bool,
    options: Any,
    overrides: Any,
    argv: list[str],
) -> int:
    changed = {} if overrides is None else {k: v for k, v in asdict(overrides).items() if v is not None}
    config, kind = preset(preset_name, **changed), algorithms.get(method)
    if mixer is not None:
        algorithms.make_mixer(mixer, kind)  # a wrong one is told before anything is decoded
    known = algorithms.options(kind)
    given = {} if options is None else {k: v for k, v in asdict(options).items() if v != known[k].default}
    out = out or Path("runs") / _name(dataset, preset_name, method, given, mixer)
    found = datasets.get(dataset)(root)

    # torch and Lightning Fabric are loaded only now: --help and a slip of the pen are answered at once
    from .bench import check_runs, run_all, table
    from .data import prepare

    folds, seeds = check_runs(config, found, method, () if fold == ("all",) else fold, seed, given)
    data = prepare(config, found, store or out.parent / "stores")
    results = run_all(
        config,
        data,
        method,
        out=out,
        folds=folds,
        seeds=seeds,
        options=given,
        mixer=mixer,
        resume=resume,
        command=shlex.join(["audiomix-recipes", *argv]),
    )
    Console().print(table(results))
    console.print(f"results in {out}", highlight=False)
    if not data.errors:
        return 0
    (out / "errors.json").write_text(json.dumps(data.errors, indent=1) + "\n", encoding="utf-8")
    console.print(f"{len(data.errors)} files could not be read: {out / 'errors.json'}", style="red", highlight=False)
    return 3


def _list() -> int:
    """Show methods, data sets, networks, mixers and presets."""
    for title, names in {
        "methods": algorithms.available(),
        "data sets": datasets.available(),
        "networks": models.available(),
        "mixers": mixers.available(),
        "presets": list(PRESETS),
    }.items():
        print(f"{title:9}  {' '.join(names)}")
    return 0


def _demo(out: Path = Path("audiomix-demo"), seed: int = 0) -> int:
    """Show what mixing buys, on the bundled sounds: about a minute on 2 CPU cores.

    Parameters
    ----------
    out : Path
        Folder of the pages, sounds and results.
    seed : int
        Seed of everything that is drawn.
    """
    from .demo import demo

    return demo(out, seed=seed)


def _name(dataset: str, preset_name: str, method: str, options: dict[str, Any], mixer: str | None) -> str:
    parts = [dataset, preset_name, method, *(k if v is True else f"{k}={v}" for k, v in options.items())]
    return "-".join([*parts, *([mixer] if mixer else [])]).replace(":", "_").replace("/", "_")


def _options(method: str) -> type:
    """Return the options of a method as a dataclass, which is what the command line is read into."""
    kind = algorithms.get(method)
    hints = get_type_hints(kind.__init__)
    entries = [(name, hints[name], field(default=p.default)) for name, p in algorithms.options(kind).items()]
    return _as_dataclass("Options", entries, kind.__doc__)


def _overrides() -> type:
    """Return the fields of `Config` as a dataclass in which None means "as the preset has it"."""
    hints = get_type_hints(Config)
    entries: list[tuple[str, Any, Any]] = [(f.name, hints[f.name] | None, field(default=None)) for f in fields(Config)]
    return _as_dataclass("Overrides", entries, Config.__doc__)


def _as_dataclass(name: str, entries: list[tuple[str, Any, Any]], doc: str | None) -> type:
    # cyclopts looks into classes of the user's modules only, and make_dataclass would put this one into `types`
    made = make_dataclass(name, entries, namespace={"__module__": __name__})
    made.__doc__ = doc
    return made
