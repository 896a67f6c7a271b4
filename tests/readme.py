"""Blocks of code in the README and in the guides of assets/docs, and the files that they ask to be written."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from sounds import ROOT

TEXT = (ROOT / "README.md").read_text()
DOCS = ROOT / "assets" / "docs"
# the README first, then the guides
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
# other tests run their examples: tests/test_docs.py, tests/integrations and tests/recipes/test_guide.py
OF_THEIR_OWN = ("coming-from.md", "training-frameworks.md", "semi-supervised.md")
# what is true today: the list of changes names things that are gone
TODAY = {name: text for name, text in PAGES.items() if name != "changes.md"}


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return the code of the blocks whose first line is ``` and `language`, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def commands() -> list[tuple[str, str]]:
    """Return each line of a console block that begins with ``$``, and the lines that stand below it as its output."""
    found = []
    for name, text in PAGES.items():
        if name not in OF_THEIR_OWN:
            for block in blocks("console", text):
                for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                    line, _, output = part.partition("\n")
                    found.append((line, output))
    return list(dict.fromkeys(found))


def write_files(folder: Path) -> None:
    """Write each block that stands under "Put this into `NAME`:" in the README or a guide."""
    files = {}
    for name, text in PAGES.items():
        if name not in OF_THEIR_OWN:
            files |= dict(re.findall(r"Put this into `([^`]+)`:\n\n```python\n(.*?)^```", text, flags=re.M | re.S))
    assert {"fixed.py", "late.py", "near.py", "hum.py", "taps.py"} <= files.keys()
    for name, text in files.items():
        (folder / name).write_text(text)


def load_asset_script(name: str) -> ModuleType:
    """Return a script of the folder `assets` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "assets" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
