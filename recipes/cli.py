"""``audiomix-recipes``: semi-supervised benchmarks from the command line. Exit codes: see `audiomix.terminal.Exit`."""

from collections.abc import Sequence

import audiomix
from audiomix.commands._program import Program, run_program

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
PROGRAM = Program(
    "audiomix-recipes",
    "Semi-supervised audio recipes.",
    audiomix.__version__,
    f"{__package__}.commands",
    COMMANDS,
    {
        **dict.fromkeys(("run", "bench", "av"), "the same command with --resume goes on"),
        **dict.fromkeys(("demo", "download"), "the same command goes on"),
    },
    "- audiomix-recipes run supervised demo --preset demo --steps 10 --out runs/quick\n"
    "- audiomix-recipes run fixmatch folder CLASS_FOLDERS --labelled 10% --fold 1\n"
    "- audiomix-recipes predict runs/quick/foldtest-seed0 SOUNDS -o labels.csv\n"
    "- audiomix-recipes run fixmatch --help (the options of one method)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``audiomix-recipes``; by default those of this process, which ends with this call.
    """
    return run_program(PROGRAM, argv)
