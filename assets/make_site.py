"""Build guides and reference as one site: ``python assets/make.py site [OUT] [--serve]``.

It needs ``pip install -e '.[docs]'``. The README is the first page, the guides of ``assets/docs`` follow, and then the
reference: every public name, from its docstring. The sources are read, not imported. A warning of any kind, a dead link
or an anchor that is not there ends it with exit code 1. Nothing of the site asks another machine; ``--serve`` shows it
at http://127.0.0.1:8000, with search.
"""

import argparse
import ast
import functools
import http.server
import logging
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

ASSETS = Path(__file__).resolve().parent
ROOT = ASSETS.parent
OUT = ROOT / "build" / "site"

GUIDES = {
    "Training": (
        "training-step", "sources-labels-partners", "networks", "losses", "data-loader", "on-the-fly",
        "torchaudio-pipelines",
    ),
    "Mixers": ("choosing", "mixers", "transforms"),
    "Frameworks": ("training-frameworks", "coming-from"),
    "Files": ("data-sets", "look", "audit", "sharing", "scripts"),
    "Music, captions, films": ("music", "captions", "films"),
    "Few labels, more classes": ("semi-supervised", "recipes", "learned-mixing", "continual"),
    "Your own": ("adding",),
    "Measurements": ("results", "speed", "reproducibility"),
    "Changes": ("changes",),
}
# Parts of the reference: the modules whose public names they have, first match first.
REFERENCE = {
    "Mixers": r"mixers\.",
    "Transforms": r"transforms\.",
    "Plans and results": r"(plan|plan_sources|part|mixed)$",
    "Which mixer, and when": r"(policy|schedule|pipeline)$",
    "Loading": r"(loader|noise|corpora)$",
    "Inside a network": r"network\.",
    "Targets": r"targets\.",
    "Losses": r"losses\b",
    "Measures": r"measures\.",
    "At test time": r"inference\.",
    "Streams": r"streams\.",
    "Sound and beats": r"(audio|beats)\.",
    "Files": r"(offline|audit)\.",
    "Your own": r"",
}
# What the guides name besides: module, names.
FURTHER = {
    "audio.io": ["read", "write", "read_video", "write_video"],
    "audio.saliency": ["energy", "spectral_flux"],
    "audit.run": ["audit"],
    "beats.trackers": ["Tracker"],
    "datasets.dataset": ["Dataset"],
    "datasets.item": ["Item"],
    "network.hint_aug": ["HintAug", "class_confusion", "find_overfitting", "infuse_patches"],
    "network.weight_align": ["align_weights"],
    "offline.run": ["augment"],
    "pairing": ["Pool", "reads"],
    "targets.attention": ["token_shares"],
    "targets.embeddings": ["mix_embeddings"],
    "targets.labels": ["mix_labels"],
}
# Folders of which all is in the reference: nobody lists their functions one by one.
WHOLE = ("inference", "losses", "measures")
# A part with more modules than these has a page for each.
MOST_ON_A_PAGE = 8


