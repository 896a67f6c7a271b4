"""One training: video alone, or with `StreamMix` under one curriculum; tested on video alone.

Nothing about a step depends on the steps before it but what is in the checkpoint: its clips, their views, masks and
dropout are functions of the seed and of the step's number, so a training that was killed goes on to the same bits. They
are not functions of the condition either: with one seed all conditions see the same clips in the same views.

**Equal steps, not equal work.** Every step looks at the same pictures once. With `StreamMix` the sound's branch and a
second pass through the reader come on top, of the mixed stream: about a fifth of the step's time, which the results
state in seconds.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from audiomix.streams.mix import StreamMix
from torch import Tensor
from torch.nn import functional as F

import audiomix
from audiomix.draw import generator_for, permutation
from audiomix.losses.streams import StreamLoss
from audiomix.streams.curriculum import Curriculum, entropy_sum, make_curriculum

from ..console import progress_bar
from ..training import checkpoint
from ..training import run_folder as runfolder
from ..training.distributed import threads
from .data import Batch, Speaker, load, slot_sizes
from .grid import SLOTS, hold_out
from .network import Lipreader, build, lent
from .settings import Settings

__all__ = ["VIDEO", "Outcome", "errors_of", "finished", "train"]

VIDEO = "video"  # the condition without sound
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Outcome:
    """What one training came to; errors are fractions of the words, read from video alone after the last step.

    Parameters
    ----------
    condition : str
        ``video``, or the curriculum.
    seed : int
    errors : dict of str to float
        Of each slot, on the held-out clips.
    error : float
        Their mean: all slots have the same number of words.
    error_train : float
        The mean on the clips that were trained on.
    wrong : list of int
        For each held-out clip, how many of its words are read wrongly.
    seconds, cpu_seconds : float
        Of training and evaluations, on one core: wall time, and what the core really worked.
    """

    condition: str
    seed: int
    errors: dict[str, float]
    error: float
    error_train: float
    wrong: list[int]
    seconds: float
    cpu_seconds: float


def train(
    settings: Settings,
    speaker: Speaker,
    condition: str,
    *,
    seed: int,
    out: Path,
    resume: bool = False,
    quiet: bool = False,
    on_row: Callable[[int], None] | None = None,
) -> Outcome:
    """Train one condition with one seed, on one core.

    Parameters
    ----------
    settings : Settings
    speaker : Speaker
    condition : str
        ``video``, or a curriculum as `audiomix.streams.curriculum.make_curriculum` reads it.
    seed : int
        Decides which clips are held out, the first weights, the batches and their views.
    out : Path
        The training's folder.
    resume : bool
        Go on with the training in `out`, if there is one; a finished one is returned as it is.
    quiet : bool
        Show no progress.
    on_row : callable, optional
        Called with the number of steps done, once their checkpoint is written.

    Raises
    ------
    FloatingPointError
        The loss is NaN or infinite; the checkpoint before stays.
    FileExistsError, ValueError
        `out` holds a training that is not to be resumed, or is another one.
    """
    mixing = None if condition == VIDEO else Mixing(settings, condition)
    trained, held = hold_out(speaker.ids, settings.holdout, seed)
    identity = asdict(settings) | {"condition": condition, "seed": seed} | _data(speaker)
    if runfolder.started(out, identity, resume=resume):
        if (done := finished(out)) is not None:
            return done
    else:
        _begin(out, identity, {"train": trained, "held_out": held})
    where = {name: i for i, name in enumerate(speaker.ids)}
    rows = [torch.tensor([where[name] for name in names]) for names in (trained, held)]
    with threads(1):  # sums depend on how many threads add them up
        outcome, said = _loop(settings, speaker, condition, mixing, rows[0], rows[1], seed, out, quiet, on_row)
    _write_predictions(out, held, speaker.words[rows[1]], said)
    runfolder.write_json(out / "result.json", asdict(outcome))
    return outcome


class Mixing:
    """The sound's part in a step: the mixed stream, its losses, and what the curriculum makes of them."""

    def __init__(self, settings: Settings, curriculum: str) -> None:
        self.curriculum: Curriculum = make_curriculum(curriculum)
        self.mixer = StreamMix(mode=settings.mode, rate=25)  # type: ignore[arg-type]
        self.loss = StreamLoss(consistency=settings.consistency, label_smoothing=settings.smoothing)

    def losses(self, network: Lipreader, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Any]:
        """Return the terms of the loss, and the ratio under ``ratio``."""
        ratio = self.curriculum.ratio_at(progress)
        picture = network.see(batch.pictures)
        mixed = self.mixer(picture, other=network.hear(batch.sounds), ratio=ratio, generator=generator).x
        both = network.read(torch.cat([picture, mixed]), batch.parts.repeat(2, 1, 1, 1))
        video, mix = ([logits.chunk(2)[i] for logits in both] for i in range(2))
        slots = [self.loss(m, v, batch.words[:, i], progress=progress) for i, (m, v) in enumerate(zip(mix, video))]
        terms = {name: torch.stack([getattr(slot, name) for slot in slots]).mean() for name in slots[0]._fields}
        self._observe(video, terms["mixed"])
        return {"video": terms.pop("picture"), **terms, "ratio": ratio}

    def _observe(self, video: list[Tensor], loss: Tensor) -> None:
        if self.curriculum.needs == "logits":
            # slots have different numbers of words: each entropy is normalised by its own
            sums = [entropy_sum(logits) for logits in video]
            self.curriculum.update(sum(s for s, _ in sums) / sum(n for _, n in sums))  # type: ignore[attr-defined]
        else:
            self.curriculum.observe(loss=loss)


