"""A part of the bundled words, for tests that run commands on them."""

import json
import shutil


def some_words(words, target):
    """Copy every fourth voice: the commands do the same with fewer files, in a quarter of the time."""
    rows = [json.loads(line) for line in (words / "metadata.jsonl").read_text().splitlines()]
    voices = list(dict.fromkeys(row["group"] for row in rows))[::4]
    rows = [row for row in rows if row["group"] in voices]
    for row in rows:
        (target / row["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(words / row["file_name"], target / row["file_name"])
    (target / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