def read_public_names():
    """Return the public names of each module, {"mixers.mixup": ["MixUp", ...]}, from the stub of the package."""
    tree = ast.parse((ROOT / "audiomix" / "__init__.pyi").read_text(encoding="utf-8"))
    found = {
        node.module: [alias.name for alias in node.names]
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
    }
    whole = {}
    for path in (path for folder in WHOLE for path in sorted((ROOT / "audiomix" / folder).glob("[a-z]*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                whole[f"{path.parent.name}.{path.stem}"] = ast.literal_eval(node.value)
    modules = sorted(found | FURTHER | whole)
    return {m: list(dict.fromkeys([*found.get(m, []), *whole.get(m, []), *FURTHER.get(m, [])])) for m in modules}


def write_reference(folder, modules):
    """Write the pages of the reference; return them for the navigation."""
    folder.mkdir()
    parts = {title: [] for title in REFERENCE}
    titles = {module: name_page(module, names) for module, names in modules.items()}
    for module in sorted(modules, key=lambda module: titles[module].lower()):
        parts[next(title for title, pattern in REFERENCE.items() if re.match(pattern, module))].append(module)
    entries = []
    for title, found in parts.items():
        if len(found) > MOST_ON_A_PAGE:
            entries.append({title: [{titles[m]: write_page(folder, titles[m], [m], modules)} for m in found]})
        else:
            entries.append({title: write_page(folder, title, found, modules)})
    return entries


def name_page(module, names):
    """Return the name of a module's class: of ``mixers.stem_remix`` StemRemix."""
    own = module.rpartition(".")[2].replace("_", "")
    return next((name for name in names if name.lower() == own), names[0])


def write_page(folder, title, found, modules):
    """Write one page with the public names of some modules; return its place."""
    text = [f"# {title}\n"]
    for module in found:
        entry = f"::: audiomix.{module}\n    options:\n      members: {modules[module]}\n"
        # whoever writes a mixer needs to see what a mixer is made of
        text.append(entry + "      filters: ['!^_']\n" * (title == "Your own"))
    file = folder / (re.sub(r"\W+", "-", title) + ".md")
    file.write_text("\n".join(text), encoding="utf-8")
    return f"reference/{file.name}"


def spell_out(text):
    """Return a docstring's text in the form that griffe reads: one parameter an entry, shapes in words.

    Of ``p, pairing`` it would give both the annotation of the first, and ``Tensor, shape (B,)`` is a tuple to it.
    Equations are shown as they are written: what draws them would have to come from another machine.
    """
    text = text.rstrip() + "\n\n"
    text = re.sub(r"^\.\. math::(.*\n(?:(?:[ \t]+.*)?\n)*)", lambda m: show_equation(m[1]), text, flags=re.M)
    head, title, rest = text.partition("See Also\n--------\n")
    if title:
        others, gap, rest = rest.partition("\n\n")
        others = re.sub(r"^([\w.]+) : ", r"- `\1`: ", others, flags=re.M)
        text = f"{head}{title}{others}{gap}{rest}"
    text = text.replace("\nLabel: ", "\n\nLabel: ")
    text = re.sub(r"^(=+(?: +=+)+)\n(.*?)\n\1\n(.*?)\n\1$", show_table, text, flags=re.M | re.S)
    text = re.sub(r"(?<=\n\n)``[^`\n]+``  .*?(?=\n\n)", show_list, text, flags=re.S)
    text = re.sub(r":math:`([^`]*)`", r"``\1``", text)
    text = re.sub(r"^(\w[\w, ]* : .*)\bTensor, shape \(", r"\1Tensor of shape (", text, flags=re.M)
    entry = re.compile(r"^(\w+(?:, \w+)+)( : .+)?\n((?:    .*\n?|\n(?=    ))+)", re.M)
    return entry.sub(lambda m: "".join(f"{name}{m[2] or ''}\n{m[3].rstrip()}\n" for name in m[1].split(", ")), text)


def show_equation(text):
    """Return an equation as a block of code."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return "```latex\n" + "\n".join(line for line in lines if line) + "\n```\n\n"


def show_table(match):
    """Return a table in the form that pages have."""
    starts = [span.start() for span in re.finditer("=+", match[1])]
    ends = [*starts[1:], None]
    rows = []
    for line in [match[2], *match[3].splitlines()]:
        cells = [line[start:end].strip() for start, end in zip(starts, ends)]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # the row goes on
            rows[-1] = [" ".join(pair).strip() for pair in zip(rows[-1], cells)]
    head, *rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|---" * len(starts) + "|", *rows])


def show_list(match):
    """Return lines that begin with a name, and go on behind spaces, as a list."""
    return re.sub(r"^(``[^`\n]+``)  +", r"- \1: ", match[0], flags=re.M)


def link_names(text, known):
    """Return a docstring's text with the names in it as links, where the reference has them."""

    def link(match):
        place = known.get(match[1].removeprefix("audiomix."))
        return f"[`{match[1]}`][{place}]" if place else match[0]

    lines = text.split("\n")
    inside = [line.lstrip().startswith((">>>", "...")) for line in lines]
    return "\n".join(
        line if code else re.sub(r"(?<![`\w\[])`([A-Za-z_][\w.]*)`(?!`)", link, line)
        for line, code in zip(lines, inside)
    )


def copy_page(text, name):
    """Return a page of the repository as one of the site: links to other pages stay, those to code become code."""

    def link(match):
        label, target = match[1], match[2]
        if target.startswith(("#", "http")):
            return match[0]
        target = target.removeprefix("../").removeprefix("assets/docs/").removeprefix("assets/")
        path = target.partition("#")[0]
        there = any((base / path).is_file() for base in (ASSETS / "docs", ASSETS))
        if there and Path(path).suffix in (".md", ".png"):
            return f"[{label}]({target})"
        return label if label.startswith("`") else f"`{label}`"

    text = re.sub(r"\[([^\]]*)\]\(([^)]+)\)", link, text)
    return text if name != "README.md" else text.replace("(docs/", "(")


def stage(folder):
    """Write configuration and pages into a folder; return the configuration file."""
    content = folder / "content"
    content.mkdir()
    (content / "index.md").write_text(copy_page((ROOT / "README.md").read_text("utf-8"), "README.md"), "utf-8")
    for path in sorted((ASSETS / "docs").glob("*.md")):
        (content / path.name).write_text(copy_page(path.read_text("utf-8"), path.name), "utf-8")
    for path in sorted((ASSETS / "results").rglob("*.md")):
        target = content / path.relative_to(ASSETS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"\[([^\]]*)\]\((?!#)[^)]+\)", r"\1", path.read_text("utf-8")), "utf-8")
    shutil.copytree(ASSETS / "pictures", content / "pictures")
    shutil.copy(ASSETS / "site.css", content)
    modules = read_public_names()
    known = {name: f"audiomix.{module}.{name}" for module, names in modules.items() for name in names if name != "read"}
    known |= {f"{module}.{name}": f"audiomix.{module}.{name}" for module, names in modules.items() for name in names}
    guides = [{title: [f"{name}.md" for name in names]} for title, names in GUIDES.items()]
    results = [str(path.relative_to(content)) for path in sorted((content / "results").rglob("*.md"))]
    config = yaml.safe_load((ASSETS / "mkdocs.yml").read_text("utf-8"))
    config["nav"] = [
        {"Home": "index.md"},
        *guides,
        {"Tables": results},
        {"Reference": write_reference(content / "reference", modules)},
    ]
    python = config["plugins"][1]["mkdocstrings"]["handlers"]["python"]
    python["paths"] = [str(ROOT)]
    extension = folder / "link_names.py"
    extension.write_text(EXTENSION.format(assets=str(ASSETS), known=known), "utf-8")
    python["options"]["extensions"] = [f"{extension}:LinkNames"]
    file = folder / "mkdocs.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    return file


# read by griffe, which parses the docstrings
EXTENSION = '''
import sys

import griffe

sys.path.insert(0, {assets!r})
from make_site import link_names, spell_out

KNOWN = {known!r}


class LinkNames(griffe.Extension):
    def on_attribute(self, *, attr, **_):
        if str(attr.annotation) == "ClassVar":  # without a type behind it griffe takes it for a field
            attr.labels.discard("instance-attribute")

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = link_names(spell_out(obj.docstring.value), KNOWN)
'''


def build(out):
    """Build the site into a folder; return what was wrong."""
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    class Messages(logging.Handler):
        def emit(self, record):
            found.append(record.getMessage())

    found, handler = [], Messages(logging.WARNING)
    logging.getLogger("mkdocs").addHandler(handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            build_site(load_config(str(stage(Path(folder))), site_dir=str(out)))
        finally:
            logging.getLogger("mkdocs").removeHandler(handler)
    return found + check_site(out)


def check_site(out):
    """Return the links and anchors that lead nowhere, and what would be fetched from another machine."""
    pages = {path: path.read_text("utf-8") for path in out.rglob("*.html")}
    anchors = {path.resolve(): set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        for kind, target in re.findall(r'<(?:a|img|script|link|source|iframe)\b[^>]*?\b(href|src)="([^"]+)"', text):
            target = target.replace("&amp;", "&")
            if re.match(r"(https?:)?//", target):
                found.append(f"{path.relative_to(out)}: {target} is on another machine ({kind})")
            elif not target.startswith(("#__", "data:", "mailto:", "javascript:", "/")):
                file, _, part = target.partition("#")
                there = (path.parent / file.partition("?")[0]).resolve() if file else path.resolve()
                there = there / "index.html" if there.is_dir() else there
                if not there.is_file() or (part and there in anchors and part not in anchors[there]):
                    found.append(f"{path.relative_to(out)}: {target} leads nowhere")
    return sorted(set(found))


def serve(out, port=8000):
    """Show the site on this machine until it is interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(out))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{port}")
        server.serve_forever()


def main():
    """Build, and show it if asked to."""
    parser = argparse.ArgumentParser(description="Build guides and reference as one site.")
    parser.add_argument("out", nargs="?", type=Path, default=OUT, help="folder to write to")
    parser.add_argument("--serve", action="store_true", help="show it at http://127.0.0.1:8000")
    given = parser.parse_args()
    found = build(given.out)
    print(*found, f"{given.out}: {len(list(given.out.rglob('*.html')))} pages, {len(found)} faults", sep="\n")
    if given.serve:
        serve(given.out)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
