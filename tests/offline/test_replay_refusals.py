"""What others wrote, was edited by hand or cannot be made again: a sentence before work, and no file outside."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
import soundfile
from made import mix, rows_of, write

from audiomix import SpeakerMix
from audiomix.cli import main
from audiomix.offline.exports.export import export_output
from audiomix.offline.replay.plan_file import read_plans, write_plan_file
from audiomix.offline.replay.render_plans import render_plans


@pytest.fixture
def sounds(tmp_path):
    for number in range(4):
        write(tmp_path / "sounds" / f"class{number % 2}" / f"{number}.wav", number, seconds=0.2)
    return tmp_path / "sounds"


@pytest.fixture
def rooms(tmp_path):
    (tmp_path / "rooms").mkdir()
    soundfile.write(tmp_path / "rooms" / "one.wav", np.r_[1.0, np.zeros(200), 0.5], 8000)
    return tmp_path / "rooms"


def said_by(capsys, *words):
    """Return the message of a command that is refused."""
    assert main([*map(str, words)]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_names_in_plans_do_not_lead_out_of_the_folder(tmp_path, sounds):
    mix(sounds, tmp_path / "out")
    assert main(["plans", str(tmp_path / "out"), "-o", str(tmp_path / "p.parquet"), "--quiet"]) == 0
    plans = read_plans(tmp_path / "p.parquet")
    bent = {
        "../x.flac": "the path of a sound within the folder",
        str(tmp_path / "x.flac"): "the path of a sound within the folder",
        ".audiomix/x.flac": "the path of a sound within the folder",
        "class0/2-0.flac": "must be different",
        "class0/0-0.wav": "must be those of .flac files",
    }
    whole = list(plans.rows())
    before = sorted(tmp_path.rglob("*"))
    for name, said in bent.items():
        rows = list(whole)
        rows[0] = replace(rows[0], row={**rows[0].row, "file_name": name})
        write_plan_file(tmp_path / "p.parquet", rows, plans.settings, plans.classes)
        with pytest.raises(ValueError, match=said):
            render_plans(tmp_path / "p.parquet", tmp_path / "again", [sounds], progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_plans_edited_by_hand_are_refused(tmp_path, sounds):
    mix(sounds, tmp_path / "out")
    assert main(["plans", str(tmp_path / "out"), "-o", str(tmp_path / "p.parquet"), "--quiet"]) == 0
    table = pq.read_table(tmp_path / "p.parquet")
    place, texts = table.schema.get_field_index("row"), [json.loads(text) for text in table["row"].to_pylist()]
    without = [json.dumps({key: value for key, value in text.items() if key != "seconds"}) for text in texts]
    about = json.loads(table.schema.metadata[b"audiomix_plans"])

    def told(**changes):
        return table.replace_schema_metadata({"audiomix_plans": json.dumps({**about, **changes})})

    for bent, said in (
        (table.drop_columns(["plan"]), "row 1 of .* must be a mix as audiomix plans writes it"),
        (table.set_column(place, "row", pyarrow.array(["{"] * 4)), "a mix as audiomix plans writes it"),
        (table.set_column(place, "row", pyarrow.array(without)), "one without seconds"),
        (table.replace_schema_metadata({"audiomix_plans": "x"}), "without a version"),
        (told(version="1"), "without a version"),
        (told(settings={}), "with the settings of a run"),
        (told(settings={**about["settings"], "mixer": "mixup"}), "mixer must be a name and options"),
    ):
        pq.write_table(bent, tmp_path / "p.parquet")
        with pytest.raises(ValueError, match=said):
            render_plans(tmp_path / "p.parquet", tmp_path / "again", [sounds], progress=False)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["sources", "label", "seconds", "versions", "plan"])
def test_rows_of_an_earlier_version_are_told(name, tmp_path, sounds, capsys):
    out = mix(sounds, tmp_path / "out").path
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    (out / "metadata.jsonl").write_text("".join(json.dumps({k: v for k, v in row.items() if k != name}) + "\n"
                                                for row in rows))  # fmt: skip
    for words in (["verify", out], ["replay", out, "class0/0-0"], ["export", out, "--to", "jams"]):
        assert f"line 1 must be a row of audiomix augment, got one without {name}" in said_by(capsys, *words)


def test_names_in_tables_do_not_lead_out_of_an_export(tmp_path, sounds, capsys):
    out = mix(sounds, tmp_path / "out").path
    text = (out / "metadata.jsonl").read_text()
    shutil.copy(out / "class0" / "0-0.flac", tmp_path / "x.flac")
    (out / "metadata.jsonl").write_text(text.replace('"class0/0-0.flac"', '"../x.flac"', 1))
    before = sorted(tmp_path.rglob("*"))
    assert "the path of a sound within the folder" in said_by(capsys, "export", out, "--to", "jams")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", ["hf", "webdataset", "lhotse", "jams", "parquet"])
def test_a_set_that_lacks_a_file_is_not_exported(form, tmp_path, sounds, capsys):
    out = mix(sounds, tmp_path / "out").path
    (out / "class1" / "1-0.flac").unlink()
    assert "without class1/1-0.flac" in said_by(capsys, "export", out, "--to", form)


@pytest.mark.parametrize("mixer", [None, SpeakerMix(2, rate=8000)], ids=["before", "in_the_mixer"])
def test_runs_in_rooms_are_not_made_again_without_the_responses_and_say_so(mixer, tmp_path, sounds, rooms, capsys):
    given = {} if mixer is None else {"mixer": mixer}
    out = mix(sounds, tmp_path / "out", room=rooms, no_labels=True, **given).path
    for words in (["replay", out, "class0/0-0"], ["plans", out, "-o", tmp_path / "p.parquet"]):
        assert "room must be given for a run that was made with --room, got None" in said_by(capsys, *words)
    assert not (tmp_path / "p.parquet").exists()
    assert main(["verify", str(out)]) == 0
    (note,) = export_output(out, "lhotse", tmp_path / "cuts").notes
    assert "4 of 4 mixed cuts are recordings of the output" in note


def test_a_room_that_a_run_does_not_have_is_refused(tmp_path, sounds, rooms, capsys):
    out = mix(sounds, tmp_path / "out").path
    said = said_by(capsys, "replay", out, "class0/0-0", "--room", rooms)
    assert "room must be left out for a run without rooms" in said


def test_conversations_that_are_rendered_have_their_turns(tmp_path, sounds):
    out = mix(sounds, tmp_path / "out", SpeakerMix(2, rate=8000), no_labels=True).path
    assert main(["plans", str(out), "-o", str(tmp_path / "p.parquet"), "--quiet"]) == 0
    render_plans(tmp_path / "p.parquet", tmp_path / "again", [sounds], progress=False)
    assert (tmp_path / "again" / "turns.rttm").read_bytes() == (out / "turns.rttm").read_bytes() != b""


def test_plans_of_sources_by_absolute_paths_are_refused(tmp_path, sounds, capsys):
    paths = sorted(sounds.rglob("*.wav"))
    (tmp_path / "all.csv").write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in paths))
    out = mix(tmp_path / "all.csv", tmp_path / "out").path
    assert "whose sources have relative names" in said_by(capsys, "plans", out, "-o", tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()


def test_partners_are_found_in_their_own_folder(tmp_path, sounds):
    """Names that stand in both sets are counted from a folder further up: noise/class0/0.wav."""
    noise = tmp_path / "noise"
    for number in range(2):
        write(noise / f"class{number}" / f"{number}.wav", 10 + number, seconds=0.2)
    out = mix(sounds, tmp_path / "out", partners=noise, partner_label="noise").path
    assert any(row["sources"][1]["id"].startswith("noise/class") for row in rows_of(out))
    assert main(["plans", str(out), "-o", str(tmp_path / "p.parquet"), "--quiet"]) == 0
    done = render_plans(tmp_path / "p.parquet", tmp_path / "again", [sounds, noise], progress=False)
    assert (done.files, done.errors) == (4, ())


def test_sources_in_shards_are_unpacked(tmp_path, sounds, monkeypatch):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "here"))
    shards = export_output(mix(sounds, tmp_path / "set").path, "webdataset", tmp_path / "shards").path
    out = mix(shards, tmp_path / "out").path
    assert main(["plans", str(out), "-o", str(tmp_path / "p.parquet"), "--quiet"]) == 0
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "there"))
    done = render_plans(tmp_path / "p.parquet", tmp_path / "again", [shards], progress=False)
    assert (done.files, done.errors) == (4, ())
    assert all("there" in row["sources"][0]["root"] for row in rows_of(tmp_path / "again"))
