"""Does `audiomix audit` call a right mix wrong, or a wrong one right? ``python tests/bench/audit.py [--part 0.1]``.

About 2,000 mixes of every mixer that works on files, made by `audiomix augment` from the bundled sounds, real ones (see
`sounds.DATA`) and hard ones (tones, equal clips under two names, clicks, near silence), are audited: none is wrong.
Then one fault each is planted in 200 of them: a source 0.5 dB louder, 10 ms later, from another file, two sources or
their captions in the other order, the caption of another mix. Printed are both counts, by set and by fault.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))

from made import hard
from sounds import DATA, ROOT

from audiomix import mixers
from audiomix.audit.run import audit
from audiomix.offline.run import augment

CAPTIONED = ["caption:negatives=True", "caption:sources=(2, 4)", "caption:placement=sequence,crossfade=0.5",
             "caption:placement=together,snr_db=(-30, 30)", "caption:keep=original,level=rms"]  # fmt: skip
LABELLED = ["mixup", "mixup:gain_law=sqrt,alpha=0.05", "mixup:gain_law=unit_power", "snr_mix:snr_db=(-20, 40)",
            "snr_mix:level=active", "snr_mix:level=lufs,snr_db=(-10, 30)", "between_class", "cutmix",
            "cutmix:fade=0.02", "cutmix:alpha=0.05", "speech_noise:snr_db=-20", "speech_noise:snr_db=60",
            "speech_noise:level=rms", "av", "av:mode=time", "av:mode=box,gains=sqrt", "av:mode=swap"]  # fmt: skip
BEATS = ["beat:tracker=librosa", "beat:stretch=none,tracker=librosa", "beat:mode=crossfade,bars=1,tracker=librosa",
         "beat:policy=plain,min_bars=100,tracker=librosa",
         "beat:keep=overlap,stretch=none,tracker=librosa"]  # fmt: skip
FAULTS = ["gain", "offset", "order", "source", "caption"]


def label(file):
    """Return the class of a file: its folder, or the last number in a name of ESC-10."""
    return file.stem.rsplit("-", 1)[-1] if file.parent.name == "audio" else file.parent.name


def listing(folder, files):
    folder.mkdir()
    (folder / "list.jsonl").write_text(
        "".join(json.dumps({"path": str(f), "label": label(f), "caption": f"{f.stem} is heard"}) + "\n" for f in files)
    )
    return folder / "list.jsonl"


def sets(folder, part):
    """Yield name, mixer, source and options of each set of mixes."""
    sources = {
        "words": (ROOT / "assets" / "words", LABELLED, {}),
        "sounds": (ROOT / "assets" / "sounds", [*CAPTIONED, "mixup", "snr_mix"], {"across": ["split", "fold"]}),
        "hard": (hard(folder / "hard"), [*LABELLED, *CAPTIONED], {}),
        "loops": (ROOT / "assets" / "loops", BEATS, {"across": ["split", "fold"]}),
    }
    if DATA.exists():
        names = [f for word in ("left", "up") for f in sorted((DATA / "speech_commands" / word).iterdir())[::40]]
        clips = sorted((DATA / "esc10" / "audio").iterdir())
        sources["words"] = (listing(folder / "commands", names), LABELLED, {})
        sources["clips"] = (listing(folder / "clips", clips[::9]), [*LABELLED[::2], *CAPTIONED], {"channels": 1})
        loops = [p for place in (ROOT / "assets" / "loops", DATA / "loops") for p in sorted(place.glob("*.flac"))]
        sources["loops"] = (listing(folder / "loops", loops), BEATS, {})
    wanted = {"sounds": 2, "loops": 1, "hard": 1, "clips": 0.7, "words": 0.4}
    for name, (source, texts, options) in sources.items():
        for number, text in enumerate(texts):
            format = ("flac", "flac", "ogg", "wav")[number % 4]
            copies = max(1, round(wanted[name] * part))
            yield f"{name} {text} {format}", text, source, {**options, "format": format, "copies": copies}


def rows_of(out):
    return [
        (table, number, json.loads(line))
        for table in sorted(out.rglob("metadata.jsonl"))
        for number, line in enumerate(table.read_text().splitlines())
    ]


def wrong_of(report):
    return {item.file: [*item.failures, *([("unread", item.reason)] if item.reason else [])] for item in report.wrong}


def show(found, most):
    for file, failures in list(found.items())[:most]:
        print("   ", file, *(f"{name}: {text}" for name, text in failures), sep=" | ")


def able(out, row):
    """Return the stems of a mix of two sources of which both can be heard, and the mix; None for another mix."""
    if row["file_name"].endswith(".ogg") or len(row["stems"]) != 2 or row.get("aligned") or len(row["sources"]) != 2:
        return None
    ids = [source["id"] for source in row["sources"]]
    read = [soundfile.read(out / name, dtype="int16", always_2d=True)[0].astype(float) for name in row["stems"]]
    loud = [np.sqrt((stem**2).mean()) for stem in read]
    return read if min(loud) > 0.03 * max(loud) and min(loud) > 10 and len(set(ids)) == 2 else None


def plant(fault, table, number, row, stems, others, draw):
    """Put one fault into a mix or into its row; return whether that was possible."""
    path, rows = table.parent / row["file_name"], [json.loads(line) for line in table.read_text().splitlines()]
    k, shift = draw.randrange(2), round(0.01 * row["rate"])
    if fault == "gain":
        stems[k] = stems[k] * 10 ** (0.5 / 20)
    elif fault == "offset":
        stems[k] = np.concatenate([np.zeros((shift, stems[k].shape[1])), stems[k][:-shift]])
    elif fault == "source":
        names = {source["id"] for source in row["sources"]}
        other = draw.choice([o for o in others if o[2]["sources"][0]["id"] not in names])
        rows[number]["sources"][k]["id"] = other[2]["sources"][0]["id"]
    elif fault == "order":
        if row.get("events"):
            if not any(w in row["caption"] for w in (" then ", "follow", "before", "after", "Then", "Before", "After")):
                return False
            a, b = row["captions"]
            rows[number]["captions"] = [b, a]
        elif sum(s["label"] != row["sources"][0]["label"] for s in row["sources"]) == 0:
            return False
        else:
            rows[number]["sources"].reverse()
    else:
        if not row.get("events"):
            return False
        others = [o for o in others if not set(o[2]["captions"]) & set(row["captions"])]
        rows[number]["caption"] = draw.choice(others)[2]["caption"] if others else None
        if not others:
            return False
    if fault in ("gain", "offset"):
        info = soundfile.info(path)
        mix = np.clip(sum(stems).round(), -32768, 32767).astype(np.int16)
        soundfile.write(path, mix, info.samplerate, subtype=info.subtype)
    table.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="how much of the sets")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", default="", help="sets whose name has this in it")
    parser.add_argument("--show", type=int, default=5, help="of each set, so many of those that are called wrong")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        folder, mixes, wrong, seconds, outs = Path(folder), 0, 0, 0.0, []
        for place, (name, text, source, options) in enumerate(sets(folder, arguments.part)):
            if arguments.only not in name:
                continue
            out = folder / f"out{place}"
            stems = not name.startswith("hard") and options["format"] != "ogg"
            mixer = mixers.make(text, rate=16000)
            made = augment(source, out, mixer, stems=stems, seed=place, progress=False, **options)
            begun = time.monotonic()
            report = audit(out, progress=False, workers=arguments.workers)
            seconds += time.monotonic() - begun
            found = wrong_of(report)
            noted = sum("not judged" in " ".join(item.notes) for item in report.items)
            numbers = f"{len(report.items)} mixes, {len(found)} wrong, {noted} partly not judged"
            print(f"{name}: {numbers}, {len(made.errors)} not made", flush=True)
            show(found, arguments.show)
            worst = max([n for n in report.numbers("parts") if n < 0], default=-200.0)
            print(f"   parts {worst:.1f} dB")
            mixes, wrong = mixes + len(report.items), wrong + len(found)
            if stems and not found:
                outs.append(out)
        print(f"{mixes} right mixes: {wrong} called wrong; {mixes / max(seconds, 1e-9):.1f} a second")
        if arguments.faults:
            faults(outs, arguments.faults, arguments.workers, draw)


def faults(outs, most, workers, draw):
    planted = []  # (out, file, fault)
    rows = {out: rows_of(out) for out in outs}
    todo = [(out, *row) for out in outs for row in rows[out]]
    draw.shuffle(todo)
    for out, table, number, row in todo:
        fault = FAULTS[len(planted) % len(FAULTS)]
        if len(planted) == most:
            break
        stems = able(table.parent, row)
        if stems is not None:
            others = [one for one in rows[out] if one[0] == table]
            if plant(fault, table, number, row, stems, others, draw):
                planted.append((out, str((table.parent / row["file_name"]).relative_to(out)), fault))
    missed = []
    for out in {out for out, _, _ in planted}:
        found = wrong_of(audit(out, progress=False, workers=workers))
        mine = {file: fault for o, file, fault in planted if o == out}
        missed += [(out, file, fault) for file, fault in mine.items() if file not in found]
        missed += [(out, file, "none") for file in found if file not in mine]
    for fault in FAULTS:
        count = sum(f == fault for *_, f in planted)
        print(f"{fault}: {count - sum(f == fault for *_, f in missed)} of {count} found")
    print(f"{len(planted)} faults: {len(planted) - sum(f != 'none' for *_, f in missed)} found", *missed, sep="\n  ")


if __name__ == "__main__":
    main()
