"""The sets of spoken words that assets/make_speech.py makes: who speaks in which, and that two makings are equal."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ASSETS = Path(__file__).parents[1] / "assets"
sys.path.append(str(ASSETS))
import dsp  # noqa: E402
import make_speech  # noqa: E402
import synth_words  # noqa: E402

SETS = make_speech.SETS
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def test_no_voice_accent_or_word_of_the_held_out_set_is_in_another():
    held, development = SETS["held-out"], SETS["development"]
    for field in ("name", "voice", "accent"):
        own, theirs = ({getattr(s, field) for s in made.speakers} - {""} for made in (held, development))
        assert own
        assert not own & theirs
    bundled = {speaker.variant for speaker in synth_words.SPEAKERS}
    assert not bundled & {s.voice for made in SETS.values() for s in made.speakers}
    assert not set(held.words) & {*development.words, *synth_words.WORDS}


def small(count=5):
    """Return the set of the first speakers, which espeak-ng has, with two words."""
    made = SETS["held-out"]
    return make_speech.WordSet(made.words[:2], made.speakers[:count], made.rate)


@needs_espeak
def test_a_set_is_made_alike_twice_and_every_fold_has_speakers_of_its_own(tmp_path):
    rows = [list(make_speech.make_set(small(), tmp_path / name)) for name in ("one", "two")]
    assert rows[0] == rows[1]
    names = [row["file_name"] for row in rows[0]]
    assert len(set(names)) == 5 * 2 * make_speech.TAKES
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    folds = {(row["group"], row["fold"]) for row in rows[0]}
    assert sorted(fold for _, fold in folds) == [1, 2, 3, 4, 5]
    assert Counter(row["label"] for row in rows[0]) == {"zero": 20, "one": 20}


@needs_espeak
def test_the_noise_is_as_far_below_the_word_as_is_written():
    speaker, rng = SETS["held-out"].speakers[0], np.random.default_rng(0)
    audio, snr = make_speech.clip("seven", speaker, rng)
    assert len(audio) == synth_words.LENGTH
    assert make_speech.SNR_DB[0] <= snr <= make_speech.SNR_DB[1]
    near, far = (synth_words.place(np.ones(4000), np.random.default_rng(1), (x, x))[0] for x in (0.0, 60.0))
    quiet = [np.sort(np.abs(x))[: len(x) // 2] for x in (near, far)]
    assert dsp.rms(quiet[0] / np.abs(near).max()) > 10 * dsp.rms(quiet[1] / np.abs(far).max())


@needs_espeak
def test_the_folder_is_new_whole_and_outside_the_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(make_speech.SETS, "held-out", small(2))

    def make(out):
        monkeypatch.setattr(sys, "argv", ["make_speech.py", str(out), "--set", "held-out"])
        return make_speech.main()

    assert make(tmp_path / "digits") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["digits"]
    lines = (tmp_path / "digits" / "metadata.jsonl").read_text().splitlines()
    assert {json.loads(line)["label"] for line in lines} == {"zero", "one"}
    for out, message in ((tmp_path / "digits", "must be a new folder"), (ASSETS / "x", "must be outside")):
        with pytest.raises(SystemExit):
            make(out)
        assert message in capsys.readouterr().err
    monkeypatch.setitem(make_speech.PACKAGES, "espeak", {"no-such-program": "a-package"})
    with pytest.raises(SystemExit):
        make(tmp_path / "other")
    assert "apt-get install a-package" in capsys.readouterr().err
