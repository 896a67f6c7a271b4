"""What a run tells of its mixes: metadata.jsonl, errors.jsonl, and README.md, the card that Hugging Face reads."""

import glob
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from ..audio import io
from ..plan import AS_DRAWN
from .journal import stop_on_oserror
from .output_names import split_folder

__all__ = ["write_manifest"]

# Classes up to which each row has a dense vector: it takes 5 bytes a class.
_DENSE = 1024
# Bytes at the beginning of a table in which all its columns are seen: `datasets` looks at the first 10 MB.
_EARLY = 8 << 20
# Names that `datasets` keeps for itself.
_TAKEN = {"all"}
_MARK = "<!-- Written by audiomix augment, again with each run: without this line it is left as it is. -->"
_CARD = """---
configs:
- config_name: default
  data_files:
{files}
classes: {classes}
---
{mark}

# Mixed sounds

{count} mixes that `audiomix augment` made. `datasets.load_dataset(FOLDER)` reads this folder with all its splits. A row
of `metadata.jsonl` tells all of a mix: the shares of its classes (`label`; as a vector in the order of `classes` above:
`label_vector`), its captions, its sources and their licences, and the plan that mixed it.
"""


def write_manifest(
    out: Path, rows: Iterable[dict[str, Any]], errors: Sequence[dict[str, Any]], classes: Sequence[str]
) -> list[str]:
    """Write the tables of a run and its card, each whole or not at all.

    With splits, each split's folder has its own ``metadata.jsonl``: that is where Hugging Face looks for it.

    Parameters
    ----------
    out : Path
        Folder of the run.
    rows : iterable of dict
        Of all mixes, with names relative to `out`. They are taken one by one.
    errors : sequence of dict
        What ``errors.jsonl`` lists; there is none where it is empty.
    classes : sequence of str
        Names of the classes, in the order of the label's places.

    Returns
    -------
    list of str
        What a person should know of, in sentences.
    """
    why: Counter[str] = Counter()
    said: Counter[str] = Counter()
    tables: dict[str, _Table] = {}
    with stop_on_oserror(out):
        (out / "errors.jsonl").unlink(missing_ok=True)
        if errors:
            with io.atomic_file(out / "errors.jsonl") as file:
                file.writelines(map(_line, errors))
        with ExitStack() as stack:
            for row in rows:
                folder = split_folder(row["split"]) if row["split"] else ""
                if folder not in tables:
                    tables[folder] = _Table(stack.enter_context(io.atomic_file(out / folder / "metadata.jsonl")))
                tables[folder].add(row, folder, classes)
                if (row.get("why") or "") not in AS_DRAWN:
                    why[_kind(row["why"])] += 1
                said.update(map(_kind, row.get("notes", ())))
        every: Any = None
        for table in tables.values():
            every = _merge(every, table.kinds)
        for folder, table in tables.items():
            if table.early != every:
                _complete(out / folder / "metadata.jsonl", every)
        notes = _write_card(out, tables, classes)
    if said:
        most = "; ".join(f"{note} ({number})" for note, number in said.most_common(5))
        notes.append(f"the column notes says, of so many mixes: {most}")
    if why:
        most = "; ".join(f"{reason} ({number})" for reason, number in why.most_common(3))
        count = sum(table.rows for table in tables.values())
        notes.append(f"{why.total()} of {count} mixes are not what was asked for: {most}")
    return notes


def _kind(reason: str) -> str:
    """Return a reason without its numbers, so that those of one kind count together."""
    return reason.partition(":")[0]


class _Table:
    """The metadata of one split, or of what has none, and what kinds of values its columns have."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.kinds: Any = None
        self.early: Any = None  # those of the first rows
        self.size = self.rows = 0
        self.suffix = ""

    def add(self, row: dict[str, Any], folder: str, classes: Sequence[str]) -> None:
        """Write a row; the names in it are then relative to the folder of the table."""
        prefix = f"{folder}/" if folder else ""
        row["file_name"] = row["file_name"].removeprefix(prefix)
        row["stems"] = [name.removeprefix(prefix) for name in row["stems"]]
        self.suffix = Path(row["file_name"]).suffix
        self.kinds = _merge(self.kinds, row)
        if self.size <= _EARLY:
            self.early = self.kinds
        if 0 < len(classes) <= _DENSE:
            row["label_vector"] = None if row["label"] is None else [row["label"].get(name, 0.0) for name in classes]
        line = _line(row)
        self.file.write(line)
        self.size += len(line)
        self.rows += 1


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _merge(kinds: Any, value: Any) -> Any:
    """Return what is known of a column's kind with one more value: "" for a text, 0.0, a dict or a list of kinds."""
    if isinstance(value, dict):
        known = kinds if isinstance(kinds, dict) else {}
        return {**known, **{name: _merge(known.get(name), one) for name, one in value.items()}}
    if isinstance(value, list):
        one = kinds[0] if isinstance(kinds, list) else None
        for each in value:
            one = _merge(one, each)
        return [one]
    return kinds if value is None else "" if isinstance(value, str) else 0.0


def _complete(table: Path, kinds: Any) -> None:
    """Name in a table's first row what else there is in other rows, or in other splits: classes (share 0), texts ("").

    `datasets` takes the columns of a split from its first rows, and wants those of all splits to be alike.
    """
    with open(table, "rb") as before, io.atomic_file(table) as after:
        after.write(_line(_fill(json.loads(before.readline()), kinds)))
        shutil.copyfileobj(before, after)


def _fill(value: Any, kind: Any, name: str = "") -> Any:
    if isinstance(value, dict) and isinstance(kind, dict):
        missing = 0.0 if name == "label" else None
        return value | {key: _fill(value.get(key, missing), one, key) for key, one in kind.items()}
    if isinstance(value, list) and isinstance(kind, list):
        return [_fill(value[0], kind[0]), *value[1:]] if value else [""] if kind == [""] else []
    return "" if value is None and kind == "" else value


def _write_card(out: Path, tables: dict[str, _Table], classes: Sequence[str]) -> list[str]:
    """Write README.md, unless there is one that somebody else has written; return that as a note."""
    card = out / "README.md"
    if card.exists() and _MARK not in card.read_text("utf-8", errors="replace"):
        return [f"{card} is left as it is, so Hugging Face may not find all splits"]
    files, names = [], set(_TAKEN)
    for folder, table in tables.items():
        name = re.sub(r"\W", "_", folder) or ("train" if len(tables) == 1 else "no_split")
        name = next(one for one in (name, *(f"{name}_{i}" for i in range(2, len(tables) + 3))) if one not in names)
        names.add(name)
        paths = [f"{glob.escape(folder)}/**"] if folder else ["metadata.jsonl", f"**/*{table.suffix}"]
        files.append(f"  - split: {_json(name)}\n    path: {_json(paths)}")
    if files:
        count = sum(table.rows for table in tables.values())
        text = _CARD.format(files="\n".join(files), classes=_json([*classes]), mark=_MARK, count=count)
        with io.atomic_file(card) as file:
            file.write(text.encode())
    return []


def _json(value: Any) -> str:
    """Return a value as JSON, which YAML reads too."""
    return json.dumps(value, ensure_ascii=False)
