"""A data set for the Hugging Face Hub: Parquet shards with the sounds inside, and the card that lists the splits.

``data/train-00000-of-00002.parquet`` has a column `audio` of the feature ``Audio`` (bytes and path), `stems` of the
same where there are some, and the row of the manifest; `label` is JSON, `label_vector` its shares in the order of the
card's `classes`. A folder in this form may be uploaded as it is.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..output_names import split_folder
from ..replay.plan_file import parquet as pyarrow_parquet
from .cells import cells_of, find_types, schema_of
from .export import Export

__all__ = ["write"]

_FEATURES = {
    "bool": {"dtype": "bool", "_type": "Value"}, "int": {"dtype": "int64", "_type": "Value"},
    "float": {"dtype": "float64", "_type": "Value"}, "str": {"dtype": "string", "_type": "Value"},
    "json": {"dtype": "string", "_type": "Value"},
    "texts": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    "numbers": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "List"},
}  # fmt: skip
_CARD = """---
configs:
- config_name: default
  data_files:
{files}
classes: {classes}
---

# Mixed sounds

{count} mixes that `audiomix augment` made, with their sounds inside. `datasets.load_dataset(FOLDER)` reads this folder.
"""
# Classes up to which each row has a dense vector.
_DENSE = 1024


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    parquet = pyarrow_parquet()
    import pyarrow

    types = {name: kind for name, kind in find_types(job.rows()).items() if name != "stems"}
    dense = 0 < len(job.classes) <= _DENSE
    with_stems = bool(job.output.settings.get("stems"))
    schema = _schema(pyarrow, types, dense, with_stems)
    (job.folder / "data").mkdir()
    shards: dict[str, list[Path]] = {}
    for split, rows in _shards(job):
        cells = [_cells(job, row, types, dense, with_stems) for row in rows]
        paths = shards.setdefault(split, [])
        paths.append(job.folder / "data" / f"{split}-{len(paths):05d}.parquet")
        # small row groups: one holds sounds of a few dozen mixes
        parquet.write_table(pyarrow.Table.from_pylist(cells, schema), paths[-1], row_group_size=64)
    for split, paths in shards.items():
        for number, path in enumerate(paths):
            path.rename(path.with_name(f"{split}-{number:05d}-of-{len(paths):05d}.parquet"))
    files = "\n".join(f"  - split: {json.dumps(name)}\n    path: {json.dumps(f'data/{name}-*')}" for name in shards)
    classes = json.dumps([*job.classes], ensure_ascii=False)
    text = _CARD.format(files=files, classes=classes, count=job.output.count)
    (job.folder / "README.md").write_text(text, "utf-8")
    return []


def _shards(job: Export) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of each shard, with its split."""
    held: dict[str, list[dict[str, Any]]] = {}
    sizes: dict[str, int] = {}
    for row in job.rows():
        split = split_folder(row["split"]).replace("-", "_") if row["split"] else "train"
        held.setdefault(split, []).append(row)
        sizes[split] = sizes.get(split, 0) + os.path.getsize(job.output.path / row["file_name"]) * (
            2 if row["stems"] else 1
        )
        if sizes[split] >= job.shard_bytes:
            yield split, held.pop(split)
            sizes[split] = 0
    yield from held.items()


def _schema(pyarrow: Any, types: Mapping[str, str], dense: bool, with_stems: bool) -> Any:
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = schema_of(pyarrow, types).insert(0, pyarrow.field("audio", sound))
    features: dict[str, Any] = {"audio": {"_type": "Audio"}, **{name: _FEATURES[kind] for name, kind in types.items()}}
    if dense:
        schema = schema.append(pyarrow.field("label_vector", pyarrow.list_(pyarrow.float32())))
        features["label_vector"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}
    if with_stems:
        schema = schema.append(pyarrow.field("stems", pyarrow.list_(sound)))
        features["stems"] = {"feature": {"_type": "Audio"}, "_type": "List"}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _cells(
    job: Export, row: Mapping[str, Any], types: Mapping[str, str], dense: bool, with_stems: bool
) -> dict[str, Any]:
    def sound(name: str) -> dict[str, Any]:
        return {"bytes": (job.output.path / name).read_bytes(), "path": name}

    label = row["label"]
    cells = {"audio": sound(row["file_name"]), **cells_of(row, types)}
    if dense:
        cells["label_vector"] = None if label is None else [label.get(name, 0.0) for name in job.classes]
    return cells | ({"stems": [sound(name) for name in row["stems"]]} if with_stems else {})
