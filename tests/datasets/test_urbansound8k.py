"""UrbanSound8K keeps its folds, and says what is wrong with an archive."""

import pytest
from archives import urban

from audiomix import datasets


def test_its_ten_folds_keep_the_slices_of_a_recording_together(tmp_path):
    data = datasets.get("urbansound8k")(urban(tmp_path))
    assert data.folds == tuple(str(i) for i in range(1, 11))
    assert data.class_names == ("car_horn", "jackhammer")
    assert (len(data), data.rate, data.seconds) == (40, 44100, 4.0)
    assert {item.path for item in data.items} == {str(path) for path in (tmp_path / "audio").rglob("*.wav")}
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert {data.items[i].id.split("/")[0] for i in test} == {f"fold{fold}"}
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}


def test_what_is_wrong_with_an_archive_is_named(tmp_path):
    table = urban(tmp_path) / "metadata" / "UrbanSound8K.csv"
    with pytest.raises(ValueError, match="one folder too high or too low"):
        datasets.get("urbansound8k")(tmp_path / "audio")
    text = table.read_text()
    table.write_text(text.replace(",7,jack", ",seven,jack"))
    with pytest.raises(ValueError, match="the column classID of .*UrbanSound8K.csv must be whole numbers, got 'seven'"):
        datasets.get("urbansound8k")(tmp_path)
    table.write_text(text.replace("fsID", "id"))
    with pytest.raises(ValueError, match="a table with the columns slice_file_name, .* got one without fsID"):
        datasets.get("urbansound8k")(tmp_path)
