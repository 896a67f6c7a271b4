"""Musical keys: reading their names, which ones go together, and which one a sound is in.

A key is a string, a pitch class and a mode: ``A minor``. Each pitch class has one spelling, the same in both modes: the
one whose two signatures together have fewer accidentals. C, C#, D, Eb, E, F, F#, G, Ab, A, Bb, B: Db major reads
``C# major``.
"""

import re
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio.io import Clip, resample
from ..numba_cache import compile_alone
from .sound import one_channel

__all__ = ["KEYS", "are_compatible", "distance", "estimate", "parse", "shift_to", "transpose"]

_PITCHES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{pitch} {mode}" for mode in ("major", "minor") for pitch in _PITCHES)
_NATURAL = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11)))
_ACCIDENTAL = {"": 0, "#": 1, "sharp": 1, "b": -1, "flat": -1}
_MODES = {"": "major", "maj": "major", "major": "major", "m": "minor", "min": "minor", "minor": "minor"}
_NAME = re.compile(r"([A-Ga-g])\s*(#|b|sharp|flat|)\s*([A-Za-z]*)")
_WHEEL = re.compile(r"(\d{1,2})\s*([ABabdm])")
_FORMS = "a key such as 'A minor', 'Am', 'F# major', '8A' (Camelot) or '1m' (OpenKey)"

# How well each pitch class fits a key, from the tonic up (probe tones; Krumhansl and Kessler 1982)
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_RATE = 22050
_HOP = 2048
# Seconds. Of 60 brown noises of 1 s, 4 were taken for a key; of 60 each of 2 s and of 4 s none.
_SHORTEST = 2.0
# Deviation of the mean chroma relative to its mean. Of 60 white noises none exceeded 0.08, of 60 pink ones 0.20, though
# they correlate with some key by up to 0.90. Cadences had 0.65 and more, and 0.39 in white noise of their own power.
_CONTRAST = 0.25
# Correlation with the best key: cadences had 0.82 and more, brown noise above that contrast 0.58 at most.
_LOWEST = 0.6
# How far the second best key must lie below the best: a single tone fits two keys alike (0.00), cadences had 0.035.
_MARGIN = 0.02


def parse(text: str) -> str:
    """Return the canonical name of a key.

    Parameters
    ----------
    text : str
        A name (``Am``, ``a minor``, ``A:min``, ``Cmaj``, ``C``, ``F♯m``, ``B-flat major``), Camelot (``8A`` minor,
        ``8B`` major) or OpenKey (``1m`` minor, ``1d`` major). ``M`` is major, ``m`` minor; without a mode it is major.

    Raises
    ------
    TypeError, ValueError
        Not a key; a near slip is named. A lower case letter alone is refused: to some it is minor.

    Examples
    --------
    >>> parse("F♯m"), parse("8A"), parse("Db")
    ('F# minor', 'A minor', 'C# major')
    """
    if not isinstance(text, str):
        check.fail("key", _FORMS, repr(text), error=TypeError)
    plain = re.sub(r"[\s:_-]+", " ", text.replace("♯", "#").replace("♭", "b")).strip()
    wheel = _WHEEL.fullmatch(plain)
    if wheel and 1 <= int(wheel[1]) <= 12:
        return _on_wheel(int(wheel[1]), wheel[2])
    name = _NAME.fullmatch(plain)
    mode = None if name is None else _MODES.get("maj" if name[3] == "M" else name[3].lower())
    if name is None or mode is None or (name[1].islower() and not name[3]):
        check.fail("key", _FORMS, repr(text), _slip(plain))
    return _name(_NATURAL[name[1].upper()] + _ACCIDENTAL[name[2]], mode)


def _on_wheel(number: int, letter: str) -> str:
    """Return the key of a DJ's wheel: C major is 8B in Camelot and 1d in OpenKey, and each step up is a fifth."""
    fifths = number - (8 if letter in "ABab" else 1)
    minor = letter in "Aam"
    return _name(7 * fifths - 3 * minor, "minor" if minor else "major")


