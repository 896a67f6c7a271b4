"""Command line: ``audiomix mix | augment | audit | beats | list``. Exit codes: 0 done, 1 some failed, 2 bad call."""

import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from . import __version__, check, mixers
from .audio import io
from .audio.video import WRITTEN_SUFFIXES
from .commands._options import whole_numbers
from .commands.audit import audit
from .commands.beats import beats
from .offline.providers.captions import Words
from .offline.run import augment as dataset_augment
from .registry import described, options_of, with_options

__all__ = ["main"]

# Arguments of a mixer that the files decide
_FROM_FILES = ("num_classes", "rate")
# Options for spectrograms, which files are not
_SPECTRAL = ("domain", "log", "mean", "std", "kind")
# `audiomix augment` gives a mixer that has a rate the rate of each file; this one stands until then
_ANY_RATE = 16000
_VIDEO = tuple(suffix.lstrip(".") for suffix in WRITTEN_SUFFIXES)
_JOIN = "Address of an OpenAI-compatible server whose language model rewrites captions; what is not true is refused."
_EMBEDDINGS = "Embeddings of the clips (.npy, .npz); with them the similarity of clips that meet is their cosine."
_Column = Annotated[str | None, Parameter(help="Name of this column in the manifest.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        app = _app(_chosen_mixer(argv))
        result = app(argv, exit_on_error=False, print_error=True, result_action="return_value")
        return int(result or 0)
    except cyclopts.CycloptsError:
        return 2
    except (ValueError, TypeError) as error:
        print(f"audiomix: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("audiomix: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_expected(error):
            raise
        print(f"audiomix: {error}", file=sys.stderr)
        return 1


def _is_expected(error: Exception) -> bool:
    from .audio.io import AudioError

    return isinstance(error, (AudioError, OSError))


def _chosen_mixer(argv: list[str]) -> str:
    """Look for ``--mixer NAME`` before parsing: the options of the command depend on it."""
    for i, word in enumerate(argv):
        if word == "--mixer" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith("--mixer="):
            return word.partition("=")[2]
    return "mixup"


def _app(mixer: str) -> cyclopts.App:
    app = cyclopts.App(name="audiomix", version=__version__, help="Mixing for audio and speech.", config=whole_numbers)
    cls = mixers.get(mixer)
    group = f"Options of {mixer}"
    app.command(with_options(mix, cls, group, skip=(*_FROM_FILES, *_SPECTRAL, "p", "pairing")), name="mix")
    app.command(
        with_options(_augment, cls, group, skip=(*_FROM_FILES, *_SPECTRAL), documented=dataset_augment), name="augment"
    )
    app.command(audit, name="audit")
    app.command(beats, name="beats")
    app.command(list_mixers, name="list")
    return app


def mix(
    a: Path,
    b: Path,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    mixer: str = "mixup",
    labels: tuple[str, str] | None = None,
    captions: tuple[str, str] | None = None,
    seed: int = 0,
    rate: float | None = None,
    channels: str = "original",
    length: str = "original",
    crop: Literal["random", "start"] = "random",
    picture: Path | None = None,
    picture_size: tuple[int, int] | None = None,
    options: dict[str, Any],
) -> int:
    """Mix two files, write the result and print the plan.

    Parameters
    ----------
    a
        The original.
    b
        Its partner.
    out
        The file to write: .flac, .wav (16 bit) or .ogg. Of two videos and with --mixer av also a video, .mp4 or .mkv:
        pictures and sound are mixed by one plan; else only the sound of videos is mixed.
    mixer
        How they are mixed; `audiomix list` shows them all.
    labels
        Names for the two sounds; by default the files' names.
    captions
        What is said of the two sounds, for a mixer that writes captions; by default made from the labels.
    seed
        What all draws depend on.
    rate
        Sampling rate of the result in Hz; by default the original's.
    channels
        original, or a number.
    length
        original: as long as the original. shortest, longest: of the two. Or seconds.
    crop
        Which part of a longer sound is taken: at a random position, or from its start.
    picture
        A .png file to draw: the mix; of a mix on the beat, both sounds with their beats before and after.
    picture_size
        Height and width of a video's pictures; by default the original's. Both videos are brought to it.
    """
    from .offline.films import FilmSources
    from .offline.providers.beats import find_beats
    from .offline.render import Renderer, Task
    from .offline.run import settings_of

    for source in (a, b):
        if out.exists() and source.exists() and out.samefile(source):
            check.fail("out", "another file than a and b", repr(str(out)), "it would overwrite its own source")
    _check_picture(picture)
    form = _suffix(out, mixer, picture_size)
    rate = io.info(a).rate if rate is None else check.rate("rate", rate)
    films = _films(a, b, rate, channels, picture_size, options) if form in _VIDEO else None
    names = labels or ((a.stem, b.stem) if a.stem != b.stem else (str(a), str(b)))
    if names[0] == names[1] and mixer == "between_class":
        check.fail("labels", "two different classes for between_class", repr(names[0]))
    made = mixers.make(mixer, rate=rate, **options)
    settings = settings_of(
        made,
        seed=seed,
        format="wav" if films else form,
        rate=rate,
        channels=channels,
        length=length,
        crop=crop,
        classes=tuple(dict.fromkeys(names)),
    )
    original, partner = _items((a, b), names, captions, made)
    found = find_beats([original, partner], made, progress=False)
    if found is not None:
        for name, reason in found.reasons.items():
            print(f"no beats of {name}: {reason}", file=sys.stderr)
    task = Task(0, original, 0, out.stem, (partner,), None if found is None else found.grids)
    renderer = Renderer(settings)
    if films is not None:
        renderer.sources = FilmSources({item.path: film for item, film in zip((original, partner), films)})
    rendered = renderer.render(task)
    row = {k: v for k, v in rendered.row.items() if k in _SHOWN}
    if films is None:
        io.write(out, io.Clip(rendered.mix, rendered.rate))
    else:
        row["pictures"] = _write_film(out, films, renderer, task, rendered, picture_size)
    if mixer == "av" and captions is not None:
        row |= _mixed_captions(rendered, captions)
    if picture is not None:
        _draw(picture, renderer, task, rendered, names)
    print(json.dumps({"file": str(out), **row, "plan": json.loads(row["plan"])}, indent=2, ensure_ascii=False))
    return 0


_SHOWN = (
    "label", "mixer", "plan", "seed", "rate", "channels", "seconds", "rms_db", "peak_db", "limiter_gain_db", "aligned",
    "why", "aligned_on", "partner_rate", "partner_semitones", "beats", "bpm", "metre", "key", "trackers",
    "caption", "captions", "tree", "events", "negatives", "mode", "correspondence", "sound_share", "picture_share",
)  # fmt: skip


def _check_picture(picture: Path | None) -> None:
    if picture is not None and picture.suffix.lower() != ".png":
        check.fail("the suffix of picture", "png", repr(picture.suffix.lstrip(".")), "pictures are .png files")
    if picture is not None and not picture.parent.is_dir():
        raise io.AudioError(f"{picture}: no such folder")


def _draw(picture: Path, renderer: Any, task: Any, rendered: Any, names: tuple[str, str]) -> None:
    """Draw a mix of two files; of a mix on the beat, what it was made of too."""
    from .beats.plan import BeatPlan
    from .plan import Plan
    from .report.beat_figure import beat_picture
    from .report.figures import sound_picture

    plan = Plan.from_json(rendered.row["plan"])
    if not isinstance(plan, BeatPlan):
        sound_picture(picture, io.Clip(rendered.mix.float() / 32768, rendered.rate))
        return
    _, pair, grids = renderer.inputs(task)  # decoded already
    own = pair.x[0] if pair.lengths is None else pair.x[0, :, : int(pair.lengths[0])]
    stretch = renderer.settings.mixer.stretch
    clips = io.Clip(own, pair.rate), io.Clip(pair.other[0], pair.rate)
    beat_picture(picture, plan, *clips, grids["beats"][0], grids["other_beats"][0], stretch=stretch, names=names)


def _suffix(out: Path, mixer: str, size: tuple[int, int] | None) -> str:
    """Return what is written; pictures need a mixer of pictures."""
    form, sounds = out.suffix.lower().lstrip("."), ["flac", "wav", "ogg"]
    if form in _VIDEO and mixer != "av":
        check.fail(
            "the suffix of out", f"one of {', '.join(sounds)} for {mixer}", repr(form), "--mixer av mixes videos"
        )
    check.choice("the suffix of out", form, sounds + (list(_VIDEO) if mixer == "av" else []))
    if size is not None and form not in _VIDEO:
        check.fail("picture_size", "left out where no pictures are written", repr(size))
    return form


def _items(files: tuple[Path, Path], names: tuple[str, str], said: tuple[str, str] | None, made: Any) -> list[Any]:
    """Return the two files as items of a data set, with captions where the mixer writes them."""
    from .datasets.item import Item
    from .offline.providers.captions import captioned

    alike = files[0].name == files[1].name  # ids are names, so that a mix does not depend on where its files lie
    items = [Item("" if alike else str(f.parent), str(f) if alike else f.name, label) for f, label in zip(files, names)]
    if not made.needs_captions:
        return items
    return captioned([replace(item, caption=text) for item, text in zip(items, said or (None, None))], made)[0]


def _films(
    a: Path, b: Path, rate: int, channels: str, size: tuple[int, int] | None, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Open two videos, whose sounds are then at `rate`; a box that is cut from them lies on whole pixels."""
    from .offline.films import Film, check_film

    own = Film.open(a, rate)
    count = int(channels) if channels.isdecimal() else len(own.sound.samples)
    check_film(rate, count, size)
    if options.get("mode") == "box":
        options.setdefault("pixels", size or own.size)
    return own, Film.open(b, rate)


def _write_film(
    out: Path, films: tuple[Any, Any], renderer: Any, task: Any, rendered: Any, size: Any
) -> dict[str, Any]:
    """Mix the pictures of two videos by the plan that mixed their sounds; return what they are."""
    from .offline.films import write_film
    from .plan import Plan

    _, pair, _ = renderer.inputs(task)  # decoded already; where the sounds were cut
    plan, sound = Plan.from_json(rendered.row["plan"]), io.Clip(rendered.mix, rendered.rate)
    return write_film(out, films[0], films[1], plan, sound, offsets=pair.offsets, size=size)


def _mixed_captions(rendered: Any, captions: tuple[str, str]) -> dict[str, Any]:
    """Say what is heard in a mix, and what is seen where that is something else."""
    from .plan import Plan
    from .targets.correspondence import mix_captions

    plan = Plan.from_json(rendered.row["plan"])
    heard, seen = (mix_captions([captions[0]], plan, other=[captions[1]], stream=s)[0] for s in ("sound", "picture"))
    return {"caption": heard, "captions": list(captions), **({} if seen == heard else {"picture_caption": seen})}


# What it does, and what its arguments mean, stands in the docstring of audiomix.offline.run.augment.
def _augment(
    source: Path,
    out: Path,
    *,
    mixer: Annotated[str, Parameter(help="How two sounds are mixed; audiomix list shows them all.")] = "mixup",
    copies: int = 1,
    seed: int = 0,
    workers: int = 1,
    format: Literal["flac", "wav", "ogg"] = "flac",
    rate: float | None = None,
    channels: str = "original",
    length: str = "original",
    crop: Literal["random", "start"] = "random",
    across: Sequence[Literal["split", "fold"]] = (),
    path_column: _Column = None,
    label_column: _Column = None,
    caption_column: _Column = None,
    split_column: _Column = None,
    fold_column: _Column = None,
    group_column: _Column = None,
    licence_column: _Column = None,
    attribution_column: _Column = None,
    label_separator: str | None = None,
    no_labels: Annotated[bool, Parameter(negative="")] = False,
    join: Annotated[str | None, Parameter(help=_JOIN)] = None,
    join_model: Annotated[str, Parameter(help="Name of the language model, as the server knows it.")] = "default",
    embeddings: Annotated[Path | None, Parameter(help=_EMBEDDINGS)] = None,
    similar_tags: Annotated[bool, Parameter(negative="", help="Limit the share of common tags instead.")] = False,
    min_similarity: Annotated[float, Parameter(help="Least similarity of captioned clips that meet.")] = -1.0,
    max_similarity: Annotated[float, Parameter(help="Largest similarity of captioned clips that meet.")] = 1.0,
    stems: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="", help="No progress bar.")] = False,
    options: dict[str, Any],
) -> int:
    names = {
        "path": path_column, "label": label_column, "caption": caption_column, "split": split_column,
        "fold": fold_column, "group": group_column, "licence": licence_column, "attribution": attribution_column,
    }  # fmt: skip
    columns = {k: v for k, v in names.items() if v is not None}
    rate = None if rate is None else check.rate("rate", rate)
    words = Words(join, join_model, embeddings, similar_tags, min_similarity, max_similarity)
    report = dataset_augment(
        source,
        out,
        mixers.make(mixer, rate=rate or _ANY_RATE, **options),
        copies=copies,
        seed=seed,
        workers=workers,
        format=format,
        rate=rate,
        channels=channels,
        length=length,
        crop=crop,
        across=across,
        columns=columns,
        label_separator=label_separator,
        no_labels=no_labels,
        stems=stems,
        words=words,
        dry_run=dry_run,
        progress=not quiet,
    )
    if not dry_run:
        _summary(report)
    return report.exit_code


def list_mixers() -> int:
    """Show every mixer with its options, read from the signatures."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for name in mixers.available():
        cls = mixers.get(name)
        title = (inspect.getmodule(cls).__doc__ or "").strip().splitlines()[0]  # type: ignore[union-attr]
        table = Table(title=f"[bold]{name}[/bold]  {title}", title_justify="left", expand=True)
        for column in ("option", "values", "default", "what it is"):
            table.add_column(column, no_wrap=column == "option")
        for option in options_of(cls):
            default = "(required)" if option.required else str(option.default)
            flag = "--" + option.name.replace("_", "-")
            table.add_row(flag, *(escape(text) for text in (described(option.kind), default, option.help)))
        console.print(table)
    return 0


def _summary(report: Any) -> None:
    print(f"{report.files} files, {report.seconds / 3600:.2f} h of sound, in {report.path}")
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    for error in report.errors[:5]:
        print(f"not done: {error['file']}: {error['reason']}", file=sys.stderr)
    if report.errors:
        print(f"{len(report.errors)} could not be done, all in {report.path / 'errors.jsonl'}", file=sys.stderr)
