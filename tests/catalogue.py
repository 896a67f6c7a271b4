"""Each mixer, transform, pairing rule and tracker with its file, tests and paper: ``python tests/catalogue.py``.

Ends with exit code 1 where one lacks any of them. The tests of ``mixers/cutmix.py`` are the test functions in
``tests/mixers``, ``test_mixers.py`` and ``test_cutmix.py`` that name its class, themselves or by what their file
defines; those of a pairing rule or of a tracker are the ones that write its name. What all members go through (the
laws, the bench) is no test of one.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audiomix.catalogue import Entry, Kind, kinds
from audiomix.terminal import run_script

ROOT = Path(__file__).parents[1]
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


def rows() -> list[Row]:
    """Return the members of all registries of this package; not those of other installed packages."""
    return [_row(kind, entry) for kind in kinds() if kind.registry for entry in kind.entries if _is_ours(kind, entry)]


def _is_ours(kind: Kind, entry: Entry) -> bool:
    return entry.member is not None and entry.member.__module__.startswith(kind.registry)


def _row(kind: Kind, entry: Entry) -> Row:
    file = Path(inspect.getfile(entry.member)).resolve().relative_to(ROOT)
    folder = kind.registry.rpartition(".")[2]
    tests = ROOT / "tests"
    forms = (f"{folder}/test_*.py", f"test_{folder}.py", f"test_{entry.name}.py")
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
        tree = ast.parse(path.read_text(encoding="utf-8"))
        uses: dict[str, set[str]] = {}
        for node in tree.body:
            for defined in _defined(node):
                uses.setdefault(defined, set()).update(_used(node, by_text=by_text))
        place = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.name
        found += [f"{place}::{test}" for test in uses if test.startswith("test_") and name in _reach(test, uses)]
    return found


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
