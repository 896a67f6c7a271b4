"""Annotations: a ``.beats`` text or a ``.jams`` file beside the sound, or in a folder of its own.

Source: ours.
"""

from pathlib import Path

from torch import Tensor

from ... import check
from ...audio import io
from ..grid import BeatGrid
from ._base import Tracker, within

__all__ = ["FileTracker"]


class FileTracker(Tracker):
    """Reads the beats of ``rock.flac`` from ``rock.flac.beats``, ``rock.beats`` or ``rock.jams``: the first found.

    Parameters
    ----------
    folder : str
        Where the texts are; "" is beside each sound. `BeatGrid.read` says what is in them.
    """

    name = "file"
    rank = 10
    cached = False  # reading the text costs less than hashing the sound

    def __init__(self, folder: str = "") -> None:
        self.folder = str(folder)

    def candidates(self, path: str | Path) -> list[Path]:
        """Return the names under which the annotation of a sound is looked for, the more exact one first."""
        path = Path(path)
        folder = Path(self.folder) if self.folder else path.parent
        return [folder / f"{path.name}.beats", folder / f"{path.stem}.beats", folder / f"{path.stem}.jams"]

    def finds(self, path: str | Path | None) -> bool:
        """Whether an annotation of this file exists."""
        return path is not None and any(c.is_file() for c in self.candidates(path))

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Raise: samples have no annotation beside them."""
        slip = "track_beats(path, tracker='file'), or pass beats yourself"
        return check.fail("tracker 'file'", "given a sound file", "samples", slip, TypeError)

    def track_file(self, path: str | Path) -> BeatGrid:
        """Return the annotated beats of a sound file.

        Raises
        ------
        FileNotFoundError
            There is no annotation; the names that were looked for are given.
        ValueError
            A line that is no beat, beats out of order or behind the end of the sound; the message names the file.
        """
        seconds = io.info(path).seconds
        for candidate in self.candidates(path):
            if candidate.is_file():
                return within(BeatGrid.read(candidate), seconds, candidate)
        names = " or ".join(map(str, self.candidates(path)))
        return check.fail(f"the annotation of {path}", f"in {names}", "neither", error=FileNotFoundError)
