"""A noise set: originals from one data set, partners from another, or both by the column role of a manifest."""

import itertools
import json
import os

import numpy as np
import pytest
import soundfile
from made import audited, mix, rows_of, sound, stems_and_mix, tree, write

from audiomix import AVMix, BetweenClass, CaptionMix, CutMix, MixUp, OneOf, SNRMix
from audiomix.audio import io
from audiomix.datasets.item import Item
from audiomix.mixers.speech_noise import SpeechNoise
from audiomix.offline.partners.groups import GroupPartners
from audiomix.offline.partners.index import PartnerIndex
from audiomix.offline.partners.roles import join_partners
from audiomix.offline.partners.similarity import SimilarityLimits

RATE = 16000


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Six words in two classes; a noise of ten minutes that is silent for half of them, and one of 0.3 s."""
    root = tmp_path_factory.mktemp("sets")
    for i in range(6):
        write(root / "speech" / ["yes", "no"][i % 2] / f"{i}.wav", seed=i, seconds=0.8 + 0.1 * i)
    long = np.concatenate([sound(50, 300), np.zeros((300 * RATE, 1), np.float32)])
    (root / "noise").mkdir()
    soundfile.write(root / "noise" / "long.flac", long, RATE)
    write(root / "noise" / "short.wav", seed=51, seconds=0.3)
    return root


MIXERS = [
    SNRMix((5, 5)), MixUp(1.0), BetweenClass(RATE), CutMix(alpha=5.0), SpeechNoise(5.0), OneOf([SNRMix(), MixUp()]),
    AVMix(), CaptionMix(rate=RATE, words="none", snr_db=(5, 5)),
]  # fmt: skip


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: type(mixer).__name__)
def test_any_mixer_takes_partners_from_a_noise_set(sets, tmp_path, mixer):
    report = mix(sets / "speech", tmp_path / "out", mixer, partners=sets / "noise", copies=2, stems=True)
    rows = rows_of(report.path)
    assert (report.files, report.exit_code, len(rows)) == (12, 0, 12)
    for row in rows:
        original, noise = row["sources"]
        assert original["id"].startswith(("yes/", "no/"))
        assert noise["id"] in ("long.flac", "short.wav")
        assert row["label"] == {original["label"]: 1.0}  # a noise without a class adds none
        stems, whole = stems_and_mix(row)
        assert sum(stems).tolist() == whole.tolist()
        assert all(stem.any() for stem in stems)  # half of the long noise is silent
        assert not row.get("why")
        if noise["id"] == "long.flac":
            assert 0 < noise["offset_s"] < 301
            if "snr_db" in row:
                assert row["snr_db"] is not None
    assert {noise["id"] for row in rows for noise in row["sources"][1:]} == {"long.flac", "short.wav"}
    assert not audited(report.path).wrong


def test_a_long_noise_is_never_decoded_whole_and_its_pieces_are_those_of_any_order(sets, tmp_path, monkeypatch):
    read, most = io.read, []
    monkeypatch.setattr(
        io, "read", lambda *given, **more: (most.append((clip := read(*given, **more)).seconds), clip)[1]
    )
    options = {"partners": sets / "noise", "copies": 4}
    one = mix(sets / "speech", tmp_path / "one", SNRMix((0, 0)), **options)
    assert max(most) < 2
    places = [s["offset_s"] for row in rows_of(one.path) for s in row["sources"][1:] if s["id"] == "long.flac"]
    assert len(places) > 5
    assert len(set(places)) == len(places)
    for row in rows_of(one.path)[::2]:  # as after a kill
        row["path"].unlink()
    before = tree(one.path)
    mix(sets / "speech", one.path, SNRMix((0, 0)), **options)
    two = mix(sets / "speech", tmp_path / "two", SNRMix((0, 0)), **options)
    assert tree(one.path) == tree(two.path)
    assert before.items() <= tree(one.path).items()
    with pytest.raises(ValueError, match="another run"):
        mix(sets / "speech", one.path, SNRMix((0, 0)), copies=4)


@pytest.mark.slow
def test_bytes_are_the_same_for_two_workers(sets, tmp_path):
    one, two = (
        mix(sets / "speech", tmp_path / str(n), SNRMix(), partners=sets / "noise", copies=3, workers=n) for n in (1, 2)
    )
    assert tree(one.path) == tree(two.path)


@pytest.mark.parametrize("mixer", [SNRMix((5, 5), label="keep"), MixUp(1.0)], ids=["snr", "mixup"])
def test_a_noise_that_is_silent_throughout_is_said(sets, tmp_path, mixer):
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "off.flac", np.zeros(600 * RATE), RATE)
    rows = rows_of(mix(sets / "speech", tmp_path / "out", mixer, partners=tmp_path / "noise").path)
    assert len(rows) == 6
    for row in rows:
        assert row["why"].startswith("silent")
        assert row.get("snr_db") is None
    write(tmp_path / "noise" / "on.wav", seed=9, seconds=1)  # another noise is drawn then
    rows = rows_of(mix(sets / "speech", tmp_path / "other", mixer, partners=tmp_path / "noise").path)
    assert not any(row.get("why") for row in rows)


def manifest(path, rows):
    path.write_text("path,label,role,split\n" + "".join(",".join(row) + "\n" for row in rows))
    return path


def test_roles_in_a_manifest(sets, tmp_path):
    rows = [(f"speech/{'yes' if i % 2 == 0 else 'no'}/{i}.wav", "yes" if i % 2 == 0 else "no") for i in range(6)]
    roles = ["original", "Original", "both", "both", "", "original"]
    listed = [(*row, role, "") for row, role in zip(rows, roles)]
    table = manifest(sets / "roles.csv", [*listed, ("noise/short.wav", "", "noise", "")])
    found = rows_of(mix(table, tmp_path / "out", MixUp(1.0), copies=6).path)
    assert len(found) == 36
    partners = {s["id"] for row in found for s in row["sources"][1:]}
    assert partners == {rows[i][0] for i in (2, 3, 4)} | {"noise/short.wav"}
    for row in found:
        if row["sources"][1]["id"] == "noise/short.wav":
            assert row["label"] == {row["sources"][0]["label"]: 1.0}
        else:
            assert sum(row["label"].values()) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"the role of .* must be one of original, noise, both, got 'nois'"):
        mix(
            manifest(sets / "wrong.csv", [*listed, ("noise/short.wav", "", "nois", "")]),
            tmp_path / "wrong",
            no_labels=True,
        )
    with pytest.raises(ValueError, match="clips that may be partners"):
        mix(manifest(sets / "alone.csv", [(*row, "original", "") for row in rows]), tmp_path / "wrong")
    speakers = manifest(sets / "speakers.csv", [(*row, "agent", "") for row in rows])  # a column of another meaning
    report = mix(speakers, tmp_path / "speakers")
    assert report.files == 6
    assert "says none of original, noise, both" in report.notes[0]


def test_labels_of_partners_count_where_they_have_some(sets, tmp_path):
    write(tmp_path / "noise" / "rain" / "0.wav", seed=70)
    cases = {None: {"rain"}, "noise": {"noise"}, "": set()}
    for (name, added), copy in zip(cases.items(), "abc"):
        report = mix(
            sets / "speech", tmp_path / copy, SNRMix((5, 5)), partners=tmp_path / "noise", partner_label=name
        )  # fmt: skip
        assert {name for row in rows_of(report.path) for name in row["label"]} - {"yes", "no"} == added
        assert any("partners have labels of their own (rain)" in note for note in report.notes) == (name is None)
    found = rows_of(mix(sets / "speech", tmp_path / "d", SNRMix(), partners=sets / "noise", partner_label="hum").path)
    assert all(0 < row["label"]["hum"] < 1 for row in found)


def test_one_file_in_both_sets_is_one_clip_and_equal_names_are_told_apart(sets, tmp_path):
    write(tmp_path / "noise" / "yes" / "0.wav", seed=80)
    report = mix(sets / "speech", tmp_path / "out", SNRMix(), partners=tmp_path / "noise", partner_label="", copies=2)
    assert report.files == 12
    for row in rows_of(report.path):
        assert row["sources"][1]["id"] == "noise/yes/0.wav"
    assert not audited(report.path).wrong
    again = mix(sets / "speech", tmp_path / "again", partners=sets / "speech", copies=2)
    plain = mix(sets / "speech", tmp_path / "plain", copies=2)
    sources = [[[s["id"] for s in row["sources"]] for row in rows_of(run.path)] for run in (again, plain)]
    assert sources[0] == sources[1]


def test_a_bad_file_among_the_noises_costs_nothing(sets, tmp_path):
    write(tmp_path / "noise" / "good.wav", seed=90)
    (tmp_path / "noise" / "broken.wav").write_bytes(b"RIFFxxxx")
    os.mkfifo(tmp_path / "noise" / "pipe.wav")
    report = mix(sets / "speech", tmp_path / "out", SNRMix(), partners=tmp_path / "noise", copies=3)
    assert (report.files, report.exit_code) == (18, 1)
    errors = [(error["file"], error["reason"]) for error in report.errors]
    assert errors[0] == ("pipe.wav", "is a named pipe, not a file")
    assert [name for name, _ in errors] == ["pipe.wav", "broken.wav"]
    assert "not readable as audio" in errors[1][1]
    again = mix(sets / "speech", tmp_path / "out", SNRMix(), partners=tmp_path / "noise", copies=3)
    assert {s["id"] for row in rows_of(report.path) for s in row["sources"][1:]} == {"good.wav"}
    assert again.errors == report.errors  # also where nothing was left to do
    text = mix(sets / "speech", tmp_path / "dry", SNRMix(), partners=tmp_path / "noise", dry_run=True).text
    assert "1 files are left out:\n  pipe.wav: is a named pipe, not a file" in text


def test_noise_whose_folders_may_be_read_in_several_ways(sets, tmp_path):
    for i, name in enumerate(("part1/hum", "part1/fan", "part2/hum", "part2/fan")):
        write(tmp_path / "noise" / name / "1.wav", seed=i)
    noise = {"partners": tmp_path / "noise"}
    with pytest.raises(ValueError, match="--partner-layout"):
        mix(sets / "speech", tmp_path / "out", SNRMix(), **noise)
    labels = [
        {name for row in rows_of(mix(sets / "speech", tmp_path / str(i), SNRMix(), **noise, **more).path)
         for name, share in row["label"].items() if share}
        for i, more in enumerate(({"partner_layout": "_/class"}, {"partner_label": "", "partner_layout": "_"}))
    ]  # fmt: skip
    assert labels[0] > {"yes", "no"} == labels[1]
    with pytest.raises(ValueError, match="partner_layout must be left out without partners"):
        mix(sets / "speech", tmp_path / "out", partner_layout="class")


def test_splits_and_folds_are_never_crossed_unless_asked():
    speech = [Item("s", f"s{i}", "ab"[i % 2], split=split, fold=fold) for i, (split, fold) in enumerate(BORDERS)]
    noise = [Item("n", f"n{i}", split=split, fold=fold, role="noise") for i, (split, fold) in enumerate(BORDERS)]
    items = join_partners(speech, noise)
    for across in ((), ("split",), ("fold",), ("split", "fold")):
        for index in (PartnerIndex(items, across=across), PartnerIndex(items, "different_class", across)):
            for i in range(len(speech)):
                met = set(index.partners(i, copy=0, seed=0, count=20))
                expected = {
                    j
                    for j in range(len(speech), len(items))
                    if all(
                        border in across or None in (a := (getattr(items[i], border), getattr(items[j], border)))
                        or a[0] == a[1]
                        for border in ("split", "fold")
                    )
                }  # fmt: skip
                assert met == expected
    with pytest.raises(ValueError, match="--across split"):
        PartnerIndex(join_partners([Item("s", "s", split="train")], [Item("n", "n", split="test", role="noise")]))


BORDERS = list(itertools.product(("train", "test", None), ("1", "2", None)))


def test_a_split_of_the_noises_is_the_data_sets_by_another_name():
    speech = [Item("s", f"{name}{i}", split=name) for name in ("TRAIN", "Testing") for i in range(2)]
    noise = [Item("n", name, split=name, role="noise") for name in ("train", "test", "extra")]
    assert [item.split for item in join_partners(speech, noise)[4:]] == ["TRAIN", "Testing", "extra"]


def test_groups_of_noises_differ_while_there_are_some():
    items = join_partners(
        [Item("s", f"s{i}", caption=f"speech {i}") for i in range(5)],
        [Item("n", f"n{i}", caption=f"noise {i}", role="noise") for i in range(4)],
    )
    for copies in (2, 6, 8):
        made = GroupPartners(
            items, "any", (), sources=(3, 3), copies=copies, seed=0, limits=SimilarityLimits(), captions=True
        )
        for i in range(5):
            found = [made.partners(i, copy=copy, seed=0)[:2] for copy in range(copies)]
            assert all(j >= 5 for group in found for j in group)
            assert len({frozenset(group) for group in found}) == min(copies, 6)
        assert made.notes == (() if copies < 8 else ("10 mixes have the same partners as another copy of their clip",))


def test_a_noise_set_from_the_command_line(sets, tmp_path, capsys):
    from audiomix.cli import main

    given = ["augment", str(sets / "speech"), str(tmp_path / "out"), "--mixer", "snr_mix", "--snr-db", "0", "10"]
    assert main([*given, "--partners", str(sets / "noise"), "--partner-label", "noise", "--quiet"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert all(set(row["label"]) == {row["sources"][0]["label"], "noise"} for row in rows)
    inside = ["augment", str(sets / "speech"), str(sets / "noise" / "out"), "--partners", str(sets / "noise")]
    assert main(inside) == 2
    assert "out must be a folder outside of partners" in capsys.readouterr().err
