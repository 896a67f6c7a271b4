"""The layout: imports point upwards and never in a circle, rooms are small, nothing but draw.py draws."""

import ast
import importlib
import inspect
import itertools
import re
import subprocess
import sys

import pytest
from readme import TODAY
from sounds import ROOT

import audiomix
from audiomix import plan_json

# DESIGN.md section 3, from the bottom of the stack to the top
ORDER = [
    ["torchaudio", "numba_cache"],
    ["check", "arguments", "cells", "display", "graphs", "identity", "interrupts", "memory", "needs", "part", "resize",
     "roll", "stopwatch", "terminal"],
    ["draw"],
    ["schedule"],
    ["options"],
    ["registry"],
    ["plan", "plan_json", "plan_sources", "mixed"],
    ["axes", "clips"],
    ["audio"],
    ["datasets"],
    ["parts"],
    ["beats", "streams"],
    ["captions"],
    ["pairing"],
    ["partners", "targets"],
    ["mixer"],
    ["transform"],
    ["mixers"],
    ["policy", "transforms"],
    ["losses", "measures"],
    ["network"],
    ["inference"],
    ["pipeline"],
    ["corpora", "items"],
    ["loader"],
    ["catalogue"],
    ["noise"],
    ["offline"],
    ["audit"],
    ["report"],
    ["commands"],
    ["cli"],
]
# rooms that may import less than all that stands below them
ONLY = {"datasets": {"datasets", "check", "draw", "audio", "registry", "schedule"}}
RECIPES = [
    ["console"],
    ["models"],
    ["training"],
    ["data"],
    ["algorithms"],
    ["semi_supervised", "lipreading"],
    ["continual"],
    ["benchmark"],
    ["commands"],
    ["api"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILES = sorted(p for folder in ("audiomix", "recipes") for p in (ROOT / folder).rglob("*.py"))
# Folders that hold one member a file, any number of them
REGISTRIES = {
    "mixers", "trackers", "algorithms", "models", "datasets", "losses", "transforms", "pairing", "measures",
    "operations", "commands",
}  # fmt: skip


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Yield (module, names, line) of the package's own imports, as absolute dotted names; those in functions too."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield module, [a.name for a in node.names], node.lineno


def test_imports_point_upwards():
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "audiomix" or parts[1] in ("__init__", "__main__"):
            continue
        assert parts[1] in RANK, f"{parts[1]} has no place in the layout"
        for module, names, line in imports(path):
            assert not module.startswith(("audiomix.recipes", "recipes")), f"{path}:{line}"
            if module != "audiomix" and not module.startswith("audiomix."):
                continue
            for name in names if module == "audiomix" else [module.split(".")[1]]:
                assert RANK.get(name, -1) <= RANK[parts[1]], f"{path}:{line} imports {name}, which stands above it"
                assert name in ONLY.get(parts[1], RANK) or name not in RANK, f"{path}:{line} imports {name}"


def test_imports_in_recipes_point_upwards():
    """Also those within functions and under TYPE_CHECKING: a folder never needs one that stands above it."""
    rank = {name: rank for rank, names in enumerate(RECIPES) for name in names}
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "recipes" or parts[1] in ("__init__", "__main__"):
            continue
        assert parts[1] in rank, f"{parts[1]} has no place in the layout"
        for module, names, line in imports(path):
            if module.split(".")[0] == "recipes":
                for name in names if module == "recipes" else [module.split(".")[1]]:
                    above = rank[name] > rank[parts[1]] or (rank[name] == rank[parts[1]] and name != parts[1])
                    assert not above, f"{path}:{line} imports {name}, which stands above or beside it"


def test_no_file_imports_itself_by_way_of_others():
    """No circles, also not under TYPE_CHECKING or inside functions."""
    known = {module_of(path) for path in FILES}
    graph = {}
    for path in FILES:
        found = set()
        for module, names, _ in imports(path):
            found |= {f"{module}.{name}" for name in names if f"{module}.{name}" in known} or {module} & known
        graph[module_of(path)] = found - {module_of(path)}
    done, walked = set(), []

    def walk(module):
        assert module not in walked, " -> ".join([*walked[walked.index(module) :], module])
        if module in done:
            return
        walked.append(module)
        for other in sorted(graph[module]):
            walk(other)
        walked.pop()
        done.add(module)

    for module in sorted(graph):
        walk(module)


def test_rooms_are_small_and_say_what_belongs_in_them():
    for folder in sorted({path.parent for path in FILES}):
        count = len(list(folder.glob("*.py")))
        if folder.name not in (*REGISTRIES, "audiomix"):
            assert count <= 15, f"{folder} has {count} files"
        doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert doc, f"{folder}/__init__.py says nothing"


def test_files_of_tests_are_no_longer_than_others():
    for path in (ROOT / "tests").rglob("*.py"):
        assert path.read_text().count("\n") <= 600, path


def test_sizes():
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= 600, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                doc = ast.get_docstring(node)
                first = node.body[1] if doc and len(node.body) > 1 else node.body[0]
                assert node.end_lineno - first.lineno + 1 <= 80, f"{path}:{node.lineno} {node.name}"


def test_only_draw_draws_and_nothing_seeds():
    seeds = ("np.random.seed", "random.seed(", "torch.manual_seed", "numpy.random.seed")
    draws = ("default_rng", "torch.rand(", "torch.randn(", "torch.randint(", "torch.randperm(", "np.random.")
    for path in FILES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            place = f"{path}:{number} {line}"
            assert "``" in line or "`torch" in line or not any(word in line for word in seeds), place
            if path.name != "draw.py" and ">>>" not in line and "..." not in line:
                assert not any(call in line for call in draws), place


def test_torchaudio_is_imported_in_one_place():
    for path in FILES:
        for module, _, line in imports(path):
            assert module.split(".")[0] != "torchaudio" or path.name == "torchaudio.py", f"{path}:{line}"


def test_nobody_but_a_mixer_knows_what_it_is():
    """What others want to know stands in `Needs` and `Plan`: no class, no name, no attribute of a mixer."""
    classes = [
        "MixUp", "CutMix", "BetweenClass", "SNRMix", "BeatMix", "LatentBeatMix", "CaptionMix", "AVMix", "StreamMix",
        "SpeechNoise",
    ]  # fmt: skip
    names = {"between_class", "snr_mix", "latent_beat", "speech_noise", "cutmix"}
    asked = {"mixer", "made", "part", "kind"}
    for path in FILES:
        if path.parent.name == "mixers" or path.name in ("policy.py",):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                root = first.id if isinstance(first, ast.Name) else getattr(first, "attr", "")
                if node.func.id in ("hasattr", "getattr"):
                    assert not (root in asked and "mixer" in root), f"{place} asks a mixer"
                if node.func.id == "isinstance":
                    used = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
                    assert not used & set(classes), f"{place} asks for {used & set(classes)}"
            # CaptionMix has an option level="between_class"
            if isinstance(node, ast.Compare) and not ast.unparse(node.left).endswith(".level"):
                texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
                assert not texts & names, f"{place} compares with {texts & names}"


def test_dotted_names_of_readme_docstrings_and_messages_work_after_import_audiomix():
    moved = set(plan_json.MOVED) | set(plan_json.MOVED.values())  # modules of earlier versions, in old files
    elsewhere = ("algorithms", "learned_mixing", "models", "trackers", "recipes", "cli", "json")
    others = {f"audiomix.{name}" for name in elsewhere}
    texts = list(TODAY.values())
    for path in [*FILES, *(ROOT / "recipes").rglob("*.py")]:
        nodes = ast.walk(ast.parse(path.read_text()))
        texts += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    names = {name for text in texts for name in re.findall(r"\baudiomix(?:\.[A-Za-z_]\w*)+", text)} - moved - others
    names = {name for name in names if not name.startswith("audiomix.recipes.")}  # there once it is installed
    assert len(names) > 50
    code = "import audiomix, functools\nfor name in {!r}:\n    functools.reduce(getattr, name.split('.')[1:], audiomix)"
    subprocess.run([sys.executable, "-c", code.format(sorted(names))], cwd=ROOT, check=True)


def test_every_room_offers_its_modules_by_name():
    rooms = {path.parent for path in (ROOT / "audiomix").rglob("__init__.py")}
    registries = {path for path in rooms if "_REGISTRY" in (path / "__init__.py").read_text()}
    for folder in rooms - {ROOT / "audiomix" / "commands"}:
        room = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
        modules = {path.stem for path in folder.glob("*.py") if path.stem[0] != "_"} - {"cli"}
        assert folder in registries or modules <= set(dir(room)), f"{room.__name__}: {modules - set(dir(room))}"
        assert all(room.__getattr__(name).__name__ == f"{room.__name__}.{name}" for name in modules), room.__name__
        with pytest.raises(AttributeError, match="attribute '?nothing"):
            _ = room.nothing


def test_import_costs_little_beyond_torch():
    """DESIGN.md: less than 0.1 s. Here it is checked what is imported; tests/bench/import_time.py measures seconds."""
    code = "import torch, sys; before = set(sys.modules); import audiomix; print(*sorted(set(sys.modules) - before))"
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(new) <= {"audiomix", "lazy_loader"}, new


def test_public_names_exist():
    import audiomix

    for name in audiomix.__all__:
        assert getattr(audiomix, name).__doc__, name
    assert set(audiomix.__all__) <= set(dir(audiomix))
    with pytest.raises(AttributeError, match="attribute Mixup"):
        _ = audiomix.Mixup


def test_every_parameter_has_a_text():
    """In each numpydoc list of parameters; and each parameter of a name in `audiomix.__all__` stands in such a list."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                lines = [*parameter_lines(ast.get_docstring(node)), ""]
                for line, after in itertools.pairwise(lines):
                    assert line.startswith(" ") or after.startswith(" "), f"{path}:{node.lineno} {node.name}: {line}"
    for name in audiomix.__all__:
        thing = getattr(audiomix, name)
        if callable(thing):
            listed = [x for x in parameter_lines(inspect.getdoc(thing)) if not x.startswith(" ")]
            known = {one.strip(" *") for x in listed for one in x.partition(" : ")[0].split(",")}
            missing = [x for x in inspect.signature(thing).parameters if x not in known and x[0] != "_"]
            assert not missing, f"{name} does not say what {missing} are"


def parameter_lines(doc):
    """Return the lines of the section "Parameters" of a docstring that are not empty."""
    _, _, rest = (doc or "").partition("Parameters\n----------\n")
    return [line for line in re.split(r"\n[A-Z][\w ]+\n-{3,}\n", f"\n{rest}")[0].split("\n") if line.strip()]
