"""Mixes are made again from their plans: one of them, or all of them elsewhere, to the bit."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from made import mix, rows_of, write
from rhythm import bursts, steady
from sounds import noise

from audiomix import BeatGrid, BeatMix, CaptionMix, MixUp, OneOf, Plan, mixers
from audiomix.audio import io
from audiomix.audio.io import Clip
from audiomix.cli import main
from audiomix.offline.replay.output import make_mixer, read_output, settings_from
from audiomix.offline.replay.replayer import Replayer, replay_task
from audiomix.offline.run import augment

OWN = '''
import torch
from audiomix import Mixer, Needs, Plan

class FixedMix(Mixer):
    """Three quarters of each clip. Source: ours. Label: in proportion."""

    @property
    def needs(self):
        return Needs(domain=frozenset({"wave"}))

    def draw(self, own, source, *, progress=None, generator=None):
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        return Plan(partner, torch.where(mixed, 0.75, 1.0).double())

    def render(self, own, source, plan):
        return 0.75 * own.x + 0.25 * source.x[plan.partner]
'''


@pytest.fixture
def sounds(tmp_path):
    root = tmp_path / "sounds"
    shapes = [(0.5, 8000, 1), (0.3, 16000, 2), (0.4, 8000, 1), (0.6, 11025, 1)]
    for number, (seconds, rate, channels) in enumerate(shapes):
        write(root / f"class{number % 2}" / f"{number}.wav", number, seconds=seconds, rate=rate, channels=channels)
    return root


def samples_of(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0].T


def assert_replays(out, own=()):
    """Assert that each mix of a run, and each stem, comes out of its plan as it is in its file."""
    output = read_output(out)
    renderer = Replayer(settings_from(output.settings, own))
    rows = list(output.rows())
    assert rows
    for number, row in enumerate(rows):
        made = renderer.render(replay_task(number, row))
        for name, sound in zip([*row["stems"], row["file_name"]], [*made.stems, made.mix]):
            assert np.array_equal(samples_of(out / name), sound.numpy()), name
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in mixers.for_files() if name not in ("caption", "beat")])
def test_every_mixer_replays(name, tmp_path, sounds):
    assert main(["augment", str(sounds), str(tmp_path / "out"), "--mixer", name, "--stems", "--quiet"]) == 0
    assert_replays(tmp_path / "out")


@pytest.mark.parametrize(
    "options",
    [
        {"mixer": MixUp(p=0.4)},
        {"mixer": OneOf([MixUp(2.0), None]), "stems": True},
        {"mixer": MixUp(sources=(2, 3)), "rate": 16000, "channels": 1, "format": "wav"},
        {"mixer": MixUp(p=0.5), "length": "longest"},
        {"mixer": MixUp(p=0.5), "length": "shortest"},
        {"mixer": MixUp(gain_law="sqrt"), "length": 0.35, "crop": "start", "copies": 2},
    ],
    ids=["p", "one_of", "sources", "longest", "shortest", "seconds"],
)
def test_unheard_partners_lengths_and_channels_replay(options, tmp_path, sounds):
    mix(sounds, tmp_path / "out", seed=3, **options)
    rows = assert_replays(tmp_path / "out")
    if options["mixer"].p(0) < 1 if isinstance(options["mixer"], MixUp) else True:
        assert {len(row["sources"]) for row in rows} == {1, 2}
        assert all(bool(row.get("unheard")) == (len(row["sources"]) == 1) for row in rows)


def test_scenes_with_captions_replay(tmp_path):
    texts = ["A dog barks.", "Rain falls on a roof.", "A child laughs.", "An engine idles.", "Birds sing."]
    rows = []
    for number, text in enumerate(texts):
        write(tmp_path / "in" / f"{number}.wav", number, seconds=1.0 + 0.4 * number, peak=0.05 * (number + 1))
        rows.append(json.dumps({"file_name": f"{number}.wav", "caption": text}))
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(rows))
    mixer = CaptionMix((0, 0), sources=(2, 4), rate=16000, min_share=0.0)
    augment(tmp_path / "in", tmp_path / "out", mixer, no_labels=True, progress=False, stems=True)
    assert_replays(tmp_path / "out")


def test_music_on_the_beat_replays(tmp_path):
    (tmp_path / "in").mkdir()
    for name, bpm, hz in (("a", 120, 1000), ("b", 124, 3000), ("c", 117, 2000)):
        times = steady(bpm, 6.0, start=0.1)
        io.write(tmp_path / "in" / f"{name}.flac", Clip(bursts(times, 6.0, 16000, hz)[None], 16000))
        BeatGrid(times, [i % 4 + 1 for i in range(len(times))]).write(tmp_path / "in" / f"{name}.beats")
    mixer = BeatMix(rate=16000, tracker="file", min_bars=1)
    augment(tmp_path / "in", tmp_path / "out", mixer, no_labels=True, progress=False, stems=True)
    rows = assert_replays(tmp_path / "out")
    assert any(row["aligned"] for row in rows)


def test_a_mixer_of_ones_own_is_imported_only_where_it_is_given(tmp_path, sounds, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    given = f"{tmp_path / 'mine.py'}:FixedMix"
    out = str(tmp_path / "out")
    assert main(["augment", str(sounds), out, "--mixer", given, "--quiet"]) == 0
    assert_replays(tmp_path / "out", [given])
    assert main(["replay", out, "class0/0-0"]) == 2
    assert "--mixer FOLDER/mine.py:FixedMix gives it" in capsys.readouterr().err
    assert main(["replay", out, "class0/0-0", "--mixer", given]) == 0
    (tmp_path / "mine.py").write_text(OWN.replace("Three quarters", "Most"))
    assert main(["replay", out, "class0/0-0", "--mixer", given]) == 2
    assert "another file mine.py:FixedMix" in " ".join(capsys.readouterr().err.split())


def test_a_mixer_is_made_of_its_description():
    from audiomix.offline.render import describe_mixer

    mixer = OneOf([MixUp(alpha=0.3, p=0.5), None, CaptionMix((3, 9), rate=8000)], p=0.9)
    described = json.loads(json.dumps(describe_mixer(mixer)))
    again = make_mixer(described)
    assert describe_mixer(again) == describe_mixer(mixer)
    with pytest.raises(ValueError, match=r"mixer must be mixup with options of this version.*alpah"):
        make_mixer({"name": "mixup", "options": {"alpah": 1}})
    with pytest.raises(ValueError, match="install the package that has it"):
        make_mixer({"name": "mixup9", "options": {}})


def test_replay_names_what_has_changed(tmp_path, sounds, capsys):
    out = mix(sounds, tmp_path / "out", seed=1, stems=True).path
    row = next(row for row in rows_of(out) if len(row["sources"]) == 2)
    name, partner = row["file_name"], row["sources"][1]["id"]
    assert main(["replay", str(out), name, "-o", str(tmp_path / "one.flac")]) == 0
    assert "all bits equal" in capsys.readouterr().out
    assert (tmp_path / "one.flac").read_bytes() == (out / name).read_bytes()

    kept = (sounds / partner).read_bytes()
    data, rate = soundfile.read(sounds / partner, dtype="int16")
    soundfile.write(sounds / partner, data // 2, rate)
    assert main(["replay", str(out), name, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] == [partner]
    assert any("samples differ" in one for one in told["different"])
    (sounds / partner).unlink()
    assert main(["replay", str(out), name]) == 1
    assert f"missing source: {partner}" in capsys.readouterr().out

    (sounds / partner).write_bytes(kept)
    mixed = samples_of(out / name).T
    mixed[7] += 1
    soundfile.write(out / name, mixed, row["rate"])
    assert main(["replay", str(out), name.removesuffix(".flac"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] == []
    assert told["different"] == [f"{name}: {row['channels']} samples differ by up to 1 of 32768 steps, the first at 7"]


def test_impulse_responses_are_no_part_of_a_plan(tmp_path, sounds, capsys):
    write(tmp_path / "rooms" / "a.wav", 7, seconds=0.05)
    out = mix(sounds, tmp_path / "out", room=tmp_path / "rooms", channels=1).path
    for words in (["replay", str(out), "class0/0-0"], ["plans", str(out), "-o", str(tmp_path / "plans.parquet")]):
        assert main(words) == 2
        assert "plans have names and hashes of impulse responses" in " ".join(capsys.readouterr().err.split())
    assert main(["export", str(out), "--to", "lhotse", "-o", str(tmp_path / "cuts")]) == 0
    assert "4 of 4 mixed cuts are recordings of the output" in capsys.readouterr().err
    assert main(["verify", str(out)]) == 0


def test_replay_of_ogg_compares_what_the_codec_makes(tmp_path, sounds):
    out = mix(sounds, tmp_path / "out", format="ogg").path
    assert main(["replay", str(out), "class0/0-0"]) == 0


def test_replay_refuses_before_work(tmp_path, sounds, capsys):
    out = mix(sounds, tmp_path / "out").path
    for words, said in (
        ([str(out), "class0/0-9"], "did you mean class0/0-0.flac?"),
        ([str(sounds), "0"], "has no .audiomix/journal.jsonl"),
        ([str(tmp_path / "none"), "0"], "there is no such path"),
        ([str(out), "class0/0-0", "--sources", str(tmp_path / "none")], "there is no such folder"),
    ):
        assert main(["replay", *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    (out / "metadata.jsonl").unlink()
    assert main(["replay", str(out), "class0/0-0"]) == 2
    assert "a finished run" in capsys.readouterr().err


def published(sounds, tmp_path, capsys, *words, **options):
    """A run, and its plans."""
    out = mix(sounds, tmp_path / "out", **options).path
    assert main(["plans", str(out), "-o", str(tmp_path / "plans.parquet"), *words, "--json"]) == 0
    return out, tmp_path / "plans.parquet", json.loads(capsys.readouterr().out)


def files_of(out, *suffixes):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.suffix in suffixes}


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_plans_are_rendered_elsewhere_to_the_same_bytes(kind, tmp_path, sounds, capsys):
    out, plans, told = published(sounds, tmp_path, capsys, copies=2, seed=5, stems=True, format=kind)
    assert told["files"] == 8
    assert told["audio_bytes"] == sum(map(len, files_of(out, f".{kind}").values()))
    assert told["plan_bytes"] == plans.stat().st_size
    # elsewhere: another folder, and losslessly compressed sources
    there = tmp_path / "there"
    for path in sounds.rglob("*.wav"):
        place = there / path.relative_to(sounds).with_suffix(".flac")
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, *soundfile.read(path, dtype="int16"))
    shutil.move(sounds, tmp_path / "gone")
    again = tmp_path / "again"
    assert main(["render", str(plans), "--sources", str(there), "--out", str(again)]) == 0
    assert files_of(again, f".{kind}") == files_of(out, f".{kind}")
    for before, after in zip(rows_of(out), rows_of(again)):
        assert {source["root"] for source in after["sources"]} == {str(there)}
        for row in (before, after):
            for source in row["sources"]:
                source.pop("root"), source.pop("path", None)
        drop = ("root", "path", "unheard")
        assert {k: v for k, v in before.items() if k not in drop} == {k: v for k, v in after.items() if k not in drop}
    # what was rendered is an output like any other
    assert main(["verify", str(again)]) == 0
    assert main(["replay", str(again), "class0/0-1"]) == 0
    assert main(["plans", str(again), "-o", str(tmp_path / "more.parquet")]) == 0
    one, two = (pq.read_table(path) for path in (plans, tmp_path / "more.parquet"))
    assert one.column("samples").equals(two.column("samples"))


def test_no_folder_of_the_publisher_is_in_the_file(tmp_path, sounds, capsys):
    out, plans, _ = published(sounds, tmp_path, capsys, mixer=MixUp(p=0.5))
    assert any(row.get("unheard") for row in rows_of(out))
    table = pq.read_table(plans)
    text = json.dumps(table.to_pylist(), default=repr) + repr(table.schema.metadata)
    assert "class0/0.wav" in text
    assert str(tmp_path) not in text


def test_a_long_file_is_read_in_the_same_piece_whatever_its_container(tmp_path, capsys):
    """A file above 4 MB is read in pieces; its FLAC is smaller and would be read whole."""
    write(tmp_path / "in" / "short.wav", 1, seconds=1.0)
    long = 0.002 * noise(45 * 48000, seed=2).numpy()
    soundfile.write(tmp_path / "in" / "long.wav", long, 48000, subtype="PCM_16")
    assert (tmp_path / "in" / "long.wav").stat().st_size > 4 << 20
    out, plans, _ = published(tmp_path / "in", tmp_path, capsys, no_labels=True)
    (row,) = [row for row in rows_of(out) if "short" in row["file_name"]]
    assert row["sources"][1]["offset_s"] > 0
    (tmp_path / "there").mkdir()
    for name in ("short", "long"):
        soundfile.write(tmp_path / "there" / f"{name}.flac", *soundfile.read(tmp_path / "in" / f"{name}.wav"))
    assert (tmp_path / "there" / "long.flac").stat().st_size < 4 << 20
    assert main(["render", str(plans), "--sources", str(tmp_path / "there"), "--out", str(tmp_path / "again")]) == 0
    assert files_of(tmp_path / "again", ".flac") == files_of(out, ".flac")


def test_missing_and_altered_sources_are_named_and_the_rest_is_rendered(tmp_path, sounds, capsys):
    out, plans, _ = published(sounds, tmp_path, capsys, copies=3, stems=True)
    used = {row["file_name"]: {source["id"] for source in row["sources"]} for row in rows_of(out)}
    (sounds / "class0" / "0.wav").unlink()
    data, rate = soundfile.read(sounds / "class1" / "1.wav", dtype="int16")
    data[5] += 1
    soundfile.write(sounds / "class1" / "1.wav", data, rate)
    again = tmp_path / "again"
    assert main(["render", str(plans), "--sources", str(sounds), "--out", str(again)]) == 1
    text = capsys.readouterr().out
    gone = [name for name, ids in used.items() if "class0/0.wav" in ids]
    assert f"missing source: class0/0.wav, of {len(gone)} mixes" in text
    assert "altered source: class1/1.wav decodes to other samples" in text
    bad = {"class0/0.wav", "class1/1.wav"}
    wanted = {name for name, ids in used.items() if not ids & bad}
    assert wanted
    assert {row["file_name"] for row in rows_of(again)} == wanted
    for name in wanted:
        assert (again / name).read_bytes() == (out / name).read_bytes()
    errors = [json.loads(line) for line in (again / "errors.jsonl").read_text().splitlines()]
    assert {error["file"] for error in errors} == set(used) - wanted


def test_a_run_of_render_goes_on_and_checks_what_is_there(tmp_path, sounds, capsys):
    out, plans, _ = published(sounds, tmp_path, capsys)
    again = tmp_path / "again"
    words = ["render", str(plans), "--sources", str(sounds), "--out", str(again)]
    assert main(words) == 0
    first = (again / "class0" / "0-0.flac").stat().st_mtime_ns
    (again / "class1" / "1-0.flac").unlink()
    assert main(words) == 0
    assert (again / "class0" / "0-0.flac").stat().st_mtime_ns == first
    assert files_of(again, ".flac") == files_of(out, ".flac")
    other = mix(sounds, tmp_path / "other", seed=9).path
    assert main(["plans", str(other), "-o", str(tmp_path / "other.parquet")]) == 0
    assert main(["render", str(tmp_path / "other.parquet"), *words[2:]]) == 2
    assert "with another run" in capsys.readouterr().err


def changed_metadata(plans, to, **changes):
    table = pq.read_table(plans)
    about = json.loads(table.schema.metadata[b"audiomix_plans"])
    about |= {key: value for key, value in changes.items() if key in about}
    about["settings"]["versions"] |= changes.get("versions", {})
    pq.write_table(table.replace_schema_metadata({"audiomix_plans": json.dumps(about)}), to)
    return str(to)


def test_files_and_versions_that_do_not_fit_are_refused_before_work(tmp_path, sounds, capsys):
    out, plans, _ = published(sounds, tmp_path, capsys)
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pq.read_table(plans).replace_schema_metadata({}), tmp_path / "plain.parquet")
    newer = changed_metadata(plans, tmp_path / "newer.parquet", version=99)
    other = changed_metadata(plans, tmp_path / "other.parquet", versions={"soxr": "0.0.1"})
    rest = ["--sources", str(sounds), "--out", str(tmp_path / "again")]
    for file, said in (
        (tmp_path / "none.parquet", "there is no such file"),
        (tmp_path / "text.parquet", "a file that audiomix plans wrote"),
        (tmp_path / "plain.parquet", "another table in Parquet"),
        (newer, "plans must be of version 1"),
        (other, "what renders these plans must be soxr 0.0.1, got soxr 1"),
    ):
        assert main(["render", str(file), *rest]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "again").exists()
    assert main(["render", other, *rest, "--other-versions"]) == 0
    assert "only mixes that come out equal are written" in capsys.readouterr().err
    ogg = mix(sounds, tmp_path / "ogg", format="ogg").path
    assert main(["plans", str(ogg), "-o", str(tmp_path / "ogg.parquet")]) == 2
    assert "the promise of equal bits" in capsys.readouterr().err
    assert main(["plans", str(out), "-o", str(tmp_path / "plans.csv")]) == 2
    assert "the suffix of file must be parquet" in capsys.readouterr().err


def test_a_mix_that_does_not_come_out_equal_is_neither_published_nor_rendered(tmp_path, sounds, capsys):
    out, plans, _ = published(sounds, tmp_path, capsys)
    sound = samples_of(out / "class0" / "2-0.flac").T
    sound[3] -= 1
    soundfile.write(out / "class0" / "2-0.flac", sound, 8000)
    assert main(["plans", str(out), "-o", str(tmp_path / "more.parquet"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == 3
    assert told["errors"][0]["file"] == "class0/2-0.flac"
    table = pq.read_table(plans).to_pylist()
    table[0]["samples"] = bytes(16)  # what another version of a resampler would look like
    schema = pq.read_schema(plans)
    import pyarrow

    pq.write_table(pyarrow.Table.from_pylist(table, schema), tmp_path / "bent.parquet")
    words = ["render", str(tmp_path / "bent.parquet"), "--sources", str(sounds), "--out", str(tmp_path / "again")]
    assert main(words) == 1
    assert "comes out otherwise than published" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "again")) == 3


def test_plans_take_a_hundredth_of_the_bytes(tmp_path, capsys):
    for number in range(12):
        write(tmp_path / "in" / f"class{number % 3}" / f"{number}.wav", number, seconds=4.0, rate=16000)
    _, _, told = published(tmp_path / "in", tmp_path, capsys, copies=2)
    assert told["files"] == 24
    assert 100 * told["plan_bytes"] < told["audio_bytes"]


@pytest.mark.slow
def test_two_environments_with_other_paths_and_workers_render_the_same_bytes(installed, tmp_path, sounds, capsys):
    """The checkout here, and a wheel in a virtual environment of its own, in another folder, with relative paths."""
    out, plans, _ = published(sounds, tmp_path, capsys, copies=2, stems=True, rate=16000)
    here, there = tmp_path / "a" / "deep" / "here", tmp_path / "b"
    there.mkdir()
    shutil.copytree(sounds, there / "corpus")
    shutil.copy(plans, there / "set.parquet")
    shutil.copytree(sounds, here / "sounds")
    shutil.rmtree(sounds)
    assert main(["render", str(plans), "--sources", str(here / "sounds"), "--out", str(here / "out")]) == 0
    words = ["render", "set.parquet", "--sources", "corpus", "--out", "mixes", "--workers", "2"]
    installed("audiomix", *words, cwd=there)
    assert files_of(here / "out", ".flac") == files_of(there / "mixes", ".flac") == files_of(out, ".flac")
    plan = Plan.from_json(rows_of(there / "mixes")[0]["plan"])
    assert len(plan) == 1
