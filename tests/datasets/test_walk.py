"""One walker for both packages: which files a folder has, and what is left out with its reason."""

import os
import socket

import pytest
from made import write

from audiomix import datasets
from audiomix.datasets.source import read_source
from audiomix.datasets.walk import list_files


def walked(root, **options):
    """What is listed, and what is skipped."""
    skipped = []
    return list(list_files(root, skipped=skipped, **options)), skipped


def test_files_come_before_the_files_of_folders_and_hidden_ones_are_left_out(tmp_path):
    for name in ("z.WAV", "b.wav", "a/2.flac", "a/1.wav", "a/deep/3.ogg", "c/x.txt", "a/._1.wav", ".store/9.wav",
                 "__MACOSX/a/1.wav", "@eaDir/b.wav"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = ["b.wav", "z.WAV", "a/1.wav", "a/2.flac", "a/deep/3.ogg"]
    assert walked(tmp_path) == (found, [])
    assert walked(tmp_path, recurse=False) == (found[:2], [])
    assert walked(str(tmp_path), audio_only=False) == ([*found, "c/x.txt"], [])


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path / "elsewhere" / "x.wav")
    write(tmp_path / "set" / "cat" / "y.wav")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "cat" / "link.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    (tmp_path / "all").symlink_to(tmp_path / "set")
    for root in (tmp_path / "set", tmp_path / "all"):
        assert walked(root) == (["cat/link.wav", "cat/y.wav", "dog/x.wav"], [])


def test_a_real_folder_is_preferred_to_a_link_to_it(tmp_path):
    write(tmp_path / "set" / "real" / "x.wav")
    write(tmp_path / "set" / "other" / "deep" / "y.wav")
    write(tmp_path / "set" / ".store" / "z.wav")
    (tmp_path / "set" / "alias").symlink_to("real")
    (tmp_path / "set" / "a").symlink_to("other/deep")
    (tmp_path / "set" / "stored").symlink_to(".store")  # the only way there
    assert walked(tmp_path / "set") == (["other/deep/y.wav", "real/x.wav", "stored/z.wav"], [])


def test_of_several_links_to_a_folder_the_least_deep_counts(tmp_path):
    for name in ("a/1.wav", "b/2.wav", "c/3.wav"):
        write(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    for name in "ab":  # by way of a/up, b would be met before the link to it
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert walked(tmp_path / "set") == (["a/1.wav", "a/up/c/3.wav", "b/2.wav"], [])


def test_what_can_be_no_sound_is_skipped_with_the_reason(tmp_path):
    write(tmp_path / "a" / "1.wav")
    write(tmp_path / "b.wav" / "inside.wav")  # a folder like any other
    (tmp_path / "empty.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")  # reading it says so
    os.mkfifo(tmp_path / "a" / "pipe.wav")
    os.mkfifo(tmp_path / "a" / "pipe")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "s.wav"))
    (tmp_path / "null.wav").symlink_to("/dev/null")
    for name in (b"\xff.wav", b"caf\xe9"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(path) if name.endswith(b"\xe9") else open(path, "wb").close()
    open(os.path.join(os.fsencode(tmp_path), b"\xff.txt"), "wb").close()
    assert walked(tmp_path) == walked(tmp_path, audio_only=False)
    found, skipped = walked(tmp_path)
    assert found == ["empty.wav", "gone.wav", "a/1.wav", "b.wav/inside.wav"]
    assert dict(skipped) == {
        "a/pipe.wav": "is a named pipe, not a file",
        "s.wav": "is a socket, not a file",
        "null.wav": "is a device, not a file",
        "loop.wav": "is a link that leads to itself, not a file",
        "\\xff.wav": "its name is not UTF-8: rename it",
        "caf\\xe9": "its name is not UTF-8: rename it",
    }


@pytest.mark.parametrize("name", ["", "b"])
def test_a_folder_that_cannot_be_read_is_refused_or_listed(tmp_path, monkeypatch, name):
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
    for read in (read_source, datasets.get("folder"), walked):
        with pytest.raises(ValueError, match=rf"folders that can be read, got '.*{name}' \(permission denied\)"):
            read(tmp_path)
    if name:
        assert walked(tmp_path, refuse=False) == (["a/1.wav"], [("b/", "permission denied")])
