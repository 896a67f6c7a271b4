"""How often each clip of a data set is drawn, said by the names of its files and folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import check

__all__ = ["weights_by_name"]


def weights_by_name(
    ids: Sequence[str], weights: Mapping[str, float], where: str | Path, argument: str = "weights"
) -> list[float]:
    """Return the weight of each clip: that of the longest name that it has or lies in; 1 where none fits.

    Parameters
    ----------
    ids : sequence of str
        Names of the clips, with forward slashes.
    weights : mapping of str to float
        From a file or a folder to the weight of each clip there, at least 0.
    where : path
        The data set, for messages.
    argument : str
        What messages call `weights`.

    Raises
    ------
    ValueError
        A weight that is no number of at least 0, a name that no clip has, or no clip with a weight above 0.

    Examples
    --------
    >>> weights_by_name(["music/a.wav", "music/b.wav", "rain.wav"], {"music": 0.5, "music/b.wav": 0}, "noise")
    [0.5, 0.0, 1.0]
    """
    given = {name.strip("/"): check.number(f"{argument}[{name!r}]", value, 0) for name, value in weights.items()}
    found, used = [], set()
    for one in ids:
        parts = one.split("/")
        names = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
        name = next((name for name in names if name in given), None)
        used.add(name)
        found.append(1.0 if name is None else given[name])
    for name in given.keys() - used:
        slip = "or has each file there a weight of its own?"
        check.fail(argument, f"of files or folders in {where}", repr(name), slip)
    if not sum(found):
        check.fail(argument, "above 0 for a file at least", "all 0")
    return found
