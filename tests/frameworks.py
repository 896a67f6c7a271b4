"""The examples of the page about training frameworks."""

import importlib.util
import os
import re

import pytest
from sounds import ROOT

PAGE = ROOT / "assets" / "docs" / "training-frameworks.md"


def example(heading):
    """The Python code under a heading of the page."""
    _, _, rest = PAGE.read_text().partition(f"\n## {heading}\n")
    return re.search(r"^```python\n(.*?)^```", rest, flags=re.M | re.S)[1]


def need(*names):
    """Skip where a framework is missing; in CI, which installs them, fail."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("AUDIOMIX_REQUIRE_FRAMEWORKS"):
        pytest.skip(f"no {', '.join(missing)}: pip install 'audiomix[test]'")
