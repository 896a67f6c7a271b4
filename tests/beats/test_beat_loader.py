"""Grids that items carry reach `BeatMix` in a DataLoader, whatever the items are; judged from the sound of mixes."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from rhythm import RATE, drifting, misses, mixed_pair, piece
from torch.utils.data import DataLoader

from audiomix import BeatGrid, BeatMix, Collate, Indexed

Row = namedtuple("Row", "wave label beats")
SOUNDS = [piece(0, hz=hz, times=drifting(bpm, 12.0), metre=4) for bpm, hz in ((118, 2000.0), (122, 3000.0))]


class Music:
    """Two pieces of other tempi, each with bursts of its own pitch on its beats; the second is shorter."""

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 2

    def __getitem__(self, i):
        wave, grid = SOUNDS[i]
        if i:
            wave, grid = wave[:, : 10 * RATE], grid.between(0.0, 10.0)
        return {
            "dict": {"wave": wave, "label": i, "beats": grid, "id": i},
            "seconds": {"audio": wave[0], "beats": list(grid.times), "id": i},
            "row": Row(wave, i, grid),
            "tuple": (wave, i, grid),
        }[self.kind]


def load(kind, workers=0, **options):
    dataset = Music(kind) if kind in ("dict", "seconds") else Indexed(Music(kind))
    collate = Collate(BeatMix(rate=RATE, align="beat", num_classes=2), add=["plans"], **options)
    (batch,) = DataLoader(dataset, 2, collate_fn=collate, num_workers=workers)
    return batch


@pytest.mark.parametrize(
    ("kind", "options", "wave", "beats"),
    [
        ("dict", {}, "wave", "beats"),
        ("seconds", {"label": False}, "audio", "beats"),
        ("row", {}, "wave", "beats"),
        ("tuple", {"notes": {"beats": 2}}, 0, 2),
    ],
)
def test_beats_of_items_of_any_kind_fall_together(kind, options, wave, beats):
    batch = load(kind, **options)
    plan = (batch[-1] if kind == "tuple" else batch["plans"])[0]
    assert plan.aligned.all()
    x = batch[wave].reshape(2, -1)
    for i, hz in enumerate((3000.0, 2000.0)):  # of the partner
        grid = BeatGrid.of(batch[beats][i])
        start, stop = (plan.overlap[i] * plan.seconds[i, 0]).tolist()
        inside = [t for t in grid.times if start + 0.1 < t < stop - 0.1]
        assert len(inside) > 6
        assert np.abs(misses(x[i], inside, RATE, hz)).max() < 0.005


def test_workers_give_the_same_mixes():
    alone, many = load("dict"), load("dict", workers=2)
    assert torch.equal(alone["wave"], many["wave"])
    assert alone["beats"] == many["beats"]


def test_a_tuple_whose_grids_are_not_named_says_how():
    with pytest.raises(TypeError, match=r"beats must be given.*Collate\(notes=\{'beats': 2\}\)"):
        load("tuple")


@pytest.mark.parametrize("known", [(False, False), (True, False), (False, True)])
def test_where_a_metre_is_open_no_downbeat_is_claimed(known):
    """Beat falls on beat, and the mix tells no bars but those of an original that is alone with its own."""
    pairs = [(wave, grid if is_known else BeatGrid(grid.times)) for (wave, grid), is_known in zip(SOUNDS, known)]
    _, plan, _ = mixed_pair(BeatMix(rate=RATE), *pairs)
    row = plan.describe(0)
    assert (row["aligned"], row["aligned_on"]) == (True, "beat")
    assert row["metre"] == (4 if known[0] else None)
    assert bool(row["positions"]) == known[0]
    strict = BeatMix(rate=RATE, align="downbeat")
    assert "bar phase" in mixed_pair(strict, *pairs)[1].why[0]
