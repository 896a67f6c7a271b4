"""Draw the pictures of the README: ``python assets/make_pictures.py [OUT]``.

``idea.png``
    Two bundled sounds with a label, a caption and a picture each; the plan that a mixer drew; and what follows from the
    plan for all four. Everything on the right is computed by the package from that one plan.
``result-*.png``
    The headline results, from the tables in ``assets/results``.

Nothing depends on the time or on the machine but for the rounding of its arithmetic.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from audiomix import MixUp, mix_captions, mix_pictures
from audiomix.audio.io import read
from audiomix.report.figures import COLOURS, INK, envelope, new_figure, save

ASSETS = Path(__file__).parent
RESULTS = ASSETS / "results"
OWN, PARTNER, MIXED = COLOURS[0], COLOURS[1], COLOURS[4]
MUTED = COLOURS[5]
NAMES, CAPTIONS = ("siren", "dog bark"), ("A siren wails.", "A dog barks.")
WEIGHT = 0.6
HEIGHT, WIDTH = 60, 100  # pixels of the small films


def draw_idea(path):
    """Draw two clips, one plan, and what follows for sound, label, caption and picture."""
    clips = [read(ASSETS / "sounds" / f"{name.replace(' ', '_')}.flac") for name in NAMES]
    waves = torch.stack([clip.samples[:, : 2 * clip.rate] for clip in clips])
    films = torch.stack([draw_lamp(), draw_paw()])[:, None]
    mixed = MixUp(weight=WEIGHT, num_classes=2)(waves, torch.arange(2))
    plan = mixed.plans[0]
    pictures, captions = mix_pictures(films, plan), mix_captions(CAPTIONS, plan)

    figure, _ = new_figure(9.6, 4.3)
    figure.clf()
    figure.set_layout_engine("none")
    figure.patch.set_facecolor("white")
    titles = ("a clip", "its partner", "the mix")
    for left, title, colour in zip((0.08, 0.275, 0.75), titles, (OWN, PARTNER, MIXED)):
        figure.text(left, 0.93, title, fontsize=13, color=colour, weight="bold")
    for name, y in zip(("sound", "label", "caption", "picture"), (0.75, 0.545, 0.415, 0.20)):
        figure.text(0.066, y, name, fontsize=9, color=MUTED, ha="right", va="center")
    for index, (left, colour) in enumerate(zip((0.08, 0.275), (OWN, PARTNER))):
        draw_wave(figure, (left, 0.64, 0.165, 0.22), waves[index], colour)
        draw_bar(figure, (left, 0.52, 0.165, 0.05), torch.eye(2)[index])
        figure.text(left, 0.415, CAPTIONS[index], fontsize=9, color=INK, va="center")
        draw_frame(figure, (left, 0.05, 0.165, 0.30), films[index, 0])
    draw_wave(figure, (0.75, 0.64, 0.235, 0.22), mixed.x[0], MIXED)
    draw_bar(figure, (0.75, 0.52, 0.235, 0.05), mixed.target[0])
    figure.text(0.75, 0.415, captions[0], fontsize=9, color=INK, va="center")
    draw_frame(figure, (0.75, 0.05, 0.165, 0.30), pictures[0, 0])
    draw_plan(figure, plan)
    return save(figure, path, dpi=110)


def draw_plan(figure, plan):
    """Draw the box of the plan between the clips and the mix."""
    share = float(plan.weight[0])
    text = f"partner  {int(plan.partner[0])}\nweight   {share:.1f}\ngains    {share:.1f}, {1 - share:.1f}"
    box = {"boxstyle": "round,pad=0.8", "facecolor": "#f4f6f9", "edgecolor": MUTED}
    figure.text(0.512, 0.5, text, fontsize=10, family="monospace", color=INK, va="center", linespacing=1.5, bbox=box)
    figure.text(0.512, 0.66, "one plan", fontsize=13, color=INK, weight="bold")
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    for start, stop in ((0.452, 0.49), (0.69, 0.728)):
        arrow = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 2, "mutation_scale": 18}
        axes.annotate("", (stop, 0.5), (start, 0.5), arrowprops=arrow)


def draw_wave(figure, place, wave, colour):
    """Draw the envelope of a wave (1, T)."""
    axes = figure.add_axes(place, frameon=False)
    low, high, _ = envelope(wave[0], 400)
    axes.fill_between(np.arange(len(low)), low.numpy(), high.numpy(), color=colour, linewidth=0)
    axes.set(xticks=[], yticks=[], ylim=(-0.75, 0.75), xlim=(0, len(low)))
    axes.axhline(0, color=colour, linewidth=0.6)


def draw_bar(figure, place, label):
    """Draw the shares of the two classes as one bar."""
    axes = figure.add_axes(place, frameon=False)
    start = 0.0
    for name, share, colour in zip(NAMES, label.tolist(), (OWN, PARTNER)):
        if share > 0:
            axes.barh(0, share, left=start, color=colour)
            text = name if share == 1 else f"{name} {share:.1f}"
            axes.text(start + share / 2, 0, text, color="white", fontsize=9, ha="center", va="center")
        start += share
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(-0.4, 0.4))


def draw_frame(figure, place, frame):
    """Draw a picture (3, H, W) of bytes."""
    axes = figure.add_axes(place)
    axes.imshow(frame.permute(1, 2, 0).numpy(), aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_lamp():
    """Return a film's frame (3, H, W): the lamp of an ambulance, in blue."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    frame = paint(torch.full((3, HEIGHT, WIDTH), 255.0), torch.ones_like(y, dtype=torch.bool), "#dbe8f4")
    angle = torch.atan2(42.0 - y, x - 50.0)
    distance = torch.hypot(x - 50.0, y - 42.0)
    rays = (distance > 27) & (distance < 38) & (y < 42) & ((angle * 5 / torch.pi * 2).round() % 2 == 1)
    frame = paint(frame, rays, "#7fb2dc")
    frame = paint(frame, (distance < 22) & (y < 42), OWN)
    return paint(frame, (y >= 42) & (y < 50) & (x > 22) & (x < 78), INK).byte()


