"""``audiomix-recipes``: semi-supervised benchmarks from the command line.

Exit codes: 0 done, 1 an error, 2 a wrong command line, 3 done but some files could not be read (they are listed), 130
interrupted (``run --resume`` goes on, and so does ``demo`` by itself).
"""

import sys
from pathlib import Path

from cyclopts import App, CycloptsError

import audiomix
from audiomix import mixers
from audiomix.audio import io
from audiomix.commands._options import whole_numbers

from . import algorithms, models
from .commands.run import run_command
from .console import console
from .data import protocol
from .lipreading.command import av
from .training.config import PRESETS

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
        way = " with --resume" if argv[:1] in (["run"], ["av"]) else ""
        console.print(f"stopped; the same command{way} goes on")
        return 130
    except _EXPECTED as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def _app(argv: list[str]) -> App:
    told = "Semi-supervised audio recipes."
    app = App(name="audiomix-recipes", help=told, version=audiomix.__version__, config=whole_numbers)
    app.command(run_command(argv), name="run")
    app.command(_list, name="list")
    app.command(_demo, name="demo")
    app.command(av, name="av")
    app.command(f"{__package__}.commands.bench:bench", name="bench")
    app.command(f"{__package__}.commands.predict:predict", name="predict")
    app.command(f"{__package__}.commands.export:export", name="export")
    app.command(f"{__package__}.commands.report:report", name="report")
    app.command(f"{__package__}.commands.list:download", name="download")
    return app


def _list() -> int:
    """Show methods, data sets, networks, mixers and presets."""
    for title, names in {
        "methods": algorithms.available(),
        "data sets": protocol.available(),
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
    from .commands.demo import demo

    return demo(out, seed=seed)
