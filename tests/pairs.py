"""Draws of partners, counted and compared with how often they should come."""

import torch
from scipy import stats
from sounds import seeded

from audiomix import pairing

DRAWS = 20_000
# A chi-square statistic that a right sampler exceeds once in 100,000 rows
LEAST = 1e-5


def drawn(kind, size, target=None, *, draws=DRAWS, seed=0, **given):
    """How often each clip got each partner, of so many draws in all: (size, candidates)."""
    candidates = given.get("other_size") or size
    counts = torch.zeros(size, candidates, dtype=torch.int64)
    generator = seeded(seed)
    for _ in range(draws // size):
        partner, found = pairing.pair(size, kind, target=target, generator=generator, **given)
        counts.index_put_((torch.arange(size)[found], partner[found]), torch.tensor(1), accumulate=True)
    return counts


def assert_drawn_as(counts, weights):
    """Each row as often as its weights say; nothing where they are 0."""
    assert (counts[weights == 0] == 0).all()
    for row, wanted in zip(counts, weights):
        some = wanted > 0
        if some.sum() > 1:
            expected = wanted[some] / wanted[some].sum() * row.sum()
            assert stats.chisquare(row[some].numpy(), expected.numpy()).pvalue > LEAST


def without_own(weights):
    """A table (B, B) of weights without those of the clips themselves."""
    table = weights.expand(len(weights), len(weights)).clone()
    return table.fill_diagonal_(0)
