"""One training: video alone, or with `StreamMix` under one curriculum; tested on video alone.

The clips of a step, their views, masks and dropout are functions of the seed and of the step's number, so a training
that was killed goes on to the same bits. They are not functions of the condition: with one seed all conditions are
trained on the same clips in the same views.

**Equal steps, not equal work.** Every step encodes the same pictures once. With `StreamMix` the encoder of sounds and a
second pass through the classifier come on top, of the mixed stream: about a fifth of the step's time, which the results
state in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomix import StreamMix
from audiomix.draw import generator_for
from audiomix.losses.streams import StreamLoss
from audiomix.streams.curriculum import Curriculum, entropy_sum, make_curriculum

from ..data.loader import step_indices
from ..models._modes import random_state
from ..training import engine, run_folder
from ..training.distributed import threads
from ..training.metrics_log import MetricsRow
from .data import Speaker, WordBatch, load
from .grid import SLOTS, hold_out
from .network import Lipreader, build
from .settings import LipSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["VIDEO", "LipReading", "LipResult", "StreamMixing", "read_words", "slot_errors", "train"]

VIDEO = "video"  # the condition without sound


@dataclass(frozen=True)
class LipResult:
    """The result of one training; errors are fractions of the words, read from video alone after the last step."""

    condition: str  # ``video``, or the curriculum
    seed: int  # the seed of held-out clips, first weights and batches
    errors: dict[str, float]  # of each slot, on the held-out clips
    error: float  # their mean: all slots have the same number of words
    error_train: float  # the mean on the clips that were trained on
    wrong: list[int]  # for each held-out clip, how many of its words are read wrongly
    seconds: float  # wall time of training and evaluations, on one core
    cpu_seconds: float  # processor time of the same


def train(
    settings: LipSettings,
    speaker: Speaker,
    condition: str,
    *,
    seed: int,
    out: Path,
    resume: bool = False,
    quiet: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
) -> LipResult:
    """Train one condition with one seed, on one core.

    Parameters
    ----------
    settings : LipSettings
        What all conditions share.
    speaker : Speaker
        The clips.
    condition : str
        ``video``, or a curriculum as `audiomix.streams.curriculum.make_curriculum` reads it.
    seed : int
        Decides which clips are held out, the first weights, the batches and their views.
    out, resume, quiet, on_row
        See `recipes.semi_supervised.train.train`.

    Raises
    ------
    FloatingPointError
        The loss is NaN or infinite; the checkpoint before stays.
    FileExistsError, ValueError
        `out` holds a training that is not to be resumed, or is another one.
    """
    from lightning_fabric import Fabric  # slow to import

    recipe = LipReading(Fabric(accelerator="cpu", devices=1), settings, speaker, condition, seed=seed, out=out)
    identity = asdict(settings) | {"condition": condition, "seed": seed, "data": speaker.fingerprint}
    if run_folder.holds_run(out, identity, resume=resume):
        if (result := run_folder.read_result(out, LipResult)) is not None:
            return result
    else:
        run_folder.begin(out, identity, recipe.split)
    with threads(1):  # sums depend on how many threads add them up
        engine.run(recipe.fabric, recipe, out, quiet=quiet, on_row=on_row)
    result = run_folder.read_result(out, LipResult)
    assert result is not None
    return result


class StreamMixing:
    """The sound's part in a step: the mixed stream, its losses, and the curriculum that follows them.

    `settings` say how streams are mixed, and the weights of the losses.
    """

    def __init__(self, settings: LipSettings, curriculum: str) -> None:
        self.curriculum: Curriculum = make_curriculum(curriculum)
        # not a part of the network, whose eval() would switch it off: it mixes in every step
        self.mixer = StreamMix(mode=settings.mode, rate=25)  # type: ignore[arg-type]
        self.loss = StreamLoss(consistency=settings.consistency, label_smoothing=settings.smoothing)

    def losses(
        self, network: Lipreader, batch: WordBatch, progress: float, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], float]:
        """Return the terms of the loss of a step, and the share of the picture in the mix.

        `progress` is in [0, 1], and `generator` draws the mix.
        """
        ratio = self.curriculum.ratio_at(progress)
        picture = network.encode_pictures(batch.pictures)
        sound = network.encode_sounds(batch.sounds)
        mixed = self.mixer(picture, other=sound, ratio=ratio, progress=progress, generator=generator).x
        both = network.classify(torch.cat([picture, mixed]), batch.parts.repeat(2, 1, 1, 1))
        on_video, on_mix = ([logits.chunk(2)[i] for logits in both] for i in range(2))
        slots = [
            self.loss(m, v, batch.words[:, i], progress=progress) for i, (m, v) in enumerate(zip(on_mix, on_video))
        ]
        terms = {name: torch.stack([getattr(slot, name) for slot in slots]).mean() for name in slots[0]._fields}
        self._observe(on_video, terms["mixed"])
        return {"video": terms.pop("picture"), **terms}, ratio

    def _observe(self, on_video: list[Tensor], loss: Tensor) -> None:
        if self.curriculum.needs == "logits":
            # slots have different numbers of words: each entropy is normalised by its own
            sums = [entropy_sum(logits) for logits in on_video]
            self.curriculum.update(sum(s for s, _ in sums) / sum(n for _, n in sums))  # type: ignore[attr-defined]
        else:
            self.curriculum.observe(loss=loss)


class LipReading(engine.Recipe):
    """A network that learns to read words from a mouth, under one condition with one seed; see `train`."""

    clip_norm = 5.0

    def __init__(
        self, fabric: Fabric, settings: LipSettings, speaker: Speaker, condition: str, *, seed: int, out: Path
    ) -> None:
        self.fabric, self.settings, self.speaker, self.condition = fabric, settings, speaker, condition
        self.seed, self.out = seed, out
        self.steps, self.every, self.log_every, self.clips = settings.steps, settings.every, 1, settings.batch
        train, held = hold_out(speaker.ids, settings.holdout, seed)
        self.split = {"train": train, "held_out": held}
        where = {name: i for i, name in enumerate(speaker.ids)}
        self.train_clips, self.held_clips = (torch.tensor([where[name] for name in ids]) for ids in (train, held))
        self.mixing = None if condition == VIDEO else StreamMixing(settings, condition)
        self.network = build(seed=seed)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.trained, self.modules = [self.network], {"network": self.network}
        self.others = {} if self.mixing is None else {"curriculum": self.mixing.curriculum}
        self.origin = {"condition": condition}
        self._ratio = 1.0

    def batch(self, step: int, generator: torch.Generator) -> WordBatch:
        """Return this process's slice of the step's clips, augmented."""
        batch = load(self.speaker, self._clips(step), generator=generator, augment=True)
        return batch.slice_of(self.fabric.global_rank, self.fabric.world_size)

    def losses(self, batch: WordBatch, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the cross-entropy on video and, with sound, that on the mix and the consistency of both."""
        network, rank = self.network.train(), self.fabric.global_rank
        with random_state(self.seed, "dropout", step, *([rank] if rank else [])):
            if self.mixing is not None:
                terms, self._ratio = self.mixing.losses(network, batch, step / self.steps, generator)
                return terms
            slots = network.classify(network.encode_pictures(batch.pictures), batch.parts)
        smoothing = self.settings.smoothing
        losses = [F.cross_entropy(slot, batch.words[:, i], label_smoothing=smoothing) for i, slot in enumerate(slots)]
        return {"video": torch.stack(losses).mean()}

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: a linear warm-up, then a cosine to 0."""
        settings, progress = self.settings, step / self.steps
        if progress < settings.warmup:
            return settings.lr * (progress / settings.warmup + 0.01)
        done = (progress - settings.warmup) / (1 - settings.warmup)
        return settings.lr * (1 + math.cos(math.pi * done)) / 2

    def logs(self) -> dict[str, Tensor]:
        """Return the share of the picture in the mix."""
        return {"ratio": torch.tensor(self._ratio, dtype=torch.float64)}

    def evaluate(self) -> dict[str, float]:
        """Return the share of the held-out words that are read wrongly."""
        return {"error": _mean(self._errors(self.held_clips)[0])}

    def whole_batch(self, step: int) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Return pictures, sounds and words of the step; they are made again, from the seed and the step."""
        clips = self._clips(step)
        batch = load(self.speaker, clips, generator=generator_for(self.seed, "step", step), augment=True)
        return asdict(batch), {"clips": [self.speaker.ids[i] for i in clips.tolist()]}

    def finish(self, history: Sequence[MetricsRow]) -> None:
        """Write ``predictions.csv`` and ``result.json``."""
        (errors, read), words = self._errors(self.held_clips), self.speaker.words[self.held_clips]
        rows: list[dict[str, Any]] = []
        for clip, true, guess in zip(self.held_clips.tolist(), words.tolist(), read.tolist()):
            for i, (slot, known) in enumerate(SLOTS.items()):
                cells = {"slot": slot, "word": known[true[i]], "read": known[guess[i]]}
                rows.append({"id": self.speaker.ids[clip], **cells})
        run_folder.write_csv(self.out / "predictions.csv", rows)
        error_train = _mean(self._errors(self.train_clips)[0])
        wrong = (read != words).sum(1).tolist()
        times = [round(history[-1][name], 1) for name in ("seconds", "cpu_seconds")]
        result = LipResult(self.condition, self.seed, errors, _mean(errors), error_train, wrong, *times)
        run_folder.write_result(self.out, result)

    def _errors(self, clips: Tensor) -> tuple[dict[str, float], Tensor]:
        """Return the share of words that are read wrongly, by slot, and what is read."""
        read = read_words(self.network, self.speaker, clips)
        return slot_errors(read, self.speaker.words[clips]), read

    def _clips(self, step: int) -> Tensor:
        """Return the clips of a step: all of them once, in another order each time, cut into batches."""
        return step_indices(self.train_clips, self.settings.batch, step, self.seed, "epoch")


@torch.no_grad()
def read_words(network: Lipreader, speaker: Speaker, clips: Tensor) -> Tensor:
    """Return the words that are read from video alone, as places in `SLOTS`; int64 (C, 6).

    `clips`, (C,) int64, are indices into ``speaker.ids``. The network is left in eval mode.
    """
    network.eval()
    words = []
    for some in clips.split(50):
        batch = load(speaker, some)
        logits = network.classify(network.encode_pictures(batch.pictures), batch.parts)
        words.append(torch.stack([slot.argmax(-1) for slot in logits], 1))
    return torch.cat(words)


def slot_errors(read: Tensor, words: Tensor) -> dict[str, float]:
    """Return the share of words that are read wrongly, by slot: of words read and spoken, each int64 (C, 6).

    >>> slot_errors(torch.zeros(2, 6), torch.tensor([[0] * 6, [1] + [0] * 5]))["command"]
    0.5
    """
    return dict(zip(SLOTS, (read != words).double().mean(0).tolist()))


def _mean(errors: dict[str, float]) -> float:
    return sum(errors.values()) / len(errors)
