"""The site of guides and reference: it is built without a warning, complete, and needs no other machine."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
import types

import pytest
from readme import DOCS, PAGES
from sounds import ROOT

import audiomix

PUBLIC = [name for name in audiomix.__all__ if not isinstance(getattr(audiomix, name), types.ModuleType)]


def load_script():
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "assets" / "make_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_guide_and_every_public_name_has_its_place():
    script = load_script()
    guides = [name for names in script.GUIDES.values() for name in names]
    assert sorted(guides) == sorted(path.stem for path in DOCS.glob("*.md"))
    modules = script.read_public_names()
    assert set(PUBLIC) <= {name for names in modules.values() for name in names}
    for module, names in modules.items():
        found = importlib.import_module(f"audiomix.{module}")
        assert all(hasattr(found, name) for name in names), module


def test_docstrings_are_told_as_the_site_reads_them():
    script = load_script()
    parameters = "Parameters\n----------\nx, y : Tensor, shape (B,)\n    Both.\np\n    See `Mixer`.\n\n"
    text = script.spell_out(f"Sum.\n\n{parameters}See Also\n--------\na.B : c.\n\n.. math:: a = b\n\nEnd.")
    assert "See Also\n--------\n- `a.B`: c.\n\n" in text
    assert "x : Tensor of shape (B,)\n    Both.\ny : Tensor of shape (B,)\n    Both.\np\n" in text
    assert "```latex\na = b\n```\n\nEnd." in text
    text = "A:\n\n===  ====\na    b\n===  ====\n1    two\n     three\n===  ====\n\n``x``  y\n       z\n\nB"
    assert "| a | b |\n|---|---|\n| 1 | two three |\n\n- ``x``: y\n       z\n" in script.spell_out(text)
    known = {"Mixer": "audiomix.mixer.Mixer"}
    assert script.link_names("See `audiomix.Mixer`.", known) == "See [`audiomix.Mixer`][audiomix.mixer.Mixer]."
    for same in ("``Mixer``", ">>> `Mixer`", "`Other`", "[`Mixer`][x]"):
        assert script.link_names(same, known) == same


def test_links_of_pages_become_those_of_the_site():
    copy = load_script().copy_page
    page = "[a](assets/docs/audit.md) [b](assets/make.py) ![c](assets/pictures/idea.png) [d](#part)"
    assert copy(page, "README.md") == "[a](audit.md) `b` ![c](pictures/idea.png) [d](#part)"
    assert copy("[a](audit.md#x) ![c](../pictures/idea.png) [`t`](../../tests/laws.py)", "music.md") == (
        "[a](audit.md#x) ![c](pictures/idea.png) `t`"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not all(importlib.util.find_spec(name) for name in ("mkdocs", "mkdocstrings", "material")):
        pytest.skip("pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "assets/make.py", "site", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_the_site_has_every_page_and_every_public_name_and_finds_them(site):
    pages = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    assert {name.replace(".md", ".html") for name in PAGES if name != "README.md"} <= pages.keys()
    assert not [name for name, text in pages.items() if re.search(r"={9}|math::|:math:", text)]
    anchors = {found for text in pages.values() for found in re.findall(r'\bid="([^"]+)"', text)}
    for module, names in load_script().read_public_names().items():
        assert {f"audiomix.{module}.{name}" for name in names} <= anchors
    index = json.loads((site / "search" / "search_index.json").read_text())
    words = {word for entry in index["docs"] for word in re.sub(r"<[^>]+>", " ", entry["title"]).split()}
    assert set(PUBLIC) <= words


@pytest.mark.slow
def test_a_dead_link_a_missing_anchor_and_another_machine_are_found(site, tmp_path):
    check = load_script().check_site
    assert check(site) == []
    (tmp_path / "b.html").write_text('<h1 id="x">B</h1>')
    for bad in ('<a href="c.html">', '<a class="k" href="b.html#y">', '<script src="https://cdn.example/x.js">',
                '<link rel="stylesheet" href="//fonts.example/x.css">', '<a href="#nowhere">'):  # fmt: skip
        (tmp_path / "a.html").write_text(f'<a href="b.html#x">{bad}')
        assert len(check(tmp_path)) == 1, bad


def test_every_public_name_has_an_example():
    def has_example(name):
        return ">>>" in (inspect.getdoc(getattr(audiomix, name)) or "")

    assert [name for name in PUBLIC if not has_example(name)] == []


def see_also(name):
    """Return what a docstring's section "See Also" names."""
    text = (inspect.getdoc(getattr(audiomix, name)) or "").partition("See Also\n--------\n")[2]
    return re.findall(r"^(?:audiomix\.)?([\w.]+) :", text.partition("\n\n")[0], flags=re.M)


def test_see_also_names_what_there_is():
    named = {name: see_also(name) for name in PUBLIC}
    for name, others in named.items():
        for other in others:
            assert other in PUBLIC, f"{name}: {other}"
            assert other != name
