"""Clotho's and AudioCaps' lists, read as sources and by name."""

import pytest
from made import write

from audiomix import datasets
from audiomix.datasets.source import read_source

HEAD = "file_name," + ",".join(f"caption_{i}" for i in range(1, 6))
META = "file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n"


def read(source, columns=None):
    notes = []
    items, _ = read_source(source, columns, no_labels=True, notes=notes)
    return items, notes


def clotho(folder, split="development", names=("A b.wav", "c.wav")):
    rows = [f'{name},"Rain falls, softly.",It rains.,Rain.,It rains.,I hear rain' for name in names]
    table = folder / f"clotho_captions_{split}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join([HEAD, *rows]) + "\n")
    return table


@pytest.mark.parametrize(
    "place", [".", "development", "clotho_audio_development", "../development", "../audio/development"]
)
def test_clotho_is_found_where_people_put_it(tmp_path, place):
    table = clotho(tmp_path / "csv")
    for name in ("A b.wav", "c.wav"):
        write(tmp_path / "csv" / place / name)
    items, notes = read(table)
    assert [item.id for item in items] == [f"{place}/{name}".removeprefix("./") for name in ("A b.wav", "c.wav")]
    assert all((tmp_path / "csv" / item.id).is_file() for item in items)
    assert items[0].captions == ("Rain falls, softly.", "It rains.", "Rain.", "I hear rain")  # one of five stands twice
    assert (items[0].caption, items[0].split, notes) == ("Rain falls, softly.", "development", [])


def test_a_folder_of_clotho_has_both_splits_each_with_its_own_files(tmp_path):
    for split in ("development", "evaluation"):
        clotho(tmp_path, split, ["same.wav"])
        write(tmp_path / split / "same.wav")
    items, _ = read(tmp_path)
    assert [(i.id, i.split) for i in items] == [(f"{s}/same.wav", s) for s in ("development", "evaluation")]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_clothos_metadata_gives_licence_attribution_and_tags(tmp_path, encoding):
    table = clotho(tmp_path)
    for name in ("A b.wav", "c.wav"):
        write(tmp_path / "development" / name)
    rows = 'A b.wav,rain;tin roof,12,https://freesound.org/s/12,"[1, 2]",José,http://creativecommons.org/licenses/by/3.0/\n'
    rows += "other.wav,x,1,y,z,q,r\n"
    meta = tmp_path / "clotho_metadata_development.csv"
    meta.write_bytes((META + rows).encode(encoding))
    (first, second), notes = read(table)
    assert first.licence == "http://creativecommons.org/licenses/by/3.0/"
    assert first.attribution == "A b by José (https://freesound.org/s/12)"
    assert first.tags == ("rain", "tin roof")
    assert (second.licence, second.attribution, second.tags) == (None, None, ())
    said = ["clotho_metadata_development.csv is not UTF-8: read as Latin-1"] * (encoding == "latin-1")
    missing = "1 clips of clotho_captions_development.csv have no row in the metadata beside it: no licence is known"
    assert notes == [*said, missing]
    meta.write_text(META + "A b.wav,,Not found,Not found,,Not found,\nc.wav,,,,,,\n")
    (first, _), notes = read(table)
    assert (first.licence, first.attribution, first.tags, notes) == (None, None, (), [])


def test_a_clip_of_clotho_that_is_not_there_stays_to_be_named_and_none_at_all_is_an_error(tmp_path):
    table = clotho(tmp_path)
    with pytest.raises(ValueError, match="beside or below its audio files.*got no audio files"):
        read(table)
    write(tmp_path / "development" / "other.wav")
    with pytest.raises(ValueError, match="a list of which none is there: another split's"):
        read(table)
    write(tmp_path / "development" / "c.wav")
    assert [item.id for item in read(table)[0]] == ["A b.wav", "development/c.wav"]


