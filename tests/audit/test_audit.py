"""The audit finds what is wrong in a mixed set, nothing else, and recovers what is right to the sample."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch
from made import Foreign, audited, coloured, hard, mix, sound, write
from own import OWN
from sounds import ROOT

from audiomix import (
    BeatMix,
    BetweenClass,
    CaptionMix,
    CutMix,
    FMix,
    GridMix,
    MixUp,
    PatchMix,
    ResizeMix,
    SmoothMix,
    SNRMix,
    SpeechNoise,
    mixers,
)
from audiomix.audio import io
from audiomix.audit.locate import place_source
from audiomix.audit.recover import recover

LIMIT_DB, RATE = 0.01, 16000


def only(report):
    """Return all failures: file, check, sentence."""
    return [(item.file, name, text) for item in report.items for name, text in item.failures] + [
        (item.file, "unread", item.reason) for item in report.items if item.reason
    ]


def right(report, gains=1):
    assert only(report) == []
    assert report.exit_code == 0
    assert len(report.numbers("gain")) >= gains
    assert max(report.numbers("gain")) < LIMIT_DB
    assert max(report.numbers("offset")) < 1e-6


@pytest.fixture
def foreign(tmp_path):
    """Three sounds in bands of their own, `a` 2 s long, `b` and `c` 1 s."""
    made = Foreign(tmp_path)
    made.a = made.source("a", coloured(1, 2.0, 100, 2000))
    made.b = made.source("b", coloured(2, 1.0, 1500, 5000))
    made.c = made.source("c", coloured(3, 1.0, 4000, 7500))
    return made


MIXERS = {
    "mixup": (MixUp(1.0), {}),
    "mixup sqrt, lengths differ": (MixUp(1.0, gain_law="sqrt"), {"length": "longest"}),
    "snr": (SNRMix((-5, 15)), {}),
    "snr, active": (SNRMix((-5, 15), level="active"), {"length": 1.0}),
    "snr, lufs": (SNRMix((0, 15), level="lufs", rate=16000), {"stems": True}),
    "between-class": (BetweenClass(16000), {}),
    "cutmix": (CutMix("time"), {}),
    "cutmix, faded": (CutMix("time", fade=0.005, rate=16000), {"crop": "start"}),
    "cutmix, free": (CutMix(offset="free"), {}),
    "resize_mix": (ResizeMix(), {}),
    "cutmix, free and faded": (CutMix(offset="free", fade=0.005, rate=16000), {"length": 0.6}),
    "mask": (FMix(), {}),
    "mask, faded": (FMix(fade=0.002, rate=16000), {"length": "longest", "stems": True}),
    "mask of patches": (PatchMix(partner_share=0.4), {"length": "longest"}),
    "grid": (GridMix(), {}),
    "grid, faded": (GridMix(fade=0.005, rate=16000), {"crop": "start"}),
}


@pytest.fixture
def uneven(tmp_path):
    """Nine noises in three classes, of 0.3 s to 1.1 s."""
    for i in range(9):
        write(tmp_path / "uneven" / "abc"[i % 3] / f"{i}.wav", seed=i, seconds=0.3 + 0.1 * i)
    return tmp_path / "uneven"


@pytest.mark.parametrize("name", MIXERS)
def test_what_augment_made_is_right(name, uneven, tmp_path):
    mixer, options = MIXERS[name]
    mix(uneven, tmp_path / "out", mixer, **options)
    report = audited(tmp_path / "out", uneven)
    right(report, gains=15)
    assert len(report.numbers("label")) == 0 or max(report.numbers("label")) < 0.005
    assert name.startswith(("cutmix", "mask", "grid")) or max(report.numbers("residual")) <= -60
    assert not name.startswith("snr") or max(report.numbers("snr")) < LIMIT_DB


@pytest.mark.parametrize("mixer", [SmoothMix(), FMix(soft=0.3)], ids=repr)
def test_what_a_soft_mask_made_is_the_sum_of_its_parts(mixer, uneven, tmp_path):
    """No gain is claimed of a source that rises and falls; what is claimed is the sum, and it is right to the bit."""
    mix(uneven, tmp_path / "out", mixer, length=1.0)
    report = audited(tmp_path / "out", uneven)
    assert only(report) == []
    assert len(report.numbers("parts")) == len(report.items) == 9
    assert max(report.numbers("parts")) < -70
    table = tmp_path / "out" / "metadata.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:  # a window that lies elsewhere is found
        plan = json.loads(row["plan"])
        plan["mask"]["float64"][0][0].reverse()
        row["plan"] = json.dumps(plan)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(audited(tmp_path / "out", uneven).wrong) >= 6


HARD = {
    "near silence": (MixUp(0.05, gain_law="sqrt"), {}),
    "compressed": (BetweenClass(16000), {"format": "ogg"}),
    "faded slivers": (CutMix("time", alpha=0.05, fade=0.02, rate=16000), {}),
    "soft noise": (SpeechNoise(60.0), {"format": "wav"}),
    "padded": (SNRMix((-20, 40), level="active"), {"length": 1.5, "stems": True}),
    "scenes": (CaptionMix((-30, 30), rate=16000, level="rms", keep="original"), {}),
}


@pytest.mark.parametrize("name", HARD)
def test_right_mixes_of_sounds_that_cannot_be_told_apart_are_not_called_wrong(name, tmp_path):
    mixer, options = HARD[name]
    mix(hard(tmp_path / "hard"), tmp_path / "out", mixer, **options)
    report = audited(tmp_path / "out")
    assert only(report) == []
    assert len(report.items) >= 18


def test_sources_in_the_other_order_are_found(uneven, tmp_path):
    """Gains, offsets and labels are those of the manifest then: only where each is heard is not."""
    for name, mixer in (("cut", CutMix("time")), ("sum", MixUp(1.0))):
        mix(uneven, tmp_path / name, mixer)
        table = tmp_path / name / "metadata.jsonl"
        rows = [json.loads(line) for line in table.read_text().splitlines()]
        for row in rows:
            row["sources"].reverse()
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        swapped = {row["file_name"] for row in rows if len(row["sources"]) == 2}
        assert {item.file for item in audited(tmp_path / name).wrong} == swapped


def test_a_mixer_that_is_no_sum_is_not_judged_by_its_parts(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    for i in range(4):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i)
    mix(tmp_path / "source", tmp_path / "out", mixers.make(f"{tmp_path / 'mine.py'}:RollMix"))
    report = audited(tmp_path / "out")
    assert only(report) == []
    assert all("no sum of its sources" in " ".join(item.notes) for item in report.items)


def test_repeated_noise_is_found(tmp_path):
    for i, seconds in enumerate((1.5, 0.4, 1.4, 0.3)):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=seconds)
    mix(tmp_path / "source", tmp_path / "out", SNRMix((5, 5), pairing="different_class"), copies=2)
    report = audited(tmp_path / "out", tmp_path / "source")
    right(report)
    assert sum(one["repeated"] for item in report.items for one in item.recovered["sources"]) == 4


@pytest.mark.parametrize("seconds", [(0.5,), (0.5, 0.8, 1.4)])
def test_noise_starts_anew_within_speech(seconds, tmp_path):
    for i in range(6):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=seconds[i % len(seconds)])
    mix(tmp_path / "source", tmp_path / "out", SpeechNoise(), copies=2)
    report = audited(tmp_path / "out", tmp_path / "source")
    right(report)
    assert sum(item.recovered["sources"][1]["repeated"] for item in report.items) > 2


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_rates_and_channels(rate, channels, tmp_path):
    for i in range(4):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i, rate=(rate, 16000)[i // 2], channels=1 + i % 2)
    mix(tmp_path / "source", tmp_path / "out", MixUp(1.0), rate=rate, channels=channels)
    right(audited(tmp_path / "out", tmp_path / "source"))


def test_bundled_sounds(tmp_path):
    mix(ROOT / "assets" / "sounds", tmp_path / "out", SNRMix((0, 10)), no_labels=True)
    right(audited(tmp_path / "out", ROOT / "assets" / "sounds"))


@pytest.mark.parametrize("mixer", [MixUp(1.0), SNRMix((-5, 15), level="active"), CutMix("time")], ids=str)
def test_esc10(mixer, esc10, tmp_path):
    (tmp_path / "audio").symlink_to(esc10 / "audio")  # what is drawn depends on the names: not on where the clips lie
    files = sorted((esc10 / "audio").iterdir())[::67]
    table = tmp_path / "some.csv"
    table.write_text("path\n" + "\n".join(f"audio/{file.name}" for file in files))
    mix(table, tmp_path / "out", mixer, no_labels=True)
    report = audited(tmp_path / "out", tmp_path)
    right(report)
    assert len(report.items) == len(files)


def test_absolute_names_need_no_root(tmp_path):
    files = [write(tmp_path / "source" / f"{i}.wav", seed=i) for i in range(4)]
    (tmp_path / "some.csv").write_text("path\n" + "\n".join(map(str, files)))
    mix(tmp_path / "some.csv", tmp_path / "out", SNRMix((0, 0)), no_labels=True)
    assert [item.reason for item in audited(tmp_path / "out").items] == [""] * 4


def wu_mix(a, b, snr_db, planted):
    """Wu et al.'s mixing: the shorter clip is added to the longer one. `planted`: their bug, b's gain applied to a."""
    gain = float(a.square().mean().sqrt() / b.square().mean().sqrt()) / 10 ** (snr_db / 20)
    if a.shape[-1] > b.shape[-1]:
        return a + gain * place_source(b, 3000, a.shape[-1])
    scale = gain if planted else 1 / gain
    return b + scale * place_source(a, 3000, b.shape[-1])


def test_the_level_bug_of_the_reference_is_found_in_exactly_the_wrong_half(tmp_path):
    for planted in (True, False):
        made = Foreign(tmp_path / str(planted))
        made.root.mkdir()
        for k in range(4):
            seconds = (2.0, 1.0) if k % 2 else (1.0, 2.0)
            a = made.source(f"a{k}", coloured(10 + k, seconds[0], rms=0.04))
            b = made.source(f"b{k}", coloured(20 + k, seconds[1], rms=0.01))  # 12 dB apart
            mixed = wu_mix(a, b, 3.0, planted)
            made.add(f"m{k}", mixed / 4, [f"a{k}", f"b{k}"], snr_db=3.0)
        report = made.audit()
        wrong = [("m0.wav", "snr"), ("m2.wav", "snr")] if planted else []
        assert [(file, name) for file, name, _ in only(report)] == wrong
        assert report.exit_code == planted
        for k in (0, 2) if planted else ():
            assert report.items[k].numbers["snr"][0] == pytest.approx(2 * (12.04 - 3), abs=0.05)


def one_of_each(made):
    """One right mix and those with one thing wrong each; returns the checks that must find them."""
    a, b, c = made.a, made.b, made.c
    late = place_source(b, 16000, 32000)
    plain = {"gain_db": [0.0, -6.0], "offset_s": [0.0, 1.0]}
    half = 10 ** (-6 / 20)
    made.add("right", a + half * late, "ab", **plain)
    made.add("shifted", a + half * place_source(b, 16010, 32000), "ab", **plain)
    made.add("louder", a + half * 10 ** (0.5 / 20) * late, "ab", **plain)
    made.add("missing", a, "ab", **plain)
    made.add("unknown", a + half * late + 0.1 * place_source(c, 5000, 32000), "ab", **plain)
    made.add("swapped", a + half * late, "bc")
    return {"shifted": {"offset"}, "louder": {"gain"}, "missing": {"found"}, "unknown": {"residual"},
            "swapped": {"found", "residual"}}  # fmt: skip


def test_every_wrong_thing_is_found_and_nothing_else(foreign):
    expected = one_of_each(foreign)
    report = foreign.audit()
    found = {}
    for file, name, _ in only(report):
        found.setdefault(file.removesuffix(".wav"), set()).add(name)
    assert found == expected
    assert {item.file for item in report.wrong} == {f"{name}.wav" for name in expected}
    assert report.items[1].numbers["offset"] == [0, 10]
    assert report.items[2].numbers["gain"][1] == pytest.approx(0.5, abs=LIMIT_DB)


CAPTIONS = {"a": "A dog barks", "b": "Rain falls", "c": "A bell rings"}


@pytest.mark.parametrize(
    ("text", "order", "wrong"),
    [
        ("A dog barks, followed by rain falls.", "ab", None),
        ("Rain falls, followed by a dog barks.", "ab", "is stated after"),
        ("A dog barks while rain falls.", "ab", "is stated together"),
        ("A dog barks.", "ab", "b.wav is heard"),
        ("A dog barks while rain falls.", "together", None),
        ("A dog barks, followed by rain falls.", "together", "is stated before"),
        ("A dog barks while rain falls.", "inaudible", "b.wav is named and cannot be heard"),
        ("A dog barks.", "inaudible", None),
    ],
)
def test_captions_are_held_against_the_sound(text, order, wrong, foreign):
    pytest.importorskip("audiomix.captions.parse")
    b = place_source(foreign.b, 32000, 48000) if order == "ab" else place_source(foreign.b, 4000, 48000)
    masked = foreign.source("b", coloured(5, 1.0, 200, 1800)) if order == "inaudible" else None
    b = b if masked is None else 0.02 * place_source(masked, 4000, 48000)
    mixed = place_source(foreign.a, 0, 48000) + b
    foreign.add("m", mixed, "ab", caption=text, captions=[CAPTIONS[s] for s in "ab"])
    report = foreign.audit()
    if wrong is None:
        assert only(report) == []
        assert report.numbers("caption") == [0]
    else:
        [(_, name, sentence)] = only(report)
        assert name == "caption"
        assert wrong in sentence


def test_relations_active_parts_and_fades():
    """A cross-fade of 0.05 s between sounds of which one starts with half a second of silence."""
    a, b = coloured(1, 1.5), coloured(2, 1.5, 2000, 6000)
    b[:, :8000] = 0
    fade = torch.linspace(0, 1, 800)
    faded = [a.clone(), b.clone()]
    faded[0][:, -800:] *= 1 - fade
    faded[1][:, 8000:8800] *= fade
    mixed = place_source(0.5 * faded[0], 0, 40000) + place_source(0.7 * faded[1], 24000 - 8800, 40000)
    got = recover(io.quantise(mixed).float() / 32768, [a, b], RATE)
    first, second = got.found
    assert (first.offset, second.offset) == (0, 24000 - 8800)
    assert 10 ** (first.gain_db / 20) == pytest.approx(0.5, rel=1e-3)
    assert 10 ** (second.gain_db / 20) == pytest.approx(0.7, rel=1e-3)
    assert second.onset_s == pytest.approx((24000 - 800) / RATE, abs=2 * 512 / RATE)
    assert first.offset_s == pytest.approx(1.5, abs=2 * 512 / RATE)
    assert first.onset_s == 0
    assert [pair.relation for pair in got.pairs] == ["before"]
    assert got.residual_db < -50
    assert 0.8 < first.steady < 1


def test_five_sources_cropped_at_both_ends_and_a_turned_polarity():
    clips = [coloured(k, 1.0) for k in range(5)]
    offsets, gains = [-4000, 3000, 9000, 20000, 25000], [0.5, 0.2, -0.4, 0.05, 0.3]
    mixed = sum(g * place_source(c, at, 32000) for c, at, g in zip(clips, offsets, gains))
    got = recover(io.quantise(mixed).float() / 32768, clips, RATE)
    assert [one.offset for one in got.found] == offsets
    for one, gain in zip(got.found, gains):
        assert one.gain_db == pytest.approx(20 * math.log10(abs(gain)), abs=LIMIT_DB)
        assert one.inverted is (gain < 0)
    assert {(p.first, p.second): p.relation for p in got.pairs}[0, 3] == "before"


def test_a_cut_is_found_to_the_sample():
    a, b = coloured(1), coloured(2)
    mixed = a.clone()
    mixed[:, 7001:20005] = b[:, 7001:20005]
    got = recover(io.quantise(mixed).float() / 32768, [a, b], RATE)
    on = got.tracks[1].abs().amax(0).nonzero().flatten()
    assert (int(on[0]), int(on[-1])) == (7001, 20004)
    assert got.found[1].sounds == pytest.approx(13004, abs=4)


def test_silence_identical_sources_and_one_source(foreign):
    foreign.source("silent", torch.zeros(1, 16000))
    foreign.source("twin", foreign.a)
    foreign.add("with silence", foreign.a, ["a", "silent"])
    foreign.add("twins", 0.5 * foreign.a, ["a", "twin"], gain_db=[-12, -12])
    foreign.add("alone", 0.25 * foreign.a, ["a"], gain_db=-12.0412)
    foreign.add("nothing", torch.zeros(1, 32000), ["silent"])
    report = foreign.audit()
    assert only(report) == []
    notes = [" ".join(item.notes) for item in report.items]
    assert "silent.wav is silent itself" in notes[0]
    assert "only the sum of their gains is known" in notes[1]
    assert report.items[2].recovered["sources"][0]["gain_db"] == pytest.approx(-12.0412, abs=LIMIT_DB)
    for item in report.items:
        json.loads(item.to_json())


def replace_mixes(out):
    """Put other sounds in the place of all mixes."""
    for row in map(json.loads, (out / "metadata.jsonl").read_text().splitlines()):
        soundfile.write(out / row["file_name"], sound(99, seconds=row["seconds"])[:, 0], RATE)


def test_a_partner_that_is_resampled_is_judged_by_its_parts(uneven, tmp_path):
    for i in (0, 1, 2, 3, 4):
        (uneven / "abc"[i % 3] / f"{i}.wav").unlink()
    mix(uneven, tmp_path / "out", ResizeMix())
    how = "the partner is resampled to another length"
    right_notes = [note for item in audited(tmp_path / "out", uneven).items for note in item.notes]
    assert set(right_notes) == {f"{how}; it is the sum that the manifest claims"}
    replace_mixes(tmp_path / "out")
    report = audited(tmp_path / "out", uneven)
    warped = [item for item in report.items if any(how in note for note in item.notes)]
    assert warped
    assert all([name for name, _ in item.failures] == ["parts"] for item in warped)
    assert len(report.wrong) == 4
    assert "beats" not in str([item.notes for item in report.items])


def test_a_partner_that_is_stretched_onto_beats_is_said_and_not_judged(tmp_path):
    folder = tmp_path / "in"
    for number in range(2):
        write(folder / f"{number}.wav", seed=number, seconds=4.0)
    rows = [{"file_name": f"{k}.wav", "label": "ab"[k], "bpm": bpm} for k, bpm in enumerate((120, 126))]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mix(folder, tmp_path / "out", BeatMix(stretch="varispeed", min_bars=1, rate=RATE))
    replace_mixes(tmp_path / "out")
    report = audited(tmp_path / "out", folder)
    assert only(report) == []
    assert len(report.items) == 2
    for item in report.items:
        assert "the partner is played at another speed, onto the original's beats, which" in " ".join(item.notes)
        assert "not judged" in " ".join(item.notes)


def test_mixes_whose_rate_was_converted_after_mixing(tmp_path):
    """Offsets fall between samples then; the resampler's slope near half the rate stays in the residual."""
    made = Foreign(tmp_path, 16000)
    a, b = coloured(1, 2.0, 100, 5000, rate=44100), coloured(2, 1.0, 200, 6000, rate=44100)
    for name, wave in (("a", a), ("b", b)):
        io.write(tmp_path / f"{name}.wav", io.Clip(wave, 44100))
    mixed = io.resample(io.Clip(a + 0.5 * place_source(b, 20001, a.shape[-1]), 44100), 16000).samples
    made.add("m", mixed, "ab", offset_s=[0.0, 20001 / 44100], gain_db=[0.0, -6.0206])
    report = made.audit()
    assert only(report) == []
    one = report.items[0].recovered["sources"][1]
    assert one["offset"] + one["fraction"] == pytest.approx(20001 / 44100 * 16000, abs=0.03)
    assert report.numbers("residual")[0] < -50


