"""Command line: ``audiomix mix | augment | audit | beats | list``. Exit codes: 0 done, 1 some failed, 2 bad call."""

import sys
from collections.abc import Sequence

import cyclopts

from . import __version__
from .commands._options import add_commands, whole_numbers

__all__ = ["main"]

COMMANDS = {
    "mix": "Mix two files, write the result and print the plan.",
    "augment": "Mix every file of a data set with a partner, and write a Hugging Face audiofolder.",
    "audit": "Recover from mixes and their sources how they were mixed, and hold it against manifest and captions.",
    "beats": "Find the beats of sounds.",
    "list": "Show mixers and trackers with their options, read from the signatures, and pairing rules.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    app = cyclopts.App(name="audiomix", version=__version__, help="Mixing for audio and speech.", config=whole_numbers)
    try:
        add_commands(app, f"{__package__}.commands", COMMANDS, argv)
        result = app(argv, exit_on_error=False, print_error=True, result_action="return_value")
        return int(result or 0)
    except cyclopts.CycloptsError:
        return 2
    except (ValueError, TypeError) as error:
        print(f"audiomix: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("audiomix: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_expected(error):
            raise
        print(f"audiomix: {error}", file=sys.stderr)
        return 1


def _is_expected(error: Exception) -> bool:
    from .audio.io import AudioError  # torch comes with it

    return isinstance(error, (AudioError, OSError))
