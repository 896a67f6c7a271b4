"""What rules look at reaches them: from a call, a pipeline, a loader with any number of workers, a second data set."""

import pytest
import torch
from sounds import noise, seeded
from torch.utils.data import DataLoader

from audiomix import Collate, CutMix, MixUp, Notes, OneOf, Pipeline, SNRMix, SpecAugment, draw, pairing

# For each rule a batch of 12 clips: its entry in the items, and which clips may be partners
VALUES = {
    "same_cluster": ("cluster", [i % 3 for i in range(12)], lambda i, j: i % 3 == j % 3),
    "same_attribute": ("attribute", ["abc"[i % 3] for i in range(12)], lambda i, j: i % 3 == j % 3),
    "minority": ("attribute", ["ab"[i // 6] for i in range(12)], lambda i, j: i % 2 == j % 2 and i // 6 != j // 6),
    "same_tempo": ("bpm", [60.0 + 20 * (i % 3) for i in range(12)], lambda i, j: i % 3 == j % 3),
    "hard": ("embedding", list(torch.eye(12)), lambda i, j: i % 2 != j % 2),
    "confidence": ("confidence", [float(i % 2) for i in range(12)], lambda i, j: i % 2 != j % 2),
}
FIELDS = {"cluster": "clusters", "attribute": "attributes", "embedding": "embeddings"}


def rows(rule, name=""):
    entry, values, _ = VALUES[rule]
    return [
        {"id": f"{name}{i}", "wave": noise(1, 60, seed=i), "label": i % 2, entry: value}
        for i, value in enumerate(values)
    ]


def assert_may(rule, plan, same=True):
    may = VALUES[rule][2]
    assert plan.mixed.all()
    for i in range(len(plan)):
        for j in plan.sources(i):
            assert may(i, j), (rule, i, j)
            assert i != j or not same


@pytest.mark.parametrize("rule", VALUES)
def test_a_rule_says_what_it_reads_and_every_mixer_takes_it(rule):
    entry, values, _ = VALUES[rule]
    note = FIELDS.get(entry, entry)
    assert note in pairing.notes_of(rule)
    given = {note: values}
    wave, label = noise(12, 1, 200), torch.arange(12) % 2
    for mixer in (
        MixUp(pairing=rule, num_classes=2),
        CutMix(pairing=rule, num_classes=2),
        SNRMix(pairing=rule, num_classes=2),
        MixUp(sources=(2, 3), pairing=rule, num_classes=2),
        OneOf([MixUp(pairing=rule), CutMix(pairing=rule)], per="clip", num_classes=2),
        Pipeline([MixUp(pairing=rule), CutMix(pairing=rule)], num_classes=2) if rule not in ("minority", "hard") else
        Pipeline([MixUp(pairing=rule)], num_classes=2),  # the labels of mixes are of both classes
    ):
        for plan in mixer(wave, label, generator=seeded(), **given).plans:
            if plan.mixed.all():
                assert_may(rule, plan)
    bins = SpecAugment("cut", freq_width=4, pairing=rule)(noise(12, 1, 8, 60), label, generator=seeded(), **given)
    assert_may(rule, bins.plans[0])
    again = MixUp(pairing=rule, num_classes=2)
    plain = again(wave, label, generator=seeded(), **given)
    half = again(wave.half(), label, generator=seeded(), **given)
    assert plain.plans[0].to_json() == half.plans[0].to_json()
    assert torch.equal(again(wave, label, plan=plain.plans[0]).x, plain.x)  # a replay needs no notes
    assert torch.equal(again.eval()(wave, label).x, wave)


@pytest.mark.parametrize("rule", VALUES)
def test_items_carry_what_a_rule_reads_with_any_number_of_workers(rule):
    collate, items = Collate(MixUp(pairing=rule, num_classes=2), seed=3), rows(rule)
    batches = [list(DataLoader(items, 12, collate_fn=collate, num_workers=n)) for n in (0, 2)]
    (plain,), (worked,) = batches
    assert plain.plans[0].to_json() == worked.plans[0].to_json()
    assert_may(rule, plain.plans[0])
    entry, values, _ = VALUES[rule]
    assert list(plain) == ["id", "wave", "label", entry]
    kept = plain[entry].tolist() if isinstance(plain[entry], torch.Tensor) else plain[entry]
    assert kept == [v.tolist() if isinstance(v, torch.Tensor) else v for v in values]  # the originals' own
    renamed = [{("own" if key == entry else key): value for key, value in item.items()} for item in items]
    named = Collate(MixUp(pairing=rule, num_classes=2), seed=3, notes={FIELDS.get(entry, entry): "own"})
    assert named(renamed).plans[0].to_json() == plain.plans[0].to_json()
    with pytest.raises(ValueError, match="must be given for pairing"):
        Collate(MixUp(pairing=rule, num_classes=2), seed=3)(renamed)


@pytest.mark.parametrize("rule", [rule for rule in VALUES if rule != "confidence"])
def test_a_second_data_set_has_its_own(rule):
    collate = Collate(MixUp(pairing=rule, num_classes=2), seed=1, other=rows(rule, "other"))
    may = VALUES[rule][2]
    plan = collate(rows(rule)).plans[0]
    assert plan.mixed.all()
    # which items were drawn, in what order: by their own generator, before the plan
    chosen = draw.distinct(12, 12, generator=collate.generator([f"{i}" for i in range(12)])).tolist()
    for i, j in enumerate(plan.partner.tolist()):
        assert may(i, chosen[j]) or (rule == "hard" and i % 2 != chosen[j] % 2)


def test_entries_of_such_names_are_no_notes_where_no_rule_reads_them():
    items = [{**item, "confidence": 0.5, "bpm": 1.0} for item in rows("same_cluster")]
    for item in items:
        del item["label"]
    with pytest.raises(ValueError, match=r"name it: label=..., one of 'cluster', 'confidence', 'bpm'"):
        Collate(MixUp(num_classes=3), seed=0)(items)
    batch = Collate(MixUp(num_classes=3), seed=0, label="cluster")(items)
    assert batch["confidence"].tolist() == [0.5] * 12
    assert batch["cluster"].shape == (12, 3)


def test_a_label_may_be_the_note_too():
    items = [{"id": i, "wave": noise(1, 40, seed=i), "bpm": bpm} for i, bpm in enumerate((120.0, 121.0, 90.0, 91.0))]
    batch = Collate(MixUp(weight=0.5, pairing="same_tempo"), seed=0, label="bpm")(items)
    torch.testing.assert_close(batch["bpm"], torch.tensor([120.5, 120.5, 90.5, 90.5]))


def test_rows_of_notes_follow_their_clips():
    notes = Notes(clusters=[1, 2, 3], embeddings=torch.eye(3), bpm=torch.tensor([1.0, 2, 3]))
    some = notes.rows(torch.tensor([2, 0]))
    assert some.clusters == [3, 1]
    assert torch.equal(some.embeddings, torch.eye(3)[[2, 0]])
    assert some.bpm.tolist() == [3, 1]


def test_a_rule_of_ones_own_reads_notes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom audiomix.pairing import reads\n\n"
        '@reads("clusters")\n'
        "def after(pool, generator):\n"
        "    partner = (torch.arange(pool.size) + torch.as_tensor(pool.notes.clusters)) % pool.size\n"
        "    return partner, pool.eligible.clone()\n"
    )
    batch = Collate(MixUp(pairing="mine.py:after", num_classes=2), seed=0)(rows("same_cluster"))
    assert batch.plans[0].partner.tolist() == [(i + i % 3) % 12 for i in range(12)]
