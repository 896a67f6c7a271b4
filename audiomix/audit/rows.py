"""What an audit reads: the rows of a run of `audiomix augment`, or a table of mixes, sources and captions."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import check
from ..audio.remote.urls import was_url
from ..datasets import tables
from ..datasets.source import metadata_tables
from ..offline.journal import FOLDER

__all__ = ["AuditRow", "NamedSource", "read_mix_output", "read_rows"]

# What the columns may be called; the first that is there counts.
_MIX = ("mix", "file_name", "path", "file", "filename")
# Files with what `audiomix mix` printed.
_PRINTED = ".json"
# Compressed mixes: the residual is the codec's noise, and it moves gains (0.5 dB), SNRs (1.7 dB) and so labels too.
_LOSSY = (".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac")


@dataclass(frozen=True)
class NamedSource:
    """A source of a mix: what it is called, where it is (None: nowhere), where it was looked for, and its entry.

    `entry` is what a manifest of ours says of it, else empty.
    """

    name: str
    path: str | None
    looked: tuple[str, ...] = ()
    entry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditRow:
    """One mix: its name and path, its sources, the whole row of its table, and the settings of its run, if known."""

    name: str
    path: str
    sources: tuple[NamedSource, ...]
    row: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def lossy(self) -> bool:
        """Whether the mix was compressed with loss."""
        return self.path.lower().endswith(_LOSSY)

    @property
    def caption(self) -> str | None:
        """What is said of the mix."""
        return tables.cell(self.row.get("caption"))

    @property
    def captions(self) -> list[str] | None:
        """What is said of each source, in their order; None where that is not known."""
        found = _as_list(self.row.get("captions"))
        return found if found and len(found) == len(self.sources) else None


def read_rows(
    out: str | Path, sources: str | Path | Sequence[str | Path] | None = None, *, need_sources: bool = True
) -> list[AuditRow]:
    """Read what there is to audit.

    Parameters
    ----------
    out : path
        A folder that `audiomix augment` wrote, or another audiofolder whose metadata has a column `sources`; or a CSV,
        TSV or JSONL table with the columns `mix` and `sources` (a list, or separated by ``;``). Paths in a table are
        relative to its own folder. Or a .json file with what `audiomix mix` printed, or a folder of such files.
    sources : path, or several, optional
        Folders that the sources are relative to (or a manifest in each). By default the folder that the manifest names
        for each source, then the folder of the table, then `out`.
    need_sources : bool
        Refuse a table of which not one source is found.

    Raises
    ------
    ValueError
        Nothing to audit; no column `sources`; not one of the sources is where it was looked for.
    """
    out = Path(out)
    listed = _tables(out)
    base = out if out.is_dir() else out.parent
    settings = _settings(base)
    roots = _roots(sources)
    rows = [_row(table, base, raw, roots, settings, where) for table in listed for where, raw in _raw_rows(table)]
    if not rows:
        check.fail("out", "a table with rows", repr(str(out)), "it has none")
    if need_sources:
        _check_some_found(rows, sources)
    return rows


def _raw_rows(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and cells of each row; what `audiomix mix` printed is one row."""
    raw = read_mix_output(table) if table.suffix.lower() == _PRINTED else None
    if raw is None:
        yield from tables.rows(table)
    else:
        mix = Path(str(raw["file"]))  # relative to where audiomix mix ran
        near = table.parent / mix.name
        place = mix if mix.is_file() else near if near.is_file() else mix
        yield str(table), {**raw, "file": os.path.abspath(place)}


def read_mix_output(path: Path) -> dict[str, Any] | None:
    """Return what `audiomix mix` printed of a mix, from a .json file, with its plan as a text; None for anything else.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("plan"), dict) or not isinstance(raw.get("file"), str):
        return None
    return {**raw, "plan": json.dumps(raw["plan"])}


def _tables(out: Path) -> list[Path]:
    if not out.exists():
        slip = "copy it from its URL first: only augment and verify read URLs" if was_url(out) else "no such path"
        check.fail("out", "a folder of audiomix augment, or a CSV, TSV or JSONL table", repr(str(out)), slip)
    if out.is_file():
        if not tables.is_table(out) and read_mix_output(out) is None:
            check.fail("out", "a folder, or a CSV, TSV or JSONL table", repr(str(out)))
        return [out]
    found = metadata_tables(out) or [path for path in sorted(out.glob(f"*{_PRINTED}")) if read_mix_output(path)]
    if not found:
        slip = "an unfinished run? the same audiomix augment command ends it" if (out / FOLDER).exists() else ""
        check.fail("out", "a folder with metadata.jsonl", repr(str(out)), slip)
    return found


def _settings(base: Path) -> dict[str, Any]:
    """Return the settings in the journal of a run; empty where there is none."""
    journal = base / FOLDER / "journal.jsonl"
    if not journal.is_file():
        return {}
    with open(journal, "rb") as file:
        try:
            found = json.loads(file.readline())
        except ValueError:
            return {}
    settings = found.get("settings") if isinstance(found, dict) else None
    return settings if isinstance(settings, dict) else {}


def _roots(sources: str | Path | Sequence[str | Path] | None) -> list[Path]:
    roots = [Path(sources)] if isinstance(sources, (str, Path)) else [Path(one) for one in sources or ()]
    for root in roots:
        if not root.exists():
            check.fail("sources", "the folder that the sources are relative to", repr(str(root)), "no such path")
    return [root if root.is_dir() else root.parent for root in roots]


def _row(
    table: Path, base: Path, raw: dict[str, Any], roots: Sequence[Path], settings: dict[str, Any], where: str
) -> AuditRow:
    mix = next((raw[name] for name in _MIX if isinstance(raw.get(name), str) and raw[name]), None)
    if mix is None:
        check.fail(f"the mix in {where}", f"in a column {' | '.join(_MIX)}", sorted(map(str, raw)))
    if "sources" not in raw:
        check.fail(f"the sources in {where}", "in a column sources", sorted(map(str, raw)))
    path = table.parent / mix
    name = os.path.relpath(path, base).replace(os.sep, "/")
    sources = tuple(_name_source(one, roots, [table.parent, base]) for one in _as_list(raw["sources"]) or [])
    return AuditRow(name, str(path), sources, raw, settings)


def _as_list(value: Any) -> list[Any] | None:
    """Return a list as it is; one that a cell holds as JSON, or separated by semicolons."""
    if isinstance(value, list):
        return value
    text = tables.cell(value)
    if text is None:
        return None
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    return [part.strip() for part in text.split(";") if part.strip()]


def _name_source(entry: Any, roots: Sequence[Path], near: Sequence[Path]) -> NamedSource:
    said = entry if isinstance(entry, dict) else {}
    name = str(said.get("path") or said.get("id") or said.get("file") or "") if said else str(entry)
    if not roots:
        roots = [*([Path(said["root"])] if isinstance(said.get("root"), str) else []), *near]
    tried = list(dict.fromkeys(root / name for root in roots)) if name else []
    path = next((str(one) for one in tried if one.is_file()), None)
    return NamedSource(name or "a source without a name", path, tuple(str(one) for one in tried), said)


def _check_some_found(rows: Sequence[AuditRow], sources: Any) -> None:
    named = [source for row in rows for source in row.sources]
    if named and not any(source.path for source in named):
        first = named[0]
        got = f"{first.name!r} at none of {', '.join(first.looked)}"
        slip = "another root?" if sources else "give it: --sources ROOT"
        check.fail("sources", "the folder that the sources are relative to", got, slip)
