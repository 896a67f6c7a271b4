"""Paths in manifests: the exact name first, then other spellings of it, each noted."""

import os
import unicodedata

import pytest
from made import write

from audiomix import datasets
from audiomix.datasets.source import read_source

NFC, NFD = (unicodedata.normalize(form, "Vögel") for form in ("NFC", "NFD"))
# what lies on the disk, what the manifest says, what is found, and what is noted
PATHS = [
    ("a.wav", "a.wav", "a.wav", ""),
    ("a.wav", "./x/../a.wav", "a.wav", ""),
    ("a.wav", " a.wav ", "a.wav", "without the spaces around them"),
    (" a.wav", " a.wav", " a.wav", ""),
    (f"{NFD}.wav", f"{NFC}.wav", f"{NFD}.wav", "another spelling of Unicode"),
    (f"{NFC}.wav", f"{NFD}.wav", f"{NFC}.wav", "another spelling of Unicode"),
    (f"{NFD}/{NFC}.wav", f"{NFC}/{NFD}.wav", f"{NFD}/{NFC}.wav", "another spelling of Unicode"),
    ("a/b.wav", "a\\b.wav", "a/b.wav", "\\ read as /"),
    ("a\\b.wav", "a\\b.wav", "a\\b.wav", ""),
    (f"{NFD}/b.wav", f".\\{NFC}\\b.wav", f"{NFD}/b.wav", "\\ read as / in another spelling of Unicode"),
    ("a.wav", "A.wav", "A.wav", "none of the 1 files of l.csv is there"),
    ("a.wav", "a" * 5000, "a" * 5000, "none of the 1 files of l.csv is there"),
    ("x\ny.wav", '"x\ny.wav"', "x\ny.wav", ""),
]


@pytest.mark.parametrize(("there", "named", "found", "note"), PATHS)
def test_a_file_is_found_by_the_first_spelling_that_is_there(tmp_path, there, named, found, note):
    write(tmp_path / there)
    (tmp_path / "l.csv").write_text(f"path,label\n{named},a\n", "utf-8")
    notes = []
    (item,) = read_source(tmp_path / "l.csv", notes=notes)[0]
    assert (item.id, item.line) == (found.replace(os.sep, "/"), 2)
    assert len(notes) == bool(note)
    assert note in "".join(notes)


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "x.wav")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "l.csv").write_text("path,label\n~/x.wav,a\n")
    assert read_source(tmp_path / "lists" / "l.csv")[0][0].path == str(tmp_path / "x.wav")


def test_both_names_that_are_there_are_two_files(tmp_path):
    for name in (NFC, NFD, "a", " a"):
        write(tmp_path / f"{name}.wav")
    (tmp_path / "l.csv").write_text(f"path,label\n{NFC}.wav,a\n{NFD}.wav,b\na.wav,a\n a.wav,b\n", "utf-8")
    notes = []
    items = read_source(tmp_path / "l.csv", notes=notes)[0]
    assert ([item.id for item in items], notes) == ([f"{name}.wav" for name in (NFC, NFD, "a", " a")], [])


def test_paths_are_relative_to_the_manifest_and_then_to_another_folder(tmp_path):
    write(tmp_path / "lists" / "a.wav")
    for name in ("a.wav", "deep/b.wav"):
        write(tmp_path / "sounds" / name)
    table = tmp_path / "lists" / "l.csv"
    table.write_text("path,label\na.wav,x\ndeep\\b.wav,y\n")
    notes = []
    items = read_source(table, audio_root=tmp_path / "sounds", notes=notes)[0]
    assert [os.path.normpath(item.path) for item in items] == [
        str(tmp_path / "lists/a.wav"),
        str(tmp_path / "sounds/deep/b.wav"),
    ]
    assert notes[0] == f"1 paths of l.csv are relative to {tmp_path / 'sounds'}, e.g. 'deep\\\\b.wav'"
    data = datasets.get(f"manifest:audio_root={tmp_path / 'sounds'}")(table)
    assert [item.id for item in data.items] == sorted(item.id for item in items)
    with pytest.raises(ValueError, match="audio_root must be a folder"):
        read_source(table, audio_root=tmp_path / "none")
    with pytest.raises(ValueError, match=r"audio_root \(--audio-root\) must be left out"):
        read_source(tmp_path / "sounds", audio_root=tmp_path)


def test_a_pipe_that_a_row_names_is_skipped_with_the_row(tmp_path):
    write(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "p.wav")
    (tmp_path / "l.csv").write_text("path,label\na.wav,x\np.wav,x\n")
    skipped, notes = [], []
    assert [item.id for item in read_source(tmp_path / "l.csv", skipped=skipped)[0]] == ["a.wav"]
    assert skipped == [("p.wav", f"is a named pipe, not a file ({tmp_path / 'l.csv'}, line 3)")]
    read_source(tmp_path / "l.csv", notes=notes)
    assert notes == [f"left out: p.wav is a named pipe, not a file ({tmp_path / 'l.csv'}, line 3)"]
