"""Pages of ``audiomix show``: mixes, data sets, beats and runs as they lie on disk."""

from . import (
    beats as beats,
    distributions as distributions,
    mixes as mixes,
    path as path,
    plan_bars as plan_bars,
    runs as runs,
)
