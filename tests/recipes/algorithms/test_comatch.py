import numpy as np
import pytest
import torch
from ssl_tables import CLASSES, Table, clips
from tables import (
    LABELLED,
    SURE,
    UNSURE,
    Embedder,
    losses,
    made as set_up,
    noise,
    parts,
    together,
    trained,
    unlabelled as one_strong_view,
)
from torch import nn

from recipes.algorithms.comatch import ClipMemory, CoMatch, pseudo_label_graph

WEAK = [[0.96, 0.02, 0.02], [0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]
FIRST = [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.25, 0.5, 0.25], [0.4, 0.35, 0.25]]
SECOND = [[0.6, 0.3, 0.1], [0.3, 0.2, 0.5], [0.1, 0.7, 0.2], [0.35, 0.4, 0.25]]


class Heads(Table):
    """A table whose features are its logits, and whose embeddings are its features, made unit vectors."""

    def __init__(self):
        super().__init__()
        self.head = nn.Identity()


def made(**options):
    options = {"threshold": 0.0, "distribution_alignment": False, "dimensions": CLASSES, "memory_size": 9} | options
    method = CoMatch(CLASSES, **options)
    method.setup(Table(), None, 4)
    method.projection = nn.Identity()
    return method


def unlabelled(weak=WEAK, first=FIRST, second=SECOND):
    batch = one_strong_view(weak, first)
    return batch._replace(strongs=(*batch.strongs, clips(second)))


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


def z_of(row):
    z = np.log(row)
    return z / np.linalg.norm(z)


def graph_of(q, threshold):
    rows = []
    for j, own in enumerate(q):
        row = []
        for k, other in enumerate(q):
            dot = 1.0 if j == k else float(np.dot(own, other))
            row.append(dot if j == k or dot >= threshold else 0.0)
        rows.append(np.array(row) / sum(row))
    return rows


def similarity_of(q, first, second, *, temperature=0.2, threshold=0.8):
    total = 0.0
    for j, row in enumerate(graph_of(q, threshold)):
        near = softmax(np.array([z_of(first[j]) @ z_of(other) for other in second]) / temperature)
        total -= (row * np.log(near)).sum()
    return total / len(q)


def smoothed(weak, memory, *, temperature=0.2, alpha=0.9):
    """Return pseudo-labels; `memory` holds (row that is embedded, class probabilities)."""
    found = []
    for w in weak:
        near = softmax(np.array([z_of(w) @ z_of(row) for row, _ in memory]) / temperature)
        found.append(alpha * np.array(w) + (1 - alpha) * sum(a * np.array(p) for a, (_, p) in zip(near, memory)))
    return found


def test_the_first_step_has_an_empty_memory_and_the_graphs_of_both_strong_views():
    found = losses(made(), unlabelled(), model=Heads())
    wanted = -np.mean([(np.array(q) * np.log(s)).sum() for q, s in zip(WEAK, FIRST)])
    assert found["unlabelled"].item() == pytest.approx(wanted, rel=1e-4)
    assert found["similarity"].item() == pytest.approx(similarity_of(WEAK, FIRST, SECOND), rel=1e-4)
    assert list(found) == ["labelled", "unlabelled", "similarity"]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"smoothing": 0.5}, {"graph_threshold": 0.3}])
def test_later_pseudo_labels_are_smoothed_by_earlier_weak_views_and_labelled_clips(options):
    method, before = made(**options), [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]
    losses(method, unlabelled(before, FIRST[:2], SECOND[:2]), model=Heads())
    found = losses(method, unlabelled(), model=Heads())
    known = LABELLED.x[:, 0, :, 0].exp().double().numpy()
    memory = [(row, row) for row in before] + [(known[0], [1, 0, 0]), (known[1], [0, 1, 0])]
    t, alpha = options.get("temperature", 0.2), options.get("smoothing", 0.9)
    q = smoothed(WEAK, memory, temperature=t, alpha=alpha)
    wanted = -np.mean([(a * np.log(s)).sum() for a, s in zip(q, FIRST)])
    assert found["unlabelled"].item() == pytest.approx(wanted, rel=1e-4)
    graph = similarity_of(q, FIRST, SECOND, temperature=t, threshold=options.get("graph_threshold", 0.8))
    assert found["similarity"].item() == pytest.approx(graph, rel=1e-4)


def test_the_memory_holds_predictions_before_smoothing():
    method = made()
    losses(method, unlabelled(), model=Heads())
    losses(method, unlabelled(WEAK[::-1]), model=Heads())
    wanted = [*WEAK, [1, 0, 0], [0, 1, 0], *WEAK[::-1], [1, 0, 0], [0, 1, 0]]
    places = {i % 9: row for i, row in enumerate(wanted)}  # 12 clips in a memory of 9: the oldest are written over
    for place, row in places.items():
        np.testing.assert_allclose(method.memory.labels[place].numpy(), row, atol=1e-6)
        if max(row) < 1:
            np.testing.assert_allclose(method.memory.embeddings[place].numpy(), z_of(row), atol=1e-5)


