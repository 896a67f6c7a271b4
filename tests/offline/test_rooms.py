"""Rooms and noise offline, judged from the sound: decay, SNRs on stems, how often noises are drawn."""

import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from made import audited, mix, rows_of, stems_and_mix, tree

from audiomix import MixUp, OneOf, Room, SNRMix, SpeakerMix
from audiomix.datasets.item import Item
from audiomix.offline.partners.weighted import WeightedPartners

RATE = 8000


def response(seconds, seed, at=0):
    """Noise that decays by 60 dB in `seconds` behind a direct sound at sample `at`."""
    taps = round(seconds * RATE)
    tail = np.random.default_rng(seed).standard_normal(taps) * 10 ** (-3 * np.arange(taps) / taps) * 0.2
    return np.concatenate([np.zeros(at), [1.0], tail])


def decay_seconds(sound, rate=RATE):
    """Time until -60 dB, from the slope of Schroeder's backward integral between -5 and -25 dB."""
    energy = np.cumsum(np.square(sound.astype(float))[::-1])[::-1]
    curve = 10 * np.log10(np.maximum(energy / energy[0], 1e-12))
    first, last = (int(np.argmax(curve < edge)) for edge in (-5, -25))
    return 3 * (last - first) / rate


def active_rms(sound, window=512):
    """Rms over the windows within 30 dB of the loudest one, as corpora of noisy speech state levels."""
    power = np.array([np.mean(np.square(sound[i : i + window])) for i in range(0, len(sound), window)])
    sizes = np.array([len(sound[i : i + window]) for i in range(0, len(sound), window)])
    on = power >= power.max() / 1000
    return np.sqrt((power * sizes)[on].sum() / sizes[on].sum())


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Clicks and bursts with long silences, noises without any, and two rooms of 0.2 and 0.4 s."""
    root = tmp_path_factory.mktemp("rooms")
    draw = np.random.default_rng(0)
    for name in ("speech", "noise/music", "noise/street", "rooms"):
        (root / name).mkdir(parents=True)
    for i in range(4):
        click = np.zeros(2 * RATE)
        click[400 + 100 * i] = 0.5
        soundfile.write(root / "speech" / f"click{i}.wav", click, RATE)
        burst = np.zeros(2 * RATE)
        burst[2000:6000] = 0.1 * draw.standard_normal(4000)
        soundfile.write(root / "speech" / f"voice{i}.wav", burst, RATE)
    for i in range(4):
        noise = root / "noise" / ("music", "street")[i % 2] / f"{i}.wav"
        soundfile.write(noise, 0.05 * draw.standard_normal(3 * RATE), RATE)
    soundfile.write(root / "rooms" / "large.wav", response(0.4, 1, at=300), RATE, subtype="FLOAT")
    soundfile.write(root / "rooms" / "small.wav", -response(0.2, 2), RATE, subtype="FLOAT")
    return root


SECONDS = {"large.wav": 0.4, "small.wav": 0.2}
NOISY = {"no_labels": True, "stems": True}


def noisy(sets, out, mixer, **options):
    return rows_of(mix(sets / "speech", out, mixer, **NOISY | {"partners": sets / "noise"} | options).path)


@pytest.mark.parametrize("level", ["rms", "active"])
def test_the_snr_is_that_of_reverberant_speech_and_the_room_decays_as_it_does(sets, tmp_path, level):
    rows = noisy(sets, tmp_path / "out", SNRMix((5, 5), level=level, label="keep"), room=sets / "rooms", copies=2)
    assert len(rows) == 16
    assert {row["sources"][0]["room"] for row in rows} == {"large.wav", "small.wav"}
    for row in rows:
        (speech, noise), whole = stems_and_mix(row)
        assert np.array_equal(speech + noise, whole)
        measure = active_rms if level == "active" else lambda x: np.sqrt(np.mean(np.square(x.astype(float))))
        assert 20 * np.log10(measure(speech) / measure(noise)) == pytest.approx(5, abs=0.1)
        assert row["sources"][1]["room"] is None
        if row["sources"][0]["id"].startswith("click"):
            direct = int(np.argmax(np.abs(speech)))
            assert direct == 400 + 100 * int(row["sources"][0]["id"][5])  # the direct sound stays where it was
            assert decay_seconds(speech[direct + 1 :]) == pytest.approx(SECONDS[row["sources"][0]["room"]], rel=0.15)


def test_partners_get_rooms_of_their_own_where_asked_for(sets, tmp_path):
    clicks = sets / "clicks.csv"
    clicks.write_text("path,group\n" + "".join(f"speech/click{i}.wav,{'ab'[i // 2]}\n" for i in range(4)))
    options = {"room": sets / "rooms", "room_partners": True, "no_labels": True, "stems": True, "copies": 4}
    rows = rows_of(mix(clicks, tmp_path / "out", SNRMix((0, 0)), **options).path)
    assert len({tuple(source["room"] for source in row["sources"]) for row in rows}) == 4
    for row in rows:
        stems, _ = stems_and_mix(row)
        for source, stem in zip(row["sources"], stems):
            found = decay_seconds(stem[int(np.argmax(np.abs(stem))) + 1 :])
            assert found == pytest.approx(SECONDS[source["room"]], rel=0.15)
        same = row["sources"][0]["group"] == row["sources"][1]["group"]
        assert not same or row["sources"][0]["room"] == row["sources"][1]["room"]
    assert any(row["sources"][0]["group"] == row["sources"][1]["group"] for row in rows)


def test_some_stay_dry_and_a_room_of_ones_own_has_its_options(sets, tmp_path):
    rows = noisy(sets, tmp_path / "some", SNRMix((5, 5)), room=sets / "rooms", room_share=0.5, copies=4)
    dry = [row["sources"][0]["room"] is None for row in rows]
    assert 4 < sum(dry) < 28
    own = Room(sets / "rooms", rate=RATE, weights=[0, 1])
    rows = noisy(sets, tmp_path / "own", SNRMix((5, 5)), room=own)
    assert {row["sources"][0]["room"] for row in rows} == {"small.wav"}
    assert rows[0]["room"]["digest"] == own.digest
    with pytest.raises(ValueError, match="room_share must be left out beside a Room"):
        noisy(sets, tmp_path / "x", SNRMix(), room=own, room_share=0.5)
    with pytest.raises(ValueError, match="room must be one that keeps the length"):
        noisy(sets, tmp_path / "x", SNRMix(), room=own.replace(tail=True))
    with pytest.raises(ValueError, match="responses must be impulse responses that can be used"):
        noisy(sets, tmp_path / "x", SNRMix(), room=_silent(tmp_path))


def _silent(folder):
    soundfile.write(folder / "silent.wav", np.zeros(100), RATE)
    return folder / "silent.wav"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_in_rooms_goes_on_to_the_same_bytes_and_others_are_refused(sets, tmp_path, workers):
    options = {"partners": sets / "noise", "no_labels": True, "room": sets / "rooms", "workers": workers}
    report = mix(sets / "speech", tmp_path / "out", SNRMix(), **options)
    whole = tree(report.path)
    for row in rows_of(report.path)[::2]:
        row["path"].unlink()
    mix(sets / "speech", tmp_path / "out", SNRMix(), **options)
    assert tree(report.path) == whole
    with pytest.raises(ValueError, match="another run"):
        mix(sets / "speech", tmp_path / "out", SNRMix(), **options | {"room": sets / "rooms" / "small.wav"})
    with pytest.raises(ValueError, match="another run"):
        mix(sets / "speech", tmp_path / "out", SNRMix(), **options, partner_weights={"music": 2})
    heard = audited(report.path)  # what a room makes of a source is not judged, and said
    assert not heard.wrong
    assert any("sources are heard in rooms" in note for item in heard.items for note in item.notes)


@pytest.mark.parametrize("level", ["rms", "active"])
def test_several_noises_have_their_snrs_to_the_clean_speech(sets, tmp_path, level):
    rows = noisy(sets, tmp_path / "out", SNRMix((3, 12), sources=(3, 4), level=level, label="keep"))
    counts = Counter(len(row["sources"]) - 1 for row in rows)
    assert set(counts) == {2, 3}
    for row in rows:
        (speech, *noises), whole = stems_and_mix(row)
        assert np.array_equal(speech + sum(noises), whole)
        assert len({source["id"] for source in row["sources"]}) == len(row["sources"])
        measure = active_rms if level == "active" else lambda x: np.sqrt(np.mean(np.square(x.astype(float))))
        got = [20 * np.log10(measure(speech) / measure(noise)) for noise in noises]
        assert got == pytest.approx(row["snr_db"], abs=0.1)
        assert 20 * np.log10(measure(speech) / measure(sum(noises))) == pytest.approx(row["snr_total_db"], abs=0.1)
        assert row["snr_reference"] == "clean"


def test_noises_are_drawn_by_their_weights(sets, tmp_path):
    options = {"no_labels": True, "partners": sets / "noise", "copies": 50}
    options["partner_weights"] = {"music": 3, "street/3.wav": 0}
    rows = rows_of(mix(sets / "speech", tmp_path / "out", **options).path)
    counts = Counter(source["id"] for row in rows for source in row["sources"][1:])
    assert set(counts) == {"music/0.wav", "music/2.wav", "street/1.wav"}
    share = counts["street/1.wav"] / counts.total()  # 1 / 7 of 400: within 3.3 standard deviations
    assert abs(share - 1 / 7) < 3.3 * np.sqrt(1 / 7 * 6 / 7 / 400)
    several = SNRMix(sources=(2, 3), label="keep")
    rows = rows_of(mix(sets / "speech", tmp_path / "several", several, **options).path)
    assert {source["id"] for row in rows for source in row["sources"][1:]} == set(counts)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"musik": 1}, "partner_weights must be of files or folders in .*noise, got 'musik'"),
        ({"music": -1}, r"partner_weights\['music'\] must be"),
        ({"music": 0, "street": 0}, "above 0 for a file at least"),
    ],
)
def test_weights_that_mean_nothing_are_refused(sets, tmp_path, weights, message):
    with pytest.raises(ValueError, match=message):
        mix(sets / "speech", tmp_path / "out", no_labels=True, partners=sets / "noise", partner_weights=weights)
    with pytest.raises(ValueError, match="partner_weights must be left out without partners"):
        mix(sets / "speech", tmp_path / "out", no_labels=True, partner_weights={"music": 1})


def test_weighted_draws_are_without_repetition_and_in_proportion():
    items = [Item("", "own", "a", role="original")]
    items += [Item("", f"n{i}", "ab"[i % 2], role="noise") for i in range(6)]
    weights = [1, 6, 3, 0, 1, 1, 1]
    index = WeightedPartners(items, weights=weights)
    drawn = [index.partners(0, copy=copy, seed=1) for copy in range(3000)]
    assert all(sorted(one) == [1, 2, 4, 5, 6] for one in drawn)
    first = Counter(one[0] for one in drawn)
    assert [first[i] / 3000 for i in (1, 2, 4)] == pytest.approx([6 / 12, 3 / 12, 1 / 12], abs=0.03)
    second = Counter(one[1] for one in drawn if one[0] == 1)  # among those that are left: 3 of 6
    assert second[2] / second.total() == pytest.approx(0.5, abs=0.05)
    other = WeightedPartners(items, "different_class", weights=weights)
    assert {tuple(sorted(other.partners(0, copy=copy, seed=1))) for copy in range(9)} == {(2, 4, 6)}


def test_conversations_in_rooms_and_their_turns_as_rttm(sets, tmp_path):
    table = sets / "talk.csv"
    who = [("ann lee", "train"), ("ann lee", "test"), ("bob", "train"), ("bob", "test")]
    rows = "".join(f"speech/voice{i}.wav,{name},{split}\n" for i, (name, split) in enumerate(who))
    table.write_text("path,speaker,split\n" + rows)
    options = {"no_labels": True, "columns": {"group": "speaker"}, "room": sets / "rooms"}
    out = mix(table, tmp_path / "out", SpeakerMix(2, rate=RATE), **options, across=["split"]).path
    from audiomix import read_rttm

    for split in ("train", "test"):
        found = read_rttm(out / split / "turns.rttm")
        told = [json.loads(line) for line in (out / split / "metadata.jsonl").read_text().splitlines()]
        assert {turn.speaker for turn in found} == {"ann%20lee", "bob"}
        assert {turn.file for turn in found} == {row["file_name"].removesuffix(".flac") for row in told}
        for row in told:
            mine = [turn for turn in found if f"{turn.file}.flac" == row["file_name"]]
            assert [turn.onset for turn in mine] == pytest.approx([turn["onset"] for turn in row["turns"]], abs=1e-6)
            sound = soundfile.read(out / split / row["file_name"])[0]
            for turn in mine:  # somebody is heard where the file says so
                part = sound[round(turn.onset * RATE) + 80 : round(turn.offset * RATE) - 80]
                assert np.sqrt(np.mean(np.square(part))) > 0.01
            silent = sound[: max(0, round(min(turn.onset for turn in mine) * RATE) - 400)]
            assert not silent.size or np.abs(silent).max() < 0.003
    with pytest.raises(ValueError, match="stems must be left out for a SpeakerMix with rooms"):
        mix(table, tmp_path / "x", SpeakerMix(2, rate=RATE), **options, stems=True)
    assert not audited(out).wrong
    own = SpeakerMix(2, rate=RATE, room=Room(sets / "rooms", rate=RATE))
    with pytest.raises(ValueError, match="room must be left out beside a mixer with rooms"):
        mix(table, tmp_path / "x", own, **options)


def test_no_rttm_where_nobody_speaks(sets, tmp_path):
    out = mix(sets / "speech", tmp_path / "out", OneOf([MixUp(), SNRMix()]), no_labels=True).path
    assert not list(out.rglob("*.rttm"))


def test_rooms_and_weights_from_the_command_line(sets, tmp_path, capsys):
    from audiomix.cli import main

    given = ["augment", str(sets / "speech"), "--no-labels", "--quiet", "--mixer", "snr_mix", "--snr-db", "5", "5"]
    given += ["--level", "active", "--label", "keep", "--partners", str(sets / "noise")]
    room = ["--room", str(sets / "rooms" / "small.wav"), "--room-share", "1"]
    assert main([*given, str(tmp_path / "out"), *room, "--partner-weights", "music=2", "street=0", "--stems"]) == 0
    for row in rows_of(tmp_path / "out"):
        assert row["sources"][0]["room"] == "small.wav"
        assert row["sources"][1]["id"].startswith("music/")
        (speech, noise), _ = stems_and_mix(row)
        assert 20 * np.log10(active_rms(speech) / active_rms(noise)) == pytest.approx(5, abs=0.1)
    for wrong in ("music", "music=", "=1", "music=much"):
        assert main([*given, str(tmp_path / "x"), "--partner-weights", wrong]) == 2
        assert "must be NAME=WEIGHT" in capsys.readouterr().err
