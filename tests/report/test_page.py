"""The one writer of HTML: every text is escaped, tags are closed, and Markdown has the same words."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
import torch

from audiomix.audio.io import Clip
from audiomix.report.page import Page

NASTY = 'a <b> & "c" | d'
# one pixel; the first 24 bytes say how large
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


class Reader(HTMLParser):
    """Keep texts and attributes, and the tags that are open."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.attributes = [], [], []

    def handle_startendtag(self, tag, attributes):
        self.attributes += [value for _, value in attributes]

    def handle_starttag(self, tag, attributes):
        self.attributes += [value for _, value in attributes]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)


def test_every_block_escapes_its_text_and_closes_its_tags(tmp_path):
    page = Page(NASTY, tmp_path)
    page.heading(NASTY)
    page.heading(NASTY, level=3)
    page.text(NASTY, muted=True)
    page.code(NASTY)
    page.table([NASTY, "x"], [[NASTY, 1]], best=[(0, 0)])
    page.picture("p.png", NASTY).write_bytes(PNG)
    page.embed(PNG, NASTY)
    page.sounds([("s", NASTY, Clip(torch.zeros(1, 4000), 8000), [(0.1, 0.2)])])
    path = page.save()
    reader = Reader()
    reader.feed(path.read_text())
    assert reader.open == []
    assert reader.texts.count(NASTY) == 9  # title and h1 too; alternative texts are attributes
    assert reader.attributes.count(NASTY) == 3  # two pictures and a player
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in reader.attributes
    assert {file.name for file in tmp_path.rglob("*.*")} == {"index.html", "s.wav", "p.png"}


def test_markdown_has_the_texts_and_no_picture():
    page = Page("t")
    page.heading("h", level=3)
    page.text("words")
    page.embed(PNG, "a picture")
    page.code("one\n\n  two")
    page.table(["a|b", "n"], [["x", 1], ["y|z", 2]], best=[(1, 0), (1, 1)])
    assert page.markdown() == (
        "# t\n\n### h\n\nwords\n\n    one\n\n      two\n\n"
        "| a\\|b | n |\n| --- | ---: |\n| x | 1 |\n| **y\\|z** | **2** |\n"
    )
    cells = re.findall("<td(.*?)>(.*?)</td>", page.html())
    assert cells == [("", "x"), ("", "1"), (' class="best"', "y|z"), (' class="best"', "2")]


def test_a_page_of_one_file_has_no_files():
    with pytest.raises(ValueError, match="folder must be given for a page with files of its own, got None"):
        Page("t").picture("p.png", "x")


def test_pictures_keep_their_room_and_are_loaded_late(tmp_path):
    page = Page("t", tmp_path)
    page.embed(PNG, "a picture")
    page.picture("p.png", "another").write_bytes(PNG)
    page.sounds([("s", "a sound", Clip(torch.zeros(1, 4000), 8000), [])])
    pictures = re.findall("<img [^>]*>", page.html())
    assert len(pictures) == 3
    for picture in pictures:
        assert re.search(r' width="\d+" height="\d+"', picture)
        assert ' loading="lazy"' in picture


def test_the_policy_of_a_page_names_its_own_script_and_no_other_place():
    html = Page("t").html()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', html)
    script = re.search("<script>(.*)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;;" in policy
    assert policy.startswith("default-src &#39;none&#39;;")
    assert "http" not in policy
    assert not re.findall(r"https?://", html.replace("http://www.w3.org/2000/svg", ""))


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="content must be a PNG file, got b'png'"):
        Page("t").embed(b"png", "x")
