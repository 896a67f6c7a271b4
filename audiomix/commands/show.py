"""``audiomix show``: a page to look at and listen to, of mixes, data sets, beats and runs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .. import check
from ..report.show.path import make_page
from ..terminal import Exit, Summary, say

__all__ = ["show"]


def show(
    path: Path,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    items: int = 12,
    seed: int = 0,
    seconds: float = 12.0,
    sources: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
) -> Summary:
    """Make a page to look at and listen to: mixes, data sets, beats and runs.

    One HTML file that needs no network and no other file. Keys: space plays, arrows move.

    Parameters
    ----------
    path
        A folder of audiomix augment, or a table of mixes; a .json file with what audiomix mix printed; a sound, with
        its beats where a .beats text lies beside it; a .beats text; a folder of audiomix-recipes run.
    out
        The page; by default NAME-show.html beside PATH.
    items
        At most so many mixes are drawn, as many pieces of a song. 50 stay below 15 MB.
    seed
        What the sample of mixes depends on.
    seconds
        Of longer mixes so much is drawn and played at most.
    sources
        Folders that sources are relative to, where they are not where the manifest says.
    """
    page, facts = make_page(path, items=items, seed=seed, seconds=seconds, sources=sources or None, progress=True)
    place = path.resolve()
    out = out or place.with_name(f"{place.stem if path.is_file() else place.name}-show.html")
    if out.suffix.lower() not in (".html", ".htm"):
        check.fail("the suffix of out", "html", repr(out.suffix.lstrip(".")), "a page is a .html file")
    page.write(out)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB. Open it in a browser")
    return Summary(Exit.DONE, {"page": out, **facts})
