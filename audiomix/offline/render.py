"""Render one item: what comes out depends on the task and the settings alone, not on order, workers or time."""

import functools
import importlib.metadata
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor

from .. import __version__, check, draw
from ..audio import io, level
from ..audio.io import AudioError, Clip
from ..audio.remote.urls import is_url
from ..audio.stretch import engine
from ..beats.grid import BeatGrid
from ..captions.compose import join_captions
from ..datasets.item import Item
from ..mixed import Mixed
from ..mixer import Mixer, Needs
from ..mixers import name_of
from ..pairing import notes_of
from ..plan import Plan
from ..registry import file_digest
from ..schedule import Schedule
from ..stopwatch import Stopwatch
from .cache import MARGIN_S, Sources, enough_memory
from .fit import Pair, fit_pair, join_pairs
from .limits import Settings, unfit
from .partners.roles import is_noise
from .stems import FULL, limiter, stems_of, whole_numbers

__all__ = ["NoPartner", "Rendered", "Renderer", "Task", "describe_mixer", "versions"]

# A limiter that takes away more than this is told of, in dB.
_LIMITED = 12.0
# What a manifest says of a file, by the note that a pairing rule reads.
_SAID = {"clusters": "cluster", "attributes": "attributes", "bpm": "bpm"}
# Partners that are tried until one gives what was asked for.
_TRIES = 4


class NoPartner(AudioError):
    """None of the partners of an original can be read; `tried` says how many these were."""

    def __init__(self, path: str, reasons: Sequence[str]) -> None:
        self.tried = len(reasons)
        more = f"; and {self.tried - 3} more" if self.tried > 3 else ""
        super().__init__(f"{path}: none of its partners can be read: {'; '.join(reasons[:3])}{more}")


