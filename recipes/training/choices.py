"""What a preset leaves open is chosen from facts of the data: once, before training, and never from a label's value.

The facts are the same for all methods, folds and seeds: the files' rate, how long a sound lasts in a clip, how many
clips there are to train on. They are measured on all clips that can be read; the held-out ones among them give no label
away. A field that the user gave is never changed. See `choose` for the rules.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from audiomix import check

from .config import Config, count_samples, list_open, parse_amount, parse_validation

__all__ = [
    "Budget",
    "Choice",
    "Facts",
    "choose",
    "choose_rate",
    "count_amounts",
    "count_empty_bands",
    "count_passes",
    "describe_passes",
    "fft_size",
    "is_event",
]


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is trained on.

    Parameters
    ----------
    rate : int
        The rate in Hz that most files have.
    seconds : float
        Length of a clip, in seconds.
    sound : float
        How long the sound of the median clip lasts, in seconds; see `recipes.data.sounds.measure_sounds`.
    clips : int
        Clips that train, with and without labels: of the median fold.
    classes : int
        Number of classes.
    speech : bool or None
        Whether the clips are speech, by the data set's own word; None where it has none.
    """

    rate: int
    seconds: float
    sound: float
    clips: int
    classes: int
    speech: bool | None = None

    @property
    def share(self) -> float:
        """The share of the median clip that its sound fills."""
        return self.sound / self.seconds


@dataclass(frozen=True)
class Choice:
    """A value that was chosen: of which option, and why."""

    name: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.value}: {self.reason}"


@dataclass(frozen=True)
class Budget:
    """What fields are chosen for: a small network on a CPU, or a large one on a GPU."""

    max_rate: int  # Hz: a higher rate of the files is reduced to it
    n_mels: int  # where none of so many bands is empty
    frames: int  # of a clip, in the range of hops that there are
    steps: int  # for _REFERENCE clips
    cap: int  # most steps


# ESC-10's 320 training clips, 30 of them labelled, and the shape of its spectrograms: what small was calibrated on
_REFERENCE = 320
_BUDGETS = {
    # 8000 steps are 20 times ESC-10's: a run of twenty minutes on 2 cores, and three passes over 85,000 clips
    "small": Budget(max_rate=22050, n_mels=64, frames=216, steps=400, cap=8000),
    # about the iterations of USB (Wang et al., "USB: A Unified Semi-supervised Learning Benchmark", NeurIPS 2022)
    "large": Budget(max_rate=32000, n_mels=128, frames=500, steps=6000, cap=100_000),
}
_SHORT = 1.0  # seconds: a sound that lasts less is one event, such as a word, not a texture that goes on
_FILLS = 0.8  # share of a clip from which on its sound is said to fill it
_HOPS = (5, 25)  # ms
_SOUND_FRAMES = 60  # least frames of a sound, as long as a clip has no more than twice the budget's frames
_PASSES = 3  # over the unlabelled and over the labelled clips, where the cap allows it
_ROWS = 8  # of metrics.csv


def choose(config: Config, facts: Facts) -> tuple[Config, list[Choice]]:
    """Return a configuration without open fields, and what was chosen.

    - rate: the files', at most 22,050 Hz (small) or 32,000 Hz (large). Nothing is resampled to a higher rate.
    - window: 32 ms for sounds below a second, else 46 ms; not longer than a clip.
    - hop: 216 (small) or 500 (large) frames a clip, and at least 60 a sound where that at most doubles them, between
      5 and 25 ms.
    - n_mels: 64 or 128, or the largest smaller multiple of 8 with which no band lies between two frequencies of the
      Fourier transform.
    - roll: 1 where the sound lasts a second and fills the clip, else 0.1: an event is not cut in two at the clip's end.
    - strong_view: full; mid where a clip is one event (`is_event`), of which full can make another. Of embeddings full,
      where the front is waveform strong.
    - steps: 400 sqrt(clips / 320) for small, 6000 for large, with labels or without; at least three passes over either
      kind; at least 400 or 6000, at most 8000 or 100,000. Rows with the same batches have the same
      steps.
    - every: 8 rows a run.

    Parameters
    ----------
    config : Config
        Fields that are not None stay; see `recipes.training.config.list_open`.
    facts : Facts
        What is known of the data.

    Examples
    --------
    >>> esc10 = Facts(rate=44100, seconds=5.0, sound=4.8, clips=320, classes=10)
    >>> config, choices = choose(Config(labelled="3"), esc10)
    >>> config.rate, config.window, config.hop, config.n_mels, config.roll, config.steps, config.every
    (22050, '46ms', '23ms', 64, 1.0, 400, 50)
    >>> print(choices[1])
    window 46ms: sounds last 4.8 s
    """
    choices: list[Choice] = []
    for name in list_open(config):
        value: Any
        value, reason = _RULES[name](config, facts)
        choices.append(Choice(name, value, reason))
        config = replace(config, **{name: value})
    return config, choices


