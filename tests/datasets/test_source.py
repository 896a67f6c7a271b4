"""Sources are recognised, and what is wrong with one is said before any work."""

import json

import pytest
from archives import esc, speech_commands, urban
from made import mix, write

from audiomix import datasets
from audiomix.datasets.source import find_extra_files, read_source, recognise


def test_every_layout_is_recognised_and_the_reason_is_told(tmp_path, folds):
    esc(tmp_path / "esc")
    speech_commands(tmp_path / "words", ["up"])
    urban(tmp_path / "urban")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "metadata.csv").write_text("file_name,label\n")
    (tmp_path / "clotho" / "csv").mkdir(parents=True)
    (tmp_path / "clotho" / "csv" / "clotho_captions_dev.csv").write_text("file_name,caption_1\n")
    seen = {
        path.name: recognise(path)
        for path in [folds, *(tmp_path / n for n in ("esc", "words", "urban", "own", "clotho"))]
    }
    assert {name: (layout.name, layout.reason) for name, layout in seen.items()} == {
        "list.jsonl": ("table", "a .jsonl file"),
        "esc": ("esc", "it has audio/ and meta/esc50.csv"),
        "words": ("speech_commands", "it has validation_list.txt and testing_list.txt"),
        "urban": ("urbansound8k", "it has audio/ and metadata/UrbanSound8K.csv"),
        "own": ("audiofolder", "it has metadata.csv"),
        "clotho": ("captions", "csv/clotho_captions_dev.csv lists captions"),
    }
    assert seen["list.jsonl"].tables == (folds,)
    with pytest.raises(ValueError, match=r"source must be a folder or a manifest \(.csv .tsv"):
        recognise(write(tmp_path / "x.wav"))


def test_an_archive_is_known_from_its_audio_folder_and_from_a_folder_around_it(tmp_path):
    for make in (esc, urban):
        root = make(tmp_path / make.__name__ / "archive")
        items = [(i.path, i.label, i.fold, i.group) for i in read_source(root)[0]]
        for source in (root.parent, root / "audio"):
            for found, notes in ((read_source(source, notes=(said := []))[0], said), training(source)):
                assert sorted((i.path, i.label, i.fold, i.group) for i in found) == sorted(items)
                assert notes[0].startswith(f"the archive in {root} is read: it has audio/ and meta")


def training(source):
    notes = []
    return datasets.get("folder")(source, notes).items, notes


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
    with pytest.raises(ValueError, match=r"source must be a path in UTF-8, got .*\\xff"):
        read_source(tmp_path / "\udcff")
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
    assert len(find_extra_files(classes, read_source(classes)[0])) == 12


def test_sources_without_metadata_list_all_they_have(classes, folds):
    assert find_extra_files(classes, []) == ()
    assert find_extra_files(folds, []) == ()  # a manifest says what is meant, its folder does not


def test_labels_that_are_not_needed_are_kept_where_there_are_some(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,caption\nx.wav,a,\ny.wav,,a bell\n")
    items, names = read_source(tmp_path / "list.csv", need_labels=False)
    assert ([i.label for i in items], names) == (["a", None], ["a"])
    assert [i.captions for i in items] == [(), ("a bell",)]
    with pytest.raises(ValueError, match="1 of 2 files without a label"):
        read_source(tmp_path / "list.csv")
