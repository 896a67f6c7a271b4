"""A mixed corpus as its plans: one Parquet file, with hashes of what the sources and the mixes decode to.

The file's metadata (key ``audiomix_plans``) holds its version, the settings of the run, the classes, the versions of
what the samples depend on and, of a run in rooms, the name of each impulse response with the hash of what it decodes
to. A row is one mix: ``file_name``, ``plan`` (JSON), ``samples`` (hash of the mix), ``sources`` (what the manifest says
of each, its room too, the hash of its decoded samples, and which piece was read), ``stems`` (how many there are), and
the rest of its row of the manifest. No folder of the publisher is in it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ... import check
from ...audio import io
from .output import check_row
from .replayer import Piece

__all__ = ["VERSION", "PlanFile", "PlanRow", "parquet", "read_plans", "write_plan_file"]

# Version of the file's form. A file of another one is refused.
VERSION = 1
_KEY = b"audiomix_plans"
# Rows that are held at a time.
_BATCH = 1024
# Columns of their own, whose values are the same for many rows.
_SAME = ("mixer", "options", "versions", "seed")
_OF_MIX = ("offset_s", "read_s")


@dataclass(frozen=True)
class PlanRow:
    """One mix of a file of plans.

    Parameters
    ----------
    row : dict
        Its row of the manifest; the entries of its sources have no `root`, those that are not heard stand in `unheard`.
    samples : str
        Hash of the mix; see `audiomix.offline.replay.replayer.hash_samples`.
    sounds : dict of str to str
        Hash of what each source decodes to, by id.
    pieces : dict of str to (float, float)
        Pieces that were read, in seconds, by id of the source; others were read whole.
    """

    row: dict[str, Any]
    samples: str
    sounds: dict[str, str]
    pieces: dict[str, Piece]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of all sources, also of those that are not heard."""
        return [*self.row["sources"], *json.loads(self.row.get("unheard") or "[]")]


@dataclass(frozen=True)
class PlanFile:
    """A file of plans that was looked at: its settings, and how many mixes there are."""

    path: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]
    count: int
    responses: Mapping[str, str] = field(default_factory=dict)  # hashes of impulse responses, by name

    def rows(self) -> Iterator[PlanRow]:
        """Yield the mixes, a few held at a time."""
        with closing(parquet().ParquetFile(self.path)) as file:
            number = 0
            for batch in file.iter_batches(_BATCH):
                for packed in batch.to_pylist():
                    number += 1
                    where = f"row {number} of {self.path}"
                    try:
                        row = _unpack(packed)
                    except (AttributeError, KeyError, TypeError, ValueError) as error:
                        slip = f"edited by hand? {type(error).__name__}: {error}"
                        check.fail(where, "a mix as audiomix plans writes it", "another one", slip)
                    check_row(row.row, where)
                    yield row


def parquet() -> Any:
    """Return `pyarrow.parquet`.

    Raises
    ------
    ValueError
        It is not installed; the message says how to get it.
    """
    try:
        from pyarrow import parquet as found
    except ModuleNotFoundError:
        slip = "pip install 'audiomix[parquet]'"
        check.fail("a Parquet file", "written with pyarrow", "pyarrow, which is not installed", slip)
    return found


