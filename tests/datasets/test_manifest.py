"""Sources are recognised, and what is wrong with one is said before any work."""

import json
import os

import pytest
from made import mix, write

from audiomix.datasets.source import read_source, unlisted


def test_class_folders(classes):
    items, names = read_source(classes)
    assert names == ["a", "b", "c"]
    assert [(i.id, i.label) for i in items[:7:6]] == [("a/00.wav", "a"), ("b/01.wav", "b")]
    assert all(i.split is None for i in items)


def test_split_folders_over_class_folders(tmp_path):
    for name in ("train/dog/1.wav", "test/dog/1.wav", "test/cat/deep/2.flac"):
        write(tmp_path / name)
    items, names = read_source(tmp_path)
    assert names == ["cat", "dog"]
    assert {i.id: (i.split, i.label) for i in items} == {
        "train/dog/1.wav": ("train", "dog"),
        "test/dog/1.wav": ("test", "dog"),
        "test/cat/deep/2.flac": ("test", "cat"),
    }


def test_hidden_files_are_left_out_and_links_are_followed_once(tmp_path):
    write(tmp_path / "real" / "x.wav")
    write(tmp_path / "set" / "cat" / "y.wav")
    write(tmp_path / "set" / "cat" / "._y.wav")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "real")
    (tmp_path / "set" / "cat" / "loop").symlink_to(tmp_path / "set")
    items, _ = read_source(tmp_path / "set")
    assert [i.id for i in items] == ["cat/y.wav", "dog/x.wav"]


def test_esc10(esc10):
    items, names = read_source(esc10)
    assert (len(items), len(names)) == (400, 10)
    assert {i.fold for i in items} == set("12345")
    first = next(i for i in items if i.id == "audio/1-100032-A-0.ogg")
    assert (first.label, first.group, first.licence) == ("dog", "100032", "CC0")
    assert "nfrae" in first.attribution


def test_an_archive_whose_table_says_wav_finds_ogg(tmp_path):
    write(tmp_path / "audio" / "1-7-A-0.ogg", subtype="VORBIS")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,target,category,src_file\n1-7-A-0.wav,1,0,dog,7\n")
    items, _ = read_source(tmp_path)
    assert [(i.id, i.fold, i.group) for i in items] == [("audio/1-7-A-0.ogg", "1", "7")]


def test_speech_commands_keep_their_official_split(speech):
    items, names = read_source(speech)
    counts = {split: sum(i.split == split for i in items) for split in ("train", "validation", "test")}
    assert counts == {"train": 2489, "validation": 300, "test": 1989}
    assert names == ["down", "go", "left", "right", "up"]
    assert next(i for i in items if i.id == "down/022cd682_nohash_0.wav").group == "022cd682"


def test_manifests_give_all_columns(folds):
    items, names = read_source(folds)
    assert names == list("abcd")
    one = items[1]
    assert (one.id, one.label, one.split, one.fold) == ("wavs/1.wav", "b", "test", "0")
    assert (one.group, one.licence, one.attribution, one.caption) == ("g0", "CC-BY", "author 1", "sound number 1")


def test_columns_can_be_named_and_hold_several_labels(tmp_path):
    (tmp_path / "list.csv").write_text('wav,tags,cv\nx.wav,"dog,rain",1\ny.wav,rain,2\n')
    columns = {"path": "wav", "label": "tags", "fold": "cv"}
    items, names = read_source(tmp_path / "list.csv", columns, label_separator=",")
    assert names == ["dog", "rain"]
    assert [i.label for i in items] == [{"dog": 1.0, "rain": 1.0}, {"rain": 1.0}]
    with pytest.raises(ValueError, match=r"columns\['label'\].*wav, tags, cv.*'species'"):
        read_source(tmp_path / "list.csv", {"path": "wav", "label": "species"})
    with pytest.raises(ValueError, match="did you mean 'label'"):
        read_source(tmp_path / "list.csv", {"labell": "tags"})


