"""``audiomix-recipes demo``: hear what mixing does, and measure what unlabelled clips are worth, on bundled sounds."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from audiomix import mixers
from audiomix.audio import io, level
from audiomix.audio.io import Clip
from audiomix.beats.grid import BeatGrid
from audiomix.beats.plan import BeatPlan
from audiomix.datasets.demo import assets, index
from audiomix.draw import generator_for
from audiomix.plan import Plan
from audiomix.report.beat_figure import beat_picture
from audiomix.report.charts import line_chart
from audiomix.report.page import Page
from audiomix.report.show.plan_bars import Axis, partner_spans
from audiomix.terminal import Exit, Summary, show

from .. import algorithms
from ..console import say
from ..data.loader import prepare
from ..semi_supervised.train import settings, train
from ..training.config import check_seed, preset
from ..training.run_folder import RunResult, check_folder, differences, read_run

__all__ = ["demo"]

RATE = 16000
PAIRS = [
    ("sounds/dog_bark", "sounds/rain"),
    ("loops/rock_120", "sounds/birds"),
    ("loops/rock_120", "loops/house_128"),
    ("words/yes", "words/go"),
]
# Beta(5, 5) puts both sounds within hearing; the default of mixup leaves most clips almost pure
OPTIONS = {"mixup": {"alpha": 5.0}, "cutmix": {"alpha": 5.0, "fade": 0.005}, "beat": {"alpha": 5.0, "min_bars": 1.5}}
SECONDS = 4.0
METHODS = [
    ("supervised", {}),
    ("fixmatch", {}),
    ("fixmatch", {"relative_threshold": True, "distribution_alignment": True}),
]
COLUMNS = ["method", "last step, raw", "last step, EMA", "best step, raw", "best step, EMA", "seconds"]
_LEGEND = "Every sound has its waveform and its spectrogram (80 dB deep); red marks what a cut took from the partner."


def demo(out: Path = Path("audiomix-demo"), seed: int = 0) -> Summary:
    """Show what mixing buys, on the bundled sounds: about a minute on 2 CPU cores.

    Two sounds are mixed with every mixer, three methods train on the bundled words, and a page shows all of it. Runs
    that are finished in OUT are shown again if their settings are these.

    Parameters
    ----------
    out : Path
        Folder for the page and the runs.
    seed : int
        Seed of the mixes, the labelled words and the training.
    """
    began, seed = time.monotonic(), check_seed(seed)
    check_folder(out)
    page = Page("audiomix: what mixing does, and what unlabelled sound is worth", out)
    page.text("Made by audiomix-recipes demo from sounds that come with the package. " + _LEGEND, muted=True)
    page.heading("Two sounds, every mixer")
    for pair in PAIRS:
        _mix_pair(page, *pair, seed=seed)
    page.heading(f"Ten spoken words, {preset('demo').labelled} labels each")
    results, reused = _train(out, seed)
    _show(page, results, reused)
    page.text(f"The whole page took {time.monotonic() - began:.0f} s.", muted=True)
    path = page.save()
    say(f"{time.monotonic() - began:.0f} s in all. Open {path}")
    return Summary(Exit.DONE, {"page": path, "errors_last": {r.method: r.error_last for r in results}})


def _mix_pair(page: Page, a: str, b: str, *, seed: int) -> None:
    names = [n.rsplit("/", 1)[-1].replace("_", " ") for n in (a, b)]
    page.heading(f"{names[0]} and {names[1]}", level=3)
    sounds = [_sound(a), _sound(b)]
    size = max(s.shape[-1] for s in sounds)
    own, partner = (io.fit_length(s, size) for s in sounds)
    grids, texts = [_grid(a), _grid(b)], [_text(a), _text(b)]
    notes: dict[str, Any] = {"captions": texts[:1], "other_captions": texts[1:]}
    if None not in grids:
        notes |= {"beats": grids[:1], "other_beats": grids[1:]}
    mixes, on_beat = [], None
    for name in mixers.for_files():
        mixer = mixers.make(name, rate=RATE, num_classes=2, **OPTIONS.get(name, {}))
        if not mixer.needs.notes.keys() <= notes.keys():
            continue
        mixed = mixer(
            own[None], torch.tensor([0]), other=partner[None], other_target=torch.tensor([1]),
            generator=generator_for(seed, "demo", a, b, name),
            **{key: note for key, note in notes.items() if key.removeprefix("other_") in mixer.needs.notes},
        )  # fmt: skip
        x = mixed.x[0] * level.limiter_gain(mixed.x[0])
        if mixer.needs.length == "free" and mixed.lengths is not None:
            x = x[..., : int(mixed.lengths[0])]
        share = [0.0, 0.0] if mixed.target is None else mixed.target[0].tolist()
        caption = f"{name}: {share[0]:.2f} {names[0]} + {share[1]:.2f} {names[1]}"
        if mixer.needs.caption == "written":
            caption = f"{name}: {mixed.plans[0].describe(0)['caption'] or ''}"
        stem = f"{name}-{names[0]}-{names[1]}".replace(" ", "_")
        mixes.append((stem, caption, Clip(x, RATE), _spans(mixed.plans[0], size / RATE)))
        on_beat = mixed.plans[0] if "beats" in mixer.needs.notes else on_beat
    scale = max(float(s.abs().max()) for s in [own, partner, *(clip.samples for _, _, clip, _ in mixes)])
    alone = [
        (n.replace("/", "-"), f"{name}, alone", Clip(s, RATE), ()) for n, name, s in zip((a, b), names, (own, partner))
    ]
    page.sounds(alone, scale)
    page.sounds(mixes, scale)
    if isinstance(on_beat, BeatPlan):
        _show_beats(page, on_beat, sounds, grids, names)


def _show_beats(
    page: Page, plan: BeatPlan, sounds: list[torch.Tensor], grids: list[BeatGrid | None], names: list[str]
) -> None:
    page.text(
        f"The two loops have different tempi: mixed plainly (mixup) their beats fall apart. The mixer beat stretches "
        f"{names[1]} at its own pitch, so that every beat of it lies on a beat of {names[0]}, and first beats of a bar "
        "on first beats of a bar. The picture shows both before and after."
    )
    path = page.picture(f"beats-{'-'.join(names)}.png".replace(" ", "_"), f"Beats of {' and '.join(names)}")
    own, partner = (Clip(s, RATE) for s in sounds)
    beat_picture(path, plan, own, partner, *grids, names=(names[0], names[1]))


def _grid(name: str) -> BeatGrid | None:
    """Return the beats of a bundled sound, where they came with it."""
    path = (assets() / name).with_suffix(".beats")
    return BeatGrid.read(path).between(0, SECONDS) if path.is_file() else None


def _text(name: str) -> str:
    """Return the caption of a bundled sound."""
    folder, _, stem = name.partition("/")
    rows = map(json.loads, (assets() / folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    return next(row["caption"] for row in rows if row["file_name"].startswith(stem))


def _sound(name: str) -> torch.Tensor:
    path = assets() / name
    file = sorted(path.glob("*.flac"))[0] if path.is_dir() else path.with_suffix(".flac")
    return io.read(file, rate=RATE, channels=1, seconds=SECONDS).samples


def _spans(plan: Plan, seconds: float) -> list[tuple[float, float]]:
    """Return from when to when the partner replaces the original, in seconds."""
    return partner_spans(plan, 0, Axis(seconds, seconds, 0.0, 0.0, seconds)) if plan.share_of == "area" else []


def _train(out: Path, seed: int) -> tuple[list[RunResult], list[bool]]:
    """Return the results, and which of them are from an earlier demo in the same folder."""
    config = preset("demo")
    data = prepare(config, index(), out / "stores")
    results, reused = [], []
    for i, (method, given) in enumerate(METHODS):
        options = algorithms.get(method).presets.get("demo", {}) | given
        folder = out / "runs" / f"{i}-{method}-{seed}"
        run: dict[str, Any] = {"fold": data.dataset.folds[-1], "seed": seed, "options": options}
        if (folder / "config.json").is_file() and differences(folder, settings(config, data, method, **run)):
            say(f"{folder} is of other settings: trained anew")
            shutil.rmtree(folder)
        reused.append(read_run(folder) is not None)
        results.append(train(config, data, method, out=folder, resume=True, **run))
    return results, reused


def _show(page: Page, results: list[RunResult], reused: list[bool]) -> None:
    config = preset("demo")
    rows = [
        [
            r.method,
            *(f"{e:.1f} %" for e in (r.error_last, r.error_last_ema, r.error_best, r.error_best_ema)),
            f"{r.seconds:.0f}" + (" (reused)" if old else ""),
        ]
        for r, old in zip(results, reused)
    ]
    page.text(
        "480 clips of ten words, spoken by 48 synthetic voices; one fold of voices is held out for testing. Of each "
        f"word {config.labelled} clips keep their label, all others are unlabelled. All methods see the same "
        f"augmentation and {config.steps} steps. Errors are in percent of the held-out clips: of the weights as "
        "trained (raw) and of their running average (EMA). The headline is the last step, raw; the best step is "
        "chosen on the clips it is measured on. It is one draw of the labels, so a few points are noise."
    )
    best = min(range(len(results)), key=lambda i: results[i].error_last)
    page.table(COLUMNS, rows, best=[(best, 1)])
    if any(reused):
        note = "Reused: trained by an earlier demo in this folder, with the same settings; its seconds are shown."
        page.text(note, muted=True)
        say(note)
    series = {r.method: [(row["step"], row["error"]) for row in r.history] for r in results}
    page.add("chart", chart=line_chart("Error on held-out voices (raw weights, %) against training steps", series))
    table = Table(*COLUMNS, title=f"ten spoken words, {config.labelled} labels each")
    for row in rows:
        table.add_row(*row)
    show(table)