def choose_rate(config: Config, rate: int) -> int:
    """Return the rate in Hz of a run on files of such a rate.

    >>> choose_rate(Config(), 44100), choose_rate(Config(), 8000), choose_rate(Config(rate=16000), 8000)
    (22050, 8000, 16000)
    """
    if config.rate is not None:
        return config.rate
    return rate if config.budget == "none" else min(rate, _BUDGETS[config.budget].max_rate)


def is_event(facts: Facts) -> bool:
    """Return whether the sound of a clip is one short event, or leaves a part of the clip silent.

    >>> is_event(Facts(16000, 1.0, 0.4, 2489, 5)), is_event(Facts(44100, 5.0, 4.8, 320, 10))
    (True, False)
    """
    return facts.sound < _SHORT or facts.share < _FILLS


def count_amounts(config: Config, facts: Facts) -> tuple[int, int]:
    """Return about how many labelled and how many unlabelled clips a run trains on.

    >>> count_amounts(Config(labelled="3"), Facts(44100, 5.0, 4.8, 320, 10))
    (30, 290)
    """
    clips = facts.clips
    if config.validation is not None and (share := parse_validation(config.validation)) is not None:
        clips = round(clips * (1 - share))
    wanted = parse_amount(config.labelled)
    labelled = wanted["per_class"] * facts.classes if "per_class" in wanted else round(wanted["fraction"] * clips)
    labelled = min(max(labelled, 1), clips)
    return labelled, clips if config.reuse_labelled else clips - labelled


def count_passes(config: Config, labelled: int, unlabelled: int) -> tuple[float, float]:
    """Return how often a run sees each of its labelled and unlabelled clips; infinite where there is none.

    >>> count_passes(Config(steps=100, batch_labelled=10, batch_unlabelled=20), 100, 4000)
    (10.0, 0.5)
    """
    steps = config.count_steps(labelled, unlabelled)
    seen = steps * config.batch_labelled, steps * config.batch_unlabelled
    first, second = (batches / count if count else math.inf for batches, count in zip(seen, (labelled, unlabelled)))
    return first, second


def describe_passes(config: Config, facts: Facts, needs_unlabelled: bool) -> list[str]:
    """Return a line for each kind of clips of which a run, without open fields, sees only a part.

    >>> facts = Facts(16000, 1.0, 0.4, 84843, 35)
    >>> describe_passes(Config(steps=400), facts, True)
    ['400 steps see 71 % of the labelled clips', '400 steps see 17 % of the unlabelled clips']
    """
    amounts = count_amounts(config, facts)
    passes = count_passes(config, *amounts)
    kinds = ("labelled", "unlabelled")[: 2 if needs_unlabelled else 1]
    steps = config.count_steps(*amounts)
    return [
        f"{steps} steps see {100 * share:.0f} % of the {kind} clips" for kind, share in zip(kinds, passes) if share < 1
    ]


def count_empty_bands(rate: int, window: int, n_mels: int) -> int:
    """Return how many of so many mel bands (HTK) hold no frequency of the transform of a window in samples.

    The transform is as long as the next power of two.

    >>> count_empty_bands(8000, 256, 64), count_empty_bands(8000, 256, 128) > 0
    (0, True)
    """
    n_fft = fft_size(window)
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = [700 * (10 ** (top * i / (n_mels + 1) / 2595) - 1) for i in range(n_mels + 2)]
    bins = [edge * n_fft / rate for edge in edges]
    # the first whole number above the lower edge
    return sum(math.floor(low + 1e-6) + 1 >= high - 1e-6 for low, high in zip(bins, bins[2:]))