def test_neighbours_are_clips_whose_pseudo_labels_reach_the_threshold_and_the_clip_itself():
    q = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]]).double()
    for threshold in (0.0, 0.45, 0.73, 0.75, 1.0):
        wanted = np.array(graph_of(q.numpy(), threshold))
        np.testing.assert_allclose(pseudo_label_graph(q, threshold).numpy(), wanted, atol=1e-6)
    # clip 3 is as unsure as can be: its product with itself is 0.5, but it is its own neighbour
    assert pseudo_label_graph(q, 0.73)[3].tolist() == [0, 0, 0, 1]
    assert (pseudo_label_graph(q, 0.73) > 0).sum(-1).tolist() == [2, 2, 1, 1]


def test_a_product_at_the_threshold_is_enough():
    q = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    torch.testing.assert_close(pseudo_label_graph(q, 0.5), torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]]))
    torch.testing.assert_close(pseudo_label_graph(q, 0.5001), torch.eye(2))


def test_the_mean_is_over_the_whole_batch_and_the_graph_of_all_clips():
    method = made(threshold=0.95)
    found = losses(method, unlabelled(), model=Heads())
    assert found["unlabelled"].item() == pytest.approx(-(np.array(WEAK[0]) * np.log(FIRST[0])).sum() / 4, rel=1e-4)
    assert found["similarity"].item() == pytest.approx(similarity_of(WEAK, FIRST, SECOND), rel=1e-4)
    assert method.logs()["mask"] == 0.25
    # 0 and 1 are neighbours of each other
    assert method.logs()["neighbours"] == 0.5


def test_both_strong_views_learn_to_be_similar_and_weak_views_do_not():
    batch = unlabelled()
    views = [view.clone().requires_grad_() for view in (*batch.strongs, batch.weak)]
    found = losses(made(), batch._replace(strongs=tuple(views[:2]), weaks=(views[2],)), model=Heads())
    first, second, weak = torch.autograd.grad(found["similarity"], views, allow_unused=True)
    assert first.any()
    assert second.any()
    assert weak is None or not weak.any()


def test_a_batch_larger_than_the_memory_leaves_its_last_clips():
    memory = ClipMemory(3, 1, 1)
    memory.add(torch.arange(5.0)[:, None], torch.ones(5, 1))
    assert sorted(memory.clips()[0].flatten().tolist()) == [2, 3, 4]
    memory.add(torch.tensor([[9.0]]), torch.ones(1, 1))
    assert sorted(memory.clips()[0].flatten().tolist()) == [3, 4, 9]


def test_the_memory_begins_empty_and_no_zeros_are_read():
    memory = ClipMemory(4, 2, 3)
    assert len(memory.clips()[0]) == 0
    memory.add(torch.ones(1, 2), torch.ones(1, 3))
    assert memory.clips()[1].tolist() == [[1, 1, 1]]


def test_alignment_is_to_equal_frequencies():
    method = made(distribution_alignment=True, momentum=0.5)
    losses(method, unlabelled(), model=Heads())
    mean = 0.5 / 3 + 0.5 * np.array(WEAK).mean(0)
    p = np.array(WEAK) * (1 / 3 + 1e-6) / (mean + 1e-6)
    np.testing.assert_allclose(method.memory.labels[:4].numpy(), p / p.sum(1, keepdims=True), rtol=1e-4)


def test_equal_embeddings_and_extreme_temperatures_make_no_nan():
    found = losses(made(temperature=0.01), unlabelled([SURE] * 3, [UNSURE] * 3, [UNSURE] * 3), model=Heads())
    assert all(term.isfinite() for term in found.values())


def test_the_memory_of_two_processes_is_that_of_one():
    batches = [noise(4, 8, seed=seed) for seed in range(3)]
    batches = [(known, u._replace(strongs=(u.strong, u.strong.flip(0)))) for known, u in batches]
    networks = [Embedder(8, 12) for _ in range(3)]
    methods = [set_up(CoMatch, network=networks[0], memory_size=20, smoothing=1.0) for _ in range(3)]
    whole = trained(methods[2], networks[2], batches)
    halves = together(
        [lambda gather, i=i: trained(methods[i], networks[i], [parts(b)[i] for b in batches], gather) for i in (0, 1)]
    )
    for half in halves:
        torch.testing.assert_close(half[3], whole[3])
    for name in ("labelled", "unlabelled"):
        torch.testing.assert_close((halves[0][1][name] + halves[1][1][name]) / 2, whole[1][name])
    assert whole[3]["memory.added"] == 36


def test_original_is_the_papers():
    method = CoMatch(CLASSES, **CoMatch.presets["original"])
    found = (method.threshold, method.smoothing, method.temperature, method.graph_threshold, method.dimensions)
    assert found == (0.95, 0.9, 0.2, 0.8, 64)
    assert method.strong_views == 2