def write_plan_file(
    path: Path,
    rows: Iterable[PlanRow],
    settings: Mapping[str, Any],
    classes: Sequence[str],
    responses: Mapping[str, str] | None = None,
) -> int:
    """Write a file of plans, whole or not at all; return the number of mixes.

    Parameters
    ----------
    path : Path
        The file, ``.parquet``.
    rows : iterable of PlanRow
        Taken a few at a time.
    settings : mapping
        Of the run: the `settings` of an `Output`.
    classes : sequence of str
        Names of the classes, in the order of the label's places.
    responses : mapping of str to str, optional
        Hashes of what the impulse responses decode to, by name, of a run in rooms.
    """
    import pyarrow

    about: dict[str, Any] = {"version": VERSION, "settings": dict(settings), "classes": list(classes)}
    about |= {"responses": dict(responses)} if responses else {}
    schema = _schema(pyarrow).with_metadata({_KEY: json.dumps(about, ensure_ascii=False).encode()})
    count, rows = 0, iter(rows)
    options = {"compression": "zstd", "compression_level": 9}
    with io.atomic_file(path) as file, parquet().ParquetWriter(file, schema, **options) as writer:
        while batch := [_pack(row) for row in islice(rows, _BATCH)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
            count += len(batch)
    return count


def read_plans(path: str | Path) -> PlanFile:
    """Look at a file of plans.

    Parameters
    ----------
    path : path
        What `audiomix plans` wrote.

    Raises
    ------
    ValueError
        There is no such file, it is no file of plans, or one of another version.
    """
    path = Path(path)
    if not path.is_file():
        check.fail("plans", "a file that audiomix plans wrote", repr(str(path)), "there is no such file")
    from pyarrow import ArrowException

    try:
        with closing(parquet().ParquetFile(path)) as file:
            found, count = (file.schema_arrow.metadata or {}).get(_KEY), file.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        check.fail("plans", "a file that audiomix plans wrote", repr(str(path)), reason)
    if found is None:
        check.fail("plans", "a file that audiomix plans wrote", f"{str(path)!r}, another table in Parquet")
    try:
        about = json.loads(found)
    except ValueError:
        about = None
    if not isinstance(about, dict) or not isinstance(about.get("version"), int):
        check.fail("plans", "a file that audiomix plans wrote", f"{str(path)!r} without a version", "edited by hand?")
    if about.get("version") != VERSION:
        slip = "install the audiomix that wrote it" if about["version"] < VERSION else "a newer audiomix?"
        check.fail("plans", f"of version {VERSION}", f"{str(path)!r} of version {about['version']}", slip)
    if not isinstance(about.get("settings"), dict) or "mixer" not in about["settings"] or "classes" not in about:
        check.fail("plans", "with the settings of a run", f"{str(path)!r} without", "edited by hand?")
    return PlanFile(path, about["settings"], tuple(about["classes"]), count, about.get("responses") or {})


def _schema(pyarrow: Any) -> Any:
    text, sound = pyarrow.string(), pyarrow.binary(16)
    number = pyarrow.float64()
    source = pyarrow.struct([
        ("about", text), ("offset_s", number), ("read_s", number), ("heard", pyarrow.bool_()), ("sound", sound),
        ("piece_start_s", number), ("piece_seconds", number),
    ])  # fmt: skip
    return pyarrow.schema([
        ("file_name", text), ("plan", text), ("sources", pyarrow.list_(source)), ("samples", sound),
        ("stems", pyarrow.int16()), *((name, text) for name in _SAME), ("row", text),
    ])  # fmt: skip


def _pack(one: PlanRow) -> dict[str, Any]:
    unheard = json.loads(one.row.get("unheard") or "[]")
    sources = [_pack_source(entry, one, True) for entry in one.row["sources"]]
    sources += [_pack_source(entry, one, False) for entry in unheard]
    # the places of what has a column of its own are kept, so that a row that was read is the row that was written
    taken = {"file_name", "plan", "sources", "stems", "unheard", *_SAME}
    rest = {key: None if key in taken else value for key, value in one.row.items()}
    same = {name: json.dumps(one.row.get(name), ensure_ascii=False) for name in _SAME}
    return {
        "file_name": one.row["file_name"], "plan": one.row["plan"], "sources": sources, "stems": len(one.row["stems"]),
        "samples": bytes.fromhex(one.samples), **same, "row": json.dumps(rest, ensure_ascii=False),
    }  # fmt: skip


def _pack_source(entry: Mapping[str, Any], one: PlanRow, heard: bool) -> dict[str, Any]:
    about = {key: None if key == "root" or key in _OF_MIX else value for key, value in entry.items()}
    start, seconds = one.pieces.get(entry["id"], (None, None))
    return {
        "about": json.dumps(about, ensure_ascii=False), **{name: entry.get(name) for name in _OF_MIX}, "heard": heard,
        "sound": bytes.fromhex(one.sounds[entry["id"]]), "piece_start_s": start, "piece_seconds": seconds,
    }  # fmt: skip


def _unpack(packed: Mapping[str, Any]) -> PlanRow:
    name, rest = packed["file_name"], json.loads(packed["row"])
    heard: list[dict[str, Any]] = []
    unheard: list[dict[str, Any]] = []
    sounds: dict[str, str] = {}
    pieces: dict[str, Piece] = {}
    for one in packed["sources"]:
        entry = json.loads(one["about"])
        entry |= {key: one[key] for key in _OF_MIX if key in entry}
        (heard if one["heard"] else unheard).append(entry)
        sounds[entry["id"]] = one["sound"].hex()
        if one["piece_seconds"] is not None:
            pieces[entry["id"]] = one["piece_start_s"], one["piece_seconds"]
    stem, _, suffix = name.rpartition(".")
    stems = [f"{stem}.stem{i}.{suffix}" for i in range(packed["stems"])]
    values = {
        "file_name": name, "plan": packed["plan"], "sources": heard, "stems": stems,
        "unheard": json.dumps(unheard, ensure_ascii=False) if unheard else None,
        **{key: json.loads(packed[key]) for key in _SAME},
    }  # fmt: skip
    row = {key: values.get(key, value) for key, value in rest.items()}
    return PlanRow(row, packed["samples"].hex(), sounds, pieces)
