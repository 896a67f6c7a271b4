"""``audiomix-recipes``: semi-supervised benchmarks from the command line. Exit codes: see `audiomix.terminal.Exit`.

Little is imported before `main` answers Ctrl-C; the rest is imported by it.
"""

import sys
from collections.abc import Sequence

from audiomix import __version__
from audiomix.interrupts import Interrupts, how_to_go_on

__all__ = ["main"]

COMMANDS = {
    "run": "Train a method on a data set and report its error on held-out clips.",
    "bench": "Train methods x labels x folds x seeds and write the table: CSV, Markdown and HTML, after every run.",
    "verify": "Compare the methods at their defaults with supervised training on data sets that no setting was chosen "
    "on.",
    "predict": "Label files, or all sounds in folders, with a trained run; write a CSV.",
    "export": "Write a trained network with its front end to one file: sound in, the probability of each class out.",
    "report": "Draw a benchmark or a run: table, learning curves, losses, masks, pseudo-labels, confusion, numbers "
    "of labels.",
    "download": "Fetch and unpack a published data set; the same command goes on where a broken one stopped.",
    "demo": "Show what mixing buys, on the bundled sounds: about a minute on 2 CPU cores.",
    "av": "Learn to read words from a mouth, with the help of its sound: video alone beside StreamMix, tested without "
    "sound.",
    "continual": "Learn classes task by task with a small memory of the earlier ones; report accuracy and forgetting.",
    "list": "Show what each command takes by name.",
}
WAYS = {
    **dict.fromkeys(("run", "bench", "verify", "av", "continual"), "the same command with --resume goes on"),
    **dict.fromkeys(("demo", "download"), "the same command goes on"),
}
EXAMPLES = {
    "run": """
- audiomix-recipes run supervised demo --preset demo --steps 10 --out runs/quick
- audiomix-recipes run fixmatch folder CLASS_FOLDERS --labelled 10% --fold 1
- audiomix-recipes run fixmatch --help (the options of one method)
- audiomix-recipes run --config runs/quick/foldtest-seed0/run.yaml --out runs/again
""",
    "bench": """
- audiomix-recipes bench demo --preset demo --methods supervised fixmatch --seed 0 1
- audiomix-recipes bench esc10 ESC-50-master --methods supervised fixmatch:threshold=0.9+mixup --labelled 1 10%
- audiomix-recipes bench --recompute runs/bench-demo-demo (the table again, from its predictions)
- audiomix-recipes bench mixers esc10 ESC-50-master --plan (what each mixer gains: what the table would cost)
""",
    "verify": """
- audiomix-recipes verify --esc10 ESC-50-master --digits DIGITS --jobs 2 --threads 1
""",
    "predict": """
- audiomix-recipes predict runs/quick/foldtest-seed0 SOUNDS -o labels.csv
""",
    "export": """
- audiomix-recipes export runs/quick/foldtest-seed0 -o model.onnx
""",
    "report": """
- audiomix-recipes report runs/quick
""",
    "download": """
- audiomix-recipes download esc50 data
""",
    "av": """
- audiomix-recipes av GRID/s1 --condition video linear --seed 0 1 2
""",
    "continual": """
- audiomix-recipes continual esc10 ESC-50-master --method plain dualmix wa --tasks 5 --fold all
""",
    "demo": """
- audiomix-recipes demo --out audiomix-demo
""",
    "list": """
- audiomix-recipes list
- audiomix-recipes list fixmatch mixup (their options, with help)
- audiomix-recipes list --methods (papers, and what is unlike them)
""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``audiomix-recipes``; by default those of this process, which ends with this call.
    """
    name, words = "audiomix-recipes", sys.argv[1:] if argv is None else argv
    with Interrupts(how_to_go_on(name, words, WAYS), last=argv is None) as interrupts:
        from audiomix.commands._program import Program, run_program

        text = "Semi-supervised audio recipes."
        program = Program(name, text, __version__, f"{__package__}.commands", COMMANDS, EXAMPLES)
        return run_program(program, words, interrupts)