def draw_paw():
    """Return a film's frame (3, H, W): the print of a paw, in red."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    frame = paint(torch.full((3, HEIGHT, WIDTH), 255.0), torch.ones_like(y, dtype=torch.bool), "#f8e0e3")
    for right, down, wide, high in ((50, 40, 14, 11), (32, 27, 5, 7), (43, 17, 5, 7), (57, 17, 5, 7), (68, 27, 5, 7)):
        frame = paint(frame, ((x - right) / wide) ** 2 + ((y - down) / high) ** 2 < 1, PARTNER)
    return frame.byte()


def paint(frame, mask, colour):
    """Return the frame with a colour where the mask is True."""
    rgb = torch.tensor([float(int(colour[i : i + 2], 16)) for i in (1, 3, 5)])
    return torch.where(mask, rgb[:, None, None], frame)


def read_errors(table, names, column="ema_error"):
    """Return the error of each named row of a bench's ``table.csv``."""
    with open(RESULTS / table / "table.csv", encoding="utf-8", newline="") as file:
        rows = {row["row"]: float(row[column]) for row in csv.DictReader(file)}
    return {text: rows[name] for name, text in names.items()}


def draw_bars(path, errors, title):
    """Draw errors as bars, the best of them dark."""
    figure, axes = new_figure(3.3, 2.3)
    names, values = list(errors)[::-1], list(errors.values())[::-1]
    colours = [OWN if value == min(values) else "#a9c6de" for value in values]
    axes.barh(names, values, color=colours, height=0.65)
    for row, value in enumerate(values):
        axes.text(value + 0.02 * max(values), row, f"{value:.1f} %", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, 1.25 * max(values))
    axes.set_xticks([])
    axes.tick_params(labelsize=8, length=0, colors=INK)
    axes.set_title(title, fontsize=8.5, color=INK, loc="left")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return save(figure, path, dpi=110)


def draw_labels(path):
    """Draw the error against the number of labels a class, of the table in ``esc10-labels``."""
    with open(RESULTS / "esc10-labels" / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = new_figure(3.3, 2.3)
    labels = list(dict.fromkeys(row["labelled"] for row in rows))
    methods = {"supervised": "supervised", "remixmatch": "ReMixMatch", "freematch": "FreeMatch"}
    for colour, (method, text) in zip((MUTED, OWN, PARTNER), methods.items()):
        means = [
            np.mean([float(r["error_last_ema"]) for r in rows if r["method"] == method and r["labelled"] == labelled])
            for labelled in labels
        ]
        axes.plot(range(len(labels)), means, "o-", color=colour, markersize=3.5, linewidth=1.6, label=text)
        axes.text(-0.08, means[0], f"{means[0]:.0f}", color=colour, fontsize=8, ha="right", va="center")
    axes.set_xticks(range(len(labels)), [text.replace("100%", "all 32") for text in labels])
    axes.set(ylim=(0, 56), xlim=(-0.45, len(labels) - 0.8), xlabel="labels a class")
    axes.set_title("ESC-10: error in % by labels a class", fontsize=8.5, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=7.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return save(figure, path, dpi=110)


MIXED_BASELINE = "supervised (equal compute: steps={}) + mixup"
THREE_LABELS = {
    MIXED_BASELINE.format(3246): "supervised",
    "fixmatch": "FixMatch",
    "adamatch": "AdaMatch",
    "remixmatch + mixup": "ReMixMatch",
}
BIRDNET = {
    MIXED_BASELINE.format(2676): "supervised",
    "remixmatch + mixup": "ReMixMatch",
    "supervised (head=graph)": "supervised,\ngraph head",
    "adamatch": "AdaMatch",
}


def draw_all(out):
    """Draw all into a folder, in few colours; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    three_labels = read_errors("esc10-three-labels", THREE_LABELS)
    encoder = read_errors("esc10-birdnet", BIRDNET, "raw_error")
    files = [
        draw_idea(out / "idea.png"),
        draw_bars(out / "result-three-labels.png", three_labels, "ESC-10, 3 labels a class: error"),
        draw_bars(out / "result-encoder.png", encoder, "the same, on BirdNET's embeddings: error"),
        draw_labels(out / "result-labels.png"),
    ]
    for file in files:
        with Image.open(file) as drawn:
            image = drawn.convert("RGB").quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        image.save(file, optimize=True)
    return files


def main():
    """Draw all, and say how large they are."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the README.")
    parser.add_argument("out", nargs="?", type=Path, default=ASSETS / "pictures", help="folder to write to")
    for file in draw_all(parser.parse_args().out):
        print(f"{file}: {file.stat().st_size / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
