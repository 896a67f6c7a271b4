"""Pages in a real browser: nothing is complained of, nothing leaves the machine, sounds play, filters and keys work."""

import pytest

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


@pytest.mark.parametrize("name", ["mixes", "song", "demo"])
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


def test_pictures_that_come_late_move_nothing(browser, mixes):
    browser.open(mixes)
    tall = "return document.documentElement.scrollHeight"
    before = browser.run(tall)
    browser.run("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
    browser.wait("return [...document.images].every(i => i.complete)")
    assert browser.run(tall) == before
