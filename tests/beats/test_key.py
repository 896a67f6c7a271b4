"""Names of keys, the circle of fifths by brute force, and keys heard in cadences whose key is known."""

import itertools

import numpy as np
import pytest
import torch
from sounds import ROOT

from audiomix.audio import io
from audiomix.beats.key import KEYS, are_compatible, distance, estimate, parse, shift_to, transpose

# What a musician knows by heart: the circle of fifths, clockwise from C, each with its relative minor
CIRCLE = [
    ("C", "A"), ("G", "E"), ("D", "B"), ("A", "F#"), ("E", "C#"), ("B", "Ab"),
    ("F#", "Eb"), ("C#", "Bb"), ("Ab", "F"), ("Eb", "C"), ("Bb", "G"), ("F", "D"),
]  # fmt: skip
PLACE = {f"{major} major": i for i, (major, _) in enumerate(CIRCLE)}
PLACE |= {f"{minor} minor": i for i, (_, minor) in enumerate(CIRCLE)}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", "A minor"), ("a minor", "A minor"), ("A min", "A minor"), ("A:min", "A minor"), ("A MINOR", "A minor"),
        ("Cmaj", "C major"), ("C", "C major"), ("CM", "C major"), ("C_major", "C major"), ("  C  ", "C major"),
        ("Db major", "C# major"), ("D♭", "C# major"), ("F♯m", "F# minor"), ("Gb minor", "F# minor"),
        ("B", "B major"), ("Bb", "Bb major"), ("bbm", "Bb minor"), ("bm", "B minor"), ("A# maj", "Bb major"),
        ("B-flat major", "Bb major"), ("F sharp minor", "F# minor"), ("Cb", "B major"), ("E#m", "F minor"),
        ("8A", "A minor"), ("8b", "C major"), ("08A", "A minor"), ("1m", "A minor"), ("1d", "C major"),
        ("12A", "C# minor"), ("1A", "Ab minor"), ("12d", "F major"), ("2m", "E minor"),
    ],
)  # fmt: skip
def test_every_spelling_is_one_key(text, key):
    assert parse(text) == key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C mjaor", "did you mean 'C major'"), ("a minr", "did you mean 'A minor'"), ("H minor", "the German H is B"),
        ("Hm", "the German H is B"), ("a", "'A major' or 'A minor'"), ("bb", "'Bb major' or 'Bb minor'"),
        ("13A", "numbers 1 to 12"), ("0d", "numbers 1 to 12"), ("1M", "lower case d or m"), ("8C", "Camelot"),
        ("D dorian", "only major and minor"), ("", "got ''"), ("X", "got 'X'"), ("A minor!", "got 'A minor!'"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_by_name(text, said):
    with pytest.raises(ValueError, match="key must be a key such as 'A minor'") as error:
        parse(text)
    assert said in str(error.value)


def test_a_key_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="got None"):
        parse(None)


def test_wheels_name_all_keys_once_and_agree():
    """Camelot's number is OpenKey's - 5 (mod 12), as Mixxx has it."""
    camelot = {f"{n}{letter}": parse(f"{n}{letter}") for n in range(1, 13) for letter in "AB"}
    assert sorted(camelot.values()) == sorted(KEYS)
    for n in range(1, 13):
        assert parse(f"{n}d") == camelot[f"{(n - 5 - 1) % 12 + 1}B"]
        assert parse(f"{n}m") == camelot[f"{(n - 5 - 1) % 12 + 1}A"]


def test_every_key_reads_itself():
    assert len(set(KEYS)) == 24
    assert [parse(key) for key in KEYS] == list(KEYS)


def test_distance_compatibility_and_shift_of_every_pair():
    """The shift is the smallest that gives a compatible key; a tie, between opposite keys, goes up."""
    for a, b in itertools.product(KEYS, KEYS):
        apart = abs(PLACE[a] - PLACE[b])
        assert distance(a, b) == distance(b, a) == min(apart, 12 - apart)
        assert are_compatible(a, b) == (apart in (0, 1, 11))
        reaching = [s for s in range(-11, 12) if are_compatible(a, transpose(b, s))]
        shift = shift_to(a, b)
        assert shift in reaching
        assert abs(shift) == min(map(abs, reaching)) <= 2
        if distance(a, b) == 6:
            assert {-1, 1} <= set(reaching)
            assert shift == 1
        else:
            assert -shift not in reaching or shift == 0
            assert shift_to(b, a) == -shift


def test_pitch_shifts_are_wrapped():
    """Known bug elsewhere: C to B as +11 semitones instead of -1."""
    assert shift_to("B", "C") == -1
    assert shift_to("C", "B") == 1
    for key in KEYS:
        assert transpose(key, 11) == transpose(key, -1)
        assert transpose(key, 12) == transpose(key, 0) == transpose(key, -24) == key
        assert transpose(transpose(key, 7), -7) == key


