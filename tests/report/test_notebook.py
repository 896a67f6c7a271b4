"""What notebooks show: small pages of plans, mixes, beats and results, with pictures, players and inert texts."""

import base64
import html
import io as streams
import re

import numpy as np
import pytest
import torch
from PIL import Image
from sounds import noise, seeded

from audiomix import BeatGrid, CutMix, MixUp, SpecMix
from audiomix.beats.plan import BeatPlan
from audiomix.plan import Plan
from audiomix.report.notebook import display, html_of
from recipes.training.run_folder import RunResult


def page_of(thing):
    """Return the page in the frame that a notebook shows of a thing."""
    (page,) = re.findall('<iframe srcdoc="(.*?)" title', thing._repr_html_(), re.DOTALL)
    return html.unescape(page)


def test_a_plan_is_drawn_from_its_parts():
    plan = CutMix()(noise(6, 1, 8000), torch.eye(6), generator=seeded(1)).plans[0]
    page = page_of(plan)
    assert f"<h1>{type(plan).__name__} of 6 mixes</h1>" in page
    assert page.count("<article") == 4
    assert "and 2 more" in page
    for i in range(4):
        share = f"{100 * float(plan.weight[i]):.3g} % clip {i}"
        assert (share in page) == (plan.weight[i] > 0)


def test_a_mask_is_drawn_where_the_partner_is_heard():
    x, other = torch.zeros(4, 1, 64, 240), torch.ones(4, 1, 64, 240)
    mixed = SpecMix()(x, torch.eye(4), other=other, other_target=torch.eye(4), generator=seeded(3))
    page = page_of(mixed.plans[0])
    uris = re.findall('src="data:image/png;base64,([^"]*)" alt="Where the partner is heard', page)
    masked = [(y > 0.5) for y in mixed.x[:, 0] if float((y > 0.5).float().std(0).max()) > 0]  # not in time alone
    assert len(uris) == len(masked) > 0
    for uri, expected in zip(uris, masked):
        picture = Image.open(streams.BytesIO(base64.b64decode(uri)))
        drawn = torch.from_numpy(np.array(picture)).flip(0) > 12
        assert (drawn == expected).float().mean() > 0.97


def test_a_batch_has_pictures_and_with_a_rate_players():
    mixed = MixUp(alpha=1.0)(noise(3, 2, 8000), torch.eye(3), generator=seeded(0))
    alone, with_rate = page_of(mixed), page_of(display(mixed, rate=8000))
    assert alone.count('class="sound"') == with_rate.count('class="sound"') == 3
    assert (alone.count("<audio"), with_rate.count("<audio")) == (0, 3)
    for i in range(3):
        for j in range(3):
            share = float(mixed.target[i, j])
            assert (f"{100 * share:.3g} % class {j}" in alone) == (share > 0)
    assert "display(mixed, rate=...)" in alone


def test_a_batch_of_spectrograms_has_pictures():
    mixed = MixUp(alpha=1.0)(noise(2, 1, 32, 50), torch.eye(2), generator=seeded(0))
    page = page_of(mixed)
    assert page.count('class="mel"') == 2
    assert "<audio" not in page
    assert page_of(MixUp(alpha=1.0)(noise(2, 16), torch.eye(2), generator=seeded(0))).count("<article") == 2


def test_a_plan_in_seconds_has_players_without_a_rate():
    """A mix on the beat knows how long its axis is."""
    plan = BeatPlan.identity(1)
    assert plan.axis_seconds or page_of(plan)  # an identity has no axis: drawn in fractions
    assert "<h1>BeatPlan of 1 mix</h1>" in page_of(plan)


def test_a_grid_has_its_tempo_and_clicks():
    page = page_of(BeatGrid([0.5 * i for i in range(9)], [i % 4 + 1 for i in range(9)]))
    assert "<dd>120.00 bpm</dd>" in page
    assert page.count('<line class="beat') == 9
    assert page.count('<line class="beat first') == 3
    assert page.count("<audio") == 1
    assert page_of(BeatGrid([])).count("<audio") == 0


def test_a_result_has_its_numbers_and_its_curve():
    history = [{"step": 10.0, "error": 80.0, "error_ema": 82.0}, {"step": 20.0, "error": 40.0, "error_ema": 41.0}]
    run = RunResult("mixup", "1", 0, 40.0, 40.0, 41.0, 41.0, 12.0, 12.0, "", history=history)
    page = page_of(run)
    assert "error ends at 40; error_ema ends at 41" in page
    assert "<dd>12.00</dd>" in page


def test_reasons_are_inert_and_other_things_are_refused():
    plan = Plan(torch.tensor([0]), torch.ones(1, dtype=torch.float64), why=("<script>x</script>",))
    assert "&lt;script&gt;x" in page_of(plan)
    assert "<script>x" not in page_of(plan)
    with pytest.raises(TypeError, match="thing must be a Plan.*got int"):
        html_of(3)
