"""Are captions of mixed sounds true? ``audiomix audit`` tells from the sound alone, not from the plan.

``python tests/bench/captions.py [--clips 334] [--copies 3] [--sources 2 3]`` mixes real ESC-10 clips, captioned by
their titles on freesound, into scenes, and prints what the audit recovers: errors of levels (dB) and onsets (samples),
the share of captions whose relations and named sources agree with the sound, mixes a second on one core, the cost of
each stage, the seconds of audio that a processor second mixes and audits, and whether one and two workers give the same
bytes. ``PYTHONPATH=TREE python tests/bench/captions.py`` measures the package of another tree.
"""

import argparse
import csv
import hashlib
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from sounds import DATA

from audiomix import CaptionMix
from audiomix.audit.report import print_report
from audiomix.audit.run import audit
from audiomix.captions import scene
from audiomix.mixers import caption
from audiomix.offline import stems
from audiomix.offline.cache import Sources
from audiomix.offline.run import augment


def title(row):
    """The title of a clip, as a caption: without its suffix, its separators as spaces."""
    text = re.sub(r"\.(wav|aiff?|mp3|flac|ogg)$", "", row["freesound_title"], flags=re.I)
    return " ".join(re.sub(r"[_\-\.]+", " ", text).split()) or row["category"]


def manifest(folder, count):
    """Write a manifest of the first clips of each fold, with titles as captions."""
    with open(DATA / "esc10" / "meta" / "attribution.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:count]
    (folder / "audio").symlink_to(DATA / "esc10" / "audio")
    table = [{"file_name": f"audio/{r['filename']}", "caption": title(r), "licence": r["licence"]} for r in rows]
    (folder / "esc10.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    return folder / "esc10.jsonl"


STAGES = {
    "read and decode": (Sources, "piece"),
    "place, level, hear": (scene.SceneMaker, "make"),
    "of that: what can be heard": (scene, "are_audible"),
    "write words": (caption, "write_caption"),
    "to whole numbers": (stems, "whole_numbers"),
}


def timed(spent):
    """Measure the processor time that is spent in each stage; returns what undoes it."""
    undo = []
    for name, (home, function) in STAGES.items():
        plain = getattr(home, function, None)
        if plain is None:  # another tree's package
            continue

        def measured(*args, plain=plain, name=name, **kwargs):
            began = time.process_time()
            try:
                return plain(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - began

        setattr(home, function, measured)
        undo.append((home, function, plain))
    return undo


def processor_time():
    """Return the processor time of this process and of the workers that ended, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def digest(out):
    files = sorted(p for p in out.rglob("*") if p.suffix in (".flac", ".jsonl") and ".audiomix" not in p.parts)
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=334)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--sources", type=int, nargs=2, default=(2, 2))
    parser.add_argument("--placement", default="random")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mixer = CaptionMix(placement=arguments.placement, sources=tuple(arguments.sources), rate=44100)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        source = manifest(folder, arguments.clips)
        spent = {}
        undo = timed(spent)
        began, wall = time.process_time(), time.monotonic()
        report = augment(source, folder / "one", mixer, copies=arguments.copies, progress=False, channels=1)
        seconds, wall = time.process_time() - began, time.monotonic() - wall
        for home, function, plain in undo:
            setattr(home, function, plain)
        augment(source, folder / "two", mixer, copies=arguments.copies, progress=False, channels=1, workers=2)
        rows = [json.loads(line) for line in (folder / "one" / "metadata.jsonl").read_text().splitlines()]
        alone = sum(bool(row["why"]) for row in rows)
        unnamed = sum(not all(event["named"] for event in row["events"]) for row in rows)
        print(f"{report.files} mixes of {arguments.clips} clips, {len(report.errors)} errors; {alone} stayed alone, "
              f"{unnamed} leave a source unnamed")  # fmt: skip
        print(f"{report.files / seconds:.1f} mixes a processor second, {report.files / wall:.1f} a second by the clock")
        for name, part in spent.items():
            print(f"  {name}: {100 * part / seconds:.0f} %")
        same = digest(folder / "one") == digest(folder / "two")
        print(f"one and two workers: {'equal' if same else 'DIFFERENT'} bytes")
        began = processor_time()
        found = audit(folder / "one", folder, measure="active", progress=False, workers=2)
        audio = sum(item.seconds for item in found.items)
        print(f"audio in a processor second: {audio / seconds:.0f} s are mixed, "
              f"{audio / (processor_time() - began):.0f} s audited")  # fmt: skip
        print_report(found, worst=5)


if __name__ == "__main__":
    main()