def test_csv_with_semicolons(foreign):
    foreign.add("m", foreign.a + 0.5 * place_source(foreign.b, 100, 32000), "ab")
    table = foreign.root / "mixes.csv"
    table.write_text("mix,sources,gain_db,offset_s\nm.wav,a.wav;b.wav,0;-6.02,0;0.00625\n")
    report = audited(table)
    assert only(report) == []
    assert len(report.numbers("gain")) == 2
    table.write_text("mix,sources,snr_db\nm.wav,a.wav;b.wav,9\n")
    assert [name for _, name, _ in only(audited(table))] == ["snr"]
    assert [name for _, name, _ in only(audited(table, measure="active"))] == ["snr"]


def test_broken_and_missing_files_are_listed_and_the_rest_is_done(foreign):
    foreign.add("right", foreign.a + 0.5 * place_source(foreign.b, 100, 32000), "ab")
    (foreign.root / "broken.wav").write_bytes(b"RIFF")
    foreign.rows += [
        {"mix": "gone.wav", "sources": ["a.wav"]},
        {"mix": "right.wav", "sources": ["a.wav", "nowhere.wav"]},
        {"mix": "right.wav", "sources": ["a.wav", "broken.wav"]},
        {"mix": "right.wav", "sources": []},
    ]
    report = foreign.audit()
    reasons = [item.reason for item in report.items]
    assert reasons[0] == ""
    assert "gone.wav: no such file" in reasons[1]
    assert f"nowhere.wav: no such file at {foreign.root}" in reasons[2]
    assert "broken.wav" in reasons[3]
    assert "no sources are named" in reasons[4]
    assert report.exit_code == 1
    assert len(report.wrong) == 4


