"""``audiomix mix``: two files are mixed to one, and the plan is printed."""

import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from .. import check, mixers
from ..audio import io
from ..audio.video import WRITTEN_SUFFIXES
from ..datasets.item import Item
from ..datasets.source import read_source
from ..mixer import STREAM, WAVE, Mixer, Needs
from ..offline.films import Film, FilmSources, check_film, write_film
from ..offline.limits import settings_of
from ..offline.providers.beats import find_beats
from ..offline.providers.captions import write_captions
from ..offline.render import Rendered, Renderer, Task
from ..plan import AS_DRAWN, Plan
from ..registry import Choice
from ..report.mix_scene import DOMAINS
from ..targets.correspondence import mix_captions
from ..terminal import Exit, say
from ._mixers import with_mixer_options
from ._pictures import draw_features, draw_waves, redraw_waves

__all__ = ["command", "mix"]

_VIDEO = tuple(suffix.lstrip(".") for suffix in WRITTEN_SUFFIXES)


def command(argv: list[str]) -> Callable[..., int]:
    """Return the command with the options of the mixer on the command line."""
    return with_mixer_options(mix, argv, skip=("p", "pairing"), writes_files=False)


def mix(
    a: Path,
    b: Path,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    mixer: str = "mixup",
    labels: tuple[str, str] | None = None,
    captions: tuple[str, str] | None = None,
    manifest: Path | None = None,
    seed: int = 0,
    rate: float | None = None,
    channels: str = "original",
    length: str = "original",
    crop: Literal["random", "start"] = "random",
    picture: Path | None = None,
    on: Literal["wave", "spectrogram", "stems", "stream", "embedding"] | None = None,
    picture_size: tuple[int, int] | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
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
        pictures and sound are mixed by one plan; else only the sound of videos is mixed. Not needed where a picture is
        drawn.
    mixer
        How they are mixed: a name (`audiomix list` shows them all), or one's own as mine.py:RollMix.
    labels
        Names for the two sounds; by default the files' names.
    captions
        What is said of the two sounds, for a mixer that writes captions; by default made from the labels.
    manifest
        A CSV, TSV or JSONL table that lists the two files, with columns beats, bpm or key that a mixer on the beat then
        need not find.
    seed
        What all draws depend on. Where only a picture is drawn, and one of the two sounds alone is in the mix, the next
        seed with both is taken, and that is said.
    rate
        Sampling rate of the result in Hz; by default the original's.
    channels
        original, or a number.
    length
        original: as long as the original. shortest, longest: of the two. Or seconds.
    crop
        Which part of a longer sound is taken: at a random position, or from its start.
    picture
        A .png file to draw: both sounds and the mix, and what is heard of each; of a mix on the beat, both sounds with
        their beats before and after.
    on
        What is mixed for the picture: waves, the files' log-mel spectrograms, two bands of them as stems, their frames
        or their mean frames; by default the first that the mixer takes. Only of waves a file can be written.
    picture_size
        Height and width of a video's pictures; by default the original's. Both videos are brought to it.
    json
        Print the exit code with the plan, and one JSON object on stdout also where the command is refused.
    """
    chosen = mixers.read(mixer)
    mixer, options = chosen.name, chosen.options | options
    if out is None and picture is None:
        check.fail("--out", "given, or --picture where a picture is enough", "neither")
    for source in (a, b):
        if out is not None and out.exists() and source.exists() and out.samefile(source):
            check.fail("out", "another file than a and b", repr(str(out)), "it would overwrite its own source")
    _check_picture(picture)
    rate = io.info(a).rate if rate is None else check.rate("rate", rate)
    made = _make_mixer(chosen, options, rate, writes_file=out is not None)
    needs = made.needs
    if out is not None and on not in (None, WAVE):
        check.fail("on", "wave where a file is written", repr(on), "leave --out away: no sound has that spectrogram")
    domain: str = on or next(name for name in DOMAINS if name in needs.domain)
    names = labels or ((a.stem, b.stem) if a.stem != b.stem else (str(a), str(b)))
    if domain != WAVE:
        assert picture is not None  # else `out` is given
        facts = draw_features(picture, made, (a, b), names, domain, rate=rate, seed=seed)
        print(dumps(({"exit_code": int(Exit.DONE)} if json else {}) | facts, indent=2, ensure_ascii=False))
        return Exit.DONE
    if needs.sources[0] > 2:
        least = f"{made}: of {needs.sources[0]} or more"
        check.fail("mixer", "one of two sounds", least, "audiomix augment mixes more")
    form = "flac" if out is None else _suffix(out, mixer, needs, picture_size)
    films = _open_films(a, b, rate, channels, picture_size) if form in _VIDEO else None
    if films:
        made = made.at_picture_size(picture_size or films[0].size)
    if names[0] == names[1] and "different_class" in made.pairings:
        check.fail("labels", f"two different classes for {mixer}", repr(names[0]))
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
    original, partner = _items((a, b), names, captions, needs)
    if manifest is not None:
        original, partner = _with_music((original, partner), manifest)
    query = needs.notes.get("beats")
    found = None if query is None else find_beats([original, partner], query, progress=False)
    for name, reason in found.reasons.items() if found else ():
        say(f"no beats of {name}: {reason}")
    task = Task(0, original, 0, "" if out is None else out.stem, (partner,), None if found is None else found.grids)
    renderer = Renderer(settings)
    if films is not None:
        renderer.sources = FilmSources({item.path: film for item, film in zip((original, partner), films)})
    rendered = renderer.render(task)
    if out is None and not films:
        renderer, rendered = redraw_waves(renderer, task, rendered)
    row = {k: v for k, v in rendered.row.items() if k in _SHOWN}
    if out is None:
        say("only the picture is written: --out mixed.flac writes the sound")
    elif films is None:
        io.write(out, io.Clip(rendered.mix, rendered.rate))
    else:
        row["pictures"] = _write_film(out, films, renderer, task, rendered, picture_size)
    if needs.pictures and captions is not None:
        row |= _mix_captions(rendered, captions)
    if picture is not None:
        draw_waves(picture, renderer, task, rendered, names)
    files = {} if out is None else {"file": str(out)}
    files |= {} if picture is None else {"picture": str(picture)}
    done = Exit.DONE
    plan = Plan.from_json(row["plan"])
    if plan.why and plan.why[0] not in AS_DRAWN:
        alone = float(plan.weight[0]) == 1
        say(f"{'left unmixed' if alone else 'mixed otherwise than asked'}: {plan.why[0]}", style="yellow")
        done = Exit.SOME
    facts = ({"exit_code": int(done)} if json else {}) | {**files, **row, "plan": loads(row["plan"])}
    print(dumps(facts, indent=2, ensure_ascii=False))
    return done


_SHOWN = (
    "label", "mixer", "plan", "seed", "rate", "channels", "seconds", "rms_db", "peak_db", "limiter_gain_db", "notes",
    "sources", "aligned", "why", "aligned_on", "partner_rate", "partner_semitones", "mashability", "beats", "positions",
    "bpm", "metre", "key", "trackers", "caption", "captions", "tree", "events", "negatives", "mode", "correspondence",
    "sound_share", "picture_share",
)  # fmt: skip


def _make_mixer(chosen: Choice[type[Mixer]], options: dict[str, Any], rate: int, *, writes_file: bool) -> Mixer:
    """Return the mixer for two files of a rate, or refuse one that mixes no waveforms where a file is written."""
    chance = inspect.signature(chosen.member).parameters.get("p")
    if chance is not None and chance.default != 1:
        options = {"p": 1.0} | options  # one pair, and a mix of it is asked for
    # the rate of a mixer of streams is that of their frames
    streams = chosen.name in mixers.available() and mixers.domains(chosen.member) == {STREAM}
    made = mixers.make(chosen.name, rate=None if streams else rate, **options)
    if writes_file and WAVE not in made.needs.domain:
        kinds = " or ".join(domain.removesuffix("s") + "s" for domain in sorted(made.needs.domain))
        slip = "no sound is made of them; --picture mix.png without --out draws their mix"
        check.fail("mixer", "one that mixes waveforms where a file is written", f"{made}, which mixes {kinds}", slip)
    return made


def _check_picture(picture: Path | None) -> None:
    if picture is not None and picture.suffix.lower() != ".png":
        check.fail("the suffix of picture", "png", repr(picture.suffix.lstrip(".")), "pictures are .png files")
    if picture is not None and not picture.parent.is_dir():
        raise io.AudioError(f"{picture}: no such folder")


def _suffix(out: Path, mixer: str, needs: Needs, size: tuple[int, int] | None) -> str:
    """Return what is written; pictures need a mixer of pictures."""
    form, sounds = out.suffix.lower().lstrip("."), ["flac", "wav", "ogg"]
    if form in _VIDEO and not needs.pictures:
        slip = "--mixer av mixes videos"
        check.fail("the suffix of out", f"one of {', '.join(sounds)} for {mixer}", repr(form), slip)
    check.choice("the suffix of out", form, sounds + (list(_VIDEO) if needs.pictures else []))
    if size is not None and form not in _VIDEO:
        check.fail("picture_size", "left out where no pictures are written", repr(size))
    return form


def _items(files: tuple[Path, Path], names: tuple[str, str], texts: tuple[str, str] | None, needs: Needs) -> list[Item]:
    """Return the two files as items of a data set, with captions where the mixer writes them."""
    alike = files[0].name == files[1].name  # ids are names, so that a mix does not depend on where its files lie
    items = [Item("" if alike else str(f.parent), str(f) if alike else f.name, label) for f, label in zip(files, names)]
    if "captions" not in needs.notes:
        return items
    items = [replace(item, caption=text) for item, text in zip(items, texts or (None, None))]
    return [*write_captions(items, needs.notes["captions"])[0]]


def _with_music(items: tuple[Any, Any], manifest: Path) -> list[Any]:
    """Return two items with the tempo, key and beats that a manifest tells of their files."""
    rows = {os.path.realpath(row.path): row for row in read_source(manifest, need_labels=False)[0]}
    found = []
    for item in items:
        row = rows.get(os.path.realpath(item.path))
        if row is None:
            check.fail("manifest", f"a table that lists {item.path}", repr(str(manifest)), "paths are relative to it")
        beats = row.beats
        if beats and not beats.startswith("["):  # a path, relative to the manifest
            beats = os.path.abspath(os.path.join(row.root, beats))
        found.append(replace(item, bpm=row.bpm, key=row.key, beats=beats))
    return found


def _open_films(a: Path, b: Path, rate: int, channels: str, size: tuple[int, int] | None) -> tuple[Film, Film]:
    """Open two videos, whose sounds are then at `rate`."""
    own = Film.open(a, rate)
    count = int(channels) if channels.isdecimal() else len(own.sound.samples)
    check_film(rate, count, size)
    return own, Film.open(b, rate)


def _write_film(
    out: Path, films: tuple[Film, Film], renderer: Renderer, task: Task, rendered: Rendered, size: Any
) -> dict[str, Any]:
    """Mix the pictures of two videos by the plan that mixed their sounds; return what they are."""
    own, theirs = renderer.inputs(task)[1].offsets  # decoded already; where the sounds were cut
    plan, sound = Plan.from_json(rendered.row["plan"]), io.Clip(rendered.mix, rendered.rate)
    return write_film(out, films[0], films[1], plan, sound, offsets=(own, theirs), size=size)


def _mix_captions(rendered: Rendered, captions: tuple[str, str]) -> dict[str, Any]:
    """Say what is heard in a mix, and what is seen where that is something else."""
    plan = Plan.from_json(rendered.row["plan"])
    of_sound, of_picture = (
        mix_captions([captions[0]], plan, other=[captions[1]], stream=stream)[0] for stream in ("sound", "picture")
    )
    more = {} if of_picture == of_sound else {"picture_caption": of_picture}
    return {"caption": of_sound, "captions": list(captions), **more}
