"""The inputs and losses of a step: what is mixed with what, and what is kept of the network before."""

import pytest
import torch
from sounds import noise, seeded
from torch.nn import functional as F

from recipes.continual.methods import METHODS, distillation, mix_inputs, read_method

COUNTS = [4, 4, 32, 32]  # two old classes in the memory, two of the task
NEW = (noise(6, 1, 6, 9), torch.arange(6) % 2 + 2)
OLD = (noise(5, 1, 6, 9, seed=2), torch.arange(5) % 2)


def mixes_of(pair, x, first, second):
    """Return for each input the share of the clip of `first` that makes it with some clip of `second`, and which."""
    found = []
    for row in x:
        best = (torch.inf, None)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                span = (a - b).flatten()
                if not bool(span.any()):
                    continue
                w = float((row - b).flatten() @ span / (span @ span))
                error = float((row - w * a - (1 - w) * b).abs().max())
                if error < best[0]:
                    best = (error, (i, j, w))
        assert best[0] < 1e-5
        found.append(best[1])
    return found


def test_plain_has_the_clips_as_they_are_and_every_class_so_far():
    found = mix_inputs(NEW, OLD, COUNTS, dualmix=False)
    assert torch.equal(found.x, torch.cat([NEW[0], OLD[0]]))
    assert torch.equal(found.target, F.one_hot(torch.cat([NEW[1], OLD[1]]), 4).float())


def test_en_mix_has_one_share_for_sound_and_label():
    found = mix_inputs(NEW, None, COUNTS, dualmix=True, generator=seeded())
    for i, (own, partner, w) in enumerate(mixes_of("own", found.x, NEW[0], NEW[0])):
        expected = w * F.one_hot(NEW[1][own], 4) + (1 - w) * F.one_hot(NEW[1][partner], 4)
        torch.testing.assert_close(found.target[i], expected.float(), atol=1e-4, rtol=0)


def test_adp_mix_puts_memory_and_task_together_and_gives_the_rarer_class_more_of_the_label():
    """The class of the memory has 4 clips and the other 32: its share of the label is never below that of the sound.

    With the exponent's sign the wrong way round it is the majority's that grows.
    """
    found = mix_inputs(NEW, OLD, COUNTS, dualmix=True, generator=seeded())
    assert len(found.x) == 6 + 5 + 5
    middle = 4**-0.25 / (4**-0.25 + 32**-0.25)
    moved = 0
    for i, (own, partner, w) in enumerate(mixes_of("both", found.x[11:], OLD[0], NEW[0])):
        assert own == i  # every clip of the memory once
        share, theirs = found.target[11 + i, OLD[1][own]], 1 - w
        expected = 1 - theirs / (2 * middle) if theirs < middle else w / (2 * (1 - middle))
        assert float(share) == pytest.approx(expected, abs=1e-4)
        assert share >= w - 1e-5
        assert float(found.target[11 + i, NEW[1][partner]]) == pytest.approx(1 - expected, abs=1e-4)
        moved += float(share) > w + 0.01
    assert moved >= 2


def test_distillation_is_the_cross_entropy_of_old_classes_alone():
    logits, teacher = 3 * noise(5, 6), 3 * noise(5, 4, seed=2)
    total = 0.0
    for z, t in zip(logits, teacher):
        said, own = (t / 2).exp() / (t / 2).exp().sum(), (z[:4] / 2).exp() / (z[:4] / 2).exp().sum()
        total -= float((said * own.log()).sum())
    assert float(distillation(logits, teacher)) == pytest.approx(total / 5, rel=1e-5)
    grown = logits.clone().requires_grad_()
    held = teacher.clone().requires_grad_()
    distillation(grown, held).backward()
    assert bool((grown.grad[:, 4:] == 0).all())
    assert held.grad is None


def test_methods_are_read():
    assert [read_method(name) for name in METHODS] == [(False, False), (True, False), (False, True), (True, True)]
    with pytest.raises(ValueError, match="did you mean 'dualmix'"):
        read_method("dual_mix")
