"""Make folders of spoken words that no setting of this project was chosen on, and one that settings may be chosen on.

Run ``python assets/make_speech.py OUT --set held-out`` or ``--set development``; OUT is a new folder outside the
repository. On Debian: ``apt-get install espeak-ng flite festival festvox-kdlpc16k asterisk-core-sounds-en-wav
saytime``.

``held-out``
    Ten digits at 8 kHz. For ``audiomix-recipes verify --digits`` alone: look at its errors, change nothing by them.
``development``
    Ten colours at 16 kHz, by voices and accents of which none speaks in the other set or in the bundled words.

Written are ``WORD/SPEAKER-TAKE.wav``, mono, 16 bits, and ``metadata.jsonl``, with five folds by speaker: the voices
that are tested on are never trained on. `audiomix-recipes` reads such a folder as the data set ``manifest``. The words
are put into small noisy rooms as the bundled ones are (`synth_words`), with less distance between speech and noise.
Each clip draws from its own generator, seeded by its name: two runs give the same bytes with the same releases of the
programs.
"""

import argparse
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dsp
import make
import numpy as np
import soundfile
import synth_words
from scipy import signal
from synth_words import LENGTH, RATE, speech_of

FOLDS = 5
TAKES = 4
SNR_DB = (5.0, 25.0)
# Of a recording: pitch and tempo alike, as in Ko et al., "Audio augmentation for speech recognition", Interspeech 2015.
SPEED = (0.9, 1.1)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow")
ASTERISK = Path("/usr/share/asterisk/sounds/en/digits")
SAYTIME = Path("/usr/share/saytime")
# By kind of speaker: the program or folder it needs, and the Debian package that has it.
PACKAGES = {
    "espeak": {"espeak-ng": "espeak-ng"},
    "flite": {"flite": "flite"},
    "festival": {
        "text2wave": "festival",
        "/usr/share/festival/voices/english/ked_diphone": "festvox-kdlpc16k",
    },
    "asterisk": {str(ASTERISK): "asterisk-core-sounds-en-wav"},
    "saytime": {str(SAYTIME): "saytime"},
}


@dataclass(frozen=True)
class Speaker:
    """A voice of a program, or a person whose words were recorded."""

    name: str  # fit for a file
    kind: str  # espeak, flite, festival, asterisk or saytime
    voice: str = ""  # what the program calls it
    accent: str = ""  # of espeak-ng: its language

    @property
    def licence(self) -> tuple[str, str]:
        """The licence of the sound, and whom it is from."""
        return {
            "espeak": ("MIT", f"synthesised with espeak-ng {synth_words.espeak_version()}"),
            "flite": ("MIT", "synthesised with flite (Carnegie Mellon University; its voices are free to use)"),
            "festival": ("MIT", "synthesised with Festival's voice ked (University of Edinburgh; free to use)"),
            "asterisk": ("CC BY-SA 3.0", "Allison Smith, from asterisk-core-sounds (Digium); changed"),
            "saytime": ("free to use, with this notice", "David C Dawson, from saytime by Jef Poskanzer; changed"),
        }[self.kind]


@dataclass(frozen=True)
class WordSet:
    """What is said, by whom, and how it is written."""

    words: tuple[str, ...]
    speakers: tuple[Speaker, ...]
    rate: int  # in Hz


def _espeak(variants: str, accents: tuple[str, ...]) -> list[Speaker]:
    """Give each variant (a timbre) one accent, in turn."""
    names = variants.split()
    return [Speaker(f"espeak-{name}", "espeak", name, accents[i % len(accents)]) for i, name in enumerate(names)]


