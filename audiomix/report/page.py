"""The one writer of pages: text, tables, pictures, sounds and charts, readable without a network, and as Markdown."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from .. import check
from ..audio import io
from ..audio.io import Clip
from .html import data_uri, png_size, render_page
from .lanes import encode, make_lane, ticks

__all__ = ["Page"]

# Dots an inch of pictures are chosen for screens of twice the usual fineness.
_FINE = 1.5


class _Block(NamedTuple):
    kind: str  # a macro of templates/blocks.html
    values: dict[str, Any]
    markdown: str  # empty for what Markdown cannot show


class Page:
    """A page that is built block by block. All texts are escaped.

    Parameters
    ----------
    title : str
        Title and first heading.
    folder : Path, optional
        Where sounds and pictures go that are files of their own, in ``sounds`` and ``pictures``, and where `save`
        writes. Made where it does not exist. Without, the page is one file.

    Examples
    --------
    >>> page = Page("Results")
    >>> page.table(["method", "error"], [["mixup", "3.1"], ["none", "4.2"]], best=[(0, 1)])
    >>> print(page.markdown())
    # Results
    <BLANKLINE>
    | method | error |
    | --- | ---: |
    | mixup | **3.1** |
    | none | 4.2 |
    <BLANKLINE>
    """

    def __init__(self, title: str, folder: Path | None = None) -> None:
        self.title, self.folder = title, folder
        self._blocks: list[_Block] = []
        if folder is not None:
            for name in ("sounds", "pictures"):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, markdown: str = "", **values: Any) -> None:
        """Add a component.

        Parameters
        ----------
        kind : str
            A macro of ``templates/blocks.html``.
        markdown : str
            The same as Markdown; empty for what that cannot show.
        **values : Any
            Arguments of the macro; every text in them is escaped.
        """
        self._blocks.append(_Block(kind, values, markdown))

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading.

        Parameters
        ----------
        text : str
            The heading.
        level : int
            2 or 3.
        """
        self.add("heading", f"{'#' * level} {text}", text=text, level=level)

    def text(self, text: str, *, muted: bool = False) -> None:
        """Add a paragraph.

        Parameters
        ----------
        text : str
            The paragraph.
        muted : bool
            Whether it is less important, and grey.
        """
        self.add("text", text, text=text, muted=muted)

    def code(self, text: str) -> None:
        """Add a text whose lines and spaces are kept.

        Parameters
        ----------
        text : str
            The lines.
        """
        self.add("code", "\n".join(f"    {line}".rstrip() for line in text.splitlines()), text=text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], best: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Add a table: the first column is aligned to the left, the others to the right.

        Parameters
        ----------
        columns : sequence of str
            Headings.
        rows : sequence of sequence
            Cells.
        best : sequence of (int, int)
            Row and column of the cells in bold.
        """
        columns, bold = [str(name) for name in columns], {*best}
        cells: list[list[dict[str, Any]]] = [
            [{"text": str(cell), "best": (i, j) in bold} for j, cell in enumerate(row)] for i, row in enumerate(rows)
        ]
        lines: list[list[str]] = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
        lines += [[f"**{cell['text']}**" if cell["best"] else cell["text"] for cell in row] for row in cells]
        markdown = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        self.add("table", markdown, columns=columns, rows=cells)

    def sounds(self, entries: Sequence[tuple[str, str, Clip, Sequence[tuple[float, float]]]], scale: float = 1) -> None:
        """Add a row of sounds with their waveforms and spectrograms; of a page with a folder, write their files.

        Parameters
        ----------
        entries : sequence of (str, str, Clip, sequence of (float, float))
            File stem, caption, sound, and spans in seconds that are marked.
        scale : float
            Amplitude at the top of all waveforms.
        """
        cards = []
        for stem, caption, clip, spans in entries:
            if self.folder is None:
                address = encode(clip)
            else:
                address = f"sounds/{io.write(self._place('sounds', f'{stem}.wav'), clip).name}"
            lane = make_lane(caption, clip, clip.seconds, peak=scale, spans=spans)
            card = {"caption": caption, "seconds": clip.seconds, "ticks": ticks(clip.seconds, 4)}
            cards.append(card | {"lane": replace(lane, sound=address)})
        self.add("cards", cards=cards)

    def picture(self, name: str, alt: str) -> Path:
        """Add a picture and return where its file must be written before `html` is called.

        Parameters
        ----------
        name : str
            File name.
        alt : str
            What it shows, in words.
        """
        path = self._place("pictures", name)
        self.add("picture", source=f"pictures/{name}", alt=alt, size=path, wide=True)
        return path

    def embed(self, png: bytes, alt: str) -> None:
        """Add a picture that lies in the page itself.

        Parameters
        ----------
        png : bytes
            The picture, as a PNG file.
        alt : str
            What it shows, in words.
        """
        self.add("picture", source=data_uri(png, "image/png"), alt=alt, size=_shown(png), wide=False)

    def html(self) -> str:
        """Return the page as HTML."""
        found = []
        for block in self._blocks:
            size = block.values.get("size")
            if isinstance(size, Path):  # it is written by now
                with open(size, "rb") as file:
                    block = block._replace(values={**block.values, "size": _shown(file.read(24))})
            found.append(block)
        return render_page(self.title, found)

    def markdown(self) -> str:
        """Return the page as Markdown, without pictures and sounds."""
        return "\n\n".join([f"# {self.title}", *(b.markdown for b in self._blocks if b.markdown)]) + "\n"

    def save(self) -> Path:
        """Write ``index.html`` into the folder, whole or not at all, and return its path."""
        return self.write(self._place("index.html"))

    def write(self, path: Path) -> Path:
        """Write the page into a file, whole or not at all, and return its path.

        Parameters
        ----------
        path : Path
            The file.
        """
        text = self.html().encode("utf-8", "replace")  # a file name may hold bytes that are no text
        with io.atomic_file(path) as file:
            file.write(text)
        return path

    def _place(self, *parts: str) -> Path:
        if self.folder is None:
            check.fail("folder", "given for a page with files of its own", None, "embed pictures, and write html()")
        return self.folder.joinpath(*parts)


def _shown(png: bytes) -> tuple[int, int]:
    """Return in what size a picture is shown."""
    width, height = png_size(png)
    return round(width / _FINE), round(height / _FINE)
