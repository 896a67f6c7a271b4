"""One walker, two rules: which files a folder has."""

import os

import pytest
from made import write

from audiomix.datasets.source import read_source
from audiomix.datasets.walk import OFFLINE, TRAINING, list_files


def both(root):
    return list(list_files(root)), list(list_files(root, TRAINING))


def test_files_come_before_the_files_of_folders_and_hidden_ones_are_left_out(tmp_path):
    for name in ("z.WAV", "b.wav", "a/2.flac", "a/1.wav", "a/deep/3.ogg", "c/x.txt", "a/._1.wav", ".store/9.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = ["b.wav", "z.WAV", "a/1.wav", "a/2.flac", "a/deep/3.ogg"]
    assert both(tmp_path) == (found, found)
    assert list(list_files(tmp_path, recurse=False)) == found[:2]
    assert list(list_files(str(tmp_path), TRAINING, audio_only=False)) == [*found, "c/x.txt"]


def test_links_to_folders_are_followed_once_offline_and_not_in_training(tmp_path):
    write(tmp_path / "elsewhere" / "x.wav")
    write(tmp_path / "set" / "cat" / "y.wav")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "cat" / "link.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    (tmp_path / "all").symlink_to(tmp_path / "set")
    for root in (tmp_path / "set", tmp_path / "all"):
        assert both(root) == (["cat/link.wav", "cat/y.wav", "dog/x.wav"], ["cat/link.wav", "cat/y.wav"])


def test_a_real_folder_is_preferred_to_a_link_to_it(tmp_path):
    write(tmp_path / "set" / "real" / "x.wav")
    write(tmp_path / "set" / "other" / "deep" / "y.wav")
    write(tmp_path / "set" / ".store" / "z.wav")
    (tmp_path / "set" / "alias").symlink_to("real")
    (tmp_path / "set" / "a").symlink_to("other/deep")
    (tmp_path / "set" / "stored").symlink_to(".store")  # the only way there
    assert list(list_files(tmp_path / "set")) == ["other/deep/y.wav", "real/x.wav", "stored/z.wav"]


def test_a_folder_named_like_a_sound_is_listed_offline_and_entered_in_training(tmp_path):
    write(tmp_path / "a" / "x.wav" / "inside.wav")
    assert both(tmp_path) == (["a/x.wav"], ["a/x.wav/inside.wav"])


@pytest.mark.parametrize("name", ["", "b"])
def test_a_folder_that_cannot_be_read_is_refused_offline_and_left_out_in_training(tmp_path, monkeypatch, name):
    for path in ("a/1.wav", "b/1.wav"):
        write(tmp_path / path)

    def refusing(real):
        def read(path="."):
            if os.path.realpath(path) == os.path.realpath(tmp_path / name):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return read

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    for read in (read_source, lambda root: list(list_files(root, OFFLINE))):
        with pytest.raises(ValueError, match=rf"folders that can be read, got '.*{name}' \(permission denied\)"):
            read(tmp_path)
    assert list(list_files(tmp_path, TRAINING)) == ([] if name == "" else ["a/1.wav"])
