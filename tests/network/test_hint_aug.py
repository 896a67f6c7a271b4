"""Patches that are moved by a gradient, and which ones."""

import pytest
import torch
from network.transformer import Transformer
from sounds import noise
from torch import nn
from torch.nn import functional as F

from audiomix import LogMel
from audiomix.audio import io
from audiomix.network import HintAug, class_confusion, find_overfitting, infuse_patches


def attention(*rows):
    """Attention (1, 2, Q, Q) of two heads, the same for all queries."""
    return torch.tensor(rows[0]).expand(1, 2, len(rows[0]), len(rows[0]))


class Linear(nn.Module):
    def __init__(self, bins, frames, classes=3):
        super().__init__()
        self.weight = nn.Parameter(0.1 * noise(classes, bins, frames))

    def forward(self, x):
        return torch.einsum("bcfn,kfn->bk", x, self.weight)


def test_the_neglected_patches_are_found_where_attention_has_moved():
    teacher, student = attention([0.0, 0.1, 0.6, 0.3]), attention([0.0, 0.6, 0.1, 0.3])
    found = find_overfitting(teacher, student, 2)
    assert found.patches.tolist() == [[1, 2]]
    size = (0.01 + 0.36 + 0.09) ** 0.5
    assert float(found.gap) == pytest.approx(0.5 / size, rel=1e-6)
    assert found.found.tolist() == [True]


def test_where_it_has_not_the_most_attended_ones_are_taken_clip_by_clip():
    """The reference compares the largest difference of the batch: one overfitted clip decides for all."""
    teacher = torch.cat([attention([0.0, 0.1, 0.6, 0.3]), attention([0.0, 0.1, 0.6, 0.3])])
    student = torch.cat([attention([0.0, 0.6, 0.1, 0.3]), attention([0.0, 0.09, 0.61, 0.3])])
    found = find_overfitting(teacher, student, 1)
    assert found.found.tolist() == [True, False]
    assert found.patches.tolist() == [[1], [1]]
    assert find_overfitting(teacher, student, 1, threshold=1.0).patches.tolist() == [[0], [1]]
    assert find_overfitting(teacher, student, 1, threshold=0.0).patches.tolist() == [[1], [0]]


def test_a_clip_that_is_attended_to_less_as_a_whole_has_no_gap():
    """Attention that went to the class token is no other distribution over the patches."""
    found = find_overfitting(attention([0.0, 0.2, 0.5, 0.3]), attention([0.9, 0.02, 0.05, 0.03]), 1)
    assert float(found.gap) == pytest.approx(0, abs=1e-6)


def test_the_gap_can_be_above_any_threshold_below_one_with_many_tokens():
    """Normalised over queries, as in the reference, it is below 0.08 for 197 tokens whatever the two attend to."""
    one, two = torch.zeros(1, 1, 197, 197), torch.zeros(1, 1, 197, 197)
    one[..., 5], two[..., 9] = 1, 1
    assert float(find_overfitting(one, two, 1).gap) == pytest.approx(1)
    theirs = (F.normalize(one.mean(1)) - F.normalize(two.mean(1))).mean(-2)[:, 1:].abs().max()
    assert theirs < 0.08


def test_confusion_is_the_mean_of_what_else_is_said():
    logits, labels = 2 * noise(9, 4), torch.tensor([0, 0, 1, 1, 1, 3, 3, 3, 3])
    found = class_confusion(logits, labels)
    for k in (0, 1, 3):
        total = torch.zeros(4)
        for z, y in zip(logits, labels):
            if y == k:
                total += z.softmax(0)
        total[k] = 0
        torch.testing.assert_close(found[k], total / total.sum())
    assert found[2].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("stride", [None, (2, 3)])
def test_a_step_goes_towards_the_class_and_stays_in_the_patches(stride):
    network, x = Linear(8, 10), noise(2, 1, 8, 10, seed=2)
    before, toward = x.clone(), torch.tensor([2, 0])
    patches = torch.tensor([[1, 3], [0, 0]])
    found = infuse_patches(network, x, toward, patches, patch=(4, 5), stride=stride, limit=0.25)
    up, on = stride or (4, 5)
    columns = (10 - 5) // on + 1
    for i in range(2):
        p, mask = network(x)[i].softmax(0), torch.zeros(8, 10, dtype=torch.bool)
        gradient = sum((p[k] - float(k == toward[i])) * network.weight[k] for k in range(3))
        for token in patches[i].tolist():
            f, t = divmod(token, columns)
            mask[f * up : f * up + 4, t * on : t * on + 5] = True
        torch.testing.assert_close(found[i, 0], x[i, 0] - 0.25 * mask * gradient.sign())
    assert torch.equal(x, before)
    rise = network(found).softmax(1) - network(x).softmax(1)
    assert bool((rise[torch.arange(2), toward] > 0).all())


