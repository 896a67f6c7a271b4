"""Captioned data sets mixed into scenes: files in, files out, tested on the files."""

import json
import re

import pytest
import torch
from sounds import noise

from audiomix import CaptionMix
from audiomix.audio import io, level
from audiomix.audio.io import Clip
from audiomix.captions.layout import holds, relation
from audiomix.captions.parse import parse_caption
from audiomix.captions.scene import active_span
from audiomix.cli import main
from audiomix.offline.providers.captions import CaptionOptions
from audiomix.offline.run import augment

RATE = 16000
TEXTS = {
    "dog": ["A dog barks.", "A hound is barking."],
    "rain": ["Rain falls on a roof."],
    "child": ["A child laughs."],
    "engine": ["An engine idles.", "A motor runs."],
    "birds": ["Birds sing."],
    "organ": ["I play the organ."],
}


@pytest.fixture
def captioned(tmp_path):
    root = tmp_path / "sounds"
    root.mkdir()
    rows = []
    for k, (name, texts) in enumerate(TEXTS.items()):
        sound = noise(1, round((1.0 + 0.4 * k) * RATE), seed=k) * 0.05 * (k + 1)
        sound = torch.nn.functional.pad(sound, (1000 * k, 4000))
        io.write(root / f"{name}.flac", Clip(sound, RATE))
        rows.append({"file_name": f"{name}.flac", "captions": texts, "licence": "CC0", "label": name})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def run(source, out, mixer=None, **options):
    mixer = CaptionMix((0, 0), rate=RATE, min_share=0.0) if mixer is None else mixer
    report = augment(source, out, mixer, progress=False, **{"oversubscribe": True, **options})
    table = (out / "metadata.jsonl").read_text().splitlines() if (out / "metadata.jsonl").exists() else []
    return report, [json.loads(line) for line in table]


@pytest.mark.parametrize("sources", [2, 4])
def test_captions_and_events_are_true_of_the_files(captioned, tmp_path, sources):
    mixer = CaptionMix((0, 0), sources=(sources, sources), rate=RATE, min_share=0.0)
    report, rows = run(captioned, tmp_path / "out", mixer, copies=2, stems=True)
    assert report.exit_code == 0
    assert len(rows) == 12
    seen = set()
    for row in rows:
        mix = io.read(tmp_path / "out" / row["file_name"])
        stems = [io.read(tmp_path / "out" / name) for name in row["stems"]]
        whole = [(clip.samples * 32768).round().int() for clip in (*stems, mix)]
        assert torch.equal(sum(whole[:-1]), whole[-1])
        assert len(stems) == len(row["sources"]) == len(row["events"]) == (1 if row["why"] else sources)
        spans = {k: active_span(stem.samples, RATE) for k, stem in enumerate(stems)}
        for event in row["events"]:
            assert abs(event["onset"] - spans[event["source"]][0]) < 0.04
            assert abs(event["offset"] - spans[event["source"]][1]) < 0.04
        for event, source in zip(row["events"], row["sources"]):
            assert event["caption"] in TEXTS[source["label"]]
        if row["why"]:
            continue
        seen.add(row["caption"])
        parsed = parse_caption(row["caption"], [e["caption"] for e in row["events"]])
        assert holds(json.loads(row["tree"]), spans)
        for i in range(sources):
            assert parsed.mentioned[i]
            for j in range(i):
                assert parsed.relations[j, i] == relation(spans[j], spans[i]) if sources == 2 else True
        levels = [float(level.level(stem.samples[None], "active")) for stem in stems]
        assert max(levels) / min(levels) < 10 ** (0.1 / 20)  # 0 dB, with 16 bits
    assert len(seen) > 6


