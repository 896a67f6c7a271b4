"""The network, its batches and its trainings: that they learn, what they look at, and that they go on to the bit."""

import csv
import json
import multiprocessing
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from runs import Stop, assert_same_run, rows, stop_at
from sounds import seeded

from audiomix import StreamMix
from recipes import cli
from recipes.lipreading import data, report, study, train
from recipes.lipreading.features import BOX
from recipes.lipreading.grid import SLOTS
from recipes.lipreading.network import Lipreader, build
from recipes.lipreading.settings import CURRICULA, LipSettings
from recipes.training import checkpoint, engine

from .conftest import MOUTH, make_speaker

SMALL = LipSettings(steps=4, batch=3, every=2, holdout=0.34)
CPU = Fabric(accelerator="cpu", devices=1)


@pytest.fixture(scope="module")
def speaker(made, tmp_path_factory):
    source = study.SpeakerFiles(made, MOUTH, tmp_path_factory.mktemp("stores"))
    return study.prepare(source, workers=1, quiet=True)


def run(speaker, out, condition="linear:0:1", settings=SMALL, seed=0, **kwargs):
    return train.train(settings, speaker, condition, seed=seed, out=out, quiet=True, **kwargs)


def run_all(source, speaker, out, workers, settings=SMALL, **options):
    options = {"conditions": ["video", "linear"], "seeds": [0], "quiet": True} | options
    return study.run_all(settings, source, speaker, out=out, workers=workers, **options)


def test_shares_of_a_word_are_the_overlap_with_its_thirds():
    shares = data.part_shares(torch.tensor([[1.5, 4.5], [2.0, 2.0]], dtype=torch.float64), 8)
    assert shares.shape == (2, 3, 8)
    expected = [[0, 0.5, 0.5, 0, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0, 0, 0]]
    assert torch.allclose(shares[0], torch.tensor(expected))
    outside = data.part_shares(torch.tensor([[-9.0, -3.0], [20.0, 26.0]], dtype=torch.float64), 8)
    assert torch.equal(outside.sum(-1), torch.ones(2, 3))
    assert bool((outside[0, :, 2:] == 0).all())
    assert bool((outside[1, :, :6] == 0).all())


def test_a_batch_shows_the_words_where_they_are_spoken(speaker):
    speaker = replace(speaker, window=38)  # it begins four pictures into the clip
    batch = data.load(speaker, torch.arange(6))
    assert batch.pictures.shape == (6, speaker.window, 40, 48)
    # the mouth of the made clips is open as far as the word's place: what the word's middle shows says its place
    middle = batch.parts[:, :, 1]
    bright = (batch.pictures > 1).float().mean((2, 3))
    opened = torch.einsum("bsn,bn->bs", middle, bright)
    for slot, known in enumerate(SLOTS.values()):
        size = torch.tensor([4 + round(30 * p / (len(known) - 1)) for p in batch.words[:, slot].tolist()]).float()
        order = size.argsort()
        assert bool((opened[order, slot].diff() > -0.02).all())


def test_one_slow_sentence_makes_only_its_own_batches_long(speaker, monkeypatch):
    spans = speaker.spans.clone()
    spans[0, :, :] = spans[0] * 1.4 - 8  # 10 of the 36 pictures of the others longer
    slow = replace(speaker, spans=spans, window=data._window(spans))
    # without the augmentation the words must be found in the short window where they are in the long one
    monkeypatch.setattr(data, "uniform", lambda low, high, count, **_: torch.zeros(count, dtype=torch.float64))
    monkeypatch.setattr(data, "_view", lambda crops, generator, augment: crops.float())
    clips = torch.arange(1, 6)
    short, long = (data.load(slow, clips, generator=seeded(), augment=a) for a in (True, False))
    assert (short.pictures.shape[1], long.pictures.shape[1]) == (44, slow.window)
    assert slow.window > 50
    assert data.load(slow, torch.arange(6), generator=seeded(), augment=True).pictures.shape[1] == slow.window
    seen = [torch.einsum("bspn,bnhw->bsphw", b.parts, b.pictures) for b in (short, long)]
    assert torch.allclose(*seen, atol=1e-3)


