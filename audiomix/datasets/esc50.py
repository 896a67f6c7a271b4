"""ESC-50: 2,000 clips of 5 s, 50 classes, 5 folds that keep the pieces of one recording together.

Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015.
"""

from pathlib import Path

from .dataset import Dataset
from .esc import read_task

__all__ = ["index"]


def index(root: Path | None = None) -> Dataset:
    """List the 2,000 clips of ESC-50 under `root`, an archive of ESC-50.

    Parameters
    ----------
    root : Path
        The folder with ``audio/`` and ``meta/esc50.csv``.

    Raises
    ------
    ValueError
        `root` is not such an archive, or its table has other columns.
    """
    return read_task(root, "esc50", flagged=False)
