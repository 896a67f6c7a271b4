"""Blocks of code in the README and in the pages of assets/docs, and the files that the README asks to be written."""

import re
from pathlib import Path

from sounds import ROOT

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return the code of the blocks whose first line is ``` and `language`, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def write_files(folder: Path) -> None:
    """Write each block that stands under "Put this into `NAME`:"."""
    files = re.findall(r"Put this into `([^`]+)`:\n\n```python\n(.*?)^```", TEXT, flags=re.M | re.S)
    assert files
    for name, text in files:
        (folder / name).write_text(text)
