"""Partners of files by what a manifest says of them: clusters, attributes, tempi."""

import json
from collections import Counter

import pytest
from made import errors_of, mix, rows_of, write
from scipy import stats

from audiomix import BeatMix, MixUp, OneOf, SNRMix
from audiomix.datasets.columns import COLUMNS
from audiomix.datasets.item import Item
from audiomix.datasets.source import read_source
from audiomix.offline.partners.index import PartnerIndex
from audiomix.offline.providers.beats import BeatPartners, TempoPartners


def drawn(index, i, copies=3000):
    return Counter(p for c in range(copies) for p in index.partners(i, copy=c, seed=0, count=1))


@pytest.mark.parametrize("size", [24, 72])  # counted out, and drawn
def test_files_of_one_cluster_and_with_a_common_attribute_each_as_often(size):
    clusters, sets = ["7", "2", "7", None], [("a", "b"), ("b",), ("b", "c", "a"), None]
    items = [Item("", f"{i:03d}", cluster=clusters[i % 4], attributes=sets[i % 4]) for i in range(size)]
    for kind, own, others in (("same_cluster", 4, (0, 2)), ("same_attribute", 5, (0, 1, 2))):
        index = PartnerIndex(items, kind)
        may = [i for i in range(size) if i % 4 in others and i != own]
        found = drawn(index, own)
        assert set(found) == set(may)
        assert stats.chisquare([found[i] for i in may]).pvalue > 1e-4
        assert index.partners(3, copy=0, seed=0) == []
    assert drawn(PartnerIndex(items, "same_attribute"), 0, 50).keys() <= {i for i in range(size) if i % 4 != 3}


@pytest.mark.parametrize("kind", ["same_tempo", "same_tempo:tolerance=1,octaves=false"])
def test_files_of_nearly_the_same_tempo(kind):
    bpm = ["120", "121.5", "60.2", "122", "0", None, "90", "120.5"]
    items = [Item("", f"{i:03d}", bpm=bpm[i % 8]) for i in range(64)]
    index = TempoPartners(items, kind, ())
    near = {0, 7} if "octaves" in kind else {0, 1, 2, 3, 7}
    found = drawn(index, 0)
    may = [i for i in range(1, 64) if i % 8 in near]
    assert set(found) == set(may)
    assert stats.chisquare([found[i] for i in may]).pvalue > 1e-4
    assert index.partners(4, copy=0, seed=0) == index.partners(5, copy=0, seed=0) == []  # no tempo, no partner
    lone = TempoPartners(items[:7], kind, ())
    assert lone.partners(6, copy=0, seed=0) == []  # none fits: not one that does not


def manifest(folder, rows):
    for i, row in enumerate(rows):
        write(folder / f"{i}.wav", seed=i, rate=8000)
        row["path"] = f"{i}.wav"
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "all.jsonl"


CASES = {
    "same_cluster": [{"cluster": c} for c in (3, 3, 1, 1, -1, 3)],
    "same_attribute": [{"attribute": a} for a in (["x", "y"], ["y"], "z", ["z", "q"], None, ["x"])],
    "same_tempo:tolerance=2": [{"tempo": b} for b in (120, 60.5, 90, 91, 0, 240)],
}


@pytest.mark.parametrize("rule", CASES)
@pytest.mark.parametrize("several", [False, True])
def test_a_data_set_is_mixed_by_its_columns(rule, several, tmp_path):
    rows = [{**row, "label": "ab"[i % 2]} for i, row in enumerate(CASES[rule])]
    table = manifest(tmp_path, rows)
    if several and rule.startswith("same_tempo"):
        with pytest.raises(ValueError, match="pairing must be another one for MixUp and files"):
            mix(table, tmp_path / "out", MixUp(sources=(2, 3), pairing=rule))
        return
    mixer = MixUp(sources=(2, 3), pairing=rule) if several else OneOf([MixUp(pairing=rule), SNRMix(pairing=rule)])
    out = mix(table, tmp_path / "out", mixer, copies=3).path
    groups = [{0, 1, 5}, {2, 3}]
    found = rows_of(out)
    for row in found:
        names = {int(source["id"].partition(".")[0]) for source in row["sources"]}
        assert any(names <= group for group in groups), row["sources"]
        assert len(names) >= 2
        assert not row.get("why")
    originals, failed = {row["sources"][0]["id"] for row in found}, {error["file"] for error in errors_of(out)}
    if several:  # no set of sources comes twice: there are fewer than mixes asked for
        assert len(originals) >= 2
        assert "4.wav" in failed - originals
    else:
        assert originals == {f"{i}.wav" for i in (0, 1, 2, 3, 5)}
        assert failed == {"4.wav"}
        assert "no partner" in errors_of(out)[0]["reason"]


def test_columns_are_read_and_may_have_other_names(tmp_path):
    rows = [{"km": 1.0, "mic": "phone; far", "label": "a"}, {"km": -1, "mic": "", "label": "b"}]
    items, _ = read_source(manifest(tmp_path, rows), {"cluster": "km", "attribute": "mic"})
    assert [item.cluster for item in items] == ["1", None]
    assert [item.attributes for item in items][1] is None
    assert "phone" in "".join(items[0].attributes)
    assert {"cluster", "attribute"} <= COLUMNS.keys()


def test_what_cannot_be_done_is_said_before_any_work(tmp_path):
    table = manifest(tmp_path, [{"label": "a", "bpm": "fast"}, {"label": "b", "bpm": "120"}])
    for rule, message in (
        ("same_cluster", "pairing must be another one where no cluster is known, .*--cluster-column names another"),
        ("same_attribute", "pairing must be another one where no attribute is known"),
        ("same_tempo", "the bpm of 0.wav .* must be a number of beats a minute, got 'fast'"),
        ("same_tempo:tolerance=99", "tolerance must be a number in"),
        ("same_attribute:nearest=2", "pairing must be one of any, .*same_tempo for files, .* batch, in training"),
        ("minority", "pairing must be one of any, .* for files"),
        ("hard", "pairing must be one of any, .* for files"),
        ("confidence", "pairing must be one of any, .* for files"),
    ):
        with pytest.raises(ValueError, match=message):
            mix(table, tmp_path / "out", MixUp(pairing=rule))
    with pytest.raises(ValueError, match="another one where no tempo is known, .*--bpm-column"):
        TempoPartners([Item("", "a"), Item("", "b")], "same_tempo", ())
    table = manifest(tmp_path, [{"label": "a", "bpm": 120}, {"label": "a", "bpm": 120}])
    with pytest.raises(ValueError, match="another one for BeatMix and files, .* max_stretch="):
        mix(table, tmp_path / "out", BeatMix(rate=8000, pairing="same_tempo"))


def test_music_is_matched_within_clusters_too():
    from audiomix import BeatGrid
    from audiomix.beats.match import MatchRule

    items = [Item("", f"{i:03d}", cluster="ab"[i % 2]) for i in range(40)]
    grids = {item.id: BeatGrid([0.0, 60 / (120 if i % 4 < 2 else 90)]) for i, item in enumerate(items)}
    index = BeatPartners(items, "same_cluster", (), grids, MatchRule(align="beat"))
    found = drawn(index, 0)
    may = list(range(4, 40, 4))
    assert set(found) == set(may)
    assert stats.chisquare([found[i] for i in may]).pvalue > 1e-4
