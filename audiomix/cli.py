"""Command line: ``audiomix COMMAND``; `COMMANDS` lists them. Exit codes: see `audiomix.terminal.Exit`.

Little is imported before `main` answers Ctrl-C; the rest is imported by it.
"""

import sys
from collections.abc import Sequence

from . import __version__
from .interrupts import Interrupts, how_to_go_on

__all__ = ["main"]

COMMANDS = {
    "mix": "Mix two files, write the result and print the plan.",
    "augment": "Mix every file of a data set with a partner, and write a Hugging Face audiofolder.",
    "audit": "Recover from mixes and their sources how they were mixed, and hold it against manifest and captions.",
    "verify": "Check an output of audiomix augment: checksums, durations, levels, labels, stems; each fault is listed.",
    "replay": "Make one mix of an output of audiomix augment again from its plan; say whether it is equal to the bit.",
    "export": "Write an output of audiomix augment in the form of another library, which augment reads too.",
    "plans": "Write the plans of an output of audiomix augment, with hashes of its decoded sources, not its audio.",
    "render": "Make the mixes of a file that audiomix plans wrote, the same bits as where they were made first.",
    "beats": "Find the beats of sounds.",
    "show": "Make a page to look at and listen to: mixes, data sets, beats and runs.",
    "list": "Show what can be chosen by name, by kind, with its paper and label rule; of names their options.",
}
WAYS = {
    "augment": "the same command goes on where it stopped",
    "render": "the same command goes on where it stopped",
    "beats": "the same command takes what was found from its cache; what was written needs --force",
}
EXAMPLES = {
    "mix": """
- audiomix mix dog.wav rain.wav -o mix.flac
- audiomix mix dog.wav rain.wav -o mix.wav --mixer snr_mix --snr-db 5 5
- audiomix mix --mixer cutmix --help (the options of one mixer)
""",
    "augment": """
- audiomix augment CLASS_FOLDERS OUT --mixer mixup --alpha 1 --workers 2
- audiomix augment list.csv OUT --mixer caption --stems --dry-run
- audiomix augment --mixer cutmix --help (the options of one mixer)
""",
    "audit": """
- audiomix audit OUT
- audiomix audit mixes.csv --sources SOUNDS --worst 20 --picture errors.png
""",
    "verify": """
- audiomix verify OUT
""",
    "replay": """
- audiomix replay OUT train/dog/1-0.flac
""",
    "export": """
- audiomix export OUT --to lhotse -o CUTS
- audiomix export OUT --to webdataset -o SHARDS; audiomix augment SHARDS AGAIN
""",
    "plans": """
- audiomix plans OUT -o plans.parquet
""",
    "render": """
- audiomix render plans.parquet --sources SOUNDS --out OUT
""",
    "beats": """
- audiomix beats song.wav MUSIC_FOLDER
- audiomix beats song.wav --tracker librosa --save --click CLICKS
""",
    "show": """
- audiomix show OUT (a folder of audiomix augment)
- audiomix mix dog.wav rain.wav -o mix.flac > mix.json; audiomix show mix.json
- audiomix show song.wav (and the beats beside it) --out song.html
""",
    "list": """
- audiomix list
- audiomix list mixup cutmix (their options)
""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``audiomix``; by default those of this process, which ends with this call.
    """
    words = sys.argv[1:] if argv is None else argv
    with Interrupts(how_to_go_on("audiomix", words, WAYS), last=argv is None) as interrupts:
        from .commands._program import Program, run_program

        text = "Mixing for audio and speech."
        program = Program("audiomix", text, __version__, f"{__package__}.commands", COMMANDS, EXAMPLES)
        return run_program(program, words, interrupts)
