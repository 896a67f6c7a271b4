"""Resume: what was made of sources that have changed since is refused or made anew, and what was damaged is mended."""

import json
import os
import shutil
import threading

import pytest
from made import mix, rows_of, tree, write

from audiomix.offline import journal as journal_file
from audiomix.offline.journal import Journal, RunStopped, find_row

real_mix = journal_file._mix


def louder(path):
    write(path, seed=50, peak=0.5)  # as many bytes


def longer(path):
    write(path, seed=50, seconds=0.7)


def under_its_old_time(path):
    state = path.stat()
    write(path, seed=50)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", [louder, longer, under_its_old_time])
@pytest.mark.parametrize("stems", [False, True])
def test_changed_sources_are_refused_by_name_or_their_mixes_made_anew(classes, tmp_path, change, stems):
    out, options = tmp_path / "out", {"copies": 2, "stems": stems}
    mix(classes, out, **options)
    first, before = tree(out), {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
    (out / "b" / "01-1.flac").unlink()  # a run that was stopped
    change(classes / "a" / "03.wav")
    with pytest.raises(ValueError, match=r"source must be .* 'a/03\.wav', changed since .*--refresh"):
        mix(classes, out, **options)
    mix(classes, out, refresh=True, **options)
    mix(classes, tmp_path / "new", **options)
    assert tree(out) == tree(tmp_path / "new") != first
    touched = [row["path"] for row in rows_of(out) if "a/03.wav" in (s["id"] for s in row["sources"])]
    assert any(row["sources"][1]["id"] == "a/03.wav" for row in rows_of(out))  # as a partner too
    anew = {p for p, then in before.items() if p.exists() and p.stat().st_mtime_ns != then}
    assert {p for p in anew if ".stem" not in p.name} == {*touched, out / "b" / "01-1.flac"}
    mix(classes, out, **options)  # and now it is a run of these sources


def test_a_source_with_other_files_is_refused_or_all_its_mixes_made_anew(classes, tmp_path):
    out, noise = tmp_path / "out", shutil.copytree(classes, tmp_path / "noise")
    options = {"partners": noise, "stems": True}
    mix(classes, out, **options)
    one = classes / "a" / "03.wav"
    for named, change in (
        (True, lambda: one.rename(one.with_name("renamed.wav"))),
        (False, lambda: shutil.copyfile(classes / "b" / "01.wav", classes / "b" / "added.wav")),
        (False, lambda: shutil.copyfile(classes / "b" / "01.wav", noise / "b" / "added.wav")),
        (True, lambda: (classes / "c" / "02.wav").unlink()),
        (True, lambda: [path.unlink() for path in sorted((noise / "a").iterdir())]),
    ):
        change()
        with pytest.raises(ValueError, match=r"--refresh.*without its files '" if named else "--refresh"):
            mix(classes, out, **options)
        mix(classes, out, refresh=True, **options)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        mix(classes, tmp_path / "new", **options)
        assert tree(out) == tree(tmp_path / "new")
    with pytest.raises(ValueError, match="seed"):
        mix(classes, out, refresh=True, seed=5, **options)
    assert tree(out) == tree(tmp_path / "new")


def test_damaged_lines_of_a_journal_are_as_none(classes, tmp_path):
    out = mix(classes, tmp_path / "out").path
    whole, journal = tree(out), out / ".audiomix" / "journal.jsonl"
    outside = tmp_path / "outside.flac"
    outside.write_bytes(b"")
    settings, *lines = journal.read_text().splitlines()
    row = {"file_name": "../outside.flac", "stems": [], "seconds": 1}
    strange = [{"index": 999, "files": {}, "row": row}, {"index": -1, "files": {}, "row": row}, {"index": 0, "row": {}},
               {"index": "a", "row": 3}, {"index": 0, "files": 5, "row": row}, {"index": 0, "row": row}, [], None, 3,
               {"index": 0, "files": {"../outside.flac": [1]}, "row": row}]  # fmt: skip
    journal.write_text("\n".join([settings, *map(json.dumps, strange[:5]), *lines, *map(json.dumps, strange[5:]), ""]))
    mix(classes, out)
    assert tree(out) == whole
    (classes / "a" / "03.wav").rename(classes / "a" / "new.wav")
    mix(classes, out, refresh=True)
    assert outside.exists()  # what a journal names outside of its folder is left alone
    for first in ("null", "[]", '{"settings": 3}', "{}"):
        journal.write_text("\n".join([first, *lines, ""]))
        with pytest.raises(ValueError, match="another run"):
            mix(classes, out)


def test_sources_that_are_only_touched_or_copied_are_the_same(classes, tmp_path):
    mix(classes, tmp_path / "out")
    whole = tree(tmp_path / "out")
    for path in classes.rglob("*.wav"):
        os.utime(path)
    shutil.copytree(classes, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "out", tmp_path / "moved", copy_function=shutil.copyfile)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "moved").rglob("*.flac")}
    for source in (classes, tmp_path / "copy"):
        mix(source, tmp_path / "out")
        mix(source, tmp_path / "moved")
    assert tree(tmp_path / "out") == tree(tmp_path / "moved") == whole
    assert all(p.stat().st_mtime_ns == then for p, then in before.items())