def test_several_steps_stay_within_the_limit_and_padding_stays():
    torch.manual_seed(0)
    network, x = Transformer().eval(), noise(3, 1, 16, 24)
    patches = torch.arange(network.grid[0] * network.grid[1]).expand(3, -1)  # all of them
    lengths = torch.tensor([24, 10, 0])
    found = infuse_patches(
        network, x, torch.tensor([0, 1, 2]), patches, patch=(4, 4), stride=(2, 2), limit=0.3, steps=4, lengths=lengths
    )
    assert float((found - x).detach().abs().max()) <= 0.3 + 1e-6
    for i, end in enumerate(lengths.tolist()):
        assert torch.equal(found[i, ..., end:], x[i, ..., end:])
    assert bool((found[0] != x[0]).any())


def test_parameters_statistics_and_modes_are_left_alone_and_a_gradient_goes_through():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(80, 3)).train()
    network[1].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x = noise(4, 1, 8, 10).requires_grad_()
    toward, first = torch.zeros(4, dtype=torch.long), torch.zeros(4, 1, dtype=torch.long)
    with torch.no_grad():  # the step follows a gradient of its own
        infuse_patches(network, x, toward, first, patch=(4, 5))
    found = infuse_patches(network, x, toward, first, patch=(4, 5))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert [m.training for m in network] == [True, False, True, True]
    found.sum().backward()
    assert bool((x.grad == 1).all())


def test_half_precision_and_doubles_are_kept():
    for dtype in (torch.float64, torch.bfloat16):
        network, x = Linear(8, 10).to(dtype), noise(2, 1, 8, 10).to(dtype)
        found = infuse_patches(network, x, torch.tensor([1, 1]), torch.tensor([[0], [1]]), patch=(4, 5))
        assert found.dtype == dtype


def test_real_sound_is_moved_where_it_is_neglected(esc10):
    """A transformer on the log-mel spectrogram of a recording, tuned away from its first weights."""
    torch.manual_seed(1)
    wave = io.read(esc10 / "audio" / "1-100032-A-0.ogg").samples
    bark = int(wave.abs().argmax())
    wave = wave[:, max(0, bark - 44100) :][:, : 2 * 44100]
    spec = LogMel(44100, n_mels=16, hop=3675)(wave[None])[..., :24]
    spec = (spec - spec.mean()) / spec.std()
    pretrained, tuned = Transformer().eval(), Transformer().eval()
    with torch.no_grad():
        labels, logits = torch.tensor([0]), pretrained(spec)
        tuned(spec)
    confusion = class_confusion(logits, labels)
    hint = HintAug((4, 4), (2, 2), count=3, limit=0.2, threshold=0.0)
    given = {"teacher": pretrained.scores, "student": tuned.scores, "confusion": confusion}
    found = hint(tuned, spec, labels, **given)
    changed = (found != spec).flatten().sum()
    assert 16 <= int(changed) <= 3 * 16
    with torch.no_grad():
        toward = -(confusion[0] * tuned(spec).log_softmax(1)).sum(), -(confusion[0] * tuned(found).log_softmax(1)).sum()
    assert toward[1] < toward[0]
    neglected = find_overfitting(pretrained.scores, tuned.scores, 3, threshold=0.0).patches
    torch.testing.assert_close(
        found, infuse_patches(tuned, spec, confusion[labels], neglected, patch=(4, 4), stride=(2, 2), limit=0.2)
    )
    assert hint.eval()(tuned, spec, labels, **given) is spec


def test_wrong_arguments():
    network, x, one = Linear(8, 10), noise(1, 1, 8, 10), torch.tensor([1])
    with pytest.raises(ValueError, match=r"patches must be in 0..3, of a grid of 2 by 2, got 4..4: class tokens"):
        infuse_patches(network, x, one, torch.tensor([[4]]), patch=(4, 5))
    with pytest.raises(ValueError, match=r"x must be spectrograms .* take its LogMel first"):
        infuse_patches(network, x[:, 0, 0], one, torch.tensor([[0]]), patch=(4, 5))
    with pytest.raises(ValueError, match="patch must be within the 8 bins and 10 frames"):
        infuse_patches(network, x, one, torch.tensor([[0]]), patch=(16, 16))
    with pytest.raises(ValueError, match="the network's output must be logits"):
        infuse_patches(lambda x: x, x, one, torch.tensor([[0]]), patch=(4, 5))
    with pytest.raises(ValueError, match="count must be at most the 3 patches, got 4"):
        find_overfitting(attention([0.1, 0.2, 0.3, 0.4]), attention([0.1, 0.2, 0.3, 0.4]), 4)
    with pytest.raises(ValueError, match="student must be of shape"):
        find_overfitting(attention([0.5, 0.5]), attention([0.1, 0.2, 0.7]))
    scores = attention([0.1, 0.2, 0.3, 0.2, 0.2])
    with pytest.raises(ValueError, match=r"label must be class ids \(B,\)"):
        HintAug((4, 5))(network, x, torch.ones(1, 3), teacher=scores, student=scores, confusion=torch.eye(3))
    for label in (-1, 3):  # the last class, and an IndexError
        with pytest.raises(ValueError, match=rf"label must be in 0..2, .* got {label}..{label}: clips without a label"):
            HintAug((4, 5))(
                network, x, torch.tensor([label]), teacher=scores, student=scores, confusion=torch.eye(3)
            )
    with pytest.raises(ValueError, match=r"confusion must be of shape \(K, K\)"):
        HintAug((4, 5))(network, x, one, teacher=scores, student=scores, confusion=torch.ones(2, 3))