def test_the_relative_of_a_minor_is_c_major():
    """Known bug elsewhere: -3 instead of +3, which makes it F# major."""
    assert distance("A minor", "C major") == 0
    assert distance("A minor", "F# major") == 6
    for key in KEYS[12:]:
        assert distance(key, transpose(key, 3).replace("minor", "major")) == 0


@pytest.mark.parametrize("semitones", [1.5, True, "1", None])
def test_half_a_semitone_is_refused(semitones):
    with pytest.raises(TypeError, match="semitones"):
        transpose("C", semitones)


def tone(midi, rate, partials, roll):
    t = np.arange(rate // 2) / rate
    pitch = 440 * 2 ** ((midi - 69) / 12)
    audible = [k for k in range(partials) if pitch * (k + 1) < rate / 2]
    return np.exp(-2 * t) * sum(roll**k * np.sin(2 * np.pi * pitch * (k + 1) * t) for k in audible)


def cadence(key, rate=22050, octave=48.0, partials=6, roll=0.6, noise=0.0):
    """I-IV-V-I, in minor i-iv-V-i with the raised leading note: half a second each, with a bass."""
    tonic, minor = KEYS.index(key) % 12 + octave, key.endswith("minor")
    first = (0, 3 if minor else 4, 7)
    chords = [first, (5, 8 if minor else 9, 12), (7, 11, 14), first]
    sounds = [
        sum(tone(tonic + n, rate, partials, roll) for n in (*chord, chord[0] - 12)) for chord in chords
    ]  # fmt: skip
    wave = np.concatenate(sounds)
    hiss = np.random.default_rng(KEYS.index(key)).standard_normal(len(wave))
    return torch.from_numpy(wave + noise * wave.std() * hiss).float()[None]


@pytest.mark.parametrize(
    "how",
    [
        {},
        *(pytest.param(how, marks=pytest.mark.slow) for how in (
            {"partials": 12, "roll": 0.85}, {"octave": 36.0}, {"octave": 60.3, "noise": 0.3}, {"noise": 1.0},
            {"rate": 8000}, {"rate": 44100, "octave": 47.7},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_cadences_in_all_keys_are_heard(how):
    heard = [estimate(cadence(key, **how), how.get("rate", 22050)) for key in KEYS]
    assert [key for key, _ in heard] == list(KEYS)
    assert all(0.6 <= confidence <= 1 for _, confidence in heard)


def test_shape_level_and_container_do_not_matter():
    mono = cadence("Eb minor")
    expected = estimate(mono, 22050)
    assert expected[0] == "Eb minor"
    kept = mono.clone()
    for same in (mono[0], mono.repeat(2, 1), mono[0].numpy(), mono.double()):
        assert estimate(same, 22050) == pytest.approx(expected)
    assert estimate(mono * 1e-4, 22050)[0] == "Eb minor"
    assert torch.equal(mono, kept)


def noise(kind, seed, seconds):
    white = np.random.default_rng(seed).standard_normal(22050 * seconds)
    if kind == "brown":
        white = np.cumsum(white)
        white -= white.mean()
    if kind == "pink":
        spectrum = np.fft.rfft(white)
        white = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))
    return torch.from_numpy(white / np.abs(white).max()).float()


@pytest.mark.parametrize("kind", ["white", "pink", "brown"])
@pytest.mark.parametrize("seconds", [2, 5])
def test_noise_has_no_key(kind, seconds):
    for seed in range(5):
        assert estimate(noise(kind, seed, seconds), 22050) == (None, 0.0)


@pytest.mark.parametrize("loop", sorted((ROOT / "assets" / "loops").glob("*.flac")), ids=lambda p: p.stem)
def test_drum_loops_have_no_key(loop):
    clip = io.read(loop)
    assert estimate(clip.samples, clip.rate) == (None, 0.0)


def test_silence_a_click_and_a_single_tone_have_no_key():
    click = torch.zeros(44100)
    click[20000] = 1
    a440 = torch.sin(2 * torch.pi * 440 * torch.arange(66150) / 22050)
    for sound in (torch.zeros(2, 44100), torch.full((44100,), 1e-7), click, a440, cadence("C major")[:, :44000]):
        assert estimate(sound, 22050) == (None, 0.0)


@pytest.mark.parametrize(
    ("samples", "rate", "error", "said"),
    [
        (torch.zeros(1, 1, 99), 22050, ValueError, "of shape (C, T)"),
        (torch.zeros(0), 22050, ValueError, "of shape (C, T)"),
        (torch.tensor([0.0, float("nan")]), 22050, ValueError, "finite"),
        (torch.zeros(99, dtype=torch.int16), 22050, TypeError, "16 bit"),
        ([0.0, 1.0], 22050, TypeError, "a torch.Tensor"),
        (torch.zeros(99), 22.05, ValueError, "did you mean 22050"),
    ],
    ids=str,
)
def test_what_is_no_sound_is_refused(samples, rate, error, said):
    with pytest.raises(error) as caught:
        estimate(samples, rate)
    assert said in str(caught.value)