class Task(NamedTuple):
    """One file to be made: its `number` in the run, the original, its copy, the name without suffix, and partners.

    The first partner that can be read is used. For mixers that need beats: the grids of the whole files, by id; and the
    first partner is used that can be aligned, if there is one. For mixers of several sources: so many partners at a
    time (`group`) sound together. A `plan` is replayed instead of drawn; `replay` is what else is known of that mix
    (`audiomix.offline.replay.replayer`).
    """

    number: int
    item: Item
    copy: int
    name: str
    partners: tuple[Item, ...]
    beats: Mapping[str, BeatGrid] | None = None
    group: int = 1
    plan: Plan | None = None
    replay: Any = None


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
        How mixes are made: mixer, rate, channels, format, classes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watch = Stopwatch(running=settings.profile)
        self.sources = Sources(settings.rate, float_scale=settings.float_scale, watch=self.watch)
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
        partners, pair, mixed, more = self._mix(task)
        mixer = self._mixer(pair.rate)
        x, target, plan = mixed.x, mixed.target, mixed.plans[0]
        if mixer.needs.length == "free" and mixed.lengths is not None:
            x = x[..., : int(mixed.lengths[0])]
        del mixed
        if not _finite(x):
            check.fail("the mix", "finite", "NaN or infinite samples")
        sources: list[tuple[Item, float, float | None]] = [(task.item, pair.offsets[0], None)]
        places = [(partner, pair.offsets[1 + j], pair.read_s[j]) for j, partner in enumerate(partners)]
        sources += [places[j] for j in plan.sources(0)]
        unheard = [_source(*place) for j, place in enumerate(places) if j not in plan.sources(0)]
        # from here on each sound is let go as soon as it is not needed: those of long files are large
        parts = stems_of(pair, plan, x[0], mixer.needs) if s.stems else []
        rate, notes = pair.rate, _name_notes(task.item, partners, plan, pair)
        rooms = [pair.rooms[k] for k in (0, *(1 + j for j in plan.sources(0)))] if pair.rooms else []
        del pair
        with self.watch.stage("limit and quantise"):
            gain_db, factor = limiter([x[0], *parts])
            parts = parts or [x[0]]
            del x
            whole = [whole_numbers(parts.pop(0), factor) for _ in range(len(parts))]
            mix = whole[0] if len(whole) == 1 else functools.reduce(torch.add, whole)
        row = {**self._row(task, sources, plan, target, Clip(mix, rate), gain_db), **more}
        row["notes"] = notes + _level_notes(gain_db, mix)
        if s.rooms is not None:  # the sources are in the mix as they sound in their rooms
            row |= {"room": s.rooms.describe(), "summed": False}
            row["sources"] = [source | {"room": room} for source, room in zip(row["sources"], rooms)]
        if unheard:  # the mixer got them and left them out; who replays the plan needs them
            row["unheard"] = _json(unheard)
        if s.stems:
            row["stems"] = [f"{task.name}.stem{i}.{s.format}" for i in range(len(whole))]
        return Rendered(mix, tuple(whole) if s.stems else (), rate, row)

    def inputs(self, task: Task) -> tuple[tuple[Item, ...], Pair, dict[str, Any]]:
        """Return the first partners that can be read, the sounds as a mixer gets them, and what is known of them.

        Raises
        ------
        AudioError
            As `render`.
        """
        partners, pair = next(self._pairs(task))
        return partners, pair, self._notes(task, partners, pair)

    def _mix(self, task: Task) -> tuple[tuple[Item, ...], Pair, Mixed, dict[str, Any]]:
        """Mix with the first partners that can be read; with the first of a few that give what was asked for."""
        best = None
        for number, (partners, pair) in enumerate(self._pairs(task)):
            mixer = self._mixer(pair.rate)
            names = [partner.id for partner in partners]
            generator = draw.generator_for(self.settings.seed, "mix", task.item.id, *names, task.copy)
            notes = self._notes(task, partners, pair)
            own, theirs, keeps_label = self._targets(task.item, partners)
            with self.watch.stage("mix"):
                mixed = mixer(
                    pair.x, own, other=pair.other, other_target=theirs, lengths=pair.lengths,
                    other_lengths=pair.other_lengths, generator=generator, plan=task.plan, **notes,
                )  # fmt: skip
            mixed = mixed._replace(target=own) if keeps_label else mixed
            plan = mixed.plans[0]
            more = plan.describe(0)
            silent = [item.id for item, sound in zip(partners, pair.other) if not bool(sound.any())]
            if silent and not more.get("why"):
                more["why"] = f"silent partner: {', '.join(silent)}"
            if "captions" in notes and "caption" in more and not more["caption"]:
                raise AudioError(f"{task.item.path}: nothing to say of it: {more.get('why')}")
            best = best or (partners, pair, mixed, more)
            if bool(plan.complete[0]) and not silent:
                return partners, pair, mixed, more
            if number + 1 == _TRIES:
                break
        assert best is not None  # _pairs raises where there is none
        return best

    def _pairs(self, task: Task) -> Iterator[tuple[tuple[Item, ...], Pair]]:
        """Yield the partners that can be read, fitted to the original; raise where there is none."""
        s, item, wanted = self.settings, task.item, task.group
        if not task.partners:
            raise AudioError(f"{item.path}: no partner: no other file that it may meet (split, fold, pairing)")
        reasons: list[str] = []
        found = False
        for first in range(0, len(task.partners), wanted):
            group = task.partners[first : first + wanted]
            generator = draw.generator_for(s.seed, "crop", item.id, group[0].id, task.copy)
            at = draw.uniform(0, 1, 2, generator=generator).tolist() if s.crop == "random" else [0.0, 0.0]
            with enough_memory(item.path, " to read it"):
                own = self._piece(item, s.length if isinstance(s.length, float) else None, at[0])
            _check_fits(item, own[0], s)
            pairs = [(partner, self._fit_partner(own, partner, at, task, reasons)) for partner in group]
            read = [(partner, pair) for partner, pair in pairs if pair is not None]
            del own, pairs  # while they are mixed only the pair's own samples are held
            if read:
                found = True
                pair = join_pairs([one for _, one in read])
                partners = tuple(partner for partner, _ in read)
                del read
                if s.rooms is not None:
                    known = None if task.replay is None else task.replay.rooms_of(partners)
                    pair = s.rooms.apply(pair, (item, *partners), seed=s.seed, copy=task.copy, known=known)
                yield partners, pair
        if not found:
            raise NoPartner(item.path, reasons)

    def _fit_partner(
        self, own: tuple[Clip, float], partner: Item, at: list[float], task: Task, reasons: list[str]
    ) -> Pair | None:
        """Read a partner and fit it to the original; None where it cannot be read, with the reason in `reasons`.

        Of a longer one a piece is taken; in place of a silent piece another one is drawn, some times.
        """
        s = self.settings
        most = None if s.length == "longest" else s.length if isinstance(s.length, float) else own[0].seconds
        whole = s.mixer.needs.partner == "whole"
        if whole and most is not None:  # room for the mixer to choose what of it is heard
            most = 1.2 * most + 20.0
        try:
            with enough_memory(partner.path, " to read it"):
                theirs, start = self._piece(partner, most, at[1])
                theirs = io.resample(theirs, own[0].rate)
        except AudioError as error:
            reasons.append(str(error).replace(partner.path, partner.id))
            return None
        pair = fit_pair(own, (theirs, start), s.length, s.channels, at, whole_partner=whole)
        is_piece = most is not None and theirs.samples.shape[-1] == round((most + MARGIN_S) * theirs.rate)
        if partner.start is None and (start or is_piece):
            pair = replace(pair, read_s=(pair.other.shape[-1] / pair.rate,))
        return pair

    def _piece(self, item: Item, seconds: float | None, position: float) -> tuple[Clip, float]:
        """Return the sound of an item, or about so many seconds of it, and where in the item that starts."""
        if item.start is None:
            return self.sources.piece(item.path, seconds, position)
        return self.sources.read(item.path, item.start, item.seconds), 0.0

    def _notes(self, task: Task, partners: Sequence[Item], pair: Pair) -> dict[str, Any]:
        """Return what the mixer wants to know of the sounds: their beats, counted from where they start; captions."""
        needs, notes = self.settings.mixer.needs, dict[str, Any]()
        if "beats" in needs.notes:
            sizes = [pair.x.shape[-1]] + [pair.other.shape[-1]] * len(partners)
            if pair.other_lengths is not None:
                sizes[1:] = pair.other_lengths.tolist()
            grids = [
                _beats(task, item, offset, size / pair.rate)
                for item, offset, size in zip((task.item, *partners), pair.offsets, sizes)
            ]
            notes |= {"beats": grids[:1], "other_beats": grids[1:]}
        if "captions" in needs.notes:
            texts = [list(item.captions) or item.caption for item in (task.item, *partners)]
            heard = {name for item in (task.item, *partners) for name in item.classes}  # a sound of these is no other
            spare = [item.caption for item in task.partners
                     if item not in partners and item.caption and not heard & set(item.classes)]  # fmt: skip
            notes |= {"captions": texts[:1], "other_captions": texts[1:], "distractor_captions": [spare]}
        if "ids" in needs.notes:  # one group, one speaker; an item without a group is somebody of its own
            names = [item.group or item.id for item in (task.item, *partners)]
            notes |= {"ids": names[:1], "other_ids": names[1:]}
        for rule in self.settings.mixer.pairings:
            for name in notes_of(rule):
                if name in _SAID and name not in notes:
                    values = [getattr(item, _SAID[name]) for item in (task.item, *partners)]
                    notes |= {name: values[:1], f"other_{name}": values[1:]}
        if needs.sources[1] > 2:
            notes["sources"] = [1 + len(partners)]
        return notes

    def _mixer(self, rate: int) -> Mixer:
        """Return the mixer as made for this rate: one that needs a rate gets each file's."""
        if rate not in self._mixers:
            self._mixers[rate] = self.settings.mixer.at_rate(rate)
        return self._mixers[rate]

    def _targets(self, item: Item, partners: Sequence[Item]) -> tuple[Tensor | None, Tensor | None, bool]:
        """Return the labels of the original and of the partners, and whether a mix has that of the original.

        It has where a noise has no label. Otherwise, as captioned clips need none, both are left out where one lacks.
        """
        own, theirs = self._target(item), self._target(*partners)
        if own is None or theirs is not None:
            return own, None if own is None else theirs, False
        if any(map(is_noise, partners)):
            return own, own.new_zeros(len(partners), own.shape[1]), True
        return None, None, False

    def _target(self, *items: Item) -> Tensor | None:
        if not self.settings.classes or any(item.label is None for item in items):
            return None
        target = torch.zeros(len(items), len(self._place), dtype=torch.float64)
        for row, item in zip(target, items):
            for name, share in ({item.label: 1.0} if isinstance(item.label, str) else item.label or {}).items():
                row[self._place[name]] = share
        return target

    def _row(
        self,
        task: Task,
        sources: list[tuple[Item, float, float | None]],
        plan: Plan,
        target: Tensor | None,
        clip: Clip,
        gain_db: float,
    ) -> dict[str, Any]:
        s, item = self.settings, task.item
        mixer = self._mixer(clip.rate)
        name_and_options = describe_mixer(mixer)
        label = None
        if target is not None:
            label = {s.classes[int(i)]: float(target[0, i]) for i in target[0].nonzero().flatten()}
        sound = clip.samples.float() / FULL
        scale = {} if s.float_scale is None else {"float_scale": s.float_scale}
        return {
            "file_name": f"{task.name}.{s.format}",
            "label": label,
            **_caption(mixer.needs, [source for source, *_ in sources]),
            "captions": [source.caption for source, *_ in sources if source.caption],
            "split": item.split,
            "fold": item.fold,
            "group": item.group,
            "licence": _licence([source for source, *_ in sources]),
            "sources": [{**_source(*source), **scale} for source in sources],
            "mixer": name_and_options["name"],
            "options": _json(name_and_options["options"]),
            "plan": plan.to_json(),
            **({} if mixer.needs.summed else {"summed": False}),
            "seed": s.seed,
            "copy": task.copy,
            "rate": clip.rate,
            "channels": len(sound),
            "seconds": clip.seconds,
            "rms_db": round(float(level.db(level.rms(sound[None]))), 2),
            "peak_db": round(float(level.db(level.peak(sound[None]))), 2),
            "limiter_gain_db": gain_db,
            "notes": [],
            "stems": [],
            "versions": {**versions(), **({"stretch": engine()} if "beats" in mixer.needs.notes else {})},
        }