def _slip(text: str) -> str:
    """Say what was probably meant."""
    if re.match(r"\d+\s*[ABabdmDM]$", text):
        number = int(re.match(r"\d+", text)[0])  # type: ignore[index]
        return "wheels have the numbers 1 to 12" if not 1 <= number <= 12 else "OpenKey has a lower case d or m"
    if re.match(r"[Hh]\b|[Hh]m", text):
        return "the German H is B"
    if re.fullmatch(r"[a-g]\s*(#|b|)", text):
        return f"did you mean '{text.capitalize()} major' or '{text.capitalize()} minor'?"
    name = re.match(r"([A-Ga-g])\s*(#|b|)\s*(\w*)", text)
    near = get_close_matches(name[3].lower(), ["major", "minor"], n=1, cutoff=0.5) if name else []
    if name and near:
        return f"did you mean '{name[1].upper()}{name[2]} {near[0]}'?"
    return "only major and minor keys are known" if name and name[3] else ""


def _name(pitch: int, mode: str) -> str:
    return f"{_PITCHES[pitch % 12]} {mode}"


def _numbers(key: str) -> tuple[int, str]:
    pitch, mode = parse(key).split()
    return _PITCHES.index(pitch), mode


def _signature(key: str) -> int:
    """Return the pitch class of the major key with the same signature: a minor key's relative is 3 semitones up."""
    pitch, mode = _numbers(key)
    return (pitch + 3 * (mode == "minor")) % 12


def distance(a: str, b: str) -> int:
    """Return the steps between two keys' signatures on the circle of fifths, 0 to 6.

    A major key and its relative minor have one signature, so they are 0 apart.

    Parameters
    ----------
    a, b : str
        Anything `parse` reads.

    Examples
    --------
    >>> distance("C major", "A minor"), distance("C", "G"), distance("C", "F#")
    (0, 1, 6)
    """
    steps = 7 * (_signature(b) - _signature(a)) % 12  # a fifth is 7 semitones, and 7 * 7 = 1 (mod 12)
    return min(steps, 12 - steps)


def are_compatible(a: str, b: str) -> bool:
    """Return whether two keys go together: the same, relatives, or neighbours on the circle of fifths.

    The rule of DJ software, e.g. Mixxx's getCompatibleKeys. At most one note of the two scales differs.

    Parameters
    ----------
    a, b : str
        Anything `parse` reads.

    Examples
    --------
    >>> are_compatible("A minor", "C major"), are_compatible("C major", "D minor"), are_compatible("C", "D")
    (True, True, False)
    """
    return distance(a, b) <= 1


def shift_to(a: str, b: str) -> int:
    """Return the smallest pitch shift of `b`, in semitones, that makes it compatible with `a`; always within -2..2.

    Where x is the shift to the same signature, x, x + 5 and x - 5 (mod 12) are those to a compatible one, so that one
    of them is at most 2 semitones away for each x. Two are equally small only for opposite signatures (x = 6: 1 and
    -1); up is taken then. 0 where they are compatible already.

    Parameters
    ----------
    a : str
        Key of the sound that stays; anything `parse` reads.
    b : str
        Key of its partner, which is shifted.

    Examples
    --------
    >>> shift_to("B major", "C major"), shift_to("C major", "A minor"), shift_to("C", "F#")
    (-1, 0, 1)
    """
    return next(shift for shift in (0, 1, -1, 2, -2) if are_compatible(a, transpose(b, shift)))


def transpose(key: str, semitones: int) -> str:
    """Return the key of a sound in `key` that is shifted in pitch.

    Parameters
    ----------
    key : str
        Anything `parse` reads.
    semitones : int
        Upwards where positive.

    Examples
    --------
    >>> transpose("C major", -1), transpose("C major", 11), transpose("A minor", 3)
    ('B major', 'B major', 'C minor')
    """
    pitch, mode = _numbers(key)
    return _name(pitch + check.integer("semitones", semitones), mode)


