"""The pictures of ``audiomix mix``: of the waves that are written, or of what is computed from two files."""

from json import loads
from pathlib import Path
from typing import Any

from ..audio import io
from ..audio.io import resample
from ..beats.plan import BeatPlan
from ..mixer import Mixer
from ..needs import EMBEDDING, SPECTROGRAM, STEMS, STREAM, WAVE
from ..offline.render import Rendered, Renderer, Task
from ..offline.stems import FULL
from ..plan import Plan
from ..report.beat_figure import beat_picture
from ..report.mix_figure import mix_picture
from ..report.mix_scene import MixScene, mix_features, mix_stems, split_stems
from ..terminal import say

__all__ = ["draw_features", "draw_waves"]

_COMPUTED = {
    SPECTROGRAM: "log-mel spectrograms", STEMS: "stems below and above 1 kHz",
    STREAM: "log-mel frames", EMBEDDING: "mean log-mel frames",
}  # fmt: skip


def draw_waves(picture: Path, renderer: Renderer, task: Task, rendered: Rendered, names: tuple[str, str]) -> None:
    """Draw a mix of two files; of a mix on the beat, their beats too."""
    plan = Plan.from_json(rendered.row["plan"])
    _, pair, notes = renderer.inputs(task)  # decoded already
    own = pair.x[0] if pair.lengths is None else pair.x[0, :, : int(pair.lengths[0])]
    if isinstance(plan, BeatPlan):
        clips = io.Clip(own, pair.rate), io.Clip(pair.other[0], pair.rate)
        beat_picture(picture, plan, *clips, notes["beats"][0], notes["other_beats"][0], names=names)
        return
    scene = MixScene(WAVE, plan, pair.x[0], pair.other[0], rendered.mix.float() / FULL, rendered.rate)
    mix_picture(picture, [scene], names=names, dpi=150)


def draw_features(
    picture: Path, mixer: Mixer, files: tuple[Path, Path], names: tuple[str, str], domain: str, *, rate: int, seed: int
) -> dict[str, Any]:
    """Mix and draw what is computed from two files; return what was done, as plain values.

    Parameters
    ----------
    picture : Path
        The .png file to write.
    mixer : Mixer
        Of this domain.
    files : (Path, Path)
        The original and its partner.
    names : (str, str)
        Of the two.
    domain : str
        ``spectrogram``, ``stems``, ``stream`` or ``embedding``.
    rate : int
        To which both are brought, in Hz.
    seed : int
        What is drawn depends on.
    """
    own, partner = (io.read(file, rate=rate) for file in files)
    if domain == STEMS:
        scenes = mix_stems(mixer, split_stems(own), split_stems(resample(partner, own.rate)), seed=seed)
    else:
        scenes = [mix_features(mixer, own, partner, domain, seed=seed)]
    scene = scenes[0]
    mix_picture(picture, scenes, names=names, dpi=150)
    say(f"{_COMPUTED[domain]} were mixed: no sound file can be written of them, only the picture")
    label = None if scene.target is None else dict(zip(names, scene.target.tolist()))
    facts = {"picture": str(picture), "mixed": _COMPUTED[domain], "label": label, "seed": seed}
    return facts | scene.plan.describe(0) | {"plan": loads(scene.plan.to_json())}
