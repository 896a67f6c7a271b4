"""Clips that tell how far a tracker can be trusted: music with known beats, and sounds that have none.

`clips` gives real loops (tiled, their start, tempo and level varied), songs of `songs.py`, all of ESC-10, speech and
recorded noises of Speech Commands. `source` is the recording, loop or song that a clip was made of: clips of one source
are never on both sides of a split.
"""

import csv
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from songs import RATE, song
from trackers import DATA, LOOPS

from audiomix import BeatGrid
from audiomix.audio import io

# Classes of ESC-10 that nobody may take for music.
NEVER = ("rain", "sea_waves", "crying_baby", "clock_tick")


@dataclass(frozen=True)
class Sample:
    """A clip: samples (C, T) at `rate`, beat times in seconds or None where it has none, and where it comes from."""

    name: str
    kind: str
    source: str
    samples: torch.Tensor | None
    rate: int
    beats: np.ndarray | None
    seconds: float
    few: bool = False  # whether slow trackers run on it too

    @property
    def held(self):
        """Whether it is for the check, not for the fit: decided by its source."""
        return hashlib.blake2b(self.source.encode(), digest_size=2).digest()[0] % 2 == 1


@dataclass(frozen=True)
class Found:
    """What a tracker found in a clip, and what its confidence is estimated from; None with fewer than four beats."""

    tracker: str
    clip: Sample
    grid: BeatGrid
    evidence: np.ndarray | None

    @property
    def right(self):
        """Whether the beats are right."""
        return right(self.grid.array, self.clip.beats)


def loops(each):
    """Each real loop, tiled: cut anywhere, up to 12 % faster or slower, in noise or not, at some level."""
    for index, (name, count) in enumerate(LOOPS.items()):
        clip = io.read(DATA / "loops" / f"loop_{name}.flac", channels=1)
        for take in range(each):
            rng = np.random.default_rng([index, take, 3])
            seconds, speed = rng.uniform(6, 12), rng.uniform(0.89, 1.12)
            one = io.resample(io.Clip(clip.samples, round(clip.rate * speed)), RATE).samples[0].numpy()
            beat = len(one) / count / RATE
            start = rng.uniform(0, len(one) / RATE)
            first, size = round(start * RATE), round(seconds * RATE)
            piece = np.tile(one, int(np.ceil((first + size) / len(one))))[first : first + size].astype(np.float64)
            noise = rng.standard_normal(size) * np.sqrt(np.mean(piece**2)) * 10 ** (-rng.uniform(5, 60) / 20)
            piece = (piece + noise) * 10 ** (rng.uniform(-40, 0) / 20)
            beats = np.arange(0, start + seconds, beat) - start
            samples = torch.from_numpy(piece.astype(np.float32))[None]
            yield Sample(f"{name} {take}", "loop", f"loop {name}", samples, RATE, beats[beats >= 0], seconds, take < 2)


def songs(count):
    """Synthetic songs."""
    for seed in range(count):
        samples, beats, parts = song(seed)
        kind = "song with drums" if "drums" in parts or "soft drums" in parts else "song without drums"
        yield Sample(
            f"song {seed}",
            kind,
            f"song {seed}",
            torch.from_numpy(samples),
            RATE,
            beats,
            samples.shape[1] / RATE,
            seed < 48,
        )


def esc10(each=40):
    """Clips of ESC-10 by class, as they are."""
    seen = {}
    with open(DATA / "esc10" / "meta" / "esc50.csv") as file:
        for row in csv.DictReader(file):
            kind = row["category"]
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] > (40 if kind in NEVER else each):
                continue
            clip = io.read((DATA / "esc10" / "audio" / row["filename"]).with_suffix(".ogg"), channels=1)
            few = seen[kind] <= (7 if kind in NEVER else 1)
            yield Sample(
                row["filename"], kind, f"esc {row['src_file']}", clip.samples, clip.rate, None, clip.seconds, few
            )


def speech(count):
    """Words of one speaker, one after another."""
    by_speaker = {}
    for path in sorted((DATA / "speech_commands").glob("[!_]*/*.wav")):
        by_speaker.setdefault(path.name.split("_")[0], []).append(path)
    enough = [paths for _, paths in sorted(by_speaker.items()) if len(paths) >= 5]
    for paths in enough[:count]:
        words = [io.read(path, channels=1) for path in paths[:8]]
        samples = torch.cat([word.samples for word in words], 1)
        yield Sample(
            paths[0].name,
            "speech",
            f"speaker {paths[0].name[:8]}",
            samples,
            words[0].rate,
            None,
            samples.shape[1] / words[0].rate,
        )


def noises(each):
    """Crops of the six recorded noises."""
    for path in sorted((DATA / "speech_commands" / "_background_noise_").glob("*.wav")):
        clip = io.read(path, channels=1)
        for take in range(each):
            first = round((3 + 9 * take) * clip.rate)
            samples = clip.samples[:, first : first + 8 * clip.rate]
            yield Sample(
                f"{path.stem} {take}",
                "recorded noise",
                f"noise {path.stem}",
                samples,
                clip.rate,
                None,
                samples.shape[1] / clip.rate,
            )


def clips(quick=False):
    """All of them; a few of each with `quick`."""
    yield from loops(2 if quick else 5)
    yield from songs(40 if quick else 130)
    yield from esc10(4 if quick else 8)
    yield from speech(10 if quick else 24)
    yield from noises(1 if quick else 3)


def right(found, beats, within=0.035):
    """Whether found beats are right for mixing: half and double tempo and the off-beat included.

    Nine in ten found beats lie `within` of a beat or half-beat, and nine in ten beats between the first and the last
    found one lie within of a found beat or half-beat.
    """
    if beats is None or len(found) < 4 or len(beats) < 2:
        return False
    return share_near(found, beats, within) >= 0.9 and share_near(beats, found, within) >= 0.9


def share_near(times, grid, within):
    """The share of times, of those between the first and the last beat, that lie on a beat or half-beat; 0 of none."""
    halves = np.sort(np.concatenate([grid, grid[:-1] + np.diff(grid) / 2]))
    inside = times[(times >= halves[0] - within) & (times <= halves[-1] + within)]
    if not len(inside):
        return 0.0
    return float(np.mean(np.abs(inside[:, None] - halves[None]).min(1) <= within))
