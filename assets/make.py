"""Make what is in this folder: ``python assets/make.py [sounds | gallery | pictures | curricula | site] [OUT]``.

``gallery`` draws every mixer, ``pictures`` those of the README, ``curricula`` the curricula, ``site`` builds guides and
reference; each is a script of its own, whose options it takes.

``sounds``, which is also what is made where nothing is named, are the bundled sounds: spoken words, environmental
sounds and drum loops, each with a caption. OUT is the folder written to, this script's own by default. They need numpy,
scipy, soundfile and the ``espeak-ng`` program (``apt-get install espeak-ng``); nothing else in the project does.

What is written, every sound mono FLAC of 16 bits:

``words/WORD/SPEAKER.flac``
    Ten words said by 48 speakers, one second each at 16 kHz.
``sounds/NAME.flac``
    Environmental sounds of 3 to 5 seconds at 16 kHz.
``loops/NAME.flac`` and ``loops/NAME.beats``
    Drum loops at 24 kHz, and their beats: a time in seconds, a tab, the position in the bar.
``metadata.jsonl``, one in each of the three folders
    One JSON object a line, in the form Hugging Face calls an audio folder.

Each item draws from its own random generator, seeded by its name, so an item stays the same when others come or go,
and two runs give the same bytes. Another release of espeak-ng, numpy, scipy or libsndfile may change some of them.
"""

import argparse
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import dsp
import soundfile
import synth_loops
import synth_sounds
import synth_words

LICENCE = "MIT"
FOLDS = 4
SCRIPTS = {"gallery": "gallery", "pictures": "make_pictures", "curricula": "curricula", "site": "make_site"}
Row = dict[str, str | int | float]


def make_words(folder: Path) -> Iterator[Row]:
    """Write the spoken words; yield their metadata."""
    attribution = f"audiomix, synthesised with espeak-ng {synth_words.espeak_version()}"
    for word in synth_words.WORDS:
        for speaker in synth_words.SPEAKERS:
            name = f"{word}/{speaker.name}.flac"
            audio, settings = synth_words.clip(word, speaker, dsp.item_rng(f"words/{name}"))
            write(folder / name, audio, synth_words.RATE)
            yield {
                **common(name, word, f'a voice says "{word}"', speaker.fold, speaker.name, attribution),
                "voice": speaker.voice,
                "variant": speaker.variant,
                **settings,
            }


def make_sounds(folder: Path) -> Iterator[Row]:
    """Write the environmental sounds; yield their metadata."""
    for index, (label, (synthesise, caption)) in enumerate(synth_sounds.SOUNDS.items()):
        name = f"{label}.flac"
        audio = dsp.to_peak(synthesise(dsp.item_rng(f"sounds/{name}")), -3.0)
        write(folder / name, audio, synth_sounds.RATE)
        yield common(name, label, caption, 1 + index % FOLDS, label, "audiomix, synthesised with numpy")


def make_loops(folder: Path) -> Iterator[Row]:
    """Write the drum loops and their beats; yield their metadata."""
    for index, loop in enumerate(synth_loops.LOOPS):
        name = f"{loop.name}.flac"
        audio = dsp.to_peak(synth_loops.render(loop, dsp.item_rng(f"loops/{name}")), -3.0)
        write(folder / name, audio, synth_loops.RATE)
        lines = [f"{time:.6f}\t{position}\n" for time, position in synth_loops.beats(loop)]
        (folder / f"{loop.name}.beats").write_text("".join(lines), encoding="utf-8")
        yield {
            **common(name, loop.label, loop.caption, 1 + index % FOLDS, loop.name, "audiomix, synthesised with numpy"),
            "bpm": loop.bpm,
            "beats": len(lines),
        }


def common(file_name: str, label: str, caption: str, fold: int, group: str, attribution: str) -> Row:
    """Return the fields every line of metadata has; the last fold is the test split."""
    return {
        "file_name": file_name,
        "label": label,
        "caption": caption,
        "split": "test" if fold == FOLDS else "train",
        "fold": fold,
        "group": group,
        "licence": LICENCE,
        "attribution": attribution,
    }


def write(path: Path, audio: dsp.Audio, rate: int) -> None:
    """Write 16-bit mono FLAC, compressed as far as it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, dsp.to_int16(audio), rate, format="FLAC", subtype="PCM_16", compression_level=1.0)


def main() -> int:
    """Make the sounds and say how much there is, or what the first word names."""
    what = sys.argv[1] if len(sys.argv) > 1 else "sounds"
    if what in (*SCRIPTS, "sounds"):
        del sys.argv[1]
    if what in SCRIPTS:
        runpy.run_path(str(Path(__file__).with_name(f"{SCRIPTS[what]}.py")), run_name="__main__")
        return 0
    parser = argparse.ArgumentParser(description="Make the bundled words, sounds and drum loops.")
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).parent, help="folder to write to")
    out: Path = parser.parse_args().out
    try:
        synth_words.espeak_version()
    except FileNotFoundError as error:
        print(f"make.py: {error}", file=sys.stderr)
        return 1
    for kind, make in {"words": make_words, "sounds": make_sounds, "loops": make_loops}.items():
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row) + "\n" for row in make(folder)]
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {len(lines)} sounds, {size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
