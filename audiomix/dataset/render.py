"""Render one item: what comes out depends on the task and the settings alone, not on order, workers or time."""

import copy
import importlib.metadata
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor

from .. import __version__, check, draw, io, level
from ..beats.grid import BeatGrid
from ..io import AudioError, Clip
from ..mixer import Mixer
from ..plan import Mixed, Plan
from ..schedule import Schedule
from ..targets import captions
from .fitting import Pair, fitted
from .formats import unfit
from .manifest import Item
from .sources import Sources, enough_memory

__all__ = ["Rendered", "Renderer", "Settings", "Task", "described", "versions"]

_FULL = 32768
# Samples that are scaled at a time, in float64.
_BLOCK = 1 << 20
# Partners that are tried until one can be aligned.
_ALIGNED_TRIES = 4


@dataclass(frozen=True)
class Settings:
    """What all files of a run have in common; see `audiomix.dataset.augment.augment`."""

    mixer: Mixer
    classes: tuple[str, ...] = ()
    seed: int = 0
    format: str = "flac"
    rate: int | None = None
    channels: int | None = None
    length: str | float = "original"
    crop: str = "random"
    stems: bool = False


class Task(NamedTuple):
    """One file to be made: its `number` in the run, the original, its copy, the name without suffix, and partners.

    The first partner that can be read is used. For mixers that need beats: the grids of the whole files, by id; and the
    first partner is used that can be aligned, if there is one.
    """

    number: int
    item: Item
    copy: int
    name: str
    partners: tuple[Item, ...]
    beats: Mapping[str, BeatGrid] | None = None


@dataclass(frozen=True, eq=False)
class Rendered:
    """What is written: `mix` and `stems`, int32 of shape (C, T), the rate in Hz, and the manifest's row."""

    mix: Tensor
    stems: tuple[Tensor, ...]
    rate: int
    row: dict[str, Any]