def test_batches_are_normal_and_augmented_only_in_training(speaker):
    clips = torch.arange(6)
    batch = data.load(speaker, clips)
    again = data.load(speaker, clips, generator=seeded(1))
    assert torch.equal(batch.pictures, again.pictures)
    assert float(batch.pictures.mean((1, 2, 3)).abs().max()) < 1e-3
    assert float(batch.sounds.mean(1).abs().max()) < 1e-3
    one, same, other = (data.load(speaker, clips, generator=seeded(s), augment=True) for s in (1, 1, 2))
    assert torch.equal(one.pictures, same.pictures)
    assert not torch.equal(one.pictures, other.pictures)
    assert torch.equal(one.words, batch.words)


def recipe_of(speaker, out, condition="video", settings=SMALL, fabric=CPU):
    return train.LipReading(fabric, settings, speaker, condition, seed=0, out=out)


def error_of(network, speaker, clips):
    return train._mean(train.slot_errors(train.read_words(network, speaker, clips), speaker.words[clips]))


def learn(speaker, out, condition, settings, clips):
    """Train on some clips and return the network."""
    recipe = recipe_of(speaker, out, condition, settings)
    recipe.train_clips = clips
    out.mkdir(exist_ok=True)
    engine.run(CPU, recipe, out, quiet=True)
    return recipe.network


def test_every_clip_comes_once_before_any_comes_again(speaker, tmp_path):
    recipe = recipe_of(speaker, tmp_path, settings=replace(SMALL, batch=3))
    assert (len(recipe.train_clips), len(recipe.held_clips)) == (4, 2)
    for epoch in torch.cat([recipe._clips(step) for step in range(8)]).view(6, 4):
        assert torch.equal(epoch.sort().values, recipe.train_clips)


def test_processes_share_the_clips_of_a_step(speaker, tmp_path):
    settings = replace(SMALL, batch=4)
    whole = recipe_of(speaker, tmp_path, settings=settings)
    parts = [
        recipe_of(speaker, tmp_path, settings=settings, fabric=SimpleNamespace(global_rank=rank, world_size=2))
        for rank in range(2)
    ]
    batch, halves = whole.batch(1, seeded()), [part.batch(1, seeded()) for part in parts]
    for name in ("pictures", "sounds", "parts", "words"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(batch, name))


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["video", "linear:0:1", "uncertainty"])
def test_the_network_learns_the_words_of_the_made_speaker(speaker, tmp_path, condition):
    clips = torch.arange(6)
    network = learn(speaker, tmp_path, condition, LipSettings(steps=50, batch=6), clips)
    assert error_of(network, speaker, clips) < 0.06
    # and it is read from the pictures: without them little is left
    blind = replace(speaker, store=replace(speaker.store, crops=torch.zeros_like(speaker.store.crops)))
    assert error_of(network, blind, clips) > 0.3


def test_evaluation_reads_no_sound(speaker):
    network, clips = build(seed=0), torch.arange(6)
    silent = replace(speaker, store=replace(speaker.store, sounds=torch.full_like(speaker.store.sounds, torch.nan)))
    assert torch.equal(train.read_words(network, speaker, clips), train.read_words(network, silent, clips))


@torch.no_grad()
def test_the_sound_gets_into_training_by_the_ratio(speaker):
    """At ratio 1 the mix is the video; at 0 the video's pixels have no say in the mixed loss."""
    settings, batch = LipSettings(), data.load(speaker, torch.arange(6))
    network = build(seed=0).eval()
    pure, ratio = train.StreamMixing(settings, "1.0").losses(network, batch, 0.0, seeded())
    assert ratio == 1
    assert float(pure["mixed"]) == pytest.approx(float(pure["video"]), abs=1e-6)
    assert float(pure["consistency"]) == pytest.approx(0, abs=1e-6)
    sound = train.StreamMixing(settings, "0.0")
    flipped = replace(batch, pictures=batch.pictures.flip(0))
    a, b = (sound.losses(network, x, 0.0, seeded())[0] for x in (batch, flipped))
    assert float(a["mixed"]) == pytest.approx(float(b["mixed"]), abs=1e-6)
    assert float(a["video"]) != float(b["video"])
    assert isinstance(sound.mixer, StreamMix)