def test_workers_give_the_same_report(foreign):
    one_of_each(foreign)
    one, two = foreign.audit(), foreign.audit(workers=2)
    assert [item.to_json() for item in one.items] == [item.to_json() for item in two.items]


def test_sources_are_where_the_manifest_says_or_where_it_is_said(uneven, tmp_path):
    mix(uneven, tmp_path / "out")
    right(audited(tmp_path / "out"))
    moved = uneven.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"at none of .*uneven.*out.*: give it: --sources ROOT"):
        audited(tmp_path / "out")
    right(audited(tmp_path / "out", moved))
    right(audited(tmp_path / "out", [tmp_path, moved]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_db": -1}, "level_db must be"),
        ({"residual_db": 40}, "residual_db must be"),
        ({"min_share": 20}, "did you mean 0.2"),
        ({"workers": 0}, "workers must be"),
        ({"measure": "peak"}, "measure must be one of rms, active, lufs"),
        ({"sources": "/no/such/folder"}, "no such path"),
    ],
)
def test_wrong_arguments(options, message, foreign):
    foreign.add("m", foreign.a, "a")
    with pytest.raises((TypeError, ValueError), match=message):
        foreign.audit(**options)


def test_wrong_tables(tmp_path):
    for text, message in (
        ("mix\nm.wav\n", "sources"),
        ("name,sources\nm,a\n", "the mix in"),
        ("mix,sources\n", "rows"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            audited(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"with metadata\.jsonl"):
        audited(tmp_path)


def test_rounding_bounds_what_is_known():
    """A source 90 dB down in a 16 bit mix: its gain is uncertain, and says so."""
    a, b = coloured(1, rms=0.2), coloured(2, rms=0.2)
    got = recover(io.quantise(a + 10 ** (-80 / 20) * b).float() / 32768, [a, b], RATE)
    soft = got.found[1]
    assert soft.why or abs(soft.gain_db + 80) < 5 * soft.gain_std_db
    assert got.found[0].gain_std_db < 1e-3
    assert np.isfinite(got.condition)
