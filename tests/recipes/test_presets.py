"""What presets say of every method."""

import pytest

from recipes import algorithms
from recipes.presets import resolved


@pytest.mark.parametrize("name", algorithms.available())
@pytest.mark.parametrize(("labelled", "unlabelled"), [(30, 290), (900, 8000)])
def test_at_original_every_method_takes_about_as_many_steps(name, labelled, unlabelled):
    # FixMatch's seven unlabelled clips a labelled one gave it an eighth of the steps of the others
    config, _ = resolved("original", algorithms.get(name), {})
    steps = 300 * (unlabelled // 30)
    assert 0.75 * steps <= config.count_steps(labelled, unlabelled) <= steps


@pytest.mark.parametrize("name", algorithms.available())
def test_strong_takes_no_papers_options_that_small_had_to_leave(name):
    kind = algorithms.get(name)
    assert ("small" in kind.presets) == ("strong" in kind.presets)


def test_the_labelled_clips_of_remixmatch_are_strong_views_in_paper_and_study():
    views = [resolved(p, algorithms.get("remixmatch"), {})[0].labelled_view for p in ("original", "study")]
    assert views == ["strong", "strong"]
