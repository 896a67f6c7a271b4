"""``audiomix audit``: whether a mixed set is what its manifest and its captions say, judged from its sound."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .. import check
from ..audio import io
from ..audit.checks import Limits
from ..audit.report import picture as draw_picture, print_report
from ..audit.run import audit as audit_set
from ..captions.audible import MIN_BANDS, MIN_SHARE
from ..offline.parallel import usable_workers

__all__ = ["audit"]

_Flag = Annotated[bool, Parameter(negative="")]
_Measure = Literal["rms", "active", "lufs"]


def audit(
    mixes: Path,
    *,
    sources: Sequence[Path] = (),
    level_db: float = Limits.level_db,
    offset_samples: float = Limits.offset_samples,
    onset_samples: float = Limits.onset_samples,
    residual_db: float = Limits.residual_db,
    lossy_residual_db: float = Limits.lossy_residual_db,
    lossy_level_db: float = Limits.lossy_level_db,
    label_share: float = Limits.label,
    min_bands: int = MIN_BANDS,
    min_share: float = MIN_SHARE,
    measure: _Measure = "rms",
    templates: Path | None = None,
    mixer: Sequence[str] = (),
    worst: int = 10,
    workers: int = 1,
    oversubscribe: _Flag = False,
    json: _Flag = False,
    file: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    picture: Path | None = None,
    quiet: _Flag = False,
) -> int:
    """Recover from mixes and their sources how they were mixed, and hold it against manifest and captions.

    Exit codes: 0 all is true, 1 something is wrong or could not be read, 2 a wrong argument.

    Parameters
    ----------
    mixes
        A folder that audiomix augment wrote; or a CSV, TSV or JSONL table with the columns mix and sources (a list, or
        separated by ;), and if known caption, captions, snr_db, gain_db, offset_s.
    sources
        Folder that the sources are relative to; may be given several times. By default the one that the manifest names
        for each source, then the folder of the table.
    level_db
        Largest error of a gain or an SNR in dB.
    offset_samples
        Largest error of where a source lies, in samples.
    onset_samples
        Largest error of the onset or offset of an active part, in samples: two windows of 512 in which it is measured.
    residual_db
        How much of a mix may be in none of its sources, in dB.
    lossy_residual_db
        The same for compressed mixes, whose codec adds noise.
    lossy_level_db
        Largest error of a gain in a compressed mix; of an SNR, twice that.
    label_share
        Largest error of the share of the label.
    min_bands
        A source is heard where it dominates so many of 64 mel bands,
    min_share
        in such a share of its active frames.
    measure
        Of the SNR in a table that is not ours: rms over each clip, active, or lufs.
    templates
        JSON file with the words that tell relations in another language. By default the one that the manifest names,
        else English.
    mixer
        Mixer of your own that made the mixes, as mine.py:RollMix; may be given several times. Its code reads the plans.
        Mixers of installed packages are found by themselves; a path that a manifest names is never imported.
    worst
        How many of the worst mixes are shown.
    workers
        Processes; at most as many as there are cores. Results do not depend on it.
    oversubscribe
        Start as many workers as asked for, also beyond the number of cores.
    json
        Print one JSON object a mix instead of the table.
    file
        Write the JSON objects to this file.
    picture
        A .png file to draw: how the errors are distributed.
    quiet
        No progress bar.
    """
    check.integer("worst", worst, 0)
    workers, notes = usable_workers(workers, oversubscribe)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if picture is not None and picture.suffix.lower() != ".png":
        check.fail("the suffix of picture", "png", repr(picture.suffix.lstrip(".")), "pictures are .png files")
    for path in (file, picture):
        if path is not None and not path.absolute().parent.is_dir():
            raise io.AudioError(f"{path}: no such folder")
    report = audit_set(
        mixes, sources, level_db=level_db, offset_samples=offset_samples, onset_samples=onset_samples,
        residual_db=residual_db, lossy_residual_db=lossy_residual_db, lossy_level_db=lossy_level_db,
        label_share=label_share, min_bands=min_bands, min_share=min_share, measure=measure, templates=templates,
        mixer=mixer, workers=workers, progress=not quiet,
    )  # fmt: skip
    lines = [item.to_json() for item in report.items]
    if file is not None:
        with io.atomic_file(file) as written:
            written.write(("\n".join(lines) + "\n").encode())
    if picture is not None:
        draw_picture(picture, report)
    if json:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    else:
        print_report(report, worst)
    return report.exit_code