def test_audiofolders_with_and_without_splits(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        row = {"file_name": "a/x.wav", "label": {"cat": 0.5, "dog": 0.5}}
        (tmp_path / folder / "metadata.jsonl").write_text(json.dumps(row))
    items, names = read_source(tmp_path)
    assert names == ["cat", "dog"]
    assert sorted((i.id, i.split) for i in items) == [("test/a/x.wav", "test"), ("train/a/x.wav", "train")]
    (tmp_path / "metadata.csv").write_text("file_name,label\nq.wav,cat\n")
    assert [i.id for i in read_source(tmp_path)[0]] == ["q.wav"]


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ValueError, match="there is no such path"):
        read_source(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no audio files were found"):
        read_source(tmp_path)
    (tmp_path / "list.csv").write_text("path\nx.wav\n")
    with pytest.raises(ValueError, match=r"1 of 1 files without a label.*--label-column.*--no-labels"):
        read_source(tmp_path / "list.csv")
    assert read_source(tmp_path / "list.csv", no_labels=True)[1] == []
    (tmp_path / "list.csv").write_text("path,label\nx.wav,a\n./x.wav,b\n")
    with pytest.raises(ValueError, match=r"'x\.wav' twice"):
        read_source(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("sound,label\nx.wav,a\n")
    with pytest.raises(ValueError, match=r"path \| file_name"):
        read_source(tmp_path / "list.csv")
    (tmp_path / "list.jsonl").write_text('{"path": "x.wav", "label": "a"}\n{oops\n')
    with pytest.raises(ValueError, match=r"line 2.*one JSON object a line"):
        read_source(tmp_path / "list.jsonl")


def test_columns_of_a_folder_are_refused(classes):
    with pytest.raises(ValueError, match="a folder has no columns"):
        read_source(classes, {"label": "x"})


def test_a_stray_metadata_file_hides_nothing(classes, tmp_path):
    (classes / "a" / "metadata.csv").write_text("file_name,label\n00.wav,a\n")
    with pytest.raises(ValueError, match=r"metadata.*in 'a' and none in 'b', 'c': a stray file\?"):
        read_source(classes)
    (classes / ".old").mkdir()
    (classes / "a" / "metadata.csv").rename(classes / ".old" / "metadata.csv")
    assert len(read_source(classes)[0]) == 18


def test_files_that_no_row_lists_are_counted(classes, tmp_path, capsys):
    (classes / "metadata.csv").write_text("file_name,label\n" + "".join(f"a/{i:02d}.wav,a\n" for i in range(0, 18, 3)))
    report = mix(classes, tmp_path / "out")
    assert (report.files, len(report.unlisted), report.unlisted[0]) == (6, 12, "b/01.wav")
    assert report.notes == ("12 audio files that no row of the metadata lists are left out, e.g. 'b/01.wav'",)
    dry = mix(classes, tmp_path / "dry", dry_run=True)
    assert report.notes[0] in dry.text
    assert report.notes[0] in capsys.readouterr().out
    (classes / "link").symlink_to(classes / "a")  # one file, two names: it is listed
    (classes / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"link/{i:02d}.wav,a\n" for i in range(0, 18, 3))
    )
    assert len(unlisted(classes, read_source(classes)[0])) == 12


def test_sources_without_metadata_list_all_they_have(classes, folds):
    assert unlisted(classes, []) == ()
    assert unlisted(folds, []) == ()  # a manifest says what is meant, its folder does not


def test_a_real_folder_is_preferred_to_a_link_to_it(tmp_path):
    write(tmp_path / "set" / "real" / "x.wav")
    write(tmp_path / "set" / "other" / "deep" / "y.wav")
    write(tmp_path / "set" / ".store" / "z.wav")
    (tmp_path / "set" / "alias").symlink_to("real")
    (tmp_path / "set" / "a").symlink_to("other/deep")
    (tmp_path / "set" / "stored").symlink_to(".store")  # the only way there
    items, names = read_source(tmp_path / "set")
    assert [i.id for i in items] == ["other/deep/y.wav", "real/x.wav", "stored/z.wav"]
    assert names == ["other", "real", "stored"]
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert len(read_source(tmp_path / "link")[0]) == 3


@pytest.mark.parametrize("name", ["", "b"])
def test_a_folder_that_cannot_be_read_is_named(classes, monkeypatch, name):
    def refusing(real):
        def read(path="."):
            if os.path.realpath(path) == os.path.realpath(classes / name):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return read

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    with pytest.raises(ValueError, match=rf"folders that can be read, got '.*{name}' \(permission denied\)"):
        read_source(classes)


def test_labels_that_are_not_needed_are_kept_where_there_are_some(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,caption\nx.wav,a,\ny.wav,,a bell\n")
    items, names = read_source(tmp_path / "list.csv", need_labels=False)
    assert ([i.label for i in items], names) == (["a", None], ["a"])
    assert [i.captions for i in items] == [(), ("a bell",)]
    with pytest.raises(ValueError, match="1 of 2 files without a label"):
        read_source(tmp_path / "list.csv")
