"""Partners by mashability in data sets of files, and the table of what goes with what; judged from the files."""

import json

import numpy as np
import pytest
from rhythm import SONG_RATE as RATE, song

from audiomix import BeatGrid, BeatMix
from audiomix.audio import io
from audiomix.audio.io import Clip
from audiomix.cli import main
from audiomix.offline.run import augment


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A piece, what it has from beat 6 on, what it has from beat 4 on two semitones up, and two others."""
    root, size = tmp_path_factory.mktemp("music"), RATE // 2
    sounds = {
        "whole": song(),
        "part": song()[6 * size : 18 * size],
        "up": song(2)[4 * size : 16 * size],
        "other": song(0, 7),
        "more": song(0, 8),
    }
    for name, sound in sounds.items():
        io.write(root / f"{name}.flac", Clip(sound[None], RATE))
        BeatGrid(np.arange(0, len(sound) / RATE - 0.1, 0.5)).write(root / f"{name}.beats")
    (root / "broken.flac").write_bytes(b"fLaC" + bytes(200))
    return root


def rows_of(out):
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


def test_partners_by_score_are_the_best_and_then_the_next(music, tmp_path):
    mixer = BeatMix(rate=RATE, tracker="file", partners_by="score", level="recorded", min_bars=1)
    augment(music, tmp_path / "out", mixer, copies=2, no_labels=True, progress=False)
    met = {}
    for row in rows_of(tmp_path / "out"):
        assert 0 < row["mashability"] <= 1
        own, partner = (source["file"] for source in row["sources"])
        met.setdefault(own, []).append((row["copy"], partner, row["mashability"]))
    assert len(met) == 5
    assert sorted(met["whole.flac"])[0][1] == "part.flac"
    assert sorted(met["part.flac"])[0][1] == "whole.flac"
    assert all(len({partner for _, partner, _ in found}) == 2 for found in met.values())
    (_, _, first), (_, _, second) = sorted(met["whole.flac"])
    assert first > second


def test_the_command_offers_the_option(music, tmp_path):
    words = ["--mixer", "beat", "--tracker", "file", "--partners-by", "score", "--anchor", "longest", "--min-bars", "1"]
    assert main(["augment", str(music), str(tmp_path / "out"), "--no-labels", "--quiet", *words]) == 1  # one is broken
    found = {row["sources"][0]["file"]: row for row in rows_of(tmp_path / "out")}
    assert found["whole.flac"]["sources"][1]["file"] == "part.flac"
    assert found["whole.flac"]["mashability"] > 0


def test_matches_say_where_and_by_how_much(music, capsys):
    files = [str(music / f"{name}.flac") for name in ("whole", "part", "up", "other")]
    command = ["beats", *files, "--tracker", "file"]
    assert main([*command, "--matches", "--json", "--quiet"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    matches = {line["file"].rsplit("/", 1)[1]: line["matches"] for line in lines if "matches" in line}
    assert len(lines) == 2 * len(matches) == 8
    found = {name: {one["partner"].rsplit("/", 1)[1]: one for one in own} for name, own in matches.items()}
    one, other = found["whole.flac"]["part.flac"], found["up.flac"]["whole.flac"]
    assert (one["beat"], one["partner_beat"], one["at"], one["semitones"], one["length"]) == (6, 0, 3.0, 0, 12)
    assert (other["beat"], other["partner_beat"], other["partner_at"], other["semitones"]) == (0, 4, 2.0, 2)
    assert (found["whole.flac"]["up.flac"]["beat"], found["whole.flac"]["up.flac"]["semitones"]) == (4, -2)
    assert matches["whole.flac"][0]["partner"].endswith("part.flac")
    for own in matches.values():
        assert [one["score"] for one in own] == sorted((one["score"] for one in own), reverse=True)
    assert main([*command, "--matches", "--quiet"]) == 0
    assert "semitones" in capsys.readouterr().out
    assert main(["beats", str(music / "whole.flac"), "--tracker", "file", "--matches", "--quiet"]) == 0
    assert "no matches" in capsys.readouterr().err
