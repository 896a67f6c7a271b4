"""What lies on disk: the layouts of data sets, their tables, and the audio files in them.

One published data set a file, found by the file's name; such a file offers ``index(root, **options) -> Dataset``, which
says what there is from names and tables alone: no sound is decoded. An ``index`` with an argument `notes`, a list,
appends to it what a person should know of. The other files of this folder are what data sets are read with: `source`
recognises and reads whatever folder or manifest it is given.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import check
from ..registry import Registry
from .dataset import Dataset

__all__ = ["available", "get"]

# Files of this folder that are no data sets.
_TOOLS = (
    *("block_reader", "blocks", "caption_lists", "columns", "dataset", "esc", "file_names", "item", "item_columns"),
    *("item_table", "jams", "json_lines", "label_files", "lhotse", "remote", "shards", "source", "stores", "tables"),
    *("tree", "walk", "weights"),
)
_REGISTRY: Registry[Callable[..., Dataset]] = Registry(
    "dataset", __name__, "audiomix.datasets", function="index", positional=1, skip=_TOOLS
)
available = _REGISTRY.available
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module


def get(text: str) -> Callable[..., Dataset]:
    """Return the reader of the data set that `text` names.

    Parameters
    ----------
    text : str
        One of `available`, or a path to one's own function (``mine.py:my_data_set``), with options behind it or
        without: ``speech_commands:words=up+down``.

    Returns
    -------
    callable
        ``read(root, notes) -> Dataset``. Both may be left out: `root`, the folder of the data set, where it is bundled;
        `notes`, a list to which is appended what a person should know of.

    Raises
    ------
    ValueError
        There is no such data set, or it has no such option; a near miss is named.
    """
    chosen = _REGISTRY.read(text, skip=("notes",))
    takes_notes = "notes" in inspect.signature(chosen.member).parameters

    def read(root: Path | None = None, notes: list[str] | None = None) -> Dataset:
        found = chosen.member(root, **chosen.options, **({"notes": notes} if takes_notes else {}))
        return check.one_of_types(f"what {chosen.name} returns", found, Dataset, "a Dataset")

    return read