def _name_notes(item: Item, partners: Sequence[Item], plan: Plan, pair: Pair) -> list[str]:
    """Return what is odd about the sounds that were mixed, with their names."""
    met = [(item, pair.notes[0]), *((partners[j], pair.notes[1 + j]) for j in plan.sources(0))]
    return [f"{note} ({one.id})" for one, notes in met for note in notes]


def _level_notes(gain_db: float, mix: Tensor) -> list[str]:
    """Return what is odd about the level of a mix."""
    notes = []
    if gain_db < -_LIMITED:
        notes.append(f"turned down by more than {_LIMITED:g} dB: {-gain_db:.1f} dB, to full scale")
    if not bool(mix.any()):
        notes.append("a silent mix: all its samples are 0")
    return notes


def _beats(task: Task, item: Item, offset: float, seconds: float) -> BeatGrid | None:
    """Return the beats of a part that starts `offset` seconds into the item."""
    grid = (task.beats or {}).get(item.id)
    offset += item.start or 0.0  # beats are those of the whole file
    return None if grid is None else grid.between(offset, offset + seconds)


def _caption(needs: Needs, sources: list[Item]) -> dict[str, str | None]:
    """Return the original's caption, or those of both that are mixed, as the mixer wants it."""
    if needs.caption == "joined" and len(sources) == 2:
        return {"caption": join_captions(sources[0].caption, sources[1].caption), "caption_by": "joined"}
    return {"caption": sources[0].caption}


