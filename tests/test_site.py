"""What the site of guides and reference is made of; tests/browser/test_site_pages.py builds it and looks at it."""

import importlib
import inspect
import re
import types

from readme import DOCS, load_asset_script

import audiomix

PUBLIC = [name for name in audiomix.__all__ if not isinstance(getattr(audiomix, name), types.ModuleType)]


def load_script():
    return load_asset_script("make_site")


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