def _task(logits: list[Tensor], words: Tensor, settings: Settings) -> Tensor:
    smoothing = settings.smoothing
    terms = [F.cross_entropy(slot, words[:, i], label_smoothing=smoothing) for i, slot in enumerate(logits)]
    return torch.stack(terms).mean()


def _loop(
    settings: Settings,
    speaker: Speaker,
    condition: str,
    mixing: Mixing | None,
    trained: Tensor,
    held: Tensor,
    seed: int,
    out: Path,
    quiet: bool,
    on_row: Callable[[int], None] | None,
) -> tuple[Outcome, Tensor]:
    network = build(slot_sizes(), seed=seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    history, spent, worked = _resumed(out / CHECKPOINT, network, optimiser, mixing)
    began, began_cpu = time.monotonic() - spent, time.process_time() - worked
    with progress_bar(quiet=quiet) as bar:
        steps = range(len(history), settings.steps)
        for step in bar.track(steps, settings.steps, description=str(out), completed=len(history)):
            row = _step(settings, speaker, network, optimiser, mixing, trained, seed, step)
            history.append({"step": step + 1, **row, "error": None})
            if (step + 1) % settings.every == 0 or step + 1 == settings.steps:
                history[-1]["error"] = _mean(errors_of(network, speaker, held)[0])
                clocks = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - began_cpu}
                state = {} if mixing is None else mixing.curriculum.state_dict()
                tensors = checkpoint.gather({"network": network}, optimiser)
                numbers = {"history": history, "curriculum": state, **clocks}
                checkpoint.store(out / CHECKPOINT, tensors, numbers)
                runfolder.write_metrics(out, history)
                if on_row is not None:
                    on_row(step + 1)
    errors, said = errors_of(network, speaker, held)
    seconds, cpu = round(time.monotonic() - began, 1), round(time.process_time() - began_cpu, 1)
    train_error = _mean(errors_of(network, speaker, trained)[0])
    wrong = (said != speaker.words[held]).sum(1).tolist()
    return Outcome(condition, seed, errors, _mean(errors), train_error, wrong, seconds, cpu), said


