"""assets/docs/coming-from.md: every block runs, and our mixes are those of other libraries up to what the page says.

A block marked ``theirs`` runs where its library is installed (``pip install '.[peers]'``), one marked ``ours`` always.
"""

import random
import re
import sys
import warnings

import numpy as np
import pytest
import soundfile
import torch
from agreements import AGREEMENTS
from peers import MODULES, import_peer
from readme import DOCS, OF_THEIR_OWN, PAGES, blocks, write_files
from sounds import ROOT, noise

GUIDES = [name for name in PAGES if name != "README.md"]
PAGE = PAGES["coming-from.md"]


@pytest.fixture(autouse=True)
def _no_lazy_modules():
    """SpeechBrain's fail where somebody looks at them, as hypothesis does at all modules."""
    yield
    for name in [name for name in sys.modules if name.startswith("speechbrain.")]:
        if type(sys.modules[name]).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):
            del sys.modules[name]


def pairs():
    """Return (library, title, their block, our block) for each part of the page; an empty text where there is none."""
    found = []
    for part in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        library = part.partition("\n")[0]
        for text in re.split(r"^### ", part, flags=re.M)[1:]:
            theirs, ours = ("".join(blocks(f"python {kind}", text)) for kind in ("theirs", "ours"))
            found.append((library, text.partition("\n")[0], theirs, ours))
    return found


PAIRS = pairs()
IDS = [f"{library}: {title}" for library, title, _, _ in PAIRS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the examples read: noise, rooms, speech, and a background and an event for a soundscape."""
    path = tmp_path_factory.mktemp("docs")
    for kind in ("noise", "rooms", "speech", "foreground/dog", "background/rain"):
        (path / kind).mkdir(parents=True)
    for i in range(3):
        soundfile.write(path / f"noise/n{i}.wav", 0.1 * noise(40000, seed=i).numpy(), 16000, "FLOAT")
        soundfile.write(path / f"speech/s{i}.wav", 0.1 * noise(16000, seed=10 + i).numpy(), 16000, "FLOAT")
        soundfile.write(path / f"rooms/r{i}.wav", response(i), 16000, "FLOAT")
    for name, seed in (("foreground/dog/bark", 20), ("background/rain/rain", 21)):
        soundfile.write(path / f"{name}.wav", 0.05 * noise(64000, seed=seed).numpy(), 16000, "FLOAT")
    for name in ("noise", "rooms"):
        rows = [f"{i},1.0,{path / name}/{name[0]}{i}.wav,wav,\n" for i in range(3)]
        (path / f"{name}.csv").write_text("ID,duration,wav,wav_format,wav_opts\n" + "".join(rows))
    return path


def response(seed):
    """A decaying response of 0.1 s whose direct sound arrives after some milliseconds."""
    tail = 0.2 * noise(1600, seed=30 + seed).numpy() * np.exp(-np.arange(1600) / 300)
    tail[: 40 * (seed + 1)] = 0
    tail[40 * (seed + 1)] = 1.5
    return tail


def run(code, names):
    """Run a block of the page from one state of the global generators."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (theirs draw from it)
    exec(compile(code, "coming-from.md", "exec"), names)
    return names


def setup():
    """Run the lines that the examples share."""
    return run("".join(blocks("python", PAGE)), {})


@pytest.mark.parametrize(("library", "title", "theirs", "ours"), PAIRS, ids=IDS)
def test_our_lines_run(library, title, theirs, ours, folder, monkeypatch):
    if MODULES[library] in ours and isinstance(found := import_peer(library), str):
        pytest.skip(found)
    monkeypatch.chdir(folder)
    names = run(ours, setup())
    assert names["x"].isfinite().all()
    assert all(len(plan) == len(names["x"]) for plan in names["plans"])


@pytest.mark.parametrize(("library", "title", "theirs", "ours"), PAIRS, ids=IDS)
def test_their_lines_give_the_same_up_to_what_the_page_says(library, title, theirs, ours, folder, monkeypatch):
    found = import_peer(library)
    if isinstance(found, str):
        pytest.skip(found)
    monkeypatch.chdir(folder)
    if library == "torch-audiomentations":
        give_back_info(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        their_names = run(theirs, setup())
        our_names = run(ours, setup())
        AGREEMENTS[library, title](their_names, our_names)


def give_back_info(monkeypatch):
    """torchaudio 2.9 removed `info`, and its `load` needs torchcodec: torch-audiomentations reads with both."""
    import torchaudio

    def load(path, frame_offset=0, num_frames=-1):
        data, rate = soundfile.read(path, frames=num_frames, start=frame_offset, dtype="float32", always_2d=True)
        return torch.from_numpy(data.T.copy()), rate

    def info(path):
        found = soundfile.info(path)
        found.num_frames, found.sample_rate = found.frames, found.samplerate
        return found

    monkeypatch.setattr(torchaudio, "info", info, raising=False)
    monkeypatch.setattr(torchaudio, "load", load)


def test_every_library_has_a_part_and_every_pair_an_agreement():
    assert {library for library, *_ in PAIRS} == MODULES.keys() - {"kornia"}
    assert AGREEMENTS.keys() == {(library, title) for library, title, _, _ in PAIRS}
    assert all(ours and theirs for _, _, theirs, ours in PAIRS)


def anchor(heading):
    """Return the anchor that GitHub and mkdocs make of a heading."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        file, _, part = link.partition("#")
        path = (DOCS / file).resolve() if file else DOCS / name
        assert path.exists(), link
        if part:
            assert part in {anchor(h) for h in re.findall(r"^#+ (.*)$", path.read_text(), re.M)}, link


WITH_CODE = [name for name in GUIDES if name not in OF_THEIR_OWN and blocks("python", PAGES[name])]


@pytest.mark.parametrize("name", WITH_CODE)
def test_blocks_of_a_guide_run_one_after_the_other(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    write_files(tmp_path)
    names = {}
    for block in blocks("python", PAGES[name]):
        exec(compile(block, name, "exec"), names)
