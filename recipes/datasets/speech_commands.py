"""Speech Commands: words of one second, by many speakers; 35 words, or those that are chosen.

Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv 1804.03209 (version 0.02). One
folder a word; ``validation_list.txt`` and ``testing_list.txt`` say which clips are held out, all others train, and no
speaker is in two of the three. ``_background_noise_`` is left aside: the task with silence and unknown words is
``speech_commands_12``. Results on some of the words do not compare with results on all.
"""

from pathlib import Path

from audiomix import check

from ..training.study_settings import study
from . import Dataset, Item, existing

__all__ = ["CONFIGS", "index", "read_words"]

# Words are short, and one that is rolled round the clip's end is none. `run supervised speech_commands ROOT --seed 5
# --validation official --threads 1` on five words errs there (error_valid_ema) by 15.7 % with `--hop 160 --roll 1
# --steps 400`, by 12.0 with `--hop 160 --steps 400`, by 9.7 with `--steps 400`, all with `--model-options pool=mean`.
# Seed 11 as it is: 9.3 with `--steps 400`, 4.7 with 1200; adamatch 3.3 and fixmatch 3.0 with 1200.
_WORDS = {"rate": 16000, "n_fft": 512, "hop": 80, "roll": 0.1}
# The study's 35 words: 84,843 training clips, nine tenths of them unlabelled.
CONFIGS = {"small": _WORDS | {"steps": 1200}, "strong": _WORDS} | study(76359)
RATE, SECONDS = 16000, 1.0
LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}


def index(root: Path | None = None, *, words: str = "") -> Dataset:
    """List the clips under `root`.

    Parameters
    ----------
    root : Path
    words : str
        The words to tell apart, joined by +; by default all that have a folder.

    Raises
    ------
    ValueError
        There are no lists, they name clips or words that are not there, or a chosen word has no folder.
    """
    root, found = read_words(root)
    names = tuple(sorted({word for word, _ in found}))
    if not words and (absent := sorted(_listed_words(root) - set(names))):
        slip = "was it unpacked to its end? With some of the words alone: speech_commands:words=up+down"
        check.fail(str(root), "a folder a word that its lists name", f"none of {', '.join(absent)}", slip)
    if words:
        chosen = [word.strip() for word in words.split("+")]
        for word in chosen:
            check.choice("words", word, names)
        names = tuple(sorted(set(chosen)))
    items = [Item(p, names.index(w), f"{w}/{p.name}", None, speaker(p), s) for (w, p), s in found.items() if w in names]
    return Dataset("speech_commands", tuple(items), names, RATE, SECONDS, root, CONFIGS)


def read_words(root: Path | None) -> tuple[Path, dict[tuple[str, Path], str]]:
    """Return the archive's folder, and each clip, as word and path, with its part."""
    root = existing(root, "Speech Commands (a folder a word, validation_list.txt, testing_list.txt)")
    if missing := [name for name in LISTS if not (root / name).is_file()]:
        slip = "one folder too high or too low?"
        check.fail("root", "Speech Commands, with validation_list.txt and testing_list.txt", f"no {missing[0]}", slip)
    folders = sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith(("_", ".")))
    found = {(d.name, path): "train" for d in folders for path in sorted(d.glob("[!.]*.wav"))}
    if not found:
        check.fail("root", "Speech Commands, with a folder a word", f"no wav files in folders of {root}")
    words = {d.name for d in folders}
    for name, part in LISTS.items():
        clips = [(text.split("/")[0], root / text) for text in _listed(root, name)]
        absent = [path for word, path in clips if word in words and (word, path) not in found]
        if absent:
            got = f"{len(absent)} that are not there, e.g. {absent[0].relative_to(root).as_posix()}"
            check.fail(str(root / name), "a list of clips of the archive", got, "was it unpacked to its end?")
        found.update((clip, part) for clip in clips if clip[0] in words)
    return root, found


def _listed(root: Path, name: str) -> list[str]:
    return [line.strip() for line in (root / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def _listed_words(root: Path) -> set[str]:
    return {text.split("/")[0] for name in LISTS for text in _listed(root, name)}


def speaker(path: Path) -> str:
    """Return who speaks: ``0a7c2a8d_nohash_0.wav`` is by 0a7c2a8d."""
    return path.stem.partition("_nohash_")[0]