def _check_fits(item: Item, clip: Clip, s: Settings) -> None:
    wrong = unfit(s.format, channels=s.channels or len(clip.samples), rate=clip.rate)
    if wrong:
        name, expected, got, slip = wrong
        raise AudioError(f"{item.path}: {name} must be {expected}, got {got}" + (f": {slip}" if slip else ""))


def _finite(x: Tensor) -> bool:
    """Say whether there is no NaN and no infinity, without a mask as large as the sound."""
    return all(math.isfinite(float(v)) for v in x.aminmax())


def _licence(sources: Sequence[Item]) -> str | None:
    """Return the licences of all sources; None where none has one that is known."""
    known = {source.licence or "unknown" for source in sources}
    return None if known == {"unknown"} else " + ".join(sorted(known))


def _place(item: Item) -> dict[str, Any]:
    """Return the file of an item that is a piece of one, and where in it, in seconds."""
    if item.start is None and item.file is None:
        return {}
    return {"path": item.file or item.id, "start_s": item.start or 0.0, "seconds": item.seconds}


def _source(item: Item, offset: float, read_s: float | None) -> dict[str, Any]:
    name = item.id.rsplit("/", 1)[-1]
    return {
        "file": name, "id": item.id,
        "root": item.root if is_url(item.root) else os.path.abspath(item.root), **_place(item),
        "label": _json(item.label) if isinstance(item.label, dict) else item.label,
        "licence": item.licence, "attribution": item.attribution, "group": item.group, "offset_s": offset,
        **({} if read_s is None else {"read_s": read_s}),
    }  # fmt: skip


@lru_cache(maxsize=64)  # to read a signature for each file takes 4 % of a run
def describe_mixer(mixer: Mixer) -> dict[str, Any]:
    """Return a mixer's name and the options it was made with, as plain values; of a user's own file its hash too."""
    kind = type(mixer)
    options = {name: _plain(value) for name, value in mixer.options().items()}
    own = {"file": digest} if (digest := file_digest(kind)) else {}
    return {"name": name_of(kind), "options": options, **own}


def _plain(value: Any) -> Any:
    if isinstance(value, Mixer):
        return describe_mixer(value)
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
