"""The site of guides and reference: built without a warning, complete, and searched in a browser without a network."""

import functools
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading

import pytest
from readme import PAGES, load_asset_script
from sounds import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not all(importlib.util.find_spec(name) for name in ("mkdocs", "mkdocstrings", "material")):
        pytest.skip("pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "assets/make.py", "site", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_has_every_page_and_every_public_name_and_finds_them(site):
    pages = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    assert {name.replace(".md", ".html") for name in PAGES if name != "README.md"} <= pages.keys()
    assert not [name for name, text in pages.items() if re.search(r"={9}|math::|:math:", text)]
    anchors = {found for text in pages.values() for found in re.findall(r'\bid="([^"]+)"', text)}
    modules = load_asset_script("make_site").read_public_names()
    for module, names in modules.items():
        assert {f"audiomix.{module}.{name}" for name in names} <= anchors
    index = json.loads((site / "search" / "search_index.json").read_text())
    words = {word for entry in index["docs"] for word in re.sub(r"<[^>]+>", " ", entry["title"]).split()}
    assert {name for names in modules.values() for name in names} <= words


def test_a_dead_link_a_missing_anchor_and_another_machine_are_found(site, tmp_path):
    check = load_asset_script("make_site").check_site
    assert check(site) == []
    (tmp_path / "b.html").write_text('<h1 id="x">B</h1>')
    for bad in ('<a href="c.html">', '<a class="k" href="b.html#y">', '<script src="https://cdn.example/x.js">',
                '<link rel="stylesheet" href="//fonts.example/x.css">', '<a href="#nowhere">'):  # fmt: skip
        (tmp_path / "a.html").write_text(f'<a href="b.html#x">{bad}')
        assert len(check(tmp_path)) == 1, bad


class Address:
    """An address, in the form of the paths that a browser opens."""

    def __init__(self, text):
        self.text = text

    def as_uri(self):
        return self.text


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(site):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_reader_finds_a_mixer_by_its_name_and_nothing_leaves_the_machine(address, browser):
    for width in (1200, 390):
        browser.open(Address(f"{address}/mixers.html"), width)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.wait("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
        browser.run("document.querySelector('#__search').checked = true")
        browser.run("document.querySelector('[name=query]').focus()")
        for letter in "beatmix":
            browser.press(letter)
        first = "return document.querySelector('.md-search-result__item a')?.href"
        assert browser.wait(first).startswith(f"{address}/reference/BeatMix.html")
        # the theme warns of letters that are typed before its index is there, and answers them later
        assert [text for text in browser.complaints() if "Invalid query" not in text] == []
        assert [url for url in browser.requests() if not url.startswith(("data:", "blob:", address))] == []
