"""Command line: ``audiomix mix | augment | audit | beats | list``. Exit codes: see `audiomix.terminal.Exit`."""

from collections.abc import Sequence

from . import __version__
from .commands._program import Program, run_program

__all__ = ["main"]

COMMANDS = {
    "mix": "Mix two files, write the result and print the plan.",
    "augment": "Mix every file of a data set with a partner, and write a Hugging Face audiofolder.",
    "audit": "Recover from mixes and their sources how they were mixed, and hold it against manifest and captions.",
    "beats": "Find the beats of sounds.",
    "list": "Show mixers and trackers with their options, read from the signatures, and pairing rules.",
}
PROGRAM = Program(
    "audiomix",
    "Mixing for audio and speech.",
    __version__,
    f"{__package__}.commands",
    COMMANDS,
    {
        "augment": "the same command goes on where it stopped",
        "beats": "the same command takes what was found from its cache; what was written needs --force",
    },
    "- audiomix mix dog.wav rain.wav -o mix.flac --mixer snr_mix --snr-db 5 5\n"
    "- audiomix augment CLASS_FOLDERS OUT --mixer mixup --alpha 1 --workers 2\n"
    "- audiomix augment --mixer cutmix --help (the options of one mixer)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``audiomix``; by default those of this process, which ends with this call.
    """
    return run_program(PROGRAM, argv)
