"""What lies on disk: the layouts of data sets, their tables, and the audio files in them.

One published data set a file, found by the file's name; such a file offers ``index(root, **options) -> Dataset``, which
says what there is from names and tables alone: no sound is decoded. An ``index`` with an argument `notes`, a list,
appends to it what a person should know of. The other files of this folder are what data sets are read with: `source`
recognises and reads whatever folder or manifest it is given.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path

from .. import check
from .dataset import Dataset

__all__ = ["available", "get"]

# Files of this folder that are no data sets.
_TOOLS = ("caption_lists", "columns", "dataset", "esc", "item", "source", "tables", "walk")


def available() -> list[str]:
    """Return the names of all data sets, sorted.

    >>> available()
    ['audiocaps', 'clotho', 'demo', 'esc10', 'esc50', 'folder', 'manifest', 'speech_commands', ..., 'urbansound8k']
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _TOOLS)


def get(text: str) -> Callable[..., Dataset]:
    """Return the reader of the data set that `text` names.

    Parameters
    ----------
    text : str
        A name, with options where it has some, e.g. ``speech_commands:words=up+down``.

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
    name, _, rest = text.partition(":")
    check.choice("dataset", name, available())
    index = importlib.import_module(f"{__name__}.{name}").index
    parameters = inspect.signature(index).parameters
    known = [option for option in parameters if option not in ("root", "notes")]
    given = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
    for option in given:
        if not known:
            check.fail(f"the options of {name}", "none", option)
        if option and f"{option}=" not in rest:
            slip = f"several values are joined by +, as in {name}:{known[0]}=up+down"
            check.fail(f"the options of {name}", f"key=value, with the key {' or '.join(known)}", option, slip)
        check.choice(f"the option of {name}", option, known)

    def read(root: Path | None = None, notes: list[str] | None = None) -> Dataset:
        return index(root, **given, **({"notes": notes} if "notes" in parameters else {}))

    return read