def test_captions_that_are_not_utf8_are_named(tmp_path):
    table = clotho(tmp_path)
    write(tmp_path / "c.wav")
    table.write_bytes(f"{HEAD}\nc.wav,Caf\xe9,b,c,d,e\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"development\.csv, line 2 must be text in UTF-8, got byte 0xe9"):
        read(table)


def audiocaps(folder, rows, name="val.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("audiocap_id,youtube_id,start_time,caption\n" + "".join(row + "\n" for row in rows))
    return folder / name


ROWS = ['1,-dog_A1bcde,30,"A dog, barking"', "2,-dog_A1bcde,30,A dog barks", "3,rainRAIN123,20,It rains"]


@pytest.mark.parametrize(
    "name",
    [
        "-dog_A1bcde.wav", "Y-dog_A1bcde.flac", "-dog_A1bcde_30.ogg", "-dog_A1bcde_30_40.wav", "1.wav",
        "Y-dog_A1bcde_30.000_40.000.wav", "-dog_A1bcde_30000_40000.WAV", "-dog_A1bcde_30.0_40.0.wav",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [".", "deep/val", "../val"])
def test_audiocaps_is_found_by_any_of_its_names_and_its_captions_are_merged(tmp_path, name, place):
    table = audiocaps(tmp_path / "lists", ROWS)
    write(tmp_path / "lists" / place / name, subtype=None)
    items, notes = read(table)
    assert len(items) == 1
    one = items[0]
    assert one.id == f"{place}/{name}".removeprefix("./")
    assert one.captions == ("A dog, barking", "A dog barks")
    assert (one.split, one.group) == ("val", "-dog_A1bcde")
    assert one.attribution == "https://www.youtube.com/watch?v=-dog_A1bcde"
    assert notes == [
        "1 of 2 clips of val.csv have no audio file and are left out, e.g. 'rainRAIN123' at 20 s",
        f"1 files are listed more than once and have their captions merged, e.g. {one.id!r}: 2 rows",
    ]


def test_a_file_of_audiocaps_is_one_clips_only_and_its_own_split_comes_first(tmp_path):
    rows = ["1,aaaaaaaaaaa,30,one", "2,aaaaaaaaaaa,90,two", "3,bbbbbbbbbbb,0,three", "4,bbbbbbbbbbb,50,four"]
    table = audiocaps(tmp_path, rows, "train.csv")
    for name in ("a/bbbbbbbbbbb_0.wav", "train/bbbbbbbbbbb_0.wav", "train/bbbbbbbbbbb_50.wav", "aaaaaaaaaaa.wav"):
        write(tmp_path / name)
    items, notes = read(table)
    assert [(item.id, item.caption) for item in items] == [
        ("aaaaaaaaaaa.wav", "one"),
        ("train/bbbbbbbbbbb_0.wav", "three"),
        ("train/bbbbbbbbbbb_50.wav", "four"),
    ]
    assert notes == ["1 of 4 clips of train.csv have no audio file and are left out, e.g. 'aaaaaaaaaaa' at 90 s"]


def test_audiocaps_without_any_of_its_files_is_an_error(tmp_path):
    table = audiocaps(tmp_path, ROWS)
    write(tmp_path / "other.wav")
    with pytest.raises(ValueError, match="a list of 2 clips of which none is there, first '-dog_A1bcde' at 30 s"):
        read(table)


def test_a_stray_return_in_a_caption_ends_no_row(tmp_path):
    table = audiocaps(tmp_path, ["1,aaaaaaaaaaa,30,first\rsecond", '2,bbbbbbbbbbb,30,"a,\rb"'])
    for name in ("aaaaaaaaaaa", "bbbbbbbbbbb"):
        write(tmp_path / f"{name}.wav")
    assert [item.caption for item in read(table)[0]] == ["first second", "a, b"]
    (tmp_path / "mac.csv").write_bytes(b"path,caption\rx.wav,one\ry.wav,two\r")
    assert [item.caption for item in read(tmp_path / "mac.csv")[0]] == ["one", "two"]


def test_both_are_data_sets_found_by_name(tmp_path):
    for split in ("development", "evaluation"):
        clotho(tmp_path / "clotho", split, [f"{split}.wav"])
        write(tmp_path / "clotho" / split / f"{split}.wav", seconds=0.25)
    table = audiocaps(tmp_path / "caps", ROWS)
    write(tmp_path / "caps" / "val" / "-dog_A1bcde.wav")
    for name, root, count in (
        ("clotho", tmp_path / "clotho", 2),
        ("audiocaps", table, 1),
        ("audiocaps", table.parent, 1),
    ):
        notes = []
        data = datasets.get(name)(root, notes)
        items, told = read(root)
        assert (data.name, data.class_names, data.labels) == (name, (), [-1] * count)
        assert (list(data.items), notes) == (items, told)
    assert (data.rate, data.seconds) == (16000, 0.5)
    for name, root, got in (
        ("clotho", None, "None"),
        ("clotho", table, "val.csv"),
        ("audiocaps", tmp_path / "x", "no such path"),
    ):
        with pytest.raises(
            ValueError, match=f"root must be a list of captions of {name}, or a folder with some, got .*{got}"
        ):
            datasets.get(name)(root)
