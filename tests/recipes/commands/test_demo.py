"""The demo's page, with trainings of two steps."""

import json

import pytest

from audiomix.audio import io
from audiomix.report.page import Page
from recipes.commands import demo as module
from recipes.training import engine
from recipes.training.config import preset


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that makes the page without its sounds and returns its text."""
    monkeypatch.setattr(module, "PAIRS", [])
    changes = {"steps": 2, "every": 1, "batch_labelled": 4, "batch_unlabelled": 4, "threads": 1, "device": "cpu"}

    def made(seed=0, **others):
        monkeypatch.setattr(module, "preset", lambda name: preset(name, **changes | others))
        assert module.demo(tmp_path, seed=seed).code == 0
        return next(tmp_path.glob("*.html")).read_text()

    return made


@pytest.mark.slow
def test_all_errors_are_headed_and_a_finished_run_is_shown_as_reused(run, tmp_path, monkeypatch, capsys):
    page = run()
    assert "(reused)" not in page
    for column in ("last step, raw", "last step, EMA", "best step, raw", "best step, EMA", "seconds"):
        assert f'<th scope="col">{column}</th>' in page
    result = json.loads((tmp_path / "runs" / "0-supervised-0" / "result.json").read_text())
    shown = [f"{result[k]:.1f} %" for k in ("error_last", "error_last_ema", "error_best", "error_best_ema")]
    row = page.split("<td>supervised</td>")[1].split("</tr>")[0]
    assert [cell.split(">")[1] for cell in row.split("</td>")[:4]] == shown

    capsys.readouterr()
    monkeypatch.setattr(engine, "run", lambda *a, **k: pytest.fail("trained again"))
    assert run().count("(reused)") == 3
    assert "Reused: trained by an earlier demo" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_run_of_other_settings_in_the_folder_is_trained_anew(run, tmp_path, capsys):
    run()
    capsys.readouterr()
    assert "(reused)" not in run(steps=1)
    assert "is of other settings: trained anew" in " ".join(capsys.readouterr().err.split())
    settings = json.loads((tmp_path / "runs" / "0-supervised-0" / "config.json").read_text())["settings"]
    assert settings["config"]["steps"] == 1


def test_a_seed_that_is_too_long_is_refused_before_the_page(tmp_path):
    with pytest.raises(ValueError, match="seed must be a whole number of at most 63 bits"):
        module.demo(tmp_path / "x", seed=10**41)
    assert not (tmp_path / "x").exists()


def test_a_file_where_the_page_is_to_lie_is_told_first(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ValueError, match="out must be a folder, got .*x is a file"):
        module.demo(tmp_path / "x" / "page")


@pytest.mark.slow
def test_two_loops_are_mixed_on_the_beat_and_drawn_and_others_are_not(tmp_path):
    page = Page("a page", tmp_path)
    module._mix_pair(page, "loops/rock_120", "loops/house_128", seed=0)
    html = page.save().read_text()
    for stem in ("beat-rock_120-house_128", "mixup-rock_120-house_128"):
        assert f"sounds/{stem}.wav" in html
        assert io.read(tmp_path / "sounds" / f"{stem}.wav").seconds == 4.0
    assert 'src="pictures/beats-rock_120-house_128.png"' in html
    assert (tmp_path / "pictures" / "beats-rock_120-house_128.png").stat().st_size > 20000
    assert "mixed plainly (mixup) their beats fall apart" in html

    page = Page("a page", tmp_path / "other")
    module._mix_pair(page, "loops/rock_120", "sounds/birds", seed=0)
    assert "beat: " not in page.save().read_text().replace("rock 120", "")