def test_every_step_mixes_those_after_an_evaluation_too(speaker, tmp_path):
    """The evaluation puts the network in eval mode, which must not switch the mixer off."""
    run(speaker, tmp_path, "0.0", replace(SMALL, every=1))
    for row in rows(tmp_path):
        assert abs(float(row["loss_mixed"]) - float(row["loss_video"])) > 1e-3
        assert float(row["loss_consistency"]) > 1e-3


def test_a_loss_that_is_not_a_number_stops_with_the_clips_of_its_step(speaker, tmp_path, monkeypatch):
    real, calls = Lipreader.classify, []

    def broken(self, stream, parts):
        calls.append(self.training)
        factor = float("nan") if sum(calls) == 3 else 1.0
        return [logits * factor for logits in real(self, stream, parts)]

    monkeypatch.setattr(Lipreader, "classify", broken)
    with pytest.raises(FloatingPointError, match=r"loss_video is nan at step 3: lower lr.*nan-step3\.safetensors"):
        run(speaker, tmp_path, "video")
    tensors, about = checkpoint.load(tmp_path / "nan-step3.safetensors")
    assert len(about["ids"]["clips"]) == len(tensors["pictures"]) == SMALL.batch
    assert [row["step"] for row in checkpoint.load(tmp_path / engine.CHECKPOINT)[1]["history"]] == [1, 2]


def test_conditions_share_clips_views_and_first_weights(speaker, tmp_path):
    """The first step of a mixed condition has about the same loss on video as that of video alone."""
    settings = replace(SMALL, consistency=0.0)
    run(speaker, tmp_path / "video", "video", settings)
    run(speaker, tmp_path / "mixed", "0.5", settings)
    assert json.loads((tmp_path / "video/split.json").read_text()) == json.loads(
        (tmp_path / "mixed/split.json").read_text()
    )
    a, b = rows(tmp_path / "video"), rows(tmp_path / "mixed")
    assert len(a) == len(b) == SMALL.steps
    # dropout differs (twice the rows), the clips do not
    assert float(a[0]["loss_video"]) == pytest.approx(float(b[0]["loss_video"]), rel=0.15)
    assert [row["ratio"] for row in b] == ["0.5"] * 4


@pytest.mark.parametrize(
    "condition",
    ["plateau:step=0.2,patience=1,smoothing=0.0", pytest.param("uncertainty:smoothing=0.5", marks=pytest.mark.slow)],
)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(speaker, tmp_path, condition):
    whole = run(speaker, tmp_path / "whole", condition)
    with pytest.raises(Stop):
        run(speaker, tmp_path / "part", condition, on_row=stop_at(2))
    assert len(rows(tmp_path / "part")) == 2
    part = run(speaker, tmp_path / "part", condition, resume=True)
    assert_same_run(tmp_path / "part", tmp_path / "whole")
    assert len({row["ratio"] for row in rows(tmp_path / "whole")}) > 1
    assert part.errors == whole.errors
    assert run(speaker, tmp_path / "part", condition, resume=True) == part


def test_a_training_is_not_gone_on_with_under_other_settings(speaker, tmp_path):
    run(speaker, tmp_path)
    with pytest.raises(FileExistsError, match="--resume"):
        run(speaker, tmp_path)
    with pytest.raises(ValueError, match="lr 0.1 instead of 0.002"):
        run(speaker, tmp_path, settings=replace(SMALL, lr=0.1), resume=True)
    with pytest.raises(ValueError, match="data"):
        run(replace(speaker, words=speaker.words.flip(0)), tmp_path, resume=True)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json must be a JSON object, got .*it is damaged"):
        run(speaker, tmp_path, resume=True)


