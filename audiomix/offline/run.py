"""Mix a whole data set: files in; mixed files, a manifest with labels and captions, and full provenance out."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, tee
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import check
from ..datasets.item import Item
from ..datasets.item_table import classes_of, codes_of, digest_contents
from ..datasets.source import find_extra_files, read_compact
from ..identity import digest
from ..memory import keep_freed_pages
from ..mixer import Mixer
from ..stopwatch import Stopwatch
from ..transforms.room import Room
from . import preview, progress as bar
from .engines.engine import Engine, open_engine
from .journal import FOLDER, FOUND, Journal, check_free
from .limits import Settings, settings_of
from .manifest import write_manifest
from .output_names import Names, ids_and_splits
from .parallel import Lanes, check_pickles, usable_cores
from .partners.groups import GroupPartners
from .partners.index import PartnerIndex
from .partners.roles import check_roles, is_noise, is_original, is_partner, join_partners, read_partners
from .partners.score import ScorePartners
from .partners.unique import MOST_SOURCES
from .partners.weighted import WeightedPartners, weigh_partners
from .progress import Report
from .providers.beats import BeatPartners, Beats, TempoPartners, find_beats
from .providers.captions import CaptionOptions, rewrite_rows, write_captions
from .providers.rewrite import LanguageModel
from .providers.rooms import place_rooms, read_rooms
from .providers.turns import write_turns
from .remote.staging import with_urls
from .remote.store import url_of
from .render import Task, describe_mixer, versions
from .write import LEAST, Outcome, write_mixes

__all__ = ["PARTNERS", "Planned", "Report", "augment", "plan_run", "settings_of"]

# Partners that are drawn for each mix: the first that can be read is used. Eight times as many where none can.
PARTNERS = 8
# Mixes that a dry run makes, to know how large they get.
_SAMPLED = 24


@with_urls
def augment(
    source: str | Path,
    out: str | Path,
    mixer: Mixer,
    *,
    copies: int = 1,
    seed: int = 0,
    workers: int = 1,
    format: Literal["flac", "wav", "ogg"] = "flac",
    rate: int | None = None,
    channels: str | int = "original",
    length: str | float = "original",
    crop: Literal["random", "start"] = "random",
    across: Sequence[Literal["split", "fold"]] = (),
    columns: Mapping[str, str] | None = None,
    label_separator: str | None = None,
    no_labels: bool = False,
    layout: str = "",
    audio_root: str | Path | None = None,
    stems: bool = False,
    partners: str | Path | None = None,
    partner_label: str | None = None,
    partner_layout: str = "",
    partner_weights: Mapping[str, float] | None = None,
    room: str | Path | Room | None = None,
    room_partners: bool = False,
    room_channel: int | None = None,
    room_share: float = 1.0,
    words: CaptionOptions | None = None,
    refresh: bool = False,
    oversubscribe: bool = False,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    float_scale: float | None = None,
    dry_run: bool = False,
    max_errors: int | None = None,
    profile: bool = False,
    progress: bool = True,
) -> Report:
    """Mix every file of a data set with a partner, and write a Hugging Face audiofolder.

    ``metadata.jsonl`` (with splits, one in each split's folder) has a row for each file: soft labels, captions, sources
    with their licences, the plan, seed, levels and versions. FLAC and wav results are the same bytes for any number of
    workers, and after a kill at any moment: the same command goes on where the run stopped. A file that cannot be read
    is listed in ``errors.jsonl``, and the run goes on. Memory grows little with the number of files, and more with the
    length of the longest clip, which is held as decoded samples several times over, with stems more often.

    Parameters
    ----------
    source
        A folder of class folders, an ESC-50-style archive, a CSV, TSV or JSONL manifest, or a Hugging Face audiofolder.
        It may be a URL that fsspec opens, such as s3://bucket/clips.
    out
        Folder to write: new, empty, or of the same run, which is then resumed. It may be a URL.
    mixer
        How two sounds are mixed. One that was made for a rate is given each file's.
    copies
        Mixes of each file, each with a partner and a plan of its own.
    seed
        What all draws depend on, with the names of the files.
    workers
        Processes; at most as many as there are cores, and one for each 32 mixes: to start one takes two seconds. With
        engine ray as many as the cluster has CPUs; beats are found on this machine.
    format
        flac, wav (16 bit) or ogg (Vorbis).
    rate
        Sampling rate of the results in Hz; by default each original's. Partners are resampled to it.
    channels
        original, or a number: mono is repeated, everything else goes through the mean of its channels.
    length
        original: as long as the original. shortest, longest: of the two; for longest, the silence behind the shorter
        counts as part of it. Or seconds: a shorter original is followed by silence. What happens behind a shorter
        partner is the mixer's choice: with mixup the original goes on, and its share of the label grows.
    crop
        Which part of a longer sound is taken: at a random position (it is noted as offset_s), or from its start.
    across
        Borders that partners may cross: split, fold. By default they stay within both; clips of one group may meet.
    columns
        Names of columns of a manifest: of path, label, caption, split, fold, group, licence, attribution, role, of bpm,
        key and beats (seconds, or a .beats text), which then need not be found, of cluster and attribute, by which
        partners may be chosen, and of offset and duration of a piece of the file, in seconds.
    label_separator
        What separates several labels in one cell of a CSV manifest.
    no_labels
        Mix the sounds only.
    layout
        What each level of a source's folders is, from the top, joined by /: class, split, fold, group, or _ for
        nothing, e.g. split/class. By default the folders' names tell; where they may be one or the other it is needed.
    audio_root
        Another folder that paths in a manifest may be relative to, besides the manifest's own.
    stems
        Write the two parts of each mix too, as NAME.stem0 and NAME.stem1: their samples sum to the mix exactly.
    partners
        Another data set that all partners come from, such as noise, in any layout; no mix is made of its clips, and of
        long ones a random piece is read. Without it each file of the source may be a partner, unless a column `role`
        of a manifest says original, noise (a partner only) or both. Partners without a split or fold belong to all.
        Where they have no labels, a mix has that of its original.
    partner_label
        The class of all partners, in place of their own labels; an empty text is none.
    partner_layout
        What each level of the partners' folders is, as in `layout`.
    partner_weights
        How often each file of the partners is drawn, by file or folder, relative to them: ``{"music": 0.2}``. The
        longest name counts; those that none names have 1, and those with 0 are never drawn.
    room
        Impulse responses: a folder, a manifest or one file, or an `audiomix.Room`. Each original is convolved with one
        that is drawn for it, and keeps its power, before it is mixed: an SNR is then that of reverberant sound. In
        conversations each speaker has a room. Partners such as noise stay as they are.
    room_partners
        Bring partners into rooms too, each into one of its own.
    room_channel
        Take this channel, from 0 on, of responses that have several.
    room_share
        How many of the sounds are brought into a room, from 0 to 1.
    words
        For a caption mixer: a language model, limits of similarity.
    refresh
        Make anew, in a folder of the same run, the mixes whose sources have changed since, and all of them where files
        were added, taken away or renamed; without it such a folder is refused.
    oversubscribe
        Start as many workers as asked for, also beyond the number of cores, or for a few mixes.
    engine
        Where workers run: local, as processes of this machine, or ray, on a Ray cluster that is running, for the same
        bytes. There the sources and OUT must be on storage that every node sees under the same path, or URLs.
    ray_address
        HOST:PORT of the head of that cluster; by default that in the environment variable RAY_ADDRESS, or else the one
        that runs on this machine.
    float_scale
        What full scale is in files that hold whole numbers as floats, such as 32768: those with a peak above 32 are
        divided by it. By default they are refused.
    dry_run
        Print what would be done and how large it gets; write nothing.
    max_errors
        Stop when more files than this could not be done; by default any number may fail.
    profile
        Say which share of the time each stage took: decode, mix, encode and write, and others.
    progress
        Show progress: files, hours of audio, time left.

    Returns
    -------
    Report
        Files, seconds, errors; ``exit_code`` is 1 where a file failed.

    Raises
    ------
    TypeError, ValueError
        A wrong argument, an empty source, labels that are missing, a folder with another run in it: before any work.
    RunStopped
        A full disk, a worker that was killed, more errors than `max_errors`. What is done is kept.
    """
    limit = bar.ErrorLimit(max_errors)
    out = Path(out)  # of a URL: the folder in which its files are made
    for name, read in (("source", source), ("partners", partners)):
        if read is not None:
            _check_outside(out, name, Path(read))
    with open_engine(engine, ray_address) as where:
        workers, notes = where.usable_workers(workers, oversubscribe)
        if where.remote or workers > 1:
            check_pickles("mixer", mixer)
        planned = plan_run(
            source, mixer, copies=copies, seed=seed, workers=min(workers, usable_cores()) if where.remote else workers,
            format=format, rate=rate, channels=channels, length=length, crop=crop, across=across, columns=columns,
            label_separator=label_separator, no_labels=no_labels, layout=layout, audio_root=audio_root, stems=stems,
            partners=partners, partner_label=partner_label, partner_layout=partner_layout,
            partner_weights=partner_weights, room=room, room_partners=room_partners, room_channel=room_channel,
            room_share=room_share, words=words, float_scale=float_scale, profile=profile, progress=progress,
        )  # fmt: skip
        run, without, items, beats = planned.run, planned.without, planned.run.items, planned.run.beats
        notes, said, model = [*notes, *planned.notes], planned.said, run.words.language_model()
        report = Report(out, unlisted=find_extra_files(Path(source), items), remarks=(*notes, *said))
        if dry_run:
            check_free(out, run.describe(across), items, ignore=FOUND if refresh else ())
            text = _preview(run, report, without)
            print(text)
            return replace(report, text=text)
        with Journal(out, run.describe(across), run.total, items, refresh=refresh) as journal:
            rooms = [room] if isinstance(room, (str, Path)) else []
            seen = [] if url_of(out) else [out / FOLDER / "journal.jsonl"]  # of a URL: a folder of this machine alone
            where.require([*seen, *codes_of(items, "root")[1], *rooms])
            errors = [*without, *([] if beats is None else beats.errors())]
            for error in errors:
                limit.add(error["file"], error["reason"])
            errors += _work(run, journal, workers, progress, limit, at_least=1 if oversubscribe else LEAST, where=where)
            listed = {error["file"] for error in errors}
            errors += bar.bad_partners(items, run.settings.float_scale, journal.failed, listed)
            with run.watch.stage("write tables"):
                notes, captions_failed = _write_tables(run, journal, model, errors)
            notes += [run.watch.describe()] if profile else []
            return replace(
                report, remarks=(*report.remarks, *notes), captions_failed=captions_failed, files=len(journal),
                seconds=journal.seconds, errors=tuple(errors),
            )  # fmt: skip


def plan_run(
    source: str | Path,
    mixer: Mixer,
    *,
    copies: int,
    seed: int,
    workers: int,
    format: str,
    rate: int | None,
    channels: str | int,
    length: str | float,
    crop: str,
    across: Sequence[str],
    columns: Mapping[str, str] | None,
    label_separator: str | None,
    no_labels: bool,
    layout: str,
    audio_root: str | Path | None,
    stems: bool,
    partners: str | Path | None,
    partner_label: str | None,
    partner_layout: str,
    partner_weights: Mapping[str, float] | None,
    room: str | Path | Room | None,
    room_partners: bool,
    room_channel: int | None,
    room_share: float,
    words: CaptionOptions | None,
    float_scale: float | None,
    progress: bool,
    profile: bool = False,
) -> "Planned":
    """Read what there is to mix and who meets whom; see `augment`, which writes it, for the arguments and errors."""
    settings = settings_of(
        mixer, seed=seed, format=format, rate=rate, channels=channels, length=length, crop=crop, stems=stems,
        float_scale=float_scale,
    )  # fmt: skip
    _check_pairings(mixer)
    check.integer("copies", copies, 1)
    rooms = None if room is None else read_rooms(
        room, partners=room_partners, channel=room_channel, share=room_share
    )  # fmt: skip
    settings = replace(settings, **place_rooms(mixer, rooms, stems=stems))
    mixer = settings.mixer
    notes: list[str] = []
    beat_query, caption_query = (mixer.needs.notes.get(name) for name in ("beats", "captions"))
    skipped: list[tuple[str, str]] = []
    items, classes = read_compact(
        source, columns, no_labels=no_labels, label_separator=label_separator, need_labels=caption_query is None,
        layout=layout, audio_root=audio_root, notes=notes, skipped=skipped,
    )  # fmt: skip
    items = check_roles(items, source, notes)
    weights = None
    if partners is not None:
        theirs = read_partners(
            partners, notes, no_labels=no_labels, label=partner_label, layout=partner_layout, skipped=skipped
        )
        items = join_partners(items, theirs)
        if partner_weights is not None:
            weights = weigh_partners(items, theirs, partner_weights, partners)
    else:
        if partner_weights is not None:
            check.fail("partner_weights", "left out without partners", partner_weights, "partners=, --partners")
        items = _without_partners(items, partner_label, partner_layout)
    _check_both(items, source)
    classes = sorted({*classes, *classes_of(items)})
    _check_classes(mixer, classes)
    words = words or CaptionOptions()
    if words != CaptionOptions() and caption_query is None:
        check.fail("words", "left out for a mixer without captions", type(mixer).__name__, "mixer='caption'?")
    words.language_model()  # what cannot be is told before any work
    without = [{"file": name, "copies": list(range(copies)), "reason": reason} for name, reason in skipped]
    if caption_query is not None:
        items, unsaid = write_captions(items, caption_query)
        without += unsaid
    if not any(map(is_original, items)):
        check.fail("source", "a folder or manifest with captions", repr(str(source)), "class folders would do as well")
    settings = replace(settings, classes=tuple(classes), profile=profile)
    beats = None if beat_query is None else find_beats(items, beat_query, workers=workers, progress=progress)
    index, said = _index(items, mixer, across, beats, words, copies, seed, weights)
    run = _Run(items, index, Names(ids_and_splits(items)), settings, copies, beats, words)
    return Planned(run, notes, said, without)


def _check_pairings(mixer: Mixer) -> None:
    if len(mixer.pairings) > 1:
        got = " and ".join(map(repr, sorted(mixer.pairings)))
        slip = "a partner is chosen before it is drawn which of the mixers mixes"
        check.fail("mixer", "a choice among mixers of one pairing", got, slip)


def _preview(run: "_Run", report: Report, without: list[dict[str, Any]]) -> str:
    """Return what a dry run prints: a sample of the mixes, what is left out, and the notes."""
    sample = range(0, run.total, -(-run.total // _SAMPLED))
    step = max(1, len(run.originals) // preview.HEADERS)
    some = [run.items[i] for i in run.originals[::step]]
    text = preview.preview(
        run.tasks(sample), some, run.total, run.settings, Path(report.path), files=len(run.originals)
    )
    return "\n".join([text, *_list_omissions(without), *report.notes])


def _write_tables(
    run: "_Run", journal: Journal, model: LanguageModel | None, errors: list[dict[str, Any]]
) -> tuple[list[str], bool]:
    """Write manifest, errors and card; return notes, and whether all captions that a model was asked for failed."""
    reasons: Counter[str] = Counter()
    rows = journal.rows()
    if (query := run.settings.mixer.needs.notes.get("captions")) is not None:
        rows = rewrite_rows(rows, model, query, reasons)
    notes = write_manifest(journal.out, write_turns(journal.out, rows), errors, run.settings.classes)
    if journal.unknown:
        old = "mixes are of an earlier version: whether their sources have changed is not known"
        notes.append(f"{journal.unknown} {old}")
    captions = reasons.total()
    if refused := captions - reasons.pop("", 0):
        most = reasons.most_common(1)[0][0]
        notes.append(f"{refused} of {captions} captions are the template's, not the language model's: {most}")
    return notes, 0 < captions == refused


def _index(
    items: Sequence[Item],
    mixer: Mixer,
    across: Sequence[str],
    beats: Beats | None,
    words: CaptionOptions,
    copies: int,
    seed: int,
    weights: Sequence[float] | None,
) -> tuple[PartnerIndex, tuple[str, ...]]:
    """Return who meets whom, and what is to be said of it."""
    needs, (pairing,) = mixer.needs, mixer.pairings
    said = () if beats is None else beats.notes
    if weights is not None and (beats is not None or pairing.partition(":")[0] == "same_tempo"):
        slip = f"{type(mixer).__name__} with pairing={pairing!r} chooses partners by their tempo or beats"
        check.fail("partner_weights", "left out where partners are chosen otherwise", "given", slip)
    if pairing.partition(":")[0] == "same_tempo":
        if needs.notes or needs.sources[1] > 2:
            slip = "mixers of music match tempi themselves: max_stretch="
            check.fail("pairing", f"another one for {type(mixer).__name__} and files", repr(pairing), slip)
        return TempoPartners(items, pairing, across), said
    if needs.sources[1] > MOST_SOURCES:
        got, slip = f"{mixer}: up to {needs.sources[1]}", "more are mixed of tensors, in memory"
        check.fail("mixer", f"one of at most {MOST_SOURCES} sounds for files", got, slip)
    if "captions" in needs.notes or needs.sources[1] > 2:
        index = GroupPartners(
            items, pairing, across, sources=needs.sources, copies=copies, seed=seed,
            limits=words, captions="captions" in needs.notes, weights=weights,
        )  # fmt: skip
        return index, (*said, *index.notes)
    if beats is not None:
        query = needs.notes["beats"]
        if query.by_score:
            return ScorePartners(items, pairing, across, beats.grids, query.rule, beats.features), said
        return BeatPartners(items, pairing, across, beats.grids, query.rule), said
    if weights is not None:
        return WeightedPartners(items, pairing, across, weights=weights), ()
    return PartnerIndex(items, pairing, across), ()


@dataclass(frozen=True)
class _Run:
    """All tasks of a run, made one by one: nothing here grows with the number of copies."""

    items: Sequence[Item]
    index: PartnerIndex
    names: Names
    settings: Settings
    copies: int
    beats: Beats | None = None
    words: CaptionOptions = field(default_factory=CaptionOptions)

    @cached_property
    def watch(self) -> Stopwatch:
        """Counts the seconds of all processes by stage."""
        return Stopwatch(running=self.settings.profile)

    @property
    def total(self) -> int:
        """Number of files."""
        return len(self.originals) * self.copies

    @cached_property
    def originals(self) -> Sequence[int]:
        """Positions of the items that mixes are made of."""
        roles, names = codes_of(self.items, "role")
        if "noise" not in names:
            return range(len(self.items))
        return array("q", np.flatnonzero(roles != names.index("noise")).tobytes())

    def item(self, number: int) -> Item:
        """Return the original of a task."""
        return self.items[self.originals[number // self.copies]]

    def order(self) -> "array[int]":
        """Return all tasks in the order of work: those that may meet one after the other, so that the cache helps."""
        first = self.index.order(self.originals).astype(np.int64) * self.copies
        return array("q", (first[:, None] + np.arange(self.copies)).tobytes())

    def lanes(self, numbers: Sequence[int], workers: int) -> list[Sequence[int]]:
        """Split tasks, in the order of work, into one part for each worker: of nearly one size, and of few pools."""
        edges = [len(numbers) * k // workers for k in range(workers + 1)]
        return [numbers[one:two] for one, two in pairwise(edges)]

    def tasks(self, numbers: Iterable[int], count: int = PARTNERS) -> Iterator[Task]:
        """Yield the tasks with these numbers, with up to `count` partners: more of them begin with the same."""
        ahead, behind = tee(numbers)
        rows = ((self.originals[number // self.copies], number % self.copies) for number in ahead)
        drawn = self.index.draw_partners(rows, seed=self.settings.seed, count=count)
        for number in behind:
            with self.watch.stage("draw partners"):
                partners = next(drawn)
            i, copy = self.originals[number // self.copies], number % self.copies
            item = self.items[i]
            met = tuple(self.items[p] for p in partners)
            grids = None
            if self.beats is not None:
                grids = {one.id: self.beats.grids[one.id] for one in (item, *met) if one.id in self.beats.grids}
            group = self.index.group(i, copy=copy, seed=self.settings.seed)
            yield Task(number, item, copy, self.names(item, copy), met, grids, group)

    def at_seed(self, seed: int) -> "_Run":
        """Return the same run with other draws."""
        return replace(self, settings=replace(self.settings, seed=seed), index=self.index.at_seed(seed))

    def describe(self, across: Sequence[str]) -> dict[str, Any]:
        """Return all that the files depend on, as plain JSON."""
        s = self.settings
        return {
            "source": f"{len(self.items)} files, digest {digest_contents(self.items)}",
            **{name: getattr(s, name) for name in ("seed", "format", "rate", "channels", "length", "crop", "stems")},
            "mixer": describe_mixer(s.mixer),
            "copies": self.copies,
            "across": sorted(across),
            "versions": versions(),
            **({} if s.float_scale is None else {"float_scale": s.float_scale}),
            **({} if s.rooms is None else {"room": s.rooms.describe()}),
            **({} if (given := self.index.weights) is None else {"weights": digest(map(str, given))}),
            **({} if self.beats is None else {"beats": self.beats.describe()}),
            **({"words": self.words.describe(query)} if (query := s.mixer.needs.notes.get("captions")) else {}),
        }


@dataclass(frozen=True)
class Planned:
    """A run before its first mix: what is in it, what a person should know of, and which files are left out of it."""

    run: _Run
    notes: list[str]
    said: tuple[str, ...]
    without: list[dict[str, Any]]


def _work(
    run: _Run, journal: Journal, workers: int, shown: bool, limit: bar.ErrorLimit, *, at_least: int, where: Engine
) -> list[dict[str, Any]]:
    """Render what is missing, noting each file as it comes; return what failed."""
    keep_freed_pages()
    missing: Sequence[int] = array("q", (number for number in run.order() if number not in journal))
    failed: list[Outcome] = []
    with bar.bar(run.total, len(journal), journal.seconds, shown) as advance:
        count = PARTNERS
        while missing:
            without: list[int] = []
            processes = max(1, min(workers, len(missing) // at_least))
            tasks = Lanes([run.tasks(lane, count) for lane in run.lanes(missing, processes)])
            outcomes = write_mixes(
                tasks, run.settings, journal.out, len(missing), processes, run=where.run_tasks
            )  # fmt: skip
            with closing(outcomes):  # at once when the run stops, so that no worker goes on
                for outcome in outcomes:
                    run.watch.add(outcome.stages)
                    journal.failed.update(outcome.state.get("failed", ()))
                    if outcome.tried >= count:  # another partner is drawn
                        without.append(outcome.number)
                        continue
                    if outcome.reason:
                        failed.append(outcome)
                        limit.add(run.item(outcome.number).id, outcome.reason)
                    else:
                        with run.watch.stage("journal"):
                            journal.add(outcome.number, outcome.state, outcome.row)
                        journal.seconds += outcome.seconds
                    advance(outcome.seconds)
            missing, count = sorted(without), count * 8
    if where.deaths:  # of a node that is gone
        journal.remove_unfinished()
    return bar.describe_failures(failed, run.item, run.copies)


def _check_outside(out: Path, name: str, read: Path) -> None:
    if read.is_dir() and out.resolve().is_relative_to(read.resolve()):
        check.fail("out", f"a folder outside of {name}", repr(str(out)), "its files would be read as sources")


def _list_omissions(errors: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a dry run that tell which files are left out."""
    listed = [f"  {error['file']}: {error['reason']}" for error in errors]
    return [f"{len(listed)} files are left out:", *listed] if listed else []


def _without_partners(items: Sequence[Item], label: str | None, layout: str) -> Sequence[Item]:
    """Return the clips of a data set that is mixed with itself; its noises with the class that they are given."""
    if layout:
        check.fail("partner_layout", "left out without partners", repr(layout), "did you mean layout?")
    return items if label is None else [replace(i, label=label or None) if is_noise(i) else i for i in items]


def _check_both(items: Sequence[Item], source: str | Path) -> None:
    """Raise where there is no original, or no partner."""
    for kind, test in (("mixes can be made of", is_original), ("may be partners", is_partner)):
        if not any(map(test, items)):
            check.fail("source", f"a data set with clips that {kind}", repr(str(source)), "look at the column role")


def _check_classes(mixer: Mixer, classes: list[str]) -> None:
    wanted = mixer.num_classes
    if classes and wanted is not None and wanted != len(classes):
        check.fail("mixer.num_classes", f"{len(classes)}, the classes of the source, or None", wanted)
