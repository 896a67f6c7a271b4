"""Draw a picture of every mixer: ``python assets/gallery.py [OUT] [--only NAME ...] [--sounds]``.

Each shows two of the bundled sounds and their mix, as waves and as spectrograms where the mixer takes both: what
`audiomix mix --picture` draws, in few colours. A new file in ``audiomix/mixers`` is drawn by itself, with its defaults;
`MODES` has options, `SOUNDS` sounds where others show more. Nothing depends on the time or on the machine but for the
rounding of its arithmetic, so that one release of matplotlib and Pillow gives the same picture. With ``--sounds`` each
mix of waves is also written beside its picture, as a FLAC file; of spectrograms and embeddings there is no sound.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from audiomix import BeatGrid, mixers
from audiomix.audio.io import Clip, read, write
from audiomix.report.mix_figure import mix_picture
from audiomix.report.mix_scene import DOMAINS, mix_features, mix_stems, mix_waves, shows_both
from audiomix.terminal import run_script

ASSETS = Path(__file__).parent
COLOURS, DPI = 32, 76
# Sounds that differ in time and in frequency.
OWN, PARTNER = "sounds/siren.flac", "sounds/dog_bark.flac"
RATE = 16000
# Seconds of each that are shown; of music more.
SECONDS, MUSIC_SECONDS = 3.0, 8.0
# Of the draws the first one is shown in which the original has about half of the label, so that both are seen.
SHARE, MOST_DRAWS = (0.45, 0.7), 60


def same(x):
    """Return what it gets: an autoencoder that changes nothing."""
    return x


# Of a mixer, by domain: its options.
MODES = {
    "attentive_mix": {"wave": {}, "spectrogram": {"cells": (7, 7)}},
    "beat": {"wave": {"stretch": "varispeed", "min_bars": 1}},
    "caption": {"wave": {"placement": "sequence"}},
    "cutmix": {"wave": {"fade": 0.02}, "spectrogram": {"kind": "box"}},
    "fmix": {"wave": {}, "spectrogram": {"kind": "time_freq"}},
    "grid_mix": {"wave": {}, "spectrogram": {"kind": "time_freq"}},
    "latent_beat": {"wave": {"encode": same, "decode": same, "rate": 24000, "min_bars": 1}},
    "mixup": {"wave": {}, "spectrogram": {}},
    "patch_mix": {"wave": {}, "spectrogram": {"kind": "time_freq"}},
    "puzzle_mix": {"wave": {}, "spectrogram": {"cells": (8, 10)}},
    "resize_mix": {"wave": {}, "spectrogram": {"domain": "spectrogram"}},
    "saliency_mix": {"wave": {}, "spectrogram": {"kind": "box"}},
    "self_mix": {"wave": {"mode": "swap"}, "spectrogram": {"mode": "swap"}},
    "smooth_mix": {"wave": {}, "spectrogram": {"kind": "time_freq"}},
    "speaker_mix": {"wave": {"speakers": 2, "turns": 1}},
    "stream": {"stream": {"mode": "span", "ratio": 0.5, "rate": 100.0}},
}
# Sounds of their own: loops with beats, spoken words, and two songs of two stems each.
SOUNDS = {
    "beat": ("loops/rock_120.flac", "loops/house_128.flac"),
    "latent_beat": ("loops/rock_120.flac", "loops/house_128.flac"),
    "speaker_mix": ("words/yes/en-029_Annie.flac", "words/stop/en-gb-scotland_croak.flac"),
    "speech_noise": ("words/stop/en-029_Annie.flac", "sounds/rain.flac"),
}
_NOISY = ("sounds/siren.flac", "sounds/rain.flac")
SOUNDS |= {"freq_mix_style": _NOISY, "mix_style": _NOISY}
STEMS = (("sounds/siren.flac", "sounds/rain.flac"), ("sounds/birds.flac", "sounds/dog_bark.flac"))


def modes_of(name):
    """Return the options of a mixer, by domain: a picture has a row, or two, for each."""
    if name in MODES:
        return MODES[name]
    domain = mixers.make(name, rate=RATE).needs.domain
    return {one: {} for one in DOMAINS if one in domain and one != "embedding"} or {"embedding": {}}


def draw(name, folder, *, sounds=False):
    """Draw one mixer, and write its sound where that is asked for; return the files."""
    files = SOUNDS.get(name, (OWN, PARTNER))
    modes = modes_of(name)
    scenes = [one for domain in DOMAINS if domain in modes for one in first_even(name, domain, modes[domain], files)]
    file = folder / f"{name}.png"
    names = tuple(Path(path).stem.replace("_", " ") for path in files)
    if name == "stem_remix":
        names = ("a song", "another song")
    mix_picture(file, scenes, names=names, title=mixers.get(name).__name__, dpi=DPI)
    with Image.open(file) as drawn:
        image = drawn.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(file, optimize=True)
    waves = [scene for scene in scenes if scene.domain == "wave"]
    if not sounds or not waves:
        return [file]
    mixed = sum(scene.mixed for scene in waves)  # stems sum to their mix
    write(file.with_suffix(".flac"), Clip(mixed / max(1.0, float(mixed.abs().max())), round(waves[0].rate)))
    return [file, file.with_suffix(".flac")]


def first_even(name, domain, options, sounds):
    """Return the scenes of the first draw in which both have a share, or where labels are kept both sounds."""
    for seed in range(MOST_DRAWS):
        scenes = scenes_of(name, domain, options, sounds, seed)
        share = float(scenes[0].plan.weight[0])
        if SHARE[0] <= share <= SHARE[1] or (share == 1 and not any(scenes[0].plan.why) and shows_both(scenes)):
            break
    return scenes


def scenes_of(name, domain, options, sounds, seed):
    """Mix two sounds in one domain; return the scenes."""
    own, partner = load(sounds[0]), load(sounds[1])
    mixer = mixers.get(name)(**options) if "rate" in options else mixers.make(name, rate=own.rate, **options)
    if domain == "stems":
        return mix_stems(mixer, *([load(path) for path in song] for song in STEMS), seed=seed)
    if domain != "wave":
        return [mix_features(mixer, own, partner, domain, seed=seed)]
    notes = {}
    if "beats" in mixer.needs.notes:
        notes = {key: [beats(path)] for key, path in zip(("beats", "other_beats"), sounds)}
    if "captions" in mixer.needs.notes:
        notes = {"captions": ["a siren wails"], "other_captions": ["a dog barks"]}
    return [mix_waves(mixer, own, partner, seed=seed, **notes)]


def load(path):
    """Return the first seconds of a bundled sound."""
    clip = read(ASSETS / path)
    return Clip(clip.samples[:, : round(seconds_of(path) * clip.rate)], clip.rate)


def seconds_of(path):
    """Return how many seconds of a sound are shown."""
    return MUSIC_SECONDS if path.startswith("loops/") else SECONDS


def beats(path):
    """Return the beats of a bundled loop, in the seconds that are shown."""
    return BeatGrid.read((ASSETS / path).with_suffix(".beats")).between(0, seconds_of(path))


def main():
    """Draw all."""
    parser = argparse.ArgumentParser(description="Draw the gallery of the mixers.")
    parser.add_argument("out", nargs="?", type=Path, default=ASSETS / "pictures" / "mixers", help="folder to write to")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=mixers.available(), help="these mixers alone")
    parser.add_argument("--sounds", action="store_true", help="write the mixes of waves too, as FLAC files")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only or mixers.available():
        for file in draw(name, given.out, sounds=given.sounds):
            print(f"{file}: {file.stat().st_size / 1024:.1f} KiB")


if __name__ == "__main__":
    sys.exit(run_script(main))