def estimate(samples: Tensor | np.ndarray, rate: int) -> tuple[str | None, float]:
    """Estimate the key of a sound.

    The mean chroma (librosa's CENS, tuning estimated) is correlated with the probe-tone profiles of all 24 keys
    (Krumhansl and Schmuckler's method); the highest correlation r wins. On synthesised four-chord cadences in all 24
    keys, in seven kinds (timbre, octave, 30 cents out of tune, noise of the same power, sampling rate), all 168 keys
    were right: tests/beats/test_key.py. It was not measured on real music, where relative, parallel and neighbouring
    keys are what such methods confuse.

    Parameters
    ----------
    samples : Tensor or array, shape (C, T) or (T,)
        The sound; channels are averaged.
    rate : int
        Its sampling rate in Hz.

    Returns
    -------
    key : str or None
        None where there is none to be heard: silence, less than 2 s, a chroma that is flat (noise, drums: deviation
        below 0.25 of the mean), r below 0.6, or a second best key within 0.02 of the best (a single tone).
    confidence : float
        r, in [0.6, 1]; 0 where the key is None. It is no probability.

    Raises
    ------
    TypeError, ValueError
        Samples that are not one sound, or a rate that is not one in Hz.

    Examples
    --------
    >>> estimate(torch.zeros(1, 44100), 22050)
    (None, 0.0)
    """
    rate = check.rate("rate", rate)
    wave = _mono(samples)
    if wave.shape[-1] < _SHORTEST * rate or not bool(wave.any()):
        return None, 0.0
    chroma = _chroma(resample(Clip(wave, rate), _RATE).samples[0].numpy())
    r = _correlations(chroma)
    second, best = np.sort(r)[-2:]
    if chroma.std() < _CONTRAST * chroma.mean() or best < _LOWEST or best - second < _MARGIN:
        return None, 0.0
    return KEYS[int(r.argmax())], min(1.0, float(best))


def _mono(samples: Any) -> Tensor:
    """Return (1, T) float32 samples, their peak at 1; zeros for silence."""
    wave = torch.as_tensor(samples) if isinstance(samples, np.ndarray) else samples
    wave = check.finite("samples", check.floating("samples", wave)).detach().cpu().float()
    if wave.ndim not in (1, 2) or not wave.numel():
        check.fail("samples", "one sound, of shape (C, T) or (T,)", f"shape {tuple(wave.shape)}")
    return one_channel(wave)


def _chroma(wave: np.ndarray) -> np.ndarray:
    """Return the mean chroma (12,), from C up."""
    import librosa

    with compile_alone("key"), warnings.catch_warnings():
        # of windows longer than a short sound, and of no peak for the tuning of a noise
        warnings.simplefilter("ignore", UserWarning)
        # in bins, thirds of a semitone: left to itself librosa finds no more than half a bin, and of 24 cadences that
        # are 0.3 semitones flat 22 were wrong
        tuning = 3 * librosa.estimate_tuning(y=wave, sr=_RATE)
        return librosa.feature.chroma_cens(y=wave, sr=_RATE, hop_length=_HOP, tuning=tuning).mean(1).astype(np.float64)


def _correlations(chroma: np.ndarray) -> np.ndarray:
    """Return Pearson's r of a chroma with the profile of each key, in the order of `KEYS`; 0 for a flat one."""
    profiles = np.array([np.roll(_unit(profile), pitch) for profile in (_MAJOR, _MINOR) for pitch in range(12)])
    return profiles @ _unit(chroma)


def _unit(values: Iterable[float]) -> np.ndarray:
    centred = np.asarray(values) - np.mean(np.asarray(values))
    length = float(np.linalg.norm(centred))
    return centred / length if length > 0 else centred
