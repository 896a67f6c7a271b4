"""What is chosen from facts of the data, and that nothing else is."""

import dataclasses
import itertools
import warnings

import pytest

from audiomix import LogMel
from recipes.training.choices import (
    Facts,
    choose,
    choose_rate,
    count_amounts,
    count_empty_bands,
    count_passes,
    describe_passes,
    fft_size,
    is_event,
)
from recipes.training.config import OPEN, PRESETS, Config, count_samples, list_open, preset

ESC10 = Facts(rate=44100, seconds=5.0, sound=4.8, clips=320, classes=10, speech=False)
FIVE_WORDS = Facts(rate=16000, seconds=1.0, sound=0.36, clips=2489, classes=5, speech=True)
WORDS = dataclasses.replace(FIVE_WORDS, clips=84843, classes=35)
DIGITS = Facts(rate=8000, seconds=0.42, sound=0.4, clips=2000, classes=10)


def shape(config, facts):
    """Return window and hop in samples and about the frames of a clip."""
    hop = count_samples("hop", config.hop, config.rate)
    return count_samples("window", config.window, config.rate), hop, facts.seconds * config.rate / hop


def test_esc10_and_five_words_get_what_was_tuned_on_them():
    config, _ = choose(preset("small"), ESC10)
    window, hop, frames = shape(config, ESC10)
    assert (fft_size(window), config.n_mels, config.roll, config.steps, config.every) == (1024, 64, 1.0, 400, 50)
    assert config.rate == 22050
    assert (window, hop) == (pytest.approx(1024, rel=0.02), pytest.approx(512, rel=0.02))
    assert frames == pytest.approx(216, abs=3)
    config, _ = choose(preset("small"), FIVE_WORDS)
    assert (config.rate, *shape(config, FIVE_WORDS)) == (16000, 512, 80, 200)
    assert config.roll == 0.1
    assert config.steps == pytest.approx(1200, rel=0.1)


def test_a_view_of_a_short_event_is_no_stronger_than_mid():
    assert choose(preset("small"), ESC10)[0].strong_view == "full"
    for facts in (FIVE_WORDS, DIGITS, WORDS, dataclasses.replace(ESC10, sound=3.0)):
        config, choices = choose(preset("small"), facts)
        assert config.strong_view == "mid"
        assert "one event" in next(choice.reason for choice in choices if choice.name == "strong_view")
    assert choose(preset("small", embedding="x.npz"), FIVE_WORDS)[0].strong_view == "full"
    assert choose(preset("small", front="waveform", labelled_view="weak"), FIVE_WORDS)[0].strong_view == "strong"


def test_digits_at_8_khz_have_a_window_of_32_ms_and_are_not_rolled_round_the_end():
    config, _ = choose(preset("small"), DIGITS)
    assert (config.rate, config.window, config.hop, config.roll) == (8000, "32ms", "5ms", 0.1)
    assert config.n_mels == 64


def test_the_presets_mean_the_same_on_300_clips_and_on_85000():
    labelled, unlabelled = count_amounts(Config(), WORDS)
    assert (labelled, unlabelled) == (8484, 76359)
    config, _ = choose(Config(), WORDS)
    passes = count_passes(config, labelled, unlabelled)
    assert config.steps <= 8000
    assert passes[1] >= 3
    assert describe_passes(config, WORDS, True) == []
    sizes = [40, 320, 700, 2489, 10_000, 40_000, 84_843, 300_000, 2_000_000]
    steps = [choose(Config(), dataclasses.replace(ESC10, clips=size))[0].steps for size in sizes]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (400, 8000)
    assert steps[3] / steps[1] == pytest.approx((2489 / 320) ** 0.5, rel=0.05)
    large = [choose(preset("strong"), dataclasses.replace(ESC10, clips=size))[0].steps for size in sizes]
    assert (large[0], large[1], max(large)) == (6000, 6000, 100_000)


def test_where_the_cap_or_the_user_leaves_less_than_a_pass_it_is_told():
    huge = dataclasses.replace(WORDS, clips=2_000_000)
    config, _ = choose(Config(labelled="3"), huge)
    assert describe_passes(config, huge, True) == ["8000 steps see 13 % of the unlabelled clips"]
    assert describe_passes(config, huge, False) == []  # a supervised run has none
    config, _ = choose(Config(labelled="3", steps=100), FIVE_WORDS)
    assert describe_passes(config, FIVE_WORDS, True) == []  # 3200 of 2474
    config, _ = choose(Config(labelled="3", steps=50), FIVE_WORDS)
    assert describe_passes(config, FIVE_WORDS, True) == ["50 steps see 65 % of the unlabelled clips"]


def test_all_amounts_of_labels_have_the_same_steps_on_small_data():
    steps = {choose(Config(labelled=text), ESC10)[0].steps for text in ("1", "3", "10%", "50%", "100%")}
    assert steps == {400}
    assert choose(Config(labelled="10%", reuse_labelled=True), ESC10)[0].steps == 400
    held_out = choose(Config(validation="50%"), dataclasses.replace(ESC10, clips=2560))[0]
    assert held_out.steps == pytest.approx(800, abs=40)


