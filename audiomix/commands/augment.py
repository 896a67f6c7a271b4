"""``audiomix augment``: a data set is mixed with itself, file by file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from .. import check, mixers
from ..datasets.columns import COLUMNS
from ..offline import run
from ..offline.progress import ErrorLimit
from ..offline.providers.captions import CaptionOptions
from ..terminal import Exit, Summary, say
from ._mixers import with_mixer_options

__all__ = ["command"]

# A mixer that has a rate gets the rate of each file; this one stands until then.
_ANY_RATE = 16000
_MIXER = "How two sounds are mixed: a name (audiomix list shows them all), or one's own as mine.py:RollMix."
_JOIN = "Address of an OpenAI-compatible server whose language model rewrites captions; what is not true is refused."
_EMBEDDINGS = "Embeddings of the clips (.npy, .npz); with them the similarity of clips that meet is their cosine."
_STRICT = "Stop at the first file that cannot be done, with exit code 3; what is done is kept."


_WEIGHTS = "How often files of the partners are drawn: music=0.2 street/3.wav=0. The longest name counts; 1 for others."
_ROOM = (
    "Impulse responses (a folder, a manifest, one file): each original is convolved with one before it is mixed, and "
    "keeps its power. In conversations each speaker has a room."
)


def _column(name: str, content: str) -> Parameter:
    return Parameter(help=f"Column of a manifest with {content}; by default {' or '.join(COLUMNS[name])}.")


def command(argv: list[str]) -> Callable[..., Summary]:
    """Return the command with the options of the mixer on the command line."""
    return with_mixer_options(_augment, argv, documented=run.augment)


# What it does, and what its arguments mean, stands in the docstring of audiomix.offline.run.augment.
def _augment(
    source: str,
    out: str,
    *,
    mixer: Annotated[str, Parameter(help=_MIXER)] = "mixup",
    copies: int = 1,
    seed: int = 0,
    workers: int = 1,
    format: Literal["flac", "wav", "ogg"] = "flac",
    rate: float | None = None,
    channels: str = "original",
    length: str = "original",
    crop: Literal["random", "start"] = "random",
    across: Annotated[Sequence[Literal["split", "fold"]], Parameter(show_default=False)] = (),
    path_column: Annotated[str | None, _column("path", "the files, relative to its own folder")] = None,
    label_column: Annotated[str | None, _column("label", "the class")] = None,
    caption_column: Annotated[str | None, _column("caption", "what is said of the sound")] = None,
    split_column: Annotated[str | None, _column("split", "the split (train, test, ...)")] = None,
    fold_column: Annotated[str | None, _column("fold", "the fold")] = None,
    group_column: Annotated[str | None, _column("group", "what belongs together, e.g. the recording")] = None,
    licence_column: Annotated[str | None, _column("licence", "the licence")] = None,
    attribution_column: Annotated[str | None, _column("attribution", "whom to name")] = None,
    role_column: Annotated[str | None, _column("role", "original, noise (a partner only) or both")] = None,
    bpm_column: Annotated[str | None, _column("bpm", "the tempo, in beats a minute")] = None,
    key_column: Annotated[str | None, _column("key", "the key, e.g. A minor")] = None,
    beats_column: Annotated[str | None, _column("beats", "the beats, in seconds, or a .beats text")] = None,
    cluster_column: Annotated[str | None, _column("cluster", "the cluster, for --pairing same_cluster")] = None,
    attribute_column: Annotated[str | None, _column("attribute", "what each is besides, for same_attribute")] = None,
    offset_column: Annotated[str | None, _column("offset", "where in its file a clip begins, in seconds")] = None,
    duration_column: Annotated[str | None, _column("duration", "how long a clip is, in seconds")] = None,
    label_separator: str | None = None,
    no_labels: Annotated[bool, Parameter(negative="")] = False,
    layout: str = "",
    audio_root: str | None = None,
    partners: str | None = None,
    partner_label: str | None = None,
    partner_layout: str = "",
    partner_weights: Annotated[Sequence[str], Parameter(help=_WEIGHTS, consume_multiple=True, show_default=False)] = (),
    room: Annotated[Path | None, Parameter(help=_ROOM)] = None,
    room_partners: Annotated[bool, Parameter(negative="")] = False,
    room_channel: int | None = None,
    room_share: float = 1.0,
    join: Annotated[str | None, Parameter(help=_JOIN)] = None,
    join_model: Annotated[str, Parameter(help="Name of the language model, as the server knows it.")] = "default",
    embeddings: Annotated[Path | None, Parameter(help=_EMBEDDINGS)] = None,
    similar_tags: Annotated[bool, Parameter(negative="", help="Limit the share of common tags instead.")] = False,
    min_similarity: Annotated[float, Parameter(help="Least similarity of captioned clips that meet.")] = -1.0,
    max_similarity: Annotated[float, Parameter(help="Largest similarity of captioned clips that meet.")] = 1.0,
    stems: Annotated[bool, Parameter(negative="")] = False,
    refresh: Annotated[bool, Parameter(negative="")] = False,
    oversubscribe: Annotated[bool, Parameter(negative="")] = False,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    float_scale: float | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    strict: Annotated[bool, Parameter(negative="", help=_STRICT)] = False,
    max_errors: int | None = None,
    profile: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="", help="Show no progress.")] = False,
    options: dict[str, Any],
) -> Summary:
    names = {
        "path": path_column, "label": label_column, "caption": caption_column, "split": split_column,
        "fold": fold_column, "group": group_column, "licence": licence_column, "attribution": attribution_column,
        "role": role_column, "bpm": bpm_column, "key": key_column, "beats": beats_column,
        "cluster": cluster_column, "attribute": attribute_column, "offset": offset_column, "duration": duration_column,
    }  # fmt: skip
    columns = {k: v for k, v in names.items() if v is not None}
    rate = None if rate is None else check.rate("rate", rate)
    words = CaptionOptions(
        join=join, model=join_model, embeddings=embeddings, tags=similar_tags,
        min_similarity=min_similarity, max_similarity=max_similarity,
    )  # fmt: skip
    report = run.augment(
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
        layout=layout,
        audio_root=audio_root,
        stems=stems,
        partners=partners,
        partner_label=partner_label,
        partner_layout=partner_layout,
        partner_weights=_read_weights(partner_weights),
        room=room,
        room_partners=room_partners,
        room_channel=room_channel,
        room_share=room_share,
        words=words,
        refresh=refresh,
        oversubscribe=oversubscribe,
        engine=engine,
        ray_address=ray_address,
        float_scale=float_scale,
        dry_run=dry_run,
        max_errors=ErrorLimit(max_errors, strict=strict).most,
        profile=profile,
        progress=not quiet,
    )
    if not dry_run:
        _print_summary(report)
    facts = {"out": report.path, "files": report.files, "seconds": report.seconds, "dry_run": dry_run}
    return Summary(Exit(report.exit_code), {**facts, "notes": report.notes, "errors": report.errors})


def _read_weights(texts: Sequence[str]) -> dict[str, float] | None:
    """Return NAME=WEIGHT as a mapping; None where none is given."""
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not (equals and name):
            check.fail("partner_weights (--partner-weights)", "NAME=WEIGHT, such as music=0.2", repr(text))
    return found or None


def _print_summary(report: Any) -> None:
    print(f"{report.files} files, {report.seconds / 3600:.2f} h of sound, in {report.path}")
    for note in report.notes:
        say(f"note: {note}")
    for error in report.errors[:5]:
        say(f"not done: {error['file']}: {error['reason']}")
    if report.errors:
        say(f"{len(report.errors)} could not be done, all in {report.path}/errors.jsonl")
