"""The README's blocks, and the files that it asks its reader to write."""

import re
from pathlib import Path

from sounds import ROOT

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.M | re.S)


def write_files(folder: Path) -> None:
    """Write each block that stands under "Put this into `NAME`:"."""
    files = re.findall(r"Put this into `([^`]+)`:\n\n```python\n(.*?)^```", TEXT, flags=re.M | re.S)
    assert files
    for name, text in files:
        (folder / name).write_text(text)