def test_with_all_labels_every_clip_is_seen_three_times_up_to_the_cap():
    some = dataclasses.replace(WORDS, clips=30_000)
    config, _ = choose(Config(labelled="100%"), some)
    assert count_passes(config, 30_000, 0) == (pytest.approx(3, rel=0.01), float("inf"))


@pytest.mark.parametrize("name", ["small", "strong"])
def test_a_users_value_is_never_changed(name):
    given = {"rate": 12000, "window": "20ms", "hop": 99, "n_mels": 40, "roll": 0.3, "strong_view": "weak", "steps": 7,
             "every": 3}  # fmt: skip
    assert set(given) == set(OPEN)
    for count in (1, 2, len(given)):
        for names in itertools.combinations(given, count):
            own = {key: given[key] for key in names}
            for facts in (ESC10, FIVE_WORDS, DIGITS):
                config, choices = choose(preset(name, **own), facts)
                assert {key: getattr(config, key) for key in names} == own
                assert {choice.name for choice in choices} == set(OPEN) - set(names)
                assert all(getattr(config, choice.name) == choice.value for choice in choices)
                assert not list_open(config)


def test_epochs_that_are_given_leave_no_steps_to_choose():
    config, choices = choose(preset("small", epochs=16), ESC10)
    assert (config.steps, config.epochs) == (None, 16)
    assert "steps" not in {choice.name for choice in choices}
    assert config.every == config.count_steps(32, 288) / 8


def test_what_is_chosen_once_stays_and_is_the_same_again():
    config, _ = choose(Config(), ESC10)
    assert choose(config, FIVE_WORDS) == (config, [])
    assert choose(Config(), ESC10)[0] == config


def test_the_studys_numbers_are_the_papers_on_any_data():
    for name, facts in itertools.product(("study", "original"), (ESC10, FIVE_WORDS, DIGITS)):
        config, choices = choose(preset(name), facts)
        assert (config.window, config.hop, config.n_mels, config.epochs) == (2048, 512, 64, 300)
        assert [(choice.name, choice.value) for choice in choices] == [("rate", facts.rate)]
    assert list_open(PRESETS["study"]) == ["rate"]


@pytest.mark.parametrize("preset_name", ["small", "strong"])
@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 22050, 44100, 96000])
def test_nothing_is_upsampled_and_no_band_is_empty(preset_name, rate):
    for facts in (ESC10, FIVE_WORDS):
        config, _ = choose(preset(preset_name), dataclasses.replace(facts, rate=rate))
        assert config.rate == min(rate, {"small": 22050, "strong": 32000}[preset_name])
        window = count_samples("window", config.window, config.rate)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of torchaudio: all zero values
            mel = LogMel(config.rate, n_fft=fft_size(window), window=window, n_mels=config.n_mels)
        assert (mel.mel.mel_scale.fb.max(0).values > 0).all()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("window", [100, 256, 400, 1024])
@pytest.mark.parametrize("n_mels", [32, 64, 128, 200])
def test_empty_bands_are_counted_as_the_filters_have_them(rate, window, n_mels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mel = LogMel(rate, n_fft=fft_size(window), window=window, n_mels=n_mels)
    assert count_empty_bands(rate, window, n_mels) == int((mel.mel.mel_scale.fb.max(0).values <= 0).sum())


def test_a_rate_says_nothing_of_window_and_hop():
    found = {(c.window, c.hop, c.roll) for rate in (8000, 16000, 44100)
             for c, _ in [choose(Config(), dataclasses.replace(FIVE_WORDS, rate=rate))]}  # fmt: skip
    assert found == {("32ms", "5ms", 0.1)}


def test_a_short_word_in_a_long_clip_has_finer_frames_than_a_noise_there():
    word, noise = (dataclasses.replace(ESC10, seconds=3.0, sound=sound) for sound in (0.36, 2.9))
    hops = [float(choose(Config(), facts)[0].hop.removesuffix("ms")) for facts in (word, noise)]
    assert hops == [7, 14]


def test_clips_shorter_than_a_window_have_a_shorter_one():
    config, _ = choose(Config(), Facts(rate=16000, seconds=0.02, sound=0.02, clips=100, classes=2))
    assert config.window == "20ms"


def test_a_clip_is_an_event_where_its_sound_is_short_or_leaves_silence():
    assert is_event(FIVE_WORDS)
    assert is_event(DIGITS)
    assert is_event(dataclasses.replace(ESC10, sound=2.0))
    assert not is_event(ESC10)


def test_a_time_is_read_with_its_unit():
    assert [count_samples("hop", value, 8000) for value in (5, "5", "5ms", "5 ms", "2.5ms")] == [5, 5, 40, 40, 20]
    for wrong in ("5s", "ms", "0.5", "-3ms", 0, ""):
        with pytest.raises(ValueError, match="hop must be"):
            Config(hop=wrong)
    assert choose_rate(Config(), 8000) == 8000


def test_the_budget_none_leaves_nothing_open():
    with pytest.raises(ValueError, match="window must be given where the budget is none, got nothing"):
        preset("study", window=None)
