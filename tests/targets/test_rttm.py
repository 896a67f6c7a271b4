"""Turns as RTTM files and as frames: both say the same."""

import pytest
import torch

from audiomix import Turn, frame_activity, read_rttm, write_rttm
from audiomix.targets.rttm import format_rttm, parse_rttm

TURNS = [
    Turn("ann", 0.0, 1.25, "call1"), Turn("bob", 1.0, 0.5, "call1"), Turn("ann", 1.6, 0.123457, "call1"),
    Turn("ève", 3599.999999, 0.000001, "call2", 2),
]  # fmt: skip


def test_what_is_written_is_read_back_to_the_bit(tmp_path):
    write_rttm(tmp_path / "all.rttm", TURNS)
    assert read_rttm(tmp_path / "all.rttm") == TURNS
    lines = (tmp_path / "all.rttm").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "SPEAKER call1 1 1.000000 0.500000 <NA> <NA> bob <NA> <NA>"
    assert {len(line.split(" ")) for line in lines} == {10}  # what dscore and pyannote count


def test_files_of_others_are_read():
    """Nine fields, tabs, comments, other types, a byte order mark, Windows' line ends."""
    text = (
        "\ufeff;; a comment\r\nSPKR-INFO call1 1 <NA> <NA> <NA> unknown ann <NA>\r\n\r\n"
        "SPEAKER call1 1 4.5 .5 <NA> <NA> ann <NA>\r\nSPEAKER\tcall1\t2\t3\t1e0\t<NA>\t<NA>\tbob\t0.9\t<NA>\r\n"
    )
    assert parse_rttm(text) == [Turn("ann", 4.5, 0.5, "call1"), Turn("bob", 3.0, 1.0, "call1", 2)]
    assert parse_rttm("") == []