class Renderer:
    """Render tasks, keeping decoded sources between them.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sources = Sources(settings.rate)
        self._mixers: dict[int, Mixer] = {}
        self._place = {name: i for i, name in enumerate(settings.classes)}

    def render(self, task: Task) -> Rendered:
        """Mix one item with its partner.

        Raises
        ------
        AudioError
            The original, or every partner, cannot be read; there is no partner.
        ValueError
            The mixer refuses this pair.
        """
        s = self.settings
        partner, pair, mixed, more = self._mixed(task)
        mixer = self._mixer(pair.rate)
        x, target, plan = mixed.x, mixed.target, mixed.plans[0]
        size = int(mixed.lengths[0]) if mixer.changes_length and mixed.lengths is not None else x.shape[-1]
        x = x[..., :size]
        del mixed
        if not _finite(x):
            check.fail("the mix", "finite", "NaN or infinite samples")
        targets = [self._target(task.item)]
        heard = [(task.item, pair.offsets[0]), (partner, pair.offsets[1])]
        if _left_out(plan, x, pair.x, target, targets[0]):
            heard = heard[:1]
        # from here on each sound is let go as soon as it is not needed: those of long files are large
        parts = _stems(mixer, pair, plan, x) if s.stems else []
        rate = pair.rate
        del pair
        gain_db, factor = _limiter([x[0], *parts])
        parts = parts or [x[0]]
        del x
        whole = [_whole_numbers(parts.pop(0), factor) for _ in range(len(parts))]
        mix = torch.add(*whole) if s.stems else whole[0]
        row = {**self._row(task, heard, plan, target, Clip(mix, rate), gain_db), **more}
        return Rendered(mix, tuple(whole) if s.stems else (), rate, row)

    def inputs(self, task: Task) -> tuple[Item, Pair, dict[str, Any]]:
        """Return the first partner that can be read, the two sounds as a mixer gets them, and their beats, if known.

        Raises
        ------
        AudioError
            As `render`.
        """
        partner, pair = next(self._pairs(task))
        return partner, pair, _context(task, partner, pair)

    def _mixed(self, task: Task) -> tuple[Item, Pair, Mixed, dict[str, Any]]:
        """Mix with the first partner that can be read; of beats, with the first of a few that can be aligned."""
        best = None
        for number, (partner, pair) in enumerate(self._pairs(task)):
            mixer = self._mixer(pair.rate)
            generator = draw.generator_for(self.settings.seed, "mix", task.item.id, partner.id, task.copy)
            own, theirs = self._target(task.item), self._target(partner)
            context = _context(task, partner, pair) if mixer.needs_beats else {}
            mixed = mixer(
                pair.x, own, other=pair.other, other_target=theirs, lengths=pair.lengths, generator=generator, **context
            )
            more = mixer.manifest(mixed.plans[0], 0, context) if context else {}
            best = best or (partner, pair, mixed, more)
            if more.get("aligned", True):
                return partner, pair, mixed, more
            if number + 1 == _ALIGNED_TRIES:
                break
        assert best is not None  # _pairs raises where there is none
        return best

    def _pairs(self, task: Task) -> Iterator[tuple[Item, Pair]]:
        """Yield the partners that can be read, fitted to the original; raise where there is none."""
        s, item = self.settings, task.item
        if not task.partners:
            raise AudioError(f"{item.path}: no partner: no other file that it may meet (split, fold, pairing)")
        fixed = s.length if isinstance(s.length, float) else None
        random = s.crop == "random"
        reasons: list[str] = []
        found = False
        for partner in task.partners:
            generator = draw.generator_for(s.seed, "crop", item.id, partner.id, task.copy)
            at = draw.uniform(0, 1, 2, generator=generator).tolist() if random else [0.0, 0.0]
            with enough_memory(item.path, " to read it"):
                own = self.sources.piece(item.path, fixed, at[0])
            _check_fits(item, own[0], s)
            most = None if s.length == "longest" else fixed or own[0].seconds
            if s.mixer.needs_beats and most is not None:  # room for the beats to be laid on each other
                most = 1.2 * most + 20.0
            try:
                with enough_memory(partner.path, " to read it"):
                    theirs, start = self.sources.piece(partner.path, most, at[1])
                    theirs = io.resample(theirs, own[0].rate)
            except AudioError as error:
                reasons.append(str(error).replace(partner.path, partner.id))
                continue
            found = True
            pair = fitted(own, (theirs, start), s.length, s.channels, at, whole_partner=s.mixer.needs_beats)
            del own, theirs  # while the pair is mixed only its own samples are held
            yield partner, pair
        if found:
            return
        raise AudioError(f"{item.path}: none of its partners can be read: " + "; ".join(reasons))

    def _mixer(self, rate: int) -> Mixer:
        """Return the mixer as made for this rate: one that needs a rate gets each file's."""
        if rate not in self._mixers:
            self._mixers[rate] = mixer = copy.deepcopy(self.settings.mixer)
            for part in mixer.modules():
                if getattr(part, "rate", None) is not None:
                    part.rate = rate  # type: ignore[assignment]
        return self._mixers[rate]

    def _target(self, item: Item) -> Tensor | None:
        if not self.settings.classes or item.label is None:
            return None
        target = torch.zeros(1, len(self._place), dtype=torch.float64)
        for name, share in ({item.label: 1.0} if isinstance(item.label, str) else item.label).items():
            target[0, self._place[name]] = share
        return target

    def _row(
        self,
        task: Task,
        heard: list[tuple[Item, float]],
        plan: Plan,
        target: Tensor | None,
        clip: Clip,
        gain_db: float,
    ) -> dict[str, Any]:
        s, item = self.settings, task.item
        mixer = self._mixer(clip.rate)
        name_and_options = described(mixer)
        label = None
        if target is not None:
            label = {s.classes[int(i)]: float(target[0, i]) for i in target[0].nonzero().flatten()}
        sound = clip.samples.float() / _FULL
        return {
            "file_name": f"{task.name}.{s.format}",
            "label": label,
            "caption": _caption(mixer, [source for source, _ in heard]),
            "captions": [source.caption for source, _ in heard if source.caption],
            "split": item.split,
            "fold": item.fold,
            "group": item.group,
            "licence": " + ".join(sorted({source.licence or "unknown" for source, _ in heard})),
            "sources": [_source(source, offset) for source, offset in heard],
            "mixer": name_and_options["name"],
            "options": _json(name_and_options["options"]),
            "plan": plan.to_json(),
            "seed": s.seed,
            "copy": task.copy,
            "rate": clip.rate,
            "channels": len(sound),
            "seconds": clip.seconds,
            "rms_db": round(float(level.db(level.rms(sound[None]))), 2),
            "peak_db": round(float(level.db(level.peak(sound[None]))), 2),
            "limiter_gain_db": gain_db,
            "stems": [f"{task.name}.stem{i}.{s.format}" for i in range(2)] if s.stems else [],
            "versions": versions(),
        }


def _context(task: Task, partner: Item, pair: Pair) -> dict[str, Any]:
    """Return the beats of the two pieces, counted from where they start in their files."""
    grids = task.beats or {}
    found = []
    for item, sound, offset in zip((task.item, partner), (pair.x, pair.other), pair.offsets):
        grid = grids.get(item.id)
        found.append([None if grid is None else grid.between(offset, offset + sound.shape[-1] / pair.rate)])
    return {"beats": found[0], "other_beats": found[1]}


def _caption(mixer: Mixer, heard: list[Item]) -> str | None:
    """Return the original's caption, or those of all that is heard, as the mixer has it."""
    if getattr(mixer, "caption", "original") == "joined" and len(heard) == 2:
        return captions.joined(heard[0].caption, heard[1].caption)
    return heard[0].caption