def fft_size(window: int) -> int:
    """Return the length of the Fourier transform of a window, both in samples: the next power of two.

    >>> fft_size(512), fft_size(706)
    (512, 1024)
    """
    return 1 << (window - 1).bit_length()


def _budget(config: Config) -> Budget:
    if config.budget == "none":
        check.fail("budget", "small or large where a field is open", "none")
    return _BUDGETS[config.budget]


def _rate(config: Config, facts: Facts) -> tuple[int, str]:
    rate = choose_rate(config, facts.rate)
    return rate, "the files' rate" if rate == facts.rate else f"the files' {facts.rate} Hz add little above it"


def _window(config: Config, facts: Facts) -> tuple[str, str]:
    wanted = 32 if facts.sound < _SHORT else 46
    length = max(1, min(wanted, math.floor(facts.seconds * 1000)))
    return f"{length}ms", f"sounds last {facts.sound:.2g} s" if length == wanted else "the length of a clip"


def _hop(config: Config, facts: Facts) -> tuple[str, str]:
    frames, ms = _budget(config).frames, 1000 * facts.seconds
    for_sound = max(1000 * facts.sound / _SOUND_FRAMES, ms / (2 * frames))
    hop = round(min(max(min(ms / frames, for_sound), _HOPS[0]), _HOPS[1]))
    return f"{hop}ms", f"about {ms / hop:.0f} frames for clips of {facts.seconds:.3g} s"


def _n_mels(config: Config, facts: Facts) -> tuple[int, str]:
    wanted = _budget(config).n_mels
    rate = choose_rate(config, facts.rate)
    assert config.window is not None
    window = count_samples("window", config.window, rate)
    found = next((n for n in range(wanted, 8, -8) if not count_empty_bands(rate, window, n)), 8)
    full = f"none is empty at {rate} Hz with a window of {config.window}"
    return found, full if found == wanted else f"of {wanted} some would be empty at {rate} Hz"


def _roll(config: Config, facts: Facts) -> tuple[float, str]:
    filled = f"sounds of {facts.sound:.2g} s fill {100 * facts.share:.0f} % of a clip"
    return (0.1, f"{filled}, one event each: not rolled round its end") if is_event(facts) else (1.0, filled)


def _strong_view(config: Config, facts: Facts) -> tuple[str, str]:
    if config.embedding is not None:
        return "full", "noise and dropout, whatever the sounds' length"
    if config.front == "waveform":
        return "strong", "the strongest of the waveform front"
    if is_event(facts):
        return "mid", f"a clip is one event of {facts.sound:.2g} s, which full can make another"
    return "full", f"sounds of {facts.sound:.2g} s fill {100 * facts.share:.0f} % of a clip"


def _steps(config: Config, facts: Facts) -> tuple[int, str]:
    budget, (labelled, unlabelled) = _budget(config), count_amounts(config, facts)
    clips = unlabelled if config.reuse_labelled else labelled + unlabelled
    law = budget.steps * math.sqrt(clips / _REFERENCE)
    passes = _PASSES * max(unlabelled / config.batch_unlabelled, labelled / config.batch_labelled)
    wanted = min(max(law, passes, budget.steps), budget.cap)
    steps = 5 * _ROWS * math.ceil(wanted / (5 * _ROWS))
    text = f"for {labelled} labelled and {unlabelled} unlabelled clips"
    seen = count_passes(replace(config, steps=steps), labelled, unlabelled)
    if unlabelled:
        return steps, f"{text}: {_number(seen[0])} and {_number(seen[1])} passes"
    return steps, f"for {labelled} labelled clips: {_number(seen[0])} passes"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _every(config: Config, facts: Facts) -> tuple[int, str]:
    return max(1, math.ceil(config.count_steps(*count_amounts(config, facts)) / _ROWS)), f"{_ROWS} rows a run"


_RULES = {
    "rate": _rate,
    "window": _window,
    "hop": _hop,
    "n_mels": _n_mels,
    "strong_view": _strong_view,
    "roll": _roll,
    "steps": _steps,
    "every": _every,
}