def test_no_pair_comes_twice_and_bytes_do_not_depend_on_workers(captioned, tmp_path):
    _, rows = run(captioned, tmp_path / "one", copies=2)
    groups = [frozenset(s["id"] for s in row["sources"]) for row in rows if not row["why"]]
    assert len(set(groups)) == len(groups) == 12
    run(captioned, tmp_path / "two", copies=2, workers=2)
    for name in [*(row["file_name"] for row in rows), "metadata.jsonl"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_set_of_sources_comes_twice_whatever_its_size(captioned, tmp_path):
    mixer = CaptionMix((0, 0), sources=(2, 3), rate=RATE, min_share=0.0)
    _, rows = run(captioned, tmp_path / "out", mixer, copies=3)
    groups = [frozenset(s["id"] for s in row["sources"]) for row in rows if not row["why"]]
    assert {len(group) for group in groups} == {2, 3}
    assert len(set(groups)) == len(groups)


def test_half_of_the_clips_are_mixed_where_half_are_asked_for(captioned, tmp_path):
    mixed = 0
    for seed in range(6):
        report, rows = run(captioned, tmp_path / f"s{seed}", CaptionMix(p=0.5, rate=RATE, min_share=0.0), seed=seed)
        mixed += sum(len(row["sources"]) > 1 for row in rows)
        assert not any("asked for" in note for note in report.notes)
    assert abs(mixed - 18) < 4 * 3  # 36 fair coins; four standard deviations


def test_a_silent_clip_is_listed_and_not_written(captioned, tmp_path):
    io.write(captioned / "dog.flac", Clip(torch.zeros(1, RATE), RATE))
    report, rows = run(captioned, tmp_path / "out")
    assert [e["file"] for e in report.errors if "nothing to say" in e["reason"]] == ["dog.flac"]
    assert report.exit_code == 1
    assert all("dog.flac" not in [s["id"] for s in row["sources"]] for row in rows)


def test_other_limits_are_another_run(captioned, tmp_path):
    run(captioned, tmp_path / "out")
    with pytest.raises(ValueError, match="another run"):
        run(captioned, tmp_path / "out", words=CaptionOptions(max_similarity=0.5, tags=True))
    with pytest.raises(ValueError, match=r"length must be original .* max_seconds="):
        run(captioned, tmp_path / "cut", length=0.5)


def test_more_pairs_than_there_are_is_said(captioned, tmp_path):
    report, rows = run(captioned, tmp_path / "out", copies=4)  # 24 of 15 possible pairs
    assert report.exit_code == 1
    assert len(rows) == 15
    assert any("24" in note and "15" in note for note in report.notes)


def test_clips_without_a_caption_are_named_by_their_class_or_listed(captioned, tmp_path):
    table = [json.loads(line) for line in (captioned / "metadata.jsonl").read_text().splitlines()]
    table[0]["captions"] = []
    table[1]["captions"], table[1]["label"] = [" "], None
    (captioned / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    report, rows = run(captioned, tmp_path / "out")
    assert [e["file"] for e in report.errors] == ["rain.flac"]
    assert "caption" in report.errors[0]["reason"]
    row = next(row for row in rows if row["sources"][0]["id"] == "dog.flac")
    assert "dog" in row["events"][0]["caption"]
    assert all(s["id"] != "rain.flac" for row in rows for s in row["sources"])


def test_a_model_rewrites_what_is_true_and_never_stops_a_run(captioned, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))

    def model(prompts):
        return ["Purple elephants dance." for _ in prompts]

    report, rows = run(captioned, tmp_path / "out", words=CaptionOptions(join=model))
    assert report.exit_code == 1
    assert re.match(r"6 of 6 captions are the template's.*: answer refused", " ".join(report.notes))
    report, plain = run(captioned, tmp_path / "plain")
    assert report.exit_code == 0

    def sometimes(prompts):
        return [re.search("true version: (.*)", prompt)[1] if k else "Elephants." for k, prompt in enumerate(prompts)]

    report, _ = run(captioned, tmp_path / "some", words=CaptionOptions(join=sometimes))
    assert report.exit_code == 0
    assert "1 of 6 captions are the template's" in " ".join(report.notes)
    assert [row["caption"] for row in rows] == [row["caption"] for row in plain]
    assert all(row["caption_by"] == "template" and row["caption_why"] for row in rows if not row["why"])
    with pytest.warns(RuntimeWarning, match="given up"):
        report, rows = run(captioned, tmp_path / "gone", words=CaptionOptions(join="http://127.0.0.1:9", model="none"))
    assert len(rows) == 6
    assert report.exit_code == 1
    assert all(row["caption_why"] for row in rows if not row["why"])


def test_the_commands(captioned, tmp_path, capsys):
    words = ["augment", str(captioned), str(tmp_path / "out"), "--mixer", "caption", "--placement", "sequence"]
    assert main([*words, "--negatives", "--stems", "--quiet"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert any(n["kind"] == "order" for row in rows for n in row["negatives"])
    capsys.readouterr()
    pair = [str(captioned / "dog.flac"), str(captioned / "rain.flac")]
    assert main(["mix", *pair, "-o", str(tmp_path / "m.wav"), "--mixer", "caption", "--min-share", "0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "dog" in shown["caption"]
    assert "rain" in shown["caption"]
