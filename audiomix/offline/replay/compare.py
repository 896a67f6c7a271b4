"""`audiomix replay`: one mix is made again from its plan, and compared with its file, sample by sample."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import check
from ...audio import io
from ...audio.io import AudioError, Clip
from ...transforms.room import Room
from ..cache import is_changed
from ..render import Rendered, versions
from ..stems import FULL
from .output import item_of, read_output, settings_from
from .replayer import Replayer, replay_task, sources_of

__all__ = ["Comparison", "find_differences", "find_roots", "replay_mix"]

# Of formats that keep no samples, what the codec makes of a mix is compared.
_LOSSY = ".ogg"


@dataclass(frozen=True)
class Comparison:
    """How a mix that was made again compares with its file.

    Parameters
    ----------
    file : str
        Its name, relative to the folder of the run.
    samples : int
        How long it is.
    different : tuple of str
        In which of its files other samples are; empty where all bits are equal.
    changed : tuple of str
        Sources that are not what they were when the mix was made: their ids.
    missing : tuple of str
        Sources that are not there.
    versions : tuple of str
        What the samples depend on and is installed in another version.
    reason : str
        Why it could not be made again; else empty.
    row : dict
        Its row of the manifest.
    """

    file: str
    samples: int
    different: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    row: dict[str, Any]

    @property
    def equal(self) -> bool:
        """Whether the mix was made again, with the same bits."""
        return not self.reason and not self.different


def replay_mix(
    out: str | Path,
    name: str,
    *,
    sources: Sequence[str | Path] = (),
    own: Sequence[str] = (),
    room: str | Path | Room | None = None,
    to: Path | None = None,
) -> Comparison:
    """Make one mix of an output again, from its plan.

    Parameters
    ----------
    out : path
        Folder of the run.
    name : str
        The mix: its `file_name`, with or without suffix.
    sources : sequence of path
        Folders that the sources are relative to; by default the one that the row names for each.
    own : sequence of str
        Mixers of the user's own, as ``mine.py:RollMix``.
    room : path or Room, optional
        The impulse responses that the run was given.
    to : Path, optional
        A file to write the mix to.

    Raises
    ------
    ValueError
        `out` is no output of `audiomix augment`; there is no such mix.
    """
    output = read_output(out)
    row = output.find(name)
    settings = settings_from(output.settings, own, room=room)
    original, partners = sources_of(row)
    places = find_roots([original, *partners], sources)
    before = output.state(row["file_name"]).get("sources", {})
    changed, missing = [], []
    for entry in (original, *partners):
        item = item_of(entry, places.get(entry["id"]))
        if not os.path.isfile(item.path):
            missing.append(entry["id"])
        elif entry["id"] in before and is_changed(item.path, before[entry["id"]]):
            changed.append(entry["id"])
    here = versions()
    other = [f"{key} {here[key]}, not {was}" for key, was in row["versions"].items() if here.get(key, was) != was]
    found = {"changed": tuple(changed), "missing": tuple(missing), "versions": tuple(other), "row": row}
    try:
        rendered = Replayer(settings).render(replay_task(0, row, places))
        different = find_differences(output.path, row, rendered)
    except (AudioError, ValueError) as error:
        return Comparison(row["file_name"], 0, (), reason=str(error), **found)  # type: ignore[arg-type]
    if to is not None:
        io.write(to, Clip(rendered.mix, rendered.rate))
    size = rendered.mix.shape[-1]
    return Comparison(row["file_name"], size, tuple(different), reason="", **found)  # type: ignore[arg-type]


def find_roots(entries: Sequence[dict[str, Any]], sources: Sequence[str | Path]) -> dict[str, str]:
    """Return by id of a source the first of some folders that it is in; the first of all where it is in none.

    Parameters
    ----------
    entries : sequence of dict
        What a row says of its sources.
    sources : sequence of path
        The folders; none keeps those that the row names.
    """
    roots = [os.path.abspath(root) for root in sources]
    for root in roots:
        if not os.path.isdir(root):
            check.fail("sources", "a folder", repr(root), "there is no such folder")
    if not roots:
        return {}
    return {
        entry["id"]: next((root for root in roots if os.path.isfile(item_of(entry, root).path)), roots[0])
        for entry in entries
    }


def find_differences(output: Path, row: dict[str, Any], rendered: Rendered) -> list[str]:
    """Return in which files of a mix other samples are than in the one that was made again, a sentence each.

    Parameters
    ----------
    output : Path
        Folder of the run.
    row : dict
        Of the manifest.
    rendered : Rendered
        The mix, made again.
    """
    found = []
    for name, sound in zip([*row["stems"], row["file_name"]], [*rendered.stems, rendered.mix]):
        clip = io.read(output / name)
        if name.endswith(_LOSSY):
            sound = _encode_and_decode(sound, rendered.rate, os.path.splitext(name)[1])
        samples = clip.samples.double() * FULL
        if samples.shape != sound.shape or clip.rate != rendered.rate:
            was, now = (f"{c} x {n} samples" for c, n in (samples.shape, sound.shape))
            found.append(f"{name}: {was} at {clip.rate} Hz, and {now} at {rendered.rate} Hz when made again")
        elif not torch.equal(samples, sound.double()):
            apart = (samples - sound).abs()
            first = int((apart.amax(0) > 0).nonzero()[0])
            steps = f"by up to {float(apart.max()):.0f} of {FULL} steps"
            found.append(f"{name}: {int((apart > 0).sum())} samples differ {steps}, the first at {first}")
    return found


def _encode_and_decode(sound: Tensor, rate: int, suffix: str) -> Tensor:
    """Return what a codec makes of a mix, in steps of 16 bits: Ogg files are promised to be equal after decoding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mix{suffix}"
        io.write(path, Clip(sound, rate))
        return io.read(path).samples.double() * FULL
