"""``audiomix-recipes``: semi-supervised benchmarks from the command line.

Exit codes: 0 done, 1 an error, 2 a wrong command line, 3 done but some files could not be read (they are listed), 130
interrupted (``run --resume`` goes on, and so does ``demo`` by itself).
"""

import sys

from cyclopts import App, CycloptsError

import audiomix
from audiomix.commands._options import add_commands, whole_numbers

from .console import console

__all__ = ["main"]

COMMANDS = {
    "run": "Train a method on a data set and report its error on held-out clips.",
    "bench": "Train methods x labels x folds x seeds and write the table: CSV, Markdown and HTML, after every run.",
    "predict": "Label files, or all sounds in folders, with a trained run; write a CSV.",
    "export": "Write a trained network with its front end to one file: sound in, the probability of each class out.",
    "report": "Draw a benchmark or a run: table, learning curves, losses, masks, pseudo-labels, confusion, numbers "
    "of labels.",
    "download": "Fetch and unpack a published data set; the same command goes on where a broken one stopped.",
    "demo": "Show what mixing buys, on the bundled sounds: about a minute on 2 CPU cores.",
    "av": "Learn to read words from a mouth, with the help of its sound: video alone beside StreamMix, tested without "
    "sound.",
    "list": "Show methods, data sets, networks, mixers and presets.",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    argv = sys.argv[1:] if argv is None else [*argv]
    text, version = "Semi-supervised audio recipes.", audiomix.__version__
    app = App(name="audiomix-recipes", help=text, version=version, config=whole_numbers)
    try:
        add_commands(app, f"{__package__}.commands", COMMANDS, argv)
        command, bound, *_ = app.parse_args(argv, exit_on_error=False, print_error=True)
        return int(command(*bound.args, **bound.kwargs) or 0)
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        way = " with --resume" if argv[:1] in (["run"], ["av"]) else ""
        console.print(f"stopped; the same command{way} goes on")
        return 130
    except Exception as error:
        if not _is_expected(error):
            raise
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def _is_expected(error: Exception) -> bool:
    from audiomix.audio.io import AudioError  # torch comes with it

    return isinstance(error, (ValueError, TypeError, OSError, FloatingPointError, AudioError))
