"""Pages in a real browser: nothing is complained of, nothing leaves the machine, sounds play, filters and keys work."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import CutMix
from audiomix.audio.io import Clip
from audiomix.report.charts import forest, line_chart
from audiomix.report.lanes import encode
from audiomix.report.page import Page

pytestmark = pytest.mark.slow

SPACE, UP, DOWN, LEFT, RIGHT = " ", "\ue013", "\ue015", "\ue012", "\ue014"
PLAYING = "return [...document.querySelectorAll('audio')].findIndex(a => !a.paused && a.currentTime > 0.05) + 1"
CURRENT = "return [...document.querySelectorAll('.item')].findIndex(i => i.classList.contains('current'))"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return the page of the demo without its trainings."""
    from recipes.commands import demo as module

    page = Page("a page", tmp_path_factory.mktemp("demo"))
    module._mix_pair(page, "loops/rock_120", "loops/house_128", seed=0)
    return page.save()


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """Return a page with what reports of recipes have: tables, charts, a confusion matrix that plays."""
    page = Page("a report")
    page.text("words", muted=True)
    page.code("a command")
    page.table(["method", "error"], [["x", 1.0], ["y", 2.0]], best=[(0, 1)])
    page.add("chart", chart=forest("gains", [("x", 1.0, 0.5, 1.5), ("y", -1.0, -1.5, -0.5)], x="points"))
    curves = {name: [(0, 90.0), (10, 40.0)] for name in "abcdefgh"}
    page.add("chart", chart=line_chart("curves", curves, bands={"a": [(0, 80.0, 95.0), (10, 30.0, 50.0)]}))
    sound = encode(Clip(0.1 * noise(1, 12000), 8000))
    cells = [{"text": "90", "share": 0.9, "panel": "", "title": "a: 9 of 10"},
             {"text": "10", "share": 0.1, "panel": "cell", "title": "a taken for b: 1 of 10"}]  # fmt: skip
    panel = {"name": "cell", "title": "a taken for b", "clips": [{"text": "clip", "sound": sound}] * 2}
    rows = [{"name": name, "cells": cells} for name in "ab"]
    page.add("confusion", title="x", classes=["a", "b"], rows=rows, panels=[panel])
    return page.write(tmp_path_factory.mktemp("report") / "page.html")