def test_a_checkpoint_of_the_first_edition_is_refused_by_name(speaker, tmp_path):
    """Its rows had no times, which a training that goes on adds to."""
    run(speaker, tmp_path, "linear:0:1")
    (tmp_path / "result.json").unlink()
    tensors, numbers = checkpoint.load(path := tmp_path / engine.CHECKPOINT)
    history = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in numbers["history"]]
    checkpoint.store(path, tensors, {"history": history, "curriculum": {}, "seconds": 1.0, "cpu_seconds": 1.0})
    with pytest.raises(ValueError, match=r"safetensors must be of this version, got one of an earlier: another --out"):
        run(speaker, tmp_path, "linear:0:1", resume=True)


def test_no_held_out_clip_is_ever_trained_on(speaker, tmp_path, monkeypatch):
    seen, real = set(), train.load

    def watched(speaker, clips, **kwargs):
        if kwargs.get("augment"):
            seen.update(speaker.ids[i] for i in clips.tolist())
        return real(speaker, clips, **kwargs)

    monkeypatch.setattr(train, "load", watched)
    run(speaker, tmp_path)
    split = json.loads((tmp_path / "split.json").read_text())
    assert seen == set(split["train"])
    assert not seen & set(split["held_out"])
    with open(tmp_path / "predictions.csv", newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == set(split["held_out"])


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_how_many_trainings_run_at_once(made, tmp_path):
    source = study.SpeakerFiles(made, MOUTH, tmp_path / "stores")
    speaker = study.prepare(source, workers=1, quiet=True)
    found = [
        run_all(source, speaker, tmp_path / name, workers, replace(SMALL, steps=2))
        for name, workers in (("one", 1), ("two", 2))
    ]
    for a, b in zip(*found):
        assert replace(a, seconds=0, cpu_seconds=0) == replace(b, seconds=0, cpu_seconds=0)
    assert rows(tmp_path / "one/video-seed0") == rows(tmp_path / "two/video-seed0")


def result(condition, wrong, seed=0):
    error = sum(wrong) / 6 / len(wrong)
    return train.LipResult(condition, seed, dict.fromkeys(SLOTS, error), error, 0.0, wrong, 10.0, 9.0)


def test_the_table_says_chance_what_it_rests_on_and_the_paired_difference(speaker):
    assert [report.chance()[s] for s in SLOTS] == [0.75, 0.75, 0.75, 0.96, 0.9, 0.75]
    # 24 words: 6 wrong alone; 3 less in the mix: -12.5 points, sd of (-1, -1, -1, 0) / 6 over 4 clips
    found = [result("video", [2, 2, 2, 0]), result("linear:0:1", [1, 1, 1, 0])]
    shown = report._rows(found, speaker, SMALL)
    assert shown[2][:8] == ["video alone", *["25.0"] * 7]
    assert shown[3][8] == f"-12.5 ± {100 * 0.5 / 6 / 2:.1f}"
    caption = report._caption(found, speaker, SMALL)
    assert "4 words a slot, 24 in all" in caption
    assert "nothing else" in caption


@pytest.mark.parametrize("name", CURRICULA)
def test_every_named_curriculum_ends_on_the_pure_video_that_is_tested(name):
    curriculum = train.StreamMixing(LipSettings(), CURRICULA[name]).curriculum
    assert curriculum.ratio_at(0.0) < 0.1
    assert curriculum.ratio_at(0.85) == curriculum.ratio_at(1.0) == 1
    assert report.short(CURRICULA[name]) == name


class Killed:
    def __call__(self, job):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_training_whose_process_is_killed_says_so(made, speaker, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_Trainer", Killed)
    source = study.SpeakerFiles(made, MOUTH, tmp_path / "stores")
    with pytest.raises(ChildProcessError, match="ended from outside.*--resume"):
        run_all(source, speaker, tmp_path, 2)


@pytest.mark.slow
def test_what_a_training_in_a_process_raises_ends_all_and_is_of_its_kind(made, speaker, tmp_path):
    """Where it happened is told too, for what nobody foresaw."""
    source = study.SpeakerFiles(made, MOUTH, tmp_path / "stores")
    study.prepare(source, workers=1, quiet=True)
    begun = tmp_path / "linear_0_1_0.8-seed0"
    run(speaker, begun, CURRICULA["linear"])
    with pytest.raises(ValueError, match="steps 1000000 instead of 4") as raised:
        run_all(source, speaker, tmp_path, 2, replace(SMALL, steps=10**6), resume=True)
    assert "run_folder.py" in str(raised.value.__cause__)
    assert not multiprocessing.active_children()  # nor does the other training, of a million steps, go on


def test_conditions_by_name():
    assert study.conditions_of(["video", "linear", "linear:0:1:0.8"]) == ["video", "linear:0:1:0.8"]
    for wrong in (["lineer"], [], ["linear:0:2"]):
        with pytest.raises(ValueError, match="condition"):
            study.conditions_of(wrong)


@pytest.mark.slow
def test_the_command_runs_end_to_end_on_the_shared_clips(grid, tmp_path, capsys):
    words = ["av", str(grid), "--steps", "2", "--batch", "3", "--condition", "video", "steps", "--workers", "1"]
    words += ["--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "13 clips: 11 to train on, 2 held out" in shown
    text = (tmp_path / "out/results.md").read_text()
    assert "| chance | 75.0 | 75.0 | 75.0 | 96.0 | 90.0 | 75.0 | 81.0 |" in text
    assert "<td>StreamMix steps</td>" in (tmp_path / "out/results.html").read_text()
    with open(tmp_path / "out/results.csv", newline="") as file:
        assert [row["condition"] for row in csv.DictReader(file)] == ["chance", "video", CURRICULA["steps"]]
    assert cli.main(words) == 2  # it holds results
    assert cli.main([*words, "--resume"]) == 0


def test_the_command_lists_bad_clips_and_says_so(tmp_path):
    root = make_speaker(tmp_path / "speaker", 4)
    (root / "align" / "clip00.align").write_text("")
    (root / "video" / "clip01.mpg").write_bytes(b"")
    words = ["av", str(root), "--steps", "1", "--batch", "2", "--condition", "video", "--box", str(MOUTH)]
    assert cli.main([*words, "--workers", "1", "--out", str(tmp_path / "out")]) == 1
    assert list(json.loads((tmp_path / "out/errors.json").read_text())) == ["clip00", "clip01"]
    (root / "align" / "clip02.align").unlink()
    assert cli.main([*words, "--workers", "1", "--out", str(tmp_path / "other")]) == 2  # one clip is left
    assert cli.main(["av", str(tmp_path)]) == 2
    assert cli.main([*words, "--mode", "max", "--out", str(tmp_path / "x")]) == 2


def test_words_behind_the_end_of_the_video_are_listed(made, tmp_path):
    utterances, _ = study.index(made)
    store = study.open_features(utterances, tmp_path, MOUTH, quiet=True)
    late = replace(utterances[0], spans=(*utterances[0].spans[:5], (1.9, 2.4)))
    found = data.assemble([late, *utterances[1:]], store, {})
    assert late.id not in found.ids
    assert "its words end at 2.40 s, the video at 2.00 s" in found.errors[late.id]


@pytest.mark.slow
def test_the_network_learns_the_words_of_real_clips(grid, tmp_path):
    speaker = study.prepare(study.SpeakerFiles(grid, BOX, tmp_path), workers=1, quiet=True)
    clips = torch.arange(4)
    network = learn(speaker, tmp_path / "run", "linear:0:1", LipSettings(steps=90, batch=4), clips)
    assert error_of(network, speaker, clips) < 0.1
