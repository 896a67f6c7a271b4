"""The one writer of HTML: a page of text, tables, pictures and sounds, readable without a network, and as Markdown."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from .. import check
from ..audio import io
from ..audio.io import Clip
from .figures import sound_picture

__all__ = ["Page"]

_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --muted: #5d6b7a; --line: #d9dfe6; --back: #f6f8fa; --mark: #1b6ca8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 84rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; } h2 { margin: 2.5rem 0 .5rem; font-size: 1.35rem; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1.05rem; } p { margin: .35rem 0; max-width: 62rem; }
.muted { color: var(--muted); }
pre { background: #e9eef3; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .88em; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; margin: .75rem 0; }
figure { margin: .75rem 0; padding: .75rem; background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.row figure { margin: 0; } figure img { display: block; max-width: 100%; height: auto; } .row img { width: 100%; }
figure.wide { max-width: 48rem; } figcaption { font-weight: 600; margin-bottom: .4rem; }
audio { width: 100%; height: 2.2rem; margin-top: .4rem; }
table { border-collapse: collapse; background: #fff; border: 1px solid var(--line); margin: .75rem 0; display: block;
  width: fit-content; max-width: 100%; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
td { white-space: nowrap; } th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td.best { font-weight: 700; color: var(--mark); }
"""


class _Block(NamedTuple):
    html: str
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

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading.

        Parameters
        ----------
        text : str
            The heading.
        level : int
            2 or 3.
        """
        self._add(f"<h{level}>{escape(text)}</h{level}>", f"{'#' * level} {text}")

    def text(self, text: str, *, muted: bool = False) -> None:
        """Add a paragraph.

        Parameters
        ----------
        text : str
            The paragraph.
        muted : bool
            Whether it is less important, and grey.
        """
        self._add(f"<p{' class=muted' if muted else ''}>{escape(text)}</p>", text)

    def code(self, text: str) -> None:
        """Add a text whose lines and spaces are kept.

        Parameters
        ----------
        text : str
            The lines.
        """
        lines = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        self._add(f"<pre>{escape(text)}</pre>", lines)

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
        head = "".join(f"<th>{escape(str(c))}</th>" for c in columns)
        body = ""
        lines = [[*map(str, columns)], ["---"] + ["---:"] * (len(columns) - 1)]
        for i, row in enumerate(rows):
            cells = [(str(cell), (i, j) in best) for j, cell in enumerate(row)]
            tagged = (f"<td{' class=best' if bold else ''}>{escape(cell)}</td>" for cell, bold in cells)
            body += f"<tr>{''.join(tagged)}</tr>"
            lines.append([f"**{cell}**" if bold else cell for cell, bold in cells])
        markdown = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        self._add(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", markdown)

    def sounds(self, entries: Sequence[tuple[str, str, Clip, Sequence[tuple[float, float]]]], scale: float = 1) -> None:
        """Add a row of sounds with their waveforms and spectrograms, and write their files.

        Parameters
        ----------
        entries : sequence of (str, str, Clip, sequence of (float, float))
            File stem, caption, sound, and spans in seconds that are marked.
        scale : float
            Amplitude at the top of all waveforms.
        """
        cells = []
        for stem, caption, clip, spans in entries:
            sound = io.write(self._place("sounds", f"{stem}.wav"), clip)
            picture = sound_picture(self._place("pictures", f"{stem}.png"), clip, spans=spans, full_scale=scale)
            cells.append(
                f"<figure><figcaption>{escape(caption)}</figcaption>"
                f'<img src="pictures/{picture.name}" alt="Waveform and spectrogram: {escape(caption)}" loading="lazy">'
                f'<audio controls preload="none" src="sounds/{sound.name}"></audio></figure>'
            )
        self._add(f'<div class="row">{"".join(cells)}</div>')

    def picture(self, name: str, alt: str) -> Path:
        """Add a picture and return where its file must be written.

        Parameters
        ----------
        name : str
            File name.
        alt : str
            What it shows, in words.
        """
        path = self._place("pictures", name)
        self._add(f'<figure class="wide"><img src="pictures/{name}" alt="{escape(alt)}"></figure>')
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
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        self._add(f'<figure><img src="{source}" alt="{escape(alt)}"></figure>')

    def html(self) -> str:
        """Return the page as HTML."""
        blocks = "\n".join(block.html for block in self._blocks)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>\n"
            f"<h1>{escape(self.title)}</h1>\n{blocks}\n</body></html>\n"
        )

    def markdown(self) -> str:
        """Return the page as Markdown, without pictures and sounds."""
        return "\n\n".join([f"# {self.title}", *(b.markdown for b in self._blocks if b.markdown)]) + "\n"

    def save(self) -> Path:
        """Write ``index.html`` into the folder, whole or not at all, and return its path."""
        path = self._place("index.html")
        with io.atomic_file(path) as file:
            file.write(self.html().encode())
        return path

    def _add(self, html: str, markdown: str = "") -> None:
        self._blocks.append(_Block(html, markdown))

    def _place(self, *parts: str) -> Path:
        if self.folder is None:
            check.fail("folder", "given for a page with files of its own", None, "embed pictures, and write html()")
        return self.folder.joinpath(*parts)
