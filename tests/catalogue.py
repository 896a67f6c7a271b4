"""Each system with its file, tests and paper: ``python tests/catalogue.py``.

A system is a mixer, transform, pairing rule or tracker, a policy, target, loss, measure, curriculum, what acts inside a
network or at test time, a learned mixing, and a method of class-incremental learning. Ends with exit code 1 where one
lacks any of the three. The tests of ``mixers/cutmix.py`` are the test functions in ``tests/mixers``,
``test_mixers.py`` and ``test_cutmix.py`` that name its class, themselves or by what their file defines; those of a
pairing rule, of a tracker or of a class-incremental method are the ones that write its name. What all members go
through (the laws, the bench) is no test of one.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from audiomix.catalogue import Entry, Kind, kinds
from audiomix.terminal import run_script

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # a script finds tests/recipes before recipes

from recipes.continual import methods as continual  # noqa: E402
from recipes.training import mixing  # noqa: E402

# a paper has its year; what is ours says so
_SOURCE = re.compile(r"ours\b|.*\b(19|20)\d\d\b", re.DOTALL)
_SENTENCE = re.compile(r"\S.*[.!]")


@dataclass(frozen=True)
class Row:
    """One member of a registry, and where it is defined, tested and published."""

    kind: str
    name: str
    file: str
    tests: tuple[str, ...]  # path::function
    source: str
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        files = ", ".join(dict.fromkeys(test.partition("::")[0] for test in self.tests))
        tests = f"{len(self.tests)} in {files}" if self.tests else "none"
        return f"{self.name:18} {self.file:40} tests: {tests}; {self.source}"


# Rows of tables in docstrings, and parts of a transform: what they do is tested with what they are options of
_OPTIONS = ("operations", "schedules", "label_rules", "label_weights")
# Folders of the tests of kinds that are no registry, where they are not called as the kind; labels are mixed by mixers
_FOLDERS = {"curricula": ["streams"], "targets": ["targets", "mixers"]}


def rows() -> list[Row]:
    """Return all systems of this package; not those of other installed packages."""
    found = [kind for kind in kinds() if kind.key not in _OPTIONS]
    own = [_row(kind, entry) for kind in found for entry in kind.entries if _is_ours(kind, entry)]
    return [*own, *_learned(), *_continual()]


def _learned() -> list[Row]:
    """Return the learned mixings of the recipes."""
    named = [(name, mixing.get(name)) for name in mixing.available()]
    entries = [Entry(name, mixing.title_of(kind), mixing.source_of(kind), member=kind) for name, kind in named]
    kind = Kind("learned_mixing", "Learned mixing", "--mixing", tuple(entries), registry=mixing.__name__)
    return [_row(kind, entry) for entry in entries if _is_ours(kind, entry)]


def _continual() -> list[Row]:
    """Return the methods of class-incremental learning that are of a paper, as their file cites it."""
    file, doc = Path(inspect.getfile(continual)).resolve().relative_to(ROOT), inspect.cleandoc(continual.__doc__ or "")
    found = []
    for name in (name for name in continual.METHODS if name != "plain" and "+" not in name):
        cited = re.search(rf"``{name}``[^`]*?\[(.+?)\]", doc, re.DOTALL)
        tests = tuple(find_tests((ROOT / "tests" / "recipes" / "continual").glob("test_*.py"), name, by_text=True))
        source = " ".join(cited[1].split()) if cited else ""
        needs = {"a sentence": continual.METHODS[name], "a test": tests, "a paper": _SOURCE.match(source)}
        lacks = tuple(what for what, there in needs.items() if not there)
        found.append(Row("continual", name, file.as_posix(), tests, source, lacks))
    return found


def _is_ours(kind: Kind, entry: Entry) -> bool:
    package = kind.registry or "audiomix"
    return entry.member is not None and entry.member.__module__.startswith(package)


def _row(kind: Kind, entry: Entry) -> Row:
    file = Path(inspect.getfile(inspect.unwrap(entry.member))).resolve().relative_to(ROOT)
    folders = [kind.registry.rpartition(".")[2]] if kind.registry else _FOLDERS.get(kind.key, [kind.key])
    tests = ROOT / "tests"
    forms = [form for folder in folders for form in (f"{folder}/test_*.py", f"test_{folder}.py")]
    forms += [f"test_{entry.name}.py", f"test_{file.stem}.py"]
    own = {path for form in forms for path in tests.rglob(form)}
    by_text = kind.key in ("pairing_rules", "trackers")
    tests = tuple(find_tests(own, entry.name if by_text else entry.code_name, by_text=by_text))
    needs = {
        "a sentence": _SENTENCE.fullmatch(entry.title),
        "a test": tests,
        "a paper": _SOURCE.match(entry.source),
        "a label rule": entry.label or kind.key not in ("mixers", "transforms"),
        "a domain": entry.domains or kind.key not in ("mixers", "transforms"),
    }
    lacks = tuple(name for name, there in needs.items() if not there)
    return Row(kind.key, entry.name, file.as_posix(), tests, entry.source, lacks)


def find_tests(files: Iterable[Path], name: str, *, by_text: bool = False) -> list[str]:
    """Return the test functions, as ``path::function``, that use a name.

    Parameters
    ----------
    files : iterable of Path
        Files of tests.
    name : str
        Of a class; with `by_text` the first word of a string, such as the name of a pairing rule.
    by_text : bool
        What is looked for is written as a string.
    """
    found = []
    for path in sorted(files):
        uses = _uses(path, by_text=by_text)
        place = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.name
        found += [f"{place}::{test}" for test in uses if test.startswith("test_") and name in _reach(test, uses)]
    return found


@cache
def _uses(path: Path, *, by_text: bool) -> dict[str, set[str]]:
    """Return what each thing that a file defines uses, by name."""
    uses: dict[str, set[str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for defined in _defined(node):
            uses.setdefault(defined, set()).update(_used(node, by_text=by_text))
    return uses


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a file defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [inner.id for target in node.targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
    return []


def _used(node: ast.stmt, *, by_text: bool) -> set[str]:
    found = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    found |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    found |= {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}  # a fixture
    if by_text:
        texts = [i.value for i in ast.walk(node) if isinstance(i, ast.Constant) and isinstance(i.value, str)]
        found |= {re.split(r"[:.\s]", text, maxsplit=1)[0] for text in texts}
    return found


def _reach(name: str, uses: dict[str, set[str]]) -> set[str]:
    """Return all names that a function of a file uses, itself or by what it uses of this file."""
    found, left = set[str](), [name]
    while left:
        new = uses.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def main(members: Iterable[Row] | None = None) -> int:
    """Print the table; return 1 where a member lacks something."""
    members = list(rows() if members is None else members)
    kind = ""
    for row in members:
        if row.kind != kind:
            kind = row.kind
            print(f"\n{kind.replace('_', ' ')}")
        print(f"  {row}")
    lacking = [row for row in members if row.lacks]
    for row in lacking:
        print(f"{row.kind} {row.name} ({row.file}) lacks {', '.join(row.lacks)}", file=sys.stderr)
    print(f"\n{len(members)} members, {len(lacking)} lack something")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