def test_a_partner_that_could_not_be_read_and_now_can_is_taken_where_it_is_asked_for(classes, tmp_path):
    out, bad = tmp_path / "out", classes / "a" / "03.wav"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:100])
    mix(classes, out)
    bad.write_bytes(whole)
    kept = {row["file_name"]: row["path"].read_bytes() for row in rows_of(out)}
    mix(classes, out)  # what is done stays as its rows say, and the file that failed is made
    assert {row["file_name"]: row["path"].read_bytes() for row in rows_of(out)}.items() > kept.items()
    mix(classes, out, refresh=True)
    assert tree(out) == tree(mix(classes, tmp_path / "new").path) != kept


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_damaged_results_are_made_anew_stems_as_well_as_mixes(classes, tmp_path, kind):
    out = mix(classes, tmp_path / "out", stems=True, format=kind).path
    whole = tree(out)
    for name in ("a/00-0", "b/01-0.stem0", "c/02-0.stem1"):
        path = out / f"{name}.{kind}"
        path.write_bytes(path.read_bytes()[:-9] + b"not sound")  # as many bytes
    (out / f"a/03-0.stem1.{kind}").unlink()
    mix(classes, out, stems=True, format=kind)
    assert tree(out) == whole


def as_before(journal):
    """Rewrite a journal as the version before fingerprints had it."""
    head, *lines = map(json.loads, journal.read_text().splitlines())
    old = [{"index": e["index"], "bytes": size(journal, e), "row": e["row"]} for e in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in [head, *old]))


def size(journal, entry):
    return (journal.parent.parent / entry["row"]["file_name"]).stat().st_size


def test_journals_of_an_earlier_version_go_on_and_it_is_said(classes, tmp_path):
    out = mix(classes, tmp_path / "out").path
    whole = tree(out)
    as_before(out / ".audiomix" / "journal.jsonl")
    (out / "a" / "00-0.flac").unlink()
    (out / "b" / "01-0.flac").write_bytes(b"cut")
    report = mix(classes, out)
    assert tree(out) == whole
    assert "16 mixes are of an earlier version" in " ".join(report.notes)


def test_of_many_first_starts_in_one_folder_one_wins(tmp_path):
    for trial in range(40):
        barrier, done, results = threading.Barrier(4), threading.Event(), []

        def start(out=tmp_path / str(trial), barrier=barrier, done=done, results=results):
            barrier.wait()
            try:
                with Journal(out, {"seed": 0}, 1):
                    results.append("won")
                    done.wait()
            except RunStopped as error:
                results.append("another process is at work" in str(error))

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(results) < 4:
            done.wait(0.001)
        done.set()
        for thread in threads:
            thread.join()
        assert sorted(map(str, results)) == ["True", "True", "True", "won"]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_index_tells_of_the_journal_so_that_it_need_not_be_read(classes, tmp_path, monkeypatch):
    out = mix(classes, tmp_path / "out", copies=3).path
    whole, folder = tree(out), out / ".audiomix"
    journal, index = folder / "journal.jsonl", folder / "index.jsonl"
    (head, *entries), known = lines_of(journal), lines_of(index)
    assert [{k: v for k, v in entry.items() if k != "row"} for entry in entries] == [
        {k: v for k, v in entry.items() if k not in ("at", "length", "seconds")} for entry in known
    ]
    for entry, line in zip(known, journal.read_bytes().splitlines(keepends=True)[1:]):
        assert journal.read_bytes()[entry["at"] :].startswith(line)
        assert len(line) == entry["length"]
    for row in rows_of(out)[:3]:
        for name in (row["file_name"], row["file_name"].removesuffix(".flac")):
            assert find_row(out, name)["plan"] == row["plan"]
    assert find_row(out, "nobody.flac") is None
    text = journal.read_bytes()
    with open(journal, "ab") as file:
        file.write(b'{"index": 3, "fi')  # cut off by a kill
    with open(index, "ab") as file:
        file.write(b'{"at": 3')
    (out / "a" / "00-0.flac").unlink()
    parsed = []
    monkeypatch.setattr(journal_file, "_mix", lambda *line: parsed.append(0) or real_mix(*line))
    monkeypatch.setattr(journal_file, "_COMPARED", 3)
    for start in range(3):  # what came behind the cut is in the index too
        parsed.clear()
        with Journal(out, head["settings"], len(known)) as opened:
            assert len(parsed) <= 6
            assert len(opened) == len(known) - (start == 0)
        mix(classes, out, copies=3)
        assert tree(out) == whole
    monkeypatch.undo()
    journal.write_bytes(b"".join(text.splitlines(keepends=True)[:9]))  # an index of more lines is not believed
    mix(classes, out, copies=3)
    assert tree(out) == whole
    index.unlink()
    mix(classes, out, copies=3)
    assert len(lines_of(index)) == len(lines_of(journal)) - 1
    assert tree(out) == whole


def test_a_damaged_line_that_the_index_tells_of_is_made_again_by_the_next_start(classes, tmp_path, monkeypatch):
    out = mix(classes, tmp_path / "out", copies=3).path
    whole, journal = tree(out), out / ".audiomix" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[5] = b"x" * (len(lines[5]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    monkeypatch.setattr(journal_file, "_COMPARED", 1)  # the first and the last line are looked at
    with pytest.raises(RunStopped, match="the journal was damaged"):
        mix(classes, out, copies=3)
    mix(classes, out, copies=3)
    assert tree(out) == whole
