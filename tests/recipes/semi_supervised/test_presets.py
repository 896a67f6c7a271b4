"""What presets say of every method, and the numbers that stand beside theirs."""

import pytest

from recipes import algorithms
from recipes.benchmark.published import find_published_error, list_published_errors
from recipes.benchmark.rows import parse_row
from recipes.semi_supervised.run_spec import configure
from recipes.training.config import PRESETS, Config
from recipes.training.dataset_settings import settings_for

METHODS = {name: algorithms.get(name) for name in algorithms.available()}


def test_strong_takes_no_papers_options_that_small_had_to_leave():
    for name, kind in METHODS.items():
        assert ("small" in kind.presets) == ("strong" in kind.presets), name


def test_methods_with_thresholds_are_compared_at_the_augmentation_of_supervised_training():
    for preset in PRESETS:
        wanted = configure(preset, METHODS["supervised"], {})[0].labelled_view
        for name in ("fixmatch", "adamatch", "softmatch", "freematch", "flexmatch", "pseudo_label", "uda", "dash",
                     "simmatch", "comatch"):  # fmt: skip
            config, options = configure(preset, METHODS[name], {})
            METHODS[name](3, **options)
            assert config.labelled_view == wanted, (preset, name)


def test_the_labelled_clips_of_remixmatch_are_strong_views_in_paper_and_study():
    views = [configure(p, algorithms.get("remixmatch"), {})[0].labelled_view for p in ("original", "study")]
    assert views == ["strong", "strong"]


ESC10, URBAN, WORDS = map(settings_for, ("esc10", "urbansound8k", "speech_commands"))


@pytest.mark.parametrize(
    ("method", "of_data", "labelled", "unlabelled"),
    [("supervised", ESC10, 60, 30), ("supervised", URBAN, 256, 128), ("supervised", WORDS, 256, 128)]
    + [(m, ESC10, 30, 30) for m in ("mixmatch", "remixmatch", "fixmatch")]
    + [(m, data, 128, 128) for m in ("mixmatch", "remixmatch", "fixmatch") for data in (URBAN, WORDS)]
    + [("mean_teacher", data, 6, 58) for data in (ESC10, URBAN, WORDS)]
    + [("deep_co_training", data, 12, 58) for data in (ESC10, URBAN, WORDS)],
)
def test_the_studys_batches_are_those_of_its_data_set(method, of_data, labelled, unlabelled):
    config, _ = configure("study", algorithms.get(method), {}, of_data=of_data)
    assert (config.batch_labelled, config.batch_unlabelled) == (labelled, unlabelled)
    assert config.rate == (22050 if of_data is URBAN else None)  # None: the data set's own


def test_mixmatchs_weight_rises_over_the_studys_16000_steps_whatever_the_data():
    for of_data, unlabelled in (ESC10, 290), (URBAN, 7073), (WORDS, 76359):
        config, options = configure("study", algorithms.get("mixmatch"), {}, of_data=of_data)
        method, steps = algorithms.get("mixmatch")(10, **options), config.count_steps(30, unlabelled)
        at = min(1.0, 4000 / steps)
        assert method.weight(at) == pytest.approx(at * steps / 16000, rel=0.02)


def test_fixmatchs_threshold_is_the_studys_of_its_data_set():
    found = [algorithms.get("fixmatch")(10, **configure("study", algorithms.get("fixmatch"), {}, of_data=data)[1])
             for data in (ESC10, URBAN, WORDS)]  # fmt: skip
    assert [method.threshold for method in found] == [0.8, 0.95, 0.8]


def test_the_user_comes_before_the_data_set_and_that_before_the_method():
    kind, of_data = algorithms.get("fixmatch"), {"small": {"steps": 5, "hop": 80}, "small:fixmatch": {"threshold": 0.3}}
    config, options = configure("small", kind, {}, of_data=of_data)
    assert (config.steps, config.hop, options["threshold"]) == (5, 80, 0.3)
    config, options = configure("small", kind, {"threshold": 0.4}, of_data=of_data, epochs=2)
    assert (config.steps, config.epochs, config.hop, options["threshold"]) == (None, 2, 80, 0.4)
    row = parse_row("fixmatch:hop=60", "small", of_data=of_data)
    assert (row.config.hop, row.config.steps, row.options["threshold"]) == (60, 5, 0.3)


def test_a_row_says_whether_it_is_the_presets():
    assert not parse_row("mixmatch", "small", overrides={"threads": 1, "every": 7}).changed
    assert not parse_row("mixmatch+none", "small").changed
    assert not parse_row("mixmatch", "small", of_data={"small": {"steps": 5}}).changed
    assert parse_row("mixmatch:lr=0.1", "small").changed
    assert parse_row("mixmatch:temperature=0.7", "small").changed
    assert parse_row("mixmatch", "small", overrides={"steps": 50}).changed


def test_nothing_is_frozen_at_random_weights(tmp_path):
    (tmp_path / "mine.py").write_text("def encoder(num_classes): ...")
    with pytest.raises(ValueError, match=r"freeze must be used with trained weights.*--weights FILE"):
        Config(freeze=True)
    assert Config(freeze=True, weights="w.safetensors").freeze
    assert Config(freeze=True, model=f"{tmp_path}/mine.py:encoder").freeze  # which may bring its own


def test_published_numbers_stand_beside_the_same_method_data_and_labels_only():
    assert find_published_error("esc10", 10, "remixmatch", "10%", plain=True).error == 12
    assert find_published_error("esc10", 10, "remixmatch", "10.0%", plain=True).error == 12
    assert find_published_error("esc10", 10, "remixmatch", "3", plain=True) is None
    assert find_published_error("speech_commands", 35, "fixmatch", "10%", plain=True).error == 4.44
    assert find_published_error("speech_commands", 35, "fixmatch", "10%", plain=False).error == 3.31
    assert find_published_error("speech_commands", 5, "mixmatch", "10%", plain=True) is None
    assert list_published_errors("folder", 10) == []