def _left_out(plan: Plan, x: Tensor, own: Tensor, target: Tensor | None, own_target: Tensor | None) -> bool:
    """Say whether nothing of the partner is in the mix, neither in the sound nor in the label: it is no source then.

    The sound alone does not tell: a copy of the original, or silence in silence, may be mixed in and is not heard.
    """
    if bool((plan.weight != 1).any()) or not torch.equal(x, own):
        return False
    return target is None or own_target is None or torch.equal(target.double(), own_target.double())


def _check_fits(item: Item, clip: Clip, s: Settings) -> None:
    wrong = unfit(s.format, channels=s.channels or len(clip.samples), rate=clip.rate)
    if wrong:
        name, expected, got, slip = wrong
        raise AudioError(f"{item.path}: {name} must be {expected}, got {got}" + (f": {slip}" if slip else ""))


def _stems(mixer: Mixer, pair: Pair, plan: Plan, mixed: Tensor) -> list[Tensor]:
    """Return the original's part of the mix, with a silent partner, and the rest of it."""
    silence = _silence(pair.x)
    size = mixed.shape[-1]
    rest = mixer.mix(silence, plan, other=pair.other, lengths=pair.lengths)[..., :size]
    if rest.untyped_storage().data_ptr() in [t.untyped_storage().data_ptr() for t in (silence, pair.other)]:
        rest = rest.clone(memory_format=torch.contiguous_format)  # it is written to below
    own = mixer.mix(pair.x, plan, other=_silence(pair.other), lengths=pair.lengths)[..., :size]
    low, high = rest.add_(own).sub_(mixed).aminmax()
    far, loudest = max(-float(low), float(high)), max(abs(float(v)) for v in mixed.aminmax())
    if not far <= 1e-4 + 1e-5 * loudest:  # NaN is not
        check.fail("stems", "left out for a mixer whose mix is not a sum of its sources", type(mixer).__name__)
    torch.sub(mixed, own, out=rest)
    return [own[0], rest[0]]


def _silence(x: Tensor) -> Tensor:
    """Return zeros in the shape of `x` that take no memory."""
    return x.new_zeros(1).expand_as(x)


def _finite(x: Tensor) -> bool:
    """Say whether there is no NaN and no infinity, without a mask as large as the sound."""
    return all(math.isfinite(float(v)) for v in x.aminmax())


def _limiter(sounds: list[Tensor]) -> tuple[float, float]:
    """Return the one gain in dB, and as a factor, that brings all sounds below full scale.

    Each stem may be rounded up by half a step, so the ceiling leaves room for their sum.
    """
    room = 1 if len(sounds) == 1 else 2
    gain = level.limiter_gain(*sounds, ceiling=(_FULL - room) / _FULL)
    if gain == 1:
        return 0.0, 1.0
    gain_db = 20 * math.log10(gain)
    return gain_db, 10 ** (gain_db / 20)  # from the decibels, so that the manifest's number gives the same bits


def _whole_numbers(sound: Tensor, factor: float) -> Tensor:
    """Return ``factor * sound`` (C, T) as whole numbers, scaled in float64, a block at a time."""
    whole = torch.empty(sound.shape, dtype=torch.int32)
    for start in range(0, sound.shape[-1], _BLOCK):
        block = slice(start, start + _BLOCK)
        piece = sound[:, block]
        whole[:, block] = io.quantise(piece if factor == 1 else piece.double() * factor)
    return whole


def _source(item: Item, offset: float) -> dict[str, Any]:
    name = item.id.rsplit("/", 1)[-1]
    return {
        "file": name, "id": item.id, "label": _json(item.label) if isinstance(item.label, dict) else item.label,
        "licence": item.licence, "attribution": item.attribution, "group": item.group, "offset_s": offset,
    }  # fmt: skip


def described(mixer: Mixer) -> dict[str, Any]:
    """Return a mixer's name (its file's stem) and the options it was made with, as plain values."""
    kind = type(mixer)
    home, _, stem = kind.__module__.rpartition(".")
    options = {n: _plain(getattr(mixer, n)) for n in inspect.signature(kind).parameters if hasattr(mixer, n)}
    ours = home.endswith("audiomix.mixers")
    return {"name": stem if ours else f"{kind.__module__}.{kind.__qualname__}", "options": options}


def _plain(value: Any) -> Any:
    if isinstance(value, Mixer):
        return described(value)
    if isinstance(value, Schedule):
        return value.values[0] if value.kind == "constant" else str(value)
    if isinstance(value, (list, tuple, torch.nn.ModuleList)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of what the samples depend on."""
    return {
        "audiomix": __version__,
        "torch": importlib.metadata.version("torch"),
        "soundfile": soundfile.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": importlib.metadata.version("soxr"),
    }