# Variants of espeak-ng that do not speak in assets/words; no variant and no accent is in both sets.
SETS = {
    "held-out": WordSet(
        DIGITS,
        (
            *_espeak(
                "Alicia Andy Denis Gene2 Hugo Lee Mario Mike Nguyen Storm adam announcer belinda boris david fast "
                "grandpa iven kaukovalta klatt6 max miguel pablo pedro rob robosoft shelby travis whisper zac",
                ("en-gb", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbcwmd"),
            ),
            Speaker("flite-awb", "flite", "awb"),
            Speaker("flite-rms", "flite", "rms"),
            Speaker("festival-ked", "festival", "ked_diphone"),
            Speaker("allison", "asterisk"),
            Speaker("dawson", "saytime"),
        ),
        8000,
    ),
    "development": WordSet(
        COLOURS,
        (
            *_espeak(
                "Andrea AnxiousAndy Diogo Henrique Jacky Marco Michael RicishayMax Tweaky anika antonio benjamin caleb "
                "ed grandma gustave john klatt5 marcelo michel norbert paul quincy robert sandro steph victor whisperf",
                ("en-us", "en-gb-scotland", "en-029", "en-gb-x-gbclan"),
            ),
            Speaker("flite-slt", "flite", "slt"),
            Speaker("flite-kal", "flite", "kal16"),
        ),
        16000,
    ),
}


@functools.lru_cache(maxsize=512)
def record(word: str, speaker: Speaker) -> dsp.Audio:
    """Return a word at RATE, without the silence around it, from a speaker who always says it alike."""
    if speaker.kind in ("asterisk", "saytime"):
        folder, suffix = (ASTERISK, ".wav") if speaker.kind == "asterisk" else (SAYTIME, ".au")
        return speech_of(*soundfile.read(folder / f"{DIGITS.index(word)}{suffix}", dtype="float64"))
    with tempfile.TemporaryDirectory() as folder:  # the header of what they pipe does not say how long it is
        path = Path(folder) / "word.wav"
        program = ["flite", "-voice", speaker.voice, "-t", word, "-o"]
        if speaker.kind == "festival":
            program = ["text2wave", "-eval", f"(voice_{speaker.voice})", "-o"]
        subprocess.run([*program, str(path)], input=word.encode(), capture_output=True, check=True)
        return speech_of(*soundfile.read(path, dtype="float64"))


def speak(word: str, speaker: Speaker, rng: np.random.Generator) -> dsp.Audio:
    """Have a speaker say a word, at a pitch and tempo that are drawn."""
    if speaker.kind == "espeak":
        pitch, speed = int(rng.integers(25, 76)), int(rng.integers(140, 221))
        return synth_words.speak(word, synth_words.Speaker(speaker.accent, speaker.voice, 0), pitch, speed)
    # resampled by a ratio of whole numbers
    return signal.resample_poly(record(word, speaker), 100, round(100 * rng.uniform(*SPEED)))


def clip(word: str, speaker: Speaker, rng: np.random.Generator) -> tuple[dsp.Audio, float]:
    """Return one second with the word somewhere in it, and the distance from speech to noise in dB.

    A word that takes longer is cut at its end.
    """
    return synth_words.place(speak(word, speaker, rng)[:LENGTH], rng, SNR_DB)


def make_set(chosen: WordSet, out: Path) -> Iterator[make.Row]:
    """Write the clips of a set; yield their metadata."""
    for number, speaker in enumerate(chosen.speakers):
        licence, attribution = speaker.licence
        for word in chosen.words:
            for take in range(TAKES):
                name = f"{word}/{speaker.name}-{take}.wav"
                audio, snr = clip(word, speaker, dsp.item_rng(f"speech/{name}"))
                if chosen.rate != RATE:
                    audio = signal.resample_poly(audio, chosen.rate, RATE)
                path = out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, dsp.to_int16(audio), chosen.rate, subtype="PCM_16")
                yield {
                    "file_name": name,
                    "label": word,
                    "fold": number % FOLDS + 1,
                    "group": speaker.name,
                    "licence": licence,
                    "attribution": attribution,
                    "snr_db": snr,
                }


def missing_packages(chosen: WordSet) -> list[str]:
    """Return the Debian packages of the programs and sounds that a set needs and that are not there."""
    needed = {part: name for speaker in chosen.speakers for part, name in PACKAGES[speaker.kind].items()}
    return sorted(name for part, name in needed.items() if not (Path(part).exists() or shutil.which(part)))


def main() -> int:
    """Make one of the sets, and say how much there is."""
    parser = argparse.ArgumentParser(description="Make a folder of spoken words outside the repository.")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--set", choices=sorted(SETS), required=True, help="digits (held-out) or colours (development)")
    given = parser.parse_args()
    out, chosen = given.out.resolve(), SETS[given.set]
    if Path(__file__).resolve().parents[1] in out.parents:
        parser.error(f"OUT must be outside the repository, got {out}: the sounds are not to be committed")
    if out.exists():
        parser.error(f"OUT must be a new folder, got {out}: it is there already")
    if missing := missing_packages(chosen):
        parser.error(f"some voices are not installed; on Debian: apt-get install {' '.join(missing)}")
    part = out.with_name(f"{out.name}.part")  # OUT is there when it is whole
    shutil.rmtree(part, ignore_errors=True)
    lines = [json.dumps(row) + "\n" for row in make_set(chosen, part)]
    (part / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    part.rename(out)
    print(f"{out}: {len(lines)} clips, {len(chosen.words)} words, {len(chosen.speakers)} speakers, {chosen.rate} Hz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
