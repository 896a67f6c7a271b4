"""A picture of any mix: original, partner and mix side by side, what is heard of each marked."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..audio.io import Clip
from ..needs import EMBEDDING, SPECTROGRAM, STREAM, WAVE
from .figures import COLOURS, INK, envelope, new_figure, save
from .mix_scene import MixScene, gains, log_mel, pieces

__all__ = ["mix_picture"]

_OWN, _PARTNER = COLOURS[0], COLOURS[1]
_RANGE_DB = 70.0
# Letters that fit above a panel.
_WIDTH = 42
# Half of the cell is the partner's: the line that is drawn around what it covers.
_HALF = 0.5


def mix_picture(
    path: str | Path,
    scenes: Sequence[MixScene],
    *,
    names: tuple[str, str] = ("original", "partner"),
    title: str = "",
    dpi: int = 110,
) -> Path:
    """Draw original, partner and mix into a PNG file.

    A wave is drawn with its log-mel spectrogram; over the mix lie the gains of the original (blue) and of the partner
    (red). On a mixed spectrogram a line runs around what is the partner's for more than half.

    Parameters
    ----------
    path : path
        The file to write.
    scenes : sequence of MixScene
        One mix in one domain or in several, one below the other.
    names : (str, str)
        What the two sounds are called.
    title : str
        Above all.
    dpi : int
        Dots an inch; the picture is 7.2 inches wide.

    Returns
    -------
    Path
        The file.
    """
    heights = [height for scene in scenes for height in ((0.75, 1.0) if scene.domain == WAVE else (1.0,))]
    figure, axes = new_figure(7.2, 0.45 + 0.25 * bool(title) + 1.05 * sum(heights), len(heights), heights, columns=3)
    axes, row = axes.reshape(-1, 3), 0
    for scene in scenes:
        for axis, text in zip(axes[row], _titles(scene, names)):
            axis.set_title(text, fontsize=7.5, loc="left", color=INK)
        if scene.domain == WAVE:
            _draw_waves(axes[row], scene)
            row += 1
        _draw_features(axes[row], scene)
        row += 1
    if title:
        figure.suptitle(title, fontsize=8.5, color=INK, x=0.01, ha="left")
    return save(figure, path, dpi=dpi)


def _titles(scene: MixScene, names: tuple[str, str]) -> list[str]:
    """Return what stands above the three panels."""
    plan, what = scene.plan, {SPECTROGRAM: " (log-mel)", STREAM: " (frames)", EMBEDDING: " (mean frame)"}
    why = plan.why[0] if plan.why and plan.why[0] else ""
    share = float(plan.weight[0]) if scene.target is None else float(scene.target[0])
    mix = "mix: the label is kept" if share == 1 else f"mix: {100 * share:.0f} % of the label is the original's"
    mix = "mix: the label is that of both" if scene.target is not None and float(scene.target.min()) == 1 else mix
    mix = f"left as it is: {why}" if why else mix
    unused = "" if len(plan.partner_rows()) or plan.sources(0) else ", not used"
    kind = what.get(scene.domain, "") if scene.stem is None else f" (stem {scene.stem + 1})"
    return [f"{names[0]}{kind}", f"{names[1]}{kind}{unused}", "\n".join(textwrap.wrap(mix, _WIDTH)[:2])]


def _draw_waves(axes: Sequence[Any], scene: MixScene) -> None:
    """Draw three waveforms to one scale, the gains over the mix, and what is heard of the sounds."""
    sounds = [x.float().mean(0) for x in (scene.own, scene.partner, scene.mixed)]
    peak = 1.05 * max(float(x.abs().max()) for x in sounds) or 1.0
    for axis, sound, colour in zip(axes, sounds, (_OWN, _PARTNER, "#8894a1")):
        low, high, step = envelope(sound, 300)
        times = (torch.arange(len(low)) + 0.5) * step / scene.rate
        axis.fill_between(times.numpy(), low.numpy() / peak, high.numpy() / peak, color=colour, linewidth=0, alpha=0.8)
        axis.set_xlim(0, len(sound) / scene.rate)
        axis.set_ylim(-1.1, 1.1)
        axis.set_yticks([-1, 0, 1])
        axis.tick_params(labelbottom=False, labelleft=axis is axes[0])
    _mark_pieces(axes, scene, [len(x) / scene.rate for x in sounds])
    for gain, colour in zip(gains(scene), (_OWN, _PARTNER)):
        line = gain[0][:: max(1, gain.shape[1] // 600)]
        times = torch.linspace(0, scene.mixed.shape[-1] / scene.rate, len(line))
        axes[2].plot(times.numpy(), line.clamp(max=1).numpy(), color=colour, linewidth=1.4)


def _mark_pieces(axes: Sequence[Any], scene: MixScene, lengths: Sequence[float]) -> None:
    for axis, source, length in zip(axes, ("original", "partner"), lengths):
        for start, stop in pieces(scene, source):
            axis.axvspan(start * length, stop * length, color=INK, alpha=0.13, linewidth=0)


def _draw_features(axes: Sequence[Any], scene: MixScene) -> None:
    """Draw three spectrograms to one scale, or three embeddings."""
    if scene.domain == EMBEDDING:
        shown = [scene.own, scene.partner, scene.mixed]
        edges = min(float(x.min()) for x in shown), max(float(x.max()) for x in shown)
        for axis, x, colour in zip(axes, shown, (_OWN, _PARTNER, "#5d6b7a")):
            axis.bar(range(len(x)), (x - edges[0]).numpy(), color=colour, width=1.0)
            axis.set_ylim(0, 1.05 * (edges[1] - edges[0]))
            axis.set_yticks([])
            axis.set_xlabel("band", labelpad=1)
        return
    sounds = (scene.own, scene.partner, scene.mixed)
    if scene.domain == WAVE:
        shown = [log_mel(Clip(x, round(scene.rate))) for x in sounds]
        lengths = [x.shape[-1] / scene.rate for x in sounds]
    else:
        shown = [x if scene.domain == SPECTROGRAM else x.T for x in sounds]
        lengths = [x.shape[-1] / scene.rate for x in shown]
    top = max(float(x.max()) for x in shown[:2])  # what is louder in the mix is as bright as that
    for axis, x, length in zip(axes, shown, lengths):
        extent = (0, length, 0, x.shape[0])
        axis.imshow(
            x.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - _RANGE_DB, vmax=top,
            interpolation="nearest",
        )  # fmt: skip
        axis.set_xlabel("s", labelpad=1)
        axis.set_yticks([])
    axes[0].set_ylabel("mel bands")
    if scene.domain != WAVE:
        _draw_border(axes[2], scene, lengths[2])


def _draw_border(axis: Any, scene: MixScene, length: float) -> None:
    """Draw a line around what is the partner's for more than half, where that differs from place to place."""
    own, partner = gains(scene)
    share = partner / (own + partner).clamp(min=1e-9)
    if float(share.max() - share.min()) < 1e-3:
        return
    bands, frames = scene.mixed.shape if scene.domain == SPECTROGRAM else scene.mixed.T.shape
    share = share.expand(bands, frames)
    edged = torch.nn.functional.pad(share[None], (1, 1, 1, 1))[0]  # a line along the edges of the picture too
    times = ((torch.arange(frames + 2) - 0.5) * length / frames).clamp(0, length)
    places = (torch.arange(bands + 2) - 0.5).clamp(0, bands)
    axis.contour(times.numpy(), places.numpy(), edged.numpy(), levels=[_HALF], colors="white", linewidths=0.9)