@pytest.mark.parametrize(
    ("text", "want"),
    [
        # DIHARD; VoxConverse, whose channel is 0; AMI; CHiME's two channels; no channel; NeMo's spaces
        ("SPEAKER DH_DEV_0001 1 0.430 3.080 <NA> <NA> S1 <NA> <NA>", ("S1", 0.43, 3.08, "DH_DEV_0001", 1)),
        ("SPEAKER abjxc 0 0.400000 6.640000 <NA> <NA> spk00 <NA> <NA>", ("spk00", 0.4, 6.64, "abjxc", 0)),
        ("SPEAKER ES2002b.Mix 1 0 1 <NA> <NA> FEE005 <NA> <NA>", ("FEE005", 0.0, 1.0, "ES2002b.Mix", 1)),
        ("SPEAKER S02 2 40.60 3.22 <NA> <NA> P05 <NA> <NA>", ("P05", 40.6, 3.22, "S02", 2)),
        ("SPEAKER a <NA> 1 1 <NA> <NA> A <NA> <NA>", ("A", 1.0, 1.0, "a", 1)),
        ("SPEAKER a 1   1   1 <NA> <NA> A <NA> <NA> ", ("A", 1.0, 1.0, "a", 1)),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_shape_in_which_people_have_it_is_read(text, want, end, tmp_path):
    other = "SPKR-INFO a 1 <NA> <NA> <NA> unknown A <NA> <NA>"
    (tmp_path / "all.rttm").write_bytes(f"{other}{end}{text}{end}{end}".encode())
    got = read_rttm(tmp_path / "all.rttm")
    assert got == [Turn(*want)]
    assert frame_activity([got]).sum() == pytest.approx(100 * want[2], abs=1)


@pytest.mark.parametrize(("encoding", "slip"), [("latin-1", "Latin-1"), ("utf-16", "UTF-16")])
def test_a_file_in_another_encoding_is_named_with_its_line(encoding, slip, tmp_path):
    (tmp_path / "all.rttm").write_bytes(format_rttm([TURNS[0], TURNS[-1]]).encode(encoding))
    line = 2 if encoding == "latin-1" else 1
    with pytest.raises(ValueError, match=rf"all.rttm, line {line} must be text in UTF-8, got byte 0x.*: {slip}\?"):
        read_rttm(tmp_path / "all.rttm")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER call1 1 4.5", "all.rttm, line 2 must be SPEAKER and 8 or 9 further fields"),
        ("SPEAKER call1 1 x .5 <NA> <NA> ann <NA> <NA>", "line 2 must be a channel and two times in seconds"),
        ("SPEAKER call1 1 -1 .5 <NA> <NA> ann <NA> <NA>", "line 2: onset must be a number in"),
        ("SPEAKER call1 1 1 nan <NA> <NA> ann <NA> <NA>", "line 2: duration must be"),
        ("SPEAKER call1 A 1 1 <NA> <NA> ann <NA> <NA>", "a channel and two times"),
        ("END call1 <NA> 4023 <NA> <NA> <NA> <NA>", "times in whole samples"),
        ("1.0 2.0 ann", "must be SPEAKER and"),
        ("SPEAKER call1 1 1 1 <NA> <NA> ann lee <NA> <NA>", "a name with a space in it"),
        ("SPEAKER call1 1 1 1 <NA> <NA> <NA> <NA> <NA>", "line 2 must be a line that names the recording and who"),
        ("SPEAKER call1 1 <NA> <NA> <NA> <NA> ann <NA> <NA>", "line 2 must be a channel and two times"),
        ("SPEAKER call1 1 1,5 1 <NA> <NA> ann <NA> <NA>", "line 2 must be a channel and two times"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, message):
    (tmp_path / "all.rttm").write_text(f"{format_rttm(TURNS[:1])}{line}\n")
    with pytest.raises(ValueError, match=message):
        read_rttm(tmp_path / "all.rttm")


def test_names_that_would_break_a_line_are_refused():
    for name in ("ann lee", "", "a\tb", "<NA>", " "):
        with pytest.raises(ValueError, match="speaker must be a name without spaces"):
            format_rttm([Turn(name, 0.0, 1.0)])
    with pytest.raises(ValueError, match="did you mean|'ann_lee'"):
        format_rttm([Turn("ann lee", 0.0, 1.0)])
    with pytest.raises(ValueError, match="onset must be a number"):
        format_rttm([Turn("ann", -0.5, 1.0)])


def test_a_frame_belongs_to_those_who_speak_at_its_centre():
    turns = [Turn("ann", 0.004, 0.02), Turn("bob", 0.016, 0.009), Turn("ann", 0.045, 0.01)]
    got = frame_activity([turns], seconds=0.01)[0]
    assert got.tolist() == [[1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert frame_activity([turns], seconds=0.001)[0].sum(1).tolist() == [30, 9]
    fine = frame_activity([turns], seconds=0.001)[0]
    assert fine[0].nonzero().flatten().tolist() == [*range(4, 24), *range(45, 55)]


def test_speakers_stand_in_the_order_in_which_they_first_speak():
    calls = [[Turn("b", 0.2, 0.1), Turn("a", 0.0, 0.1)], [Turn("c", 0.0, 0.1)], []]
    got = frame_activity(calls, seconds=0.1)
    assert got.shape == (3, 2, 3)
    assert got[0].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert got[1].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert not got[2].any()
    named = frame_activity(calls, seconds=0.1, speakers=["a", "b", "c"], frames=2)
    assert named[0].tolist() == [[1, 0], [0, 0], [0, 0]]
    assert frame_activity(calls, seconds=0.1, speakers=4).shape == (3, 4, 3)
    assert torch.equal(frame_activity(calls, seconds=0.1, speakers=4)[:, :2], got)
    with pytest.raises(ValueError, match="speakers must be at least 2, as many as speak"):
        frame_activity(calls, speakers=1)
    with pytest.raises(ValueError, match="all of those who speak, 'c' too"):
        frame_activity(calls, speakers=["a", "b"])


def test_the_last_bit_of_a_time_makes_no_frame():
    assert frame_activity([[Turn("a", 0.1, 0.2)]], seconds=0.1).shape[-1] == 3  # 0.1 + 0.2 > 0.3
