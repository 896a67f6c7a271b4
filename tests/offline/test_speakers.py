"""Files of single speakers made into conversations: who speaks when is in the manifest, and is heard in the stems."""

import json

import pytest
import torch
from sounds import noise

from audiomix import Plan, SpeakerMix, Turn, frame_activity, read_rttm, write_rttm
from audiomix.audio import io, level
from audiomix.audio.io import Clip
from audiomix.audit.run import audit
from audiomix.offline.run import augment

RATE = 8000
SPEAKERS = ["ann", "ann", "bob", "bob", "eve", "eve", "kim", "kim"]


@pytest.fixture
def speech(tmp_path):
    """Bursts with silence around them, two of each speaker, and a manifest that says who speaks."""
    root, rows = tmp_path / "speech", []
    root.mkdir()
    for k, speaker in enumerate(SPEAKERS):
        sound = noise(1, round((0.6 + 0.1 * k) * RATE), seed=k) * 0.05
        io.write(root / f"{k}.wav", Clip(torch.nn.functional.pad(sound, (800, 1600)), RATE))
        rows.append({"file_name": f"{k}.wav", "label": "speech", "group": speaker, "licence": "CC0"})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_the_turns_of_the_manifest_are_those_of_the_stems(speech, tmp_path):
    out = tmp_path / "out"
    mixer = SpeakerMix(2, (1, 2), gain_db=(-6, 0), rate=RATE)
    report = augment(speech, out, mixer, copies=2, stems=True, progress=False)
    assert report.exit_code == 0
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    overlaps = 0
    for row in rows:
        mix = io.read(out / row["file_name"]).samples
        each = [io.read(out / name).samples for name in row["stems"]]
        assert torch.equal(sum(stem.double() for stem in each).float(), mix)  # to the bit
        turns = [Turn(one["speaker"], one["onset"], one["offset"] - one["onset"]) for one in row["turns"]]
        assert {turn.speaker for turn in turns} == {source["group"] for source in row["sources"]}
        by_name = {}
        for source, stem in zip(row["sources"], each):
            heard = level.active(stem[None], window=80)[0].nonzero().flatten()
            onset, offset = float(heard[0]) / RATE, float(heard[-1] + 1) / RATE
            near = [turn for turn in turns if turn.speaker == source["group"] and abs(turn.onset - onset) < 0.011]
            assert len(near) == 1
            assert near[0].offset == pytest.approx(offset, abs=0.011)
            by_name.setdefault(source["group"], []).append((onset, offset))
        for spans in by_name.values():  # nobody overlaps themselves
            spans.sort()
            assert all(a[1] <= b[0] + 0.011 for a, b in zip(spans, spans[1:]))  # noqa: RUF007
        overlaps += int((frame_activity([turns])[0].sum(0) > 1).sum())
        plan = Plan.from_json(row["plan"])
        assert [turn.speaker for turn in plan.turns(0)] == [turn.speaker for turn in turns]
    assert overlaps > 100
    write_rttm(tmp_path / "all.rttm", [
        Turn(one["speaker"], one["onset"], one["offset"] - one["onset"], row["file_name"].removesuffix(".flac"))
        for row in rows for one in row["turns"]
    ])  # fmt: skip
    assert len({turn.file for turn in read_rttm(tmp_path / "all.rttm")}) == 16


def test_conversations_of_six_utterances_are_made_of_files(speech, tmp_path):
    out = tmp_path / "out"
    table = speech / "metadata.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps(row | {"group": row["file_name"]}) + "\n" for row in rows))  # all are others
    assert augment(speech, out, SpeakerMix(6, rate=RATE), progress=False).exit_code == 0
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert [(len(row["sources"]), len(row["turns"])) for row in rows] == [(6, 6)] * 8


def test_the_audit_finds_every_utterance(speech, tmp_path):
    out = tmp_path / "out"
    augment(speech, out, SpeakerMix(2, 1, rate=RATE), progress=False)
    found = audit(out, speech)
    assert found.exit_code == 0