@pytest.mark.parametrize("name", ["mixes", "song", "demo", "report"])
def test_a_page_is_quiet_stays_at_home_and_is_accessible_in_both_themes(name, browser, request):
    page = request.getfixturevalue(name)
    for width, scheme in ((1200, "light"), (390, "dark")):
        browser.open(page, width, scheme)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.run("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        browser.wait("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert browser.faults() == []
        assert browser.complaints() == []
        strange = [url for url in browser.requests() if not url.startswith(("data:", page.parent.as_uri()))]
        assert strange == []


@pytest.mark.parametrize("name", ["mixes", "song", "demo"])
def test_every_player_plays(name, browser, request):
    browser.open(request.getfixturevalue(name))
    count = browser.run("return document.querySelectorAll('audio').length")
    assert count >= 2
    for i in {0, count - 1}:
        browser.run("document.querySelectorAll('audio')[arguments[0]].play()", i)
        assert browser.wait(PLAYING) == i + 1  # and the one before it has stopped


def test_hostile_texts_are_inert(browser, mixes, hostile):
    browser.open(mixes)
    assert browser.run("return document.body.innerText").count(hostile) > 5
    assert browser.run("return window.broken") is None
    assert browser.run("return document.querySelectorAll('img[onerror]').length") == 0


def test_the_policy_runs_no_script_but_the_page_s_own(browser, mixes):
    browser.open(mixes)
    add = "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s)"
    browser.run(add)
    assert browser.run("return window.broken") is None
    browser.run("fetch('https://example.org/').catch(() => { window.refused = 1 })")
    assert browser.wait("return window.refused") == 1
    assert not any("example.org" in url for url in browser.requests())


def test_filters_show_the_mixes_that_fit(browser, mixes, hostile):
    browser.open(mixes)
    choose = """const field = document.querySelector(`[data-filter="${arguments[0]}"]`);
        field.value = arguments[1]; field.dispatchEvent(new Event('input', {bubbles: true}));
        const shown = [...document.querySelectorAll('.item')].filter(i => i.offsetParent);
        return [shown.map(i => [i.dataset.mixer, JSON.parse(i.dataset.labels), Number(i.dataset.bpm)]),
                document.querySelector('.count').textContent]"""
    every, count = browser.run(choose, "mixer", "")
    assert (len(every), count) == (6, "6 of 6")
    some, count = browser.run(choose, "mixer", "mixup")
    assert ([mixer for mixer, *_ in some], count) == (["mixup"], "1 of 6")
    browser.run(choose, "mixer", "")
    some, _ = browser.run(choose, "label", hostile)
    assert 0 < len(some) < 6
    assert all(hostile in labels for _, labels, _ in some)
    browser.run(choose, "label", "")
    browser.run(choose, "bpm-from", "115")
    some, count = browser.run(choose, "bpm-to", "135")
    assert (sorted(bpm for *_, bpm in some), count) == ([120.0, 130.0], "2 of 6")


def test_keys_move_and_play(browser, mixes):
    browser.open(mixes)
    browser.press(DOWN)
    assert browser.run(CURRENT) == 0
    browser.press(DOWN)
    browser.press(DOWN)
    browser.press(UP)
    assert browser.run(CURRENT) == 1
    browser.press(SPACE)
    lanes = browser.run("return document.querySelectorAll('.item')[0].querySelectorAll('audio').length")
    assert browser.wait(PLAYING) == 2 * lanes  # the mix of the second item, its last sound
    at = browser.run("return getComputedStyle(document.querySelector('.item.current')).getPropertyValue('--at')")
    assert 0 < float(at.rstrip("%")) < 100
    browser.press(LEFT)
    assert browser.wait(f"const p = (() => {{ {PLAYING} }})(); return p === {2 * lanes - 1}")
    browser.press(SPACE)
    assert browser.wait("return [...document.querySelectorAll('audio')].every(a => a.paused)")
    browser.press(RIGHT)
    assert browser.run("return document.querySelector('.lane.chosen .lane-name').textContent") == "the mix"


def test_a_click_on_a_picture_plays_from_there(browser, mixes):
    browser.open(mixes)
    click = """const plot = document.querySelector('.lane.mix .plot'), box = plot.getBoundingClientRect();
        plot.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: box.left + box.width / 2}))"""
    browser.run(click)
    at = browser.wait("const a = document.querySelector('.lane.mix audio'); return !a.paused && a.currentTime")
    assert at == pytest.approx(0.75, abs=0.3)


def test_a_cell_of_the_confusion_matrix_plays_what_was_misheard(browser, report):
    browser.open(report)
    assert browser.run("return document.querySelector('.misheard').offsetParent === null")
    browser.run("document.querySelector('button.cell').click()")
    assert browser.wait(PLAYING) == 1
    assert browser.run("return document.querySelector('.misheard').offsetParent !== null")


def test_a_notebook_s_frame_is_as_high_as_its_page(browser, tmp_path):
    plan = CutMix()(noise(2, 1, 8000), torch.eye(2), generator=seeded(0)).plans[0]
    path = tmp_path / "cell.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>x</title><body style='color: red'>{plan._repr_html_()}")
    browser.open(path)
    height = browser.wait(
        "const f = document.querySelector('iframe'), page = f.contentDocument.documentElement;"
        "return f.style.height === Math.min(900, page.scrollHeight) + 'px' && page.scrollHeight"
    )
    assert height > 100
    inside = "document.querySelector('iframe').contentDocument"
    assert browser.run(f"return {inside}.querySelectorAll('.bar').length") >= 4
    assert browser.run(f"return getComputedStyle({inside}.body).color") != "rgb(255, 0, 0)"  # styles do not mingle
    assert browser.complaints() == []


def test_pictures_that_come_late_move_nothing(browser, mixes):
    browser.open(mixes)
    tall = "return document.documentElement.scrollHeight"
    before = browser.run(tall)
    browser.run("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
    browser.wait("return [...document.images].every(i => i.complete)")
    assert browser.run(tall) == before
