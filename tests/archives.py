"""Published data sets in their own layouts, written small: two to thirteen classes, sounds of half a second or less."""

import csv

import numpy as np
import soundfile
from made import write

TEN = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ESC_COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
URBAN_COLUMNS = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def esc(root, suffix=".wav", classes=((0, "dog"), (3, "cow"), (41, "chainsaw"))):
    """Write an ESC-50 archive of two folds, in which all classes but the cow are flagged as ESC-10's."""
    rows = []
    for fold in (1, 2):
        for target, name in classes:
            stem = f"{fold}-{1000 + target}-A-{target}"
            write((root / "audio" / stem).with_suffix(suffix), seed=10 * fold + target, seconds=0.05, subtype=None)
            rows.append([f"{stem}.wav", fold, target, name, str(name != "cow"), 1000 * fold + target, "A"])
    write_table(root / "meta" / "esc50.csv", ESC_COLUMNS, rows)
    return root


def urban(root):
    """Write an UrbanSound8K of 10 folds, 2 classes, 2 slices of a recording each: all files of one size."""
    rows = []
    for fold in range(1, 11):
        for number, name in ((1, "car_horn"), (7, "jackhammer")):
            for part in range(2):
                file = f"{100 * fold + number}-{number}-0-{part}.wav"
                write(root / "audio" / f"fold{fold}" / file, seed=len(rows), rate=8000)
                rows.append([file, 100 * fold + number, 0.0, 0.5, 1, fold, number, name])
    write_table(root / "metadata" / "UrbanSound8K.csv", URBAN_COLUMNS, rows)
    return root


def speech_commands(root, words, noise=0.0):
    """Write Speech Commands with these words: 6 speakers train, 2 validate, 2 test; `noise` in seconds."""
    lists = {"validation_list.txt": [], "testing_list.txt": []}
    for w, word in enumerate(words):
        for i in range(10):
            name = f"{word}/{i:08x}_nohash_0.wav"
            write(root / name, seed=10 * w + i, seconds=0.05)
            if i >= 6:
                lists["validation_list.txt" if i < 8 else "testing_list.txt"].append(name)
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    if noise:
        ramp = np.linspace(0, 0.9, round(noise * 16000))  # its level tells the time
        (root / "_background_noise_").mkdir()
        soundfile.write(root / "_background_noise_" / "ramp.wav", ramp, 16000)
    return root


def clips(homes, **more):
    """Return items of two classes in turn, with these (fold, split)."""
    from audiomix.datasets.item import Item

    return tuple(Item("", f"clip{i}", "ab"[i % 2], fold=f, split=s, **more) for i, (f, s) in enumerate(homes))