def _step(
    settings: Settings,
    speaker: Speaker,
    network: Lipreader,
    optimiser: torch.optim.Optimizer,
    mixing: Mixing | None,
    trained: Tensor,
    seed: int,
    step: int,
) -> dict[str, Any]:
    generator, progress = generator_for(seed, "step", step), step / settings.steps
    batch = load(speaker, trained[_clips(len(trained), settings.batch, seed, step)], generator=generator, augment=True)
    for group in optimiser.param_groups:
        group["lr"] = _learning_rate(settings, progress)
    network.train()
    with lent(seed, "dropout", step):
        if mixing is None:
            logits = network.read(network.see(batch.pictures), batch.parts)
            terms: dict[str, Any] = {"video": _task(logits, batch.words, settings)}
        else:
            terms = mixing.losses(network, batch, progress, generator)
    row = {"lr": optimiser.param_groups[0]["lr"], "ratio": terms.pop("ratio", 1.0)}
    row |= {f"loss_{name}": float(term.detach()) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in row.values()):
        raise FloatingPointError(f"the loss is not finite at step {step + 1}: {row}: lower lr, or look at the clips")
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return row


def _clips(count: int, batch: int, seed: int, step: int) -> Tensor:
    """Return which clips step `step` takes: all of them once, in another order each time, cut into batches."""
    first = step * batch
    epochs = range(first // count, (first + batch - 1) // count + 1)
    order = torch.cat([permutation(count, generator=generator_for(seed, "epoch", epoch)) for epoch in epochs])
    return order[first - epochs[0] * count :][:batch]


def _learning_rate(settings: Settings, progress: float) -> float:
    if progress < settings.warmup:
        return settings.lr * (progress / settings.warmup + 0.01)
    done = (progress - settings.warmup) / (1 - settings.warmup)
    return settings.lr * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def errors_of(network: Lipreader, speaker: Speaker, clips: Tensor) -> tuple[dict[str, float], Tensor]:
    """Return the share of words that are read wrongly from video alone, by slot; and what is read, (C, 6)."""
    network.eval()
    said = []
    for part in clips.split(50):
        batch = load(speaker, part)
        logits = network.read(network.see(batch.pictures), batch.parts)
        said.append(torch.stack([slot.argmax(-1) for slot in logits], 1))
    read = torch.cat(said)
    wrong = (read != speaker.words[clips]).double().mean(0).tolist()
    return dict(zip(SLOTS, wrong)), read


def finished(out: Path) -> Outcome | None:
    """Return what the training in a folder came to, or None if it is not finished."""
    if not (out / "result.json").is_file():
        return None
    return Outcome(**json.loads((out / "result.json").read_text(encoding="utf-8")))


def _mean(errors: dict[str, float]) -> float:
    return sum(errors.values()) / len(errors)


def _data(speaker: Speaker) -> dict[str, Any]:
    return {"data": speaker.fingerprint}


def _begin(out: Path, identity: dict[str, Any], split: dict[str, list[str]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    versions = {"audiomix": audiomix.__version__, "torch": torch.__version__, "python": platform.python_version()}
    runfolder.write_json(out / "split.json", split)
    runfolder.write_json(out / "config.json", {"settings": identity, "versions": versions})


def _resumed(
    path: Path, network: Lipreader, optimiser: torch.optim.Optimizer, mixing: Mixing | None
) -> tuple[list[dict[str, Any]], float, float]:
    """Put the training's state back, if there is a checkpoint; return the rows so far and the seconds they took."""
    if not path.is_file():
        return [], 0.0, 0.0
    tensors, numbers = checkpoint.load(path)
    checkpoint.restore(tensors, {"network": network}, optimiser)
    if mixing is not None:
        mixing.curriculum.load_state_dict(numbers["curriculum"])
    return numbers["history"], numbers["seconds"], numbers["cpu_seconds"]


def _write_predictions(out: Path, ids: list[str], words: Tensor, said: Tensor) -> None:
    rows = []
    for name, true, read in zip(ids, words.tolist(), said.tolist()):
        for i, (slot, known) in enumerate(SLOTS.items()):
            rows.append({"id": name, "slot": slot, "word": known[true[i]], "read": known[read[i]]})
    runfolder.write_csv(out / "predictions.csv", rows)
