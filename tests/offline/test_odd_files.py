"""Single files that once took the whole run with them."""

import pytest
import soundfile
from made import errors_of, mix, rows_of, write

from audiomix.audio import io


@pytest.mark.parametrize("split", ["train", "a/b", ".hidden", "long" * 50])
def test_a_file_named_like_its_split(tmp_path, split):
    names = [f"{split.split('/')[0]}.wav"] if len(split) < 200 else []
    names += ["x.wav", "y.wav"]
    for i, name in enumerate(names):
        write(tmp_path / name, seed=i)
    (tmp_path / "list.csv").write_text("path,label,split\n" + "".join(f"{name},a,{split}\n" for name in names))
    report = mix(tmp_path / "list.csv", tmp_path / "out")
    assert (report.files, report.exit_code) == (len(names), 0)
    rows = rows_of(tmp_path / "out")
    assert len({row["root"] for row in rows}) == 1  # one table, in the split's folder
    assert rows[0]["root"].parent == tmp_path / "out"
    assert all(soundfile.info(row["path"]).frames == 8000 for row in rows)
    assert {row["sources"][0]["id"] for row in rows} == set(names)


def test_a_file_in_the_root_beside_split_folders(tmp_path):
    for i, name in enumerate(["train/a/1.wav", "train/a/2.wav", "train/train.wav", "test/a/1.wav", "test/a/2.wav"]):
        write(tmp_path / "in" / name, seed=i)
    assert mix(tmp_path / "in", tmp_path / "out", no_labels=True).files == 5
    assert (tmp_path / "out" / "train" / "train-0.flac").is_file()


@pytest.fixture
def one_bad(tmp_path):
    """Twelve files, one of them at another rate."""
    for i in range(11):
        write(tmp_path / "in" / "a" / f"{i:02d}.wav", seed=i, seconds=0.1)
    write(tmp_path / "in" / "a" / "bad.wav", seed=99, seconds=0.1, rate=44100)
    return tmp_path / "in"


TORCH = "[enforce fail at alloc_cpu.cpp:115] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 TiB"), MemoryError(), RuntimeError(TORCH)])
@pytest.mark.parametrize("where", ["read", "resample"])
def test_too_little_memory_for_one_file_is_its_own_failure(one_bad, tmp_path, monkeypatch, where, error):
    real = getattr(io, where)
    hit = []

    def absurd(what, *args, **more):
        if (what.rate == 44100) if where == "resample" else what.endswith("bad.wav"):
            hit.append(what)
            raise error
        return real(what, *args, **more)

    monkeypatch.setattr(io, where, absurd)
    report = mix(one_bad, tmp_path / "out", copies=4)
    assert len(hit) > (4 if where == "read" else 0)  # as a partner too
    if where == "read":
        assert [(e["file"], e["copies"]) for e in report.errors] == [("a/bad.wav", [0, 1, 2, 3])]
        assert "too little memory" in errors_of(tmp_path / "out")[0]["reason"]
    else:  # as an original it needs no resampling
        assert report.exit_code == 0
    partners = [row["sources"][1]["id"] for row in rows_of(tmp_path / "out")]
    assert len(partners) == report.files == (44 if where == "read" else 48)
    assert "a/bad.wav" not in partners


def test_too_little_memory_to_mix_is_listed_and_other_errors_are_not_hidden(one_bad, tmp_path, monkeypatch):
    from audiomix.offline import render

    fit_pair = render.fit_pair

    def absurd(own, *args, **more):
        if own[0].rate == 44100:
            raise error
        return fit_pair(own, *args, **more)

    monkeypatch.setattr(render, "fit_pair", absurd)
    error = MemoryError("no")
    report = mix(one_bad, tmp_path / "out")
    assert [(e["file"], e["reason"]) for e in report.errors] == [
        ("a/bad.wav", "too little memory to mix and write it (no)")
    ]
    assert report.files == 11
    error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        mix(one_bad, tmp_path / "other")
