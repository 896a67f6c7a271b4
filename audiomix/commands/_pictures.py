"""The pictures of ``audiomix mix``: of the waves that are written, or of what is computed from two files."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
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
from ..plan import AS_DRAWN, Plan
from ..report.beat_figure import beat_picture
from ..report.mix_figure import mix_picture
from ..report.mix_scene import MixScene, mix_features, mix_stems, shows_both, split_stems
from ..terminal import say

__all__ = ["draw_features", "draw_waves", "redraw_waves"]

# Seeds that are tried until both sounds are in a mix.
_DRAWS = 16

_COMPUTED = {
    SPECTROGRAM: "log-mel spectrograms", STEMS: "stems below and above 1 kHz",
    STREAM: "log-mel frames", EMBEDDING: "mean log-mel frames",
}  # fmt: skip


def redraw_waves(renderer: Renderer, task: Task, rendered: Rendered) -> tuple[Renderer, Rendered]:
    """Return a mix of two files in which both are: this one, or that of the next seed which has them.

    Parameters
    ----------
    renderer, task, rendered
        The mix, and how it was made.
    """
    settings, first = renderer.settings, (renderer, rendered)
    for number in range(_DRAWS):
        if number:
            renderer = Renderer(replace(settings, seed=settings.seed + number))
            rendered = renderer.render(task)
        if _is_worth_showing([_wave_scene(renderer, task, rendered)]):
            _say_seed(settings.seed, number)
            return renderer, rendered
    _say_seed(settings.seed, _DRAWS)
    return first


def _is_worth_showing(scenes: Sequence[MixScene]) -> bool:
    """Return whether both sounds are in a mix, or the plan says why they are not."""
    why = scenes[0].plan.why
    return shows_both(scenes) or (bool(why) and why[0] not in AS_DRAWN)


def _say_seed(seed: int, number: int) -> None:
    if number == _DRAWS:
        say(f"with the seeds {seed} to {seed + number - 1} one of the two sounds alone is in the mix")
    elif number:
        more = f"seed {seed + number} is drawn; --seed {seed + number} takes it for --out too"
        say(f"with seed {seed} one of the two sounds alone is in the mix: {more}")


def _wave_scene(renderer: Renderer, task: Task, rendered: Rendered) -> MixScene:
    """Return what a picture of a mix of two files shows; the sounds were decoded already."""
    plan, pair = Plan.from_json(rendered.row["plan"]), renderer.inputs(task)[1]
    return MixScene(WAVE, plan, pair.x[0], pair.other[0], rendered.mix.float() / FULL, rendered.rate)


def draw_waves(picture: Path, renderer: Renderer, task: Task, rendered: Rendered, names: tuple[str, str]) -> None:
    """Draw a mix of two files; of a mix on the beat, their beats too."""
    scene = _wave_scene(renderer, task, rendered)
    if isinstance(scene.plan, BeatPlan):
        _, pair, notes = renderer.inputs(task)
        own = pair.x[0] if pair.lengths is None else pair.x[0, :, : int(pair.lengths[0])]
        clips = io.Clip(own, pair.rate), io.Clip(pair.other[0], pair.rate)
        beat_picture(picture, scene.plan, *clips, notes["beats"][0], notes["other_beats"][0], names=names)
        return
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
        What is drawn depends on. Where a mix is one of the two sounds alone the next seed is taken, and that is said.
    """
    own, partner = (io.read(file, rate=rate) for file in files)
    if domain == STEMS:
        stems = split_stems(own), split_stems(resample(partner, own.rate))
        draws = (mix_stems(mixer, *stems, seed=seed + k) for k in range(_DRAWS))
    else:
        draws = ([mix_features(mixer, own, partner, domain, seed=seed + k)] for k in range(_DRAWS))
    first = next(draws)
    numbered = enumerate(chain([first], draws))
    number, scenes = next((pair for pair in numbered if _is_worth_showing(pair[1])), (_DRAWS, first))
    _say_seed(seed, number)
    scene = scenes[0]
    mix_picture(picture, scenes, names=names, dpi=150)
    say(f"{_COMPUTED[domain]} were mixed: no sound file can be written of them, only the picture")
    label = None if scene.target is None else dict(zip(names, scene.target.tolist()))
    facts = {"picture": str(picture), "mixed": _COMPUTED[domain], "label": label, "seed": seed + number % _DRAWS}
    return facts | scene.plan.describe(0) | {"plan": loads(scene.plan.to_json())}
