"""Sounds inside of larger files: webdataset's tar shards, and the Parquet shards of the Hugging Face Hub.

They are unpacked once, into a folder of the cache (``$AUDIOMIX_CACHE/shards``), as an audiofolder with
``metadata.jsonl``; a shard that has changed is unpacked anew. Of a tar a sample is the files with one name up to its
first dot: a sound, ``.json`` (a row of a manifest), ``.txt`` (its caption), ``.cls`` (its class). Of Parquet a row is
a sample, whose column ``audio`` has the fields ``bytes`` and ``path``.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from .. import check
from ..audio.clip import cache_folder
from .columns import COLUMNS
from .item import SPLITS
from .walk import is_audio, list_folder, subfolders

__all__ = ["find_shards", "unpack"]

_BATCH = 16
# Name of the column of sounds, and its fields.
_AUDIO, _BYTES, _PATH = "audio", "bytes", "path"
_SPLIT = re.compile(r"([A-Za-z_]+)-\d+")
# What the Hub and webdataset write for a set without splits.
_ALL = ("data", "shard")

# A sound: its name, its bytes, and what is said of it.
_Sample = tuple[str, bytes, dict[str, Any]]


def find_shards(folder: Path) -> tuple[Path, ...]:
    """Return the shards in a folder, or in its folder ``data``: tar files, else Parquet files with sounds inside.

    A folder with sounds or with other folders has none.

    Parameters
    ----------
    folder : Path
        A source.
    """
    inside, folders = [folder / name for name in list_folder(folder)], subfolders(folder)
    if folders not in ([], ["data"]) or any(is_audio(path.name) for path in inside):
        return ()  # an archive left beside what was unpacked from it
    if not folders and (tars := [path for path in inside if path.suffix == ".tar" and path.is_file()]):
        return tuple(tars)
    data = folder / "data"
    tables = [data / name for name in list_folder(data)] if folders else inside
    tables = [path for path in tables if path.suffix == ".parquet" and path.is_file()]
    return tuple(tables) if tables and _holds_sounds(tables[0]) else ()


def unpack(shards: tuple[Path, ...]) -> Path:
    """Unpack shards, unless that was done before; return the folder.

    Parameters
    ----------
    shards : tuple of Path
        What `find_shards` returned.

    Raises
    ------
    ValueError
        A shard that cannot be read, a sample without a sound, a name that leads out of the folder.
    """
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    folder = cache_folder("shards") / hashlib.blake2b(json.dumps(states).encode(), digest_size=12).hexdigest()
    if (folder / "metadata.jsonl").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    try:
        with open(made / "metadata.jsonl", "w", encoding="utf-8") as table:
            for name, sound, row in _samples(shards):
                place = made / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(sound)
                table.write(json.dumps({"file_name": name, **row}, ensure_ascii=False) + "\n")
        if not folder.exists():  # another process may have been faster
            os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _samples(shards: tuple[Path, ...]) -> Iterator[_Sample]:
    taken: set[str] = set()
    for shard in shards:
        read: Callable[[Path], Iterator[_Sample]] = _tar_samples if shard.suffix == ".tar" else _parquet_samples
        split = _SPLIT.match(shard.name)
        part = split[1] if split and split[1] not in _ALL else None
        for name, sound, row in read(shard):
            name = str(row.get("file_name") or name)
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                check.fail(f"the name of a sound in {shard}", "a path within a folder", repr(name))
            if not is_audio(name):
                check.fail(f"a sound in {shard}", "named like one that can be read here", repr(name))
            while name in taken:
                path = path.with_stem(f"{path.stem}_")
                name = str(path)
            taken.add(name)
            kept = {k: v for k, v in row.items() if k not in COLUMNS["path"] and k != "stems"}
            if part and part.lower() in SPLITS and not kept.get("split"):
                kept["split"] = part
            yield name, sound, kept


def _tar_samples(shard: Path) -> Iterator[_Sample]:
    """Yield the samples of a tar file: members that stand one behind the other and have one key."""
    try:
        with tarfile.open(shard, "r:") as tar:
            key, held = "", dict[str, bytes]()
            for member in tar:
                if not member.isfile() or PurePosixPath(member.name).name.startswith("."):
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                now = f"{folder}/{stem}" if folder else stem
                if held and now != key:
                    yield _sample(shard, key, held)
                    held = {}
                file = tar.extractfile(member)
                key, held[suffix.lower()] = now, b"" if file is None else file.read()
            if held:
                yield _sample(shard, key, held)
    except (tarfile.TarError, OSError) as error:
        check.fail(str(shard), "a tar file that can be read", str(error), "cut off?")


def _sample(shard: Path, key: str, parts: dict[str, bytes]) -> _Sample:
    sounds = [suffix for suffix in parts if is_audio(f"x.{suffix}") and "." not in suffix]
    if not sounds:
        check.fail(f"the sample {key!r} in {shard}", "with a sound", f"only {', '.join(parts)}")
    try:
        row = json.loads(parts["json"]) if "json" in parts else {}
        if "txt" in parts and not row.get("caption"):
            row["caption"] = parts["txt"].decode().strip()
        if "cls" in parts and not row.get("label"):
            row["label"] = parts["cls"].decode().strip()
    except (ValueError, AttributeError, TypeError) as error:
        check.fail(f"the sample {key!r} in {shard}", "with a JSON object and texts in UTF-8", str(error))
    return f"{key}.{sounds[0]}", parts[sounds[0]], row


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        slip = "pip install 'audiomix[parquet]'"
        check.fail("source", "one that can be read here", "Parquet, for which pyarrow is not installed", slip)
    return parquet


def _holds_sounds(table: Path) -> bool:
    try:
        schema = _parquet().read_schema(table)
    except (OSError, _arrow_error()):
        return False
    field = schema.field(_AUDIO) if _AUDIO in schema.names else None
    return field is not None and str(field.type).startswith("struct") and field.type.get_field_index(_BYTES) >= 0


def _arrow_error() -> type[Exception]:
    from pyarrow import ArrowException

    return ArrowException


def _parquet_samples(shard: Path) -> Iterator[_Sample]:
    try:
        with closing(_parquet().ParquetFile(shard)) as file:
            names = _class_names(file.schema_arrow.metadata or {})
            number = 0
            for batch in file.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    sound = row.pop(_AUDIO) or {}
                    number += 1
                    if not sound.get(_BYTES):
                        check.fail(f"row {number} of {shard}", "with the bytes of a sound", sound.get(_PATH))
                    for column, classes in names.items():
                        if isinstance(row.get(column), int) and 0 <= row[column] < len(classes):
                            row[column] = classes[row[column]]
                    name = sound.get(_PATH) or f"{shard.stem}/{number:06d}.wav"
                    yield name, sound[_BYTES], {k: v for k, v in row.items() if v is not None}
    except (OSError, _arrow_error()) as error:
        check.fail(str(shard), "a table in Parquet", str(error).splitlines()[0][:200], "cut off?")


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return by column the names of its classes, where `datasets` says that its numbers are such."""
    features = json.loads(metadata.get(b"huggingface") or b"{}").get("info", {}).get("features") or {}
    return {name: one["names"] for name, one in features.items() if isinstance(one, dict) and "names" in one}
