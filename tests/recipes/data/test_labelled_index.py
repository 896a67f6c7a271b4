import torch

from audiomix.draw import generator_for
from recipes.data.loader import Batches, make_split


def test_a_labelled_clips_position_is_among_the_labelled_clips_of_the_split(toy_config, toy_data):
    split = make_split(toy_config, toy_data.dataset, "1", 0)
    toy_data.views.fit(toy_data.kept, split.labelled)
    batches, seen = Batches(toy_config, toy_data, split, 0, views=(1, 1)), []
    for step in range(3):  # two passes over six labelled clips, four a step
        labelled, unlabelled = batches(step, generator_for(0, "step", step))
        assert torch.equal(toy_data.labels[split.labelled[labelled.index]], labelled.target)
        assert torch.equal(toy_data.labels[split.unlabelled[unlabelled.index]], unlabelled.hidden)
        seen += labelled.index.tolist()
    assert sorted(seen) == sorted(2 * list(range(6)))
