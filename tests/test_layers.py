"""Imports only point upwards in the layout; nothing but draw.py draws; nothing but torchaudio.py imports torchaudio."""

import ast
import subprocess
import sys

import pytest
from sounds import ROOT

# DESIGN.md section 3, from the bottom of the stack to the top
ORDER = [
    ["torchaudio"],
    ["check"],
    ["draw"],
    ["schedule"],
    ["options"],
    ["registry"],
    ["plan"],
    ["audio"],
    ["beats"],
    ["captions", "targets"],
    ["pairing"],
    ["mixer"],
    ["mixers"],
    ["policy", "latent", "streams", "transforms"],
    ["losses"],
    ["pipeline"],
    ["datasets"],
    ["offline"],
    ["audit"],
    ["report"],
    ["commands"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILES = sorted(p for folder in ("audiomix", "recipes") for p in (ROOT / folder).rglob("*.py"))


def imports(path, top_level_only=False):
    """Yield (module, names, line) of the package's own imports, as absolute dotted names."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield module, [a.name for a in node.names], node.lineno


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[-2] != "recipes" and "audiomix" in p.parts], ids=str)
def test_imports_point_upwards(path):
    parts = path.relative_to(ROOT / "audiomix").with_suffix("").parts
    own = RANK.get(parts[0], len(ORDER))
    if parts[0] in ("__init__", "__main__"):
        return
    assert parts[0] in RANK, f"{parts[0]} has no place in the layout"
    for module, names, line in imports(path):
        assert not module.startswith("audiomix.recipes"), f"{path}:{line}"
        assert not module.startswith("recipes"), f"{path}:{line}"
        if module == "audiomix":
            used = names
        elif module.startswith("audiomix."):
            used = [module.split(".")[1]]
        else:
            continue
        for name in used:
            assert RANK.get(name, -1) <= own, f"{path}:{line} imports {name}, which stands above it"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_draw_draws_and_nothing_seeds(path):
    text = path.read_text()
    for word in ("np.random.seed", "random.seed(", "torch.manual_seed", "numpy.random.seed"):
        code = [line for line in text.splitlines() if word in line and "``" not in line and "`torch" not in line]
        assert not code, code
    if path.name != "draw.py":
        for call in ("default_rng", "torch.rand(", "torch.randn(", "torch.randint(", "torch.randperm(", "np.random."):
            lines = [line for line in text.splitlines() if call in line and ">>>" not in line and "..." not in line]
            assert not lines, lines


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torchaudio_is_imported_in_one_place(path):
    if path.name == "torchaudio.py":
        return
    for module, _, line in imports(path):
        assert module.split(".")[0] != "torchaudio", f"{path}:{line}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_sizes(path):
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            doc = ast.get_docstring(node)
            first = node.body[1] if doc and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno + 1 <= 50, f"{path}:{node.lineno} {node.name}"


def test_import_costs_little_beyond_torch():
    """DESIGN.md: less than 0.1 s. Here it is checked what is imported; tests/bench/import_time.py measures seconds."""
    code = "import torch, sys; before = set(sys.modules); import audiomix; print(*sorted(set(sys.modules) - before))"
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(new) <= {"audiomix"}, new


def test_public_names_exist():
    import audiomix

    for name in audiomix.__all__:
        assert getattr(audiomix, name).__doc__, name
    assert set(audiomix.__all__) <= set(dir(audiomix))
    with pytest.raises(AttributeError, match="no attribute 'Mixup'"):
        _ = audiomix.Mixup
