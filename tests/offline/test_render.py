"""What is written is what the manifest says, judged from the sound itself."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from made import mix, rows_of, sound, write

from audiomix import MixUp, Plan, mixers
from audiomix.audio import io


def shares(row, root):
    """Recover from the written sound how loud each source is in it; also how many samples each one covers."""
    mixed, rate = soundfile.read(row["path"], dtype="float64", always_2d=True)
    parts = []
    for source in row["sources"]:
        clip = io.read(root / source["id"], rate=rate, channels=mixed.shape[1])
        start = round(source["offset_s"] * rate)
        part = clip.samples.T.numpy()[start : start + len(mixed)].astype("float64")
        parts.append((np.pad(part, ((0, len(mixed) - len(part)), (0, 0))), len(part)))
    columns = np.stack([part.ravel() for part, _ in parts], 1)
    gains = np.linalg.lstsq(columns, mixed.ravel(), rcond=None)[0]
    rest = mixed.ravel() - columns @ gains
    return gains / 10 ** (row["limiter_gain_db"] / 20), [size for _, size in parts], np.abs(rest).max()


def check_label(row, root):
    """The label must be the share of the sound: each gain times the samples it covers."""
    gains, sizes, rest = shares(row, root)
    mass = gains * sizes
    label: dict[str, float] = {}
    for source, share in zip(row["sources"], mass / mass.sum()):
        label[source["label"]] = label.get(source["label"], 0) + share
    assert sum(row["label"].values()) == pytest.approx(1, abs=1e-12)
    assert rest < 2 / 32768  # nothing else is in there
    for name, share in row["label"].items():
        assert share == pytest.approx(label[name], abs=2e-3)


def test_the_label_is_the_share_of_the_sound(classes, tmp_path):
    mix(classes, tmp_path / "out", copies=3)
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 54
    for row in rows:
        check_label(row, classes)
    assert len({next(iter(row["label"].values())) for row in rows}) > 20


def test_the_label_is_the_share_of_the_sound_on_esc10(esc10, tmp_path):
    with open(esc10 / "meta" / "esc50.csv", newline="") as file:
        chosen = list(csv.DictReader(file))[::9]
    table = tmp_path / "some.csv"
    lines = [f"{esc10 / 'audio' / row['filename']},{row['category']},{row['fold']}" for row in chosen]
    table.write_text("path,label,fold\n" + "\n".join(lines))
    mix(table, tmp_path / "out", MixUp(4.0))
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(chosen)
    for row in rows:
        check_label(row, esc10)  # ids are absolute here: the root does not matter


def test_the_row_alone_gives_the_same_samples(classes, tmp_path):
    write(classes / "a" / "short.wav", seed=70, seconds=0.2)
    write(classes / "a" / "loud.wav", seed=71, peak=1.0)
    mix(classes, tmp_path / "out", mixers.get("snr_mix")((-6.0, 6.0)), copies=2)
    limited = 0
    for row in rows_of(tmp_path / "out"):
        plan = Plan.from_json(row["plan"])
        clips = [io.read(classes / source["id"]).samples for source in row["sources"]]
        starts = [round(source["offset_s"] * row["rate"]) for source in row["sources"]]
        x, other = (clip[None, :, start : start + clips[0].shape[-1]] for clip, start in zip(clips, starts))
        mixed = mixers.get(row["mixer"])()(x, other=other, plan=plan).x[0].double() * 10 ** (
            row["limiter_gain_db"] / 20
        )
        written = soundfile.read(row["path"], dtype="int16", always_2d=True)[0].T
        assert (io.quantise(mixed).numpy() == written).all()
        limited += row["limiter_gain_db"] < 0
    assert limited > 0


def test_levels_and_length_are_those_of_the_file(classes, tmp_path):
    mix(classes, tmp_path / "out", stems=False)
    for row in rows_of(tmp_path / "out"):
        data, rate = soundfile.read(row["path"])
        assert (rate, len(data) / rate) == (row["rate"], row["seconds"])
        assert 20 * np.log10(np.sqrt((data**2).mean())) == pytest.approx(row["rms_db"], abs=0.01)
        assert 20 * np.log10(np.abs(data).max()) == pytest.approx(row["peak_db"], abs=0.01)


@pytest.mark.parametrize("name", ["mixup", "snr_mix"])
def test_stems_sum_to_the_mix_exactly(tmp_path, name):
    for i in range(6):  # loud enough that the limiter works and every sum of rounded halves occurs
        write(tmp_path / "in" / "a" / f"{i}.wav", seed=i, peak=0.999)
    options = {"snr_db": (-10.0, 10.0)} if name == "snr_mix" else {"gain_law": "sqrt"}
    mix(tmp_path / "in", tmp_path / "out", mixers.get(name)(**options), stems=True, copies=2)
    gains = set()
    for row in rows_of(tmp_path / "out"):
        mixed = soundfile.read(row["path"], dtype="int16")[0].astype(int)
        stems = [soundfile.read(row["root"] / s, dtype="int16")[0].astype(int) for s in row["stems"]]
        assert len(stems) == 2
        assert (sum(stems) == mixed).all()
        own = soundfile.read(tmp_path / "in" / row["sources"][0]["id"])[0]
        assert np.abs(np.corrcoef(stems[0], own)[0, 1]) > 0.999  # the first is the original's
        gains.add(row["limiter_gain_db"] < 0)
    assert True in gains


def test_stems_of_a_mixer_that_is_no_sum_are_refused(classes, tmp_path):
    class Squared(MixUp):
        def render_into(self, own, source, plan, out=None):
            return super().render_into(own, source, plan, out).square()

    report = mix(classes, tmp_path / "out", Squared(), stems=True)
    assert report.exit_code == 1
    assert "not a sum of its sources" in report.errors[0]["reason"]


LENGTHS = {"original": 0.5, "shortest": 0.3, "longest": 0.8, 0.4: 0.4, 1.0: 1.0}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("crop", ["random", "start"])
def test_lengths(tmp_path, length, crop):
    for seed, (name, seconds) in enumerate([("half", 0.5), ("short", 0.3), ("long", 0.8)]):
        write(tmp_path / "in" / name[0] / f"{name}.wav", seed=seed, seconds=seconds)
    mix(tmp_path / "in", tmp_path / "out", MixUp(4.0), length=length, crop=crop, copies=6)
    own = {"half": 0.5, "short": 0.3, "long": 0.8}
    offsets = set()
    for row in rows_of(tmp_path / "out"):
        first, second = (own[source["file"].removesuffix(".wav")] for source in row["sources"])
        wanted = {"original": first, "shortest": min(first, second), "longest": max(first, second)}.get(length, length)
        assert row["seconds"] == wanted
        if length != "longest":  # there, silence counts
            data = soundfile.read(row["path"])[0]
            valid = min(wanted, first)
            assert np.abs(data[round(valid * 16000) :]).sum() == 0
            gains, sizes, _ = shares(row, tmp_path / "in")
            sizes = [min(size, round(valid * 16000)) for size in sizes]
            if valid == wanted:
                mass = gains * sizes
                assert row["label"][row["sources"][0]["label"]] == pytest.approx(mass[0] / mass.sum(), abs=2e-3)
        offsets |= {source["offset_s"] for source in row["sources"]}
    assert (len(offsets) > 2) == (crop == "random" and length not in ("longest", 1.0))


def test_rates_and_channels_are_brought_together(tmp_path):
    write(tmp_path / "in" / "a" / "mono16k.wav", seed=1, rate=16000)
    write(tmp_path / "in" / "a" / "stereo44k.flac", seed=2, rate=44100, channels=2)
    write(tmp_path / "in" / "b" / "six8k.wav", seed=3, rate=8000, channels=6, subtype="PCM_24")
    mix(tmp_path / "in", tmp_path / "own", copies=4)
    shapes = {row["sources"][0]["file"]: (row["rate"], row["channels"]) for row in rows_of(tmp_path / "own")}
    assert shapes == {"mono16k.wav": (16000, 1), "stereo44k.flac": (44100, 2), "six8k.wav": (8000, 6)}
    mix(tmp_path / "in", tmp_path / "all", copies=4, rate=22050, channels=2)
    for row in rows_of(tmp_path / "all"):
        data, rate = soundfile.read(row["path"], always_2d=True)
        assert (rate, data.shape) == (22050, (11025, 2))
        assert (row["rate"], row["channels"]) == (22050, 2)


def test_a_mixer_that_needs_a_rate_gets_each_files(tmp_path):
    for i, rate in enumerate((16000, 44100, 44100, 16000)):
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i, rate=rate)
    mixer = mixers.get("between_class")(rate=8000)
    assert mix(tmp_path / "in", tmp_path / "out", mixer).exit_code == 0
    assert {(row["rate"], json.loads(row["options"])["rate"]) for row in rows_of(tmp_path / "out")} == {
        (16000, 16000),
        (44100, 44100),
    }
    assert mixer.rate == 8000


def test_a_large_file_gives_a_piece(tmp_path, monkeypatch):
    from audiomix.offline import cache as sources

    write(tmp_path / "in" / "a" / "long.wav", seed=1, seconds=20)
    write(tmp_path / "in" / "b" / "short.wav", seed=2, seconds=1)
    monkeypatch.setattr(sources, "_LARGE_FILE", 100_000)
    asked = []
    read = io.read
    monkeypatch.setattr(io, "read", lambda path, **more: asked.append(more) or read(path, **more))
    mix(tmp_path / "in", tmp_path / "out", length=1.0)
    (row,) = (row for row in rows_of(tmp_path / "out") if row["sources"][0]["file"] == "short.wav")
    assert any(more.get("seconds", 99) < 2 for more in asked)
    gains, _, rest = shares(row, tmp_path / "in")  # the noted offset is where it was taken from
    assert gains.sum() == pytest.approx(1, abs=1e-3)
    assert rest < 2 / 32768
    assert 0 < row["sources"][1]["offset_s"] < 19


def test_unmixed_files_are_their_own_only_source(classes, tmp_path):
    mix(classes, tmp_path / "out", MixUp(1.0, p=0.5), copies=2)
    rows = rows_of(tmp_path / "out")
    alone = [row for row in rows if len(row["sources"]) == 1]
    assert 0 < len(alone) < len(rows)
    for row in alone:
        original = soundfile.read(classes / row["sources"][0]["id"], dtype="int16")[0]
        assert (soundfile.read(row["path"], dtype="int16")[0] == original).all()
        assert list(row["label"].values()) == [1.0]


def test_several_labels(tmp_path):
    for i in range(4):
        write(tmp_path / f"{i}.wav", seed=i)
    labels = [["a", "b"], ["b"], ["c"], ["a", "c"]]
    rows = [json.dumps({"path": f"{i}.wav", "labels": label}) for i, label in enumerate(labels)]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    mix(tmp_path / "list.jsonl", tmp_path / "out", MixUp(1.0, rule="union"), copies=3)
    for row in rows_of(tmp_path / "out"):
        both = {name for source in row["sources"] for name in json.loads(source["label"])}
        assert row["label"] == dict.fromkeys(sorted(both), 1.0)


def test_everything_the_sources_say_travels(folds, tmp_path):
    mix(folds, tmp_path / "out", across=["split"])
    for row in rows_of(tmp_path / "out"):
        first, second = row["sources"]
        number = first["file"].removesuffix(".wav")
        assert row["caption"] == f"sound number {number}"
        assert row["captions"] == [f"sound number {s['file'].removesuffix('.wav')}" for s in (first, second)]
        assert first["attribution"] == f"author {number}"
        assert row["licence"] == " + ".join(sorted({first["licence"], second["licence"]}))
        assert (row["group"], row["seed"], row["copy"]) == (f"g{int(number) // 4}", 0, 0)
        assert set(row["versions"]) == {"audiomix", "torch", "soundfile", "libsndfile", "soxr"}
    assert any("+" in row["licence"] for row in rows_of(tmp_path / "out"))


def test_silence_makes_no_nan(tmp_path):
    for i in range(3):
        write(tmp_path / "in" / "a" / f"{i}.wav", seed=i, peak=0.0)
    for name in ("mixup", "snr_mix"):
        assert mix(tmp_path / "in", tmp_path / name, mixers.get(name)()).exit_code == 0
        assert all(np.abs(soundfile.read(row["path"])[0]).max() == 0 for row in rows_of(tmp_path / name))


def test_a_partner_that_is_not_heard_is_still_a_source(tmp_path):
    """Copies of one sound, and silence in silence: the mix is the original, the label is not."""
    for i in range(4):
        write(tmp_path / f"same{i}.wav", seed=7)
        write(tmp_path / f"silent{i}.wav", seed=7, peak=0.0)
    lines = [f"{kind}{i}.wav,{kind}{i},L{i},{kind}\n" for kind in ("same", "silent") for i in range(4)]
    (tmp_path / "list.csv").write_text("path,label,licence,fold\n" + "".join(lines))
    for name, mixer in (("mixup", MixUp(1.0)), ("cutmix", mixers.get("cutmix")()), ("union", MixUp(rule="union"))):
        mix(tmp_path / "list.csv", tmp_path / name, mixer)
        for row in rows_of(tmp_path / name):
            assert len(row["label"]) == 2
            assert {source["label"] for source in row["sources"]} == set(row["label"])
            assert row["licence"] == " + ".join(sorted(source["licence"] for source in row["sources"]))


def test_noise_without_a_label_is_a_source_where_it_is_heard(classes, tmp_path):
    mix(classes, tmp_path / "out", mixers.get("snr_mix")((5.0, 5.0), label="keep"))
    for row in rows_of(tmp_path / "out"):
        assert list(row["label"].values()) == [1.0]
        assert len(row["sources"]) == 2


class _OtherPlan(Plan):
    """The partner alone."""

    def gains(self):
        return torch.zeros_like(self.weight), torch.ones_like(self.weight)


def test_stems_of_a_mixer_that_hands_on_what_it_gets(classes, tmp_path):
    class Other(MixUp):
        plan_type = _OtherPlan

        def draw(self, own, source, **more):
            plan = super().draw(own, source, **more)
            return _OtherPlan(plan.partner, plan.weight)

        def render_into(self, own, source, plan, out=None):
            return source.x[..., : own.size]

    before = {path: path.read_bytes() for path in classes.rglob("*.wav")}
    mix(classes, tmp_path / "out", Other(), stems=True, copies=3)  # the cache must not be written to
    for row in rows_of(tmp_path / "out"):
        stems = [soundfile.read(row["root"] / s, dtype="int16")[0] for s in row["stems"]]
        partner = soundfile.read(classes / row["sources"][1]["id"], dtype="int16")[0]
        assert not stems[0].any()
        assert (stems[1] == partner).all()
    assert before == {path: path.read_bytes() for path in classes.rglob("*.wav")}


def test_made_sounds_differ():
    assert np.abs(np.corrcoef(sound(1)[:, 0], sound(2)[:, 0])[0, 1]) < 0.05
