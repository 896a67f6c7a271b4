"""A page of sounds, pictures and tables: plain HTML beside its files, readable without a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ..audio import io
from ..audio.io import Clip
from .figures import sound_picture

__all__ = ["Page"]

_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --muted: #5d6b7a; --line: #d9dfe6; --back: #f6f8fa; --mark: #1b6ca8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; } h2 { margin: 2.5rem 0 .5rem; font-size: 1.35rem; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1.05rem; } p { margin: .35rem 0; max-width: 62rem; }
.muted { color: var(--muted); }
code { background: #e9eef3; padding: .05em .35em; border-radius: 4px; font-size: .92em; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; margin: .75rem 0; }
figure { margin: 0; padding: .75rem; background: #fff; border: 1px solid var(--line); border-radius: 10px; }
figure img { display: block; width: 100%; height: auto; } figure.wide { max-width: 48rem; }
figcaption { font-weight: 600; margin-bottom: .4rem; } audio { width: 100%; height: 2.2rem; margin-top: .4rem; }
table { border-collapse: collapse; background: #fff; border: 1px solid var(--line); margin: .75rem 0; }
th, td { padding: .45rem .8rem; border-bottom: 1px solid var(--line); text-align: right; } th { font-weight: 600; }
th:first-child, td:first-child { text-align: left; } td.best { font-weight: 700; color: var(--mark); }
"""


@dataclass
class Page:
    """Build a page in a folder; sounds and pictures go into subfolders beside it.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    title : str
    """

    folder: Path
    title: str
    parts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("sounds", "pictures"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading of level 2 or 3."""
        self.parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def text(self, text: str, *, muted: bool = False) -> None:
        """Add a paragraph."""
        self.parts.append(f"<p{' class=muted' if muted else ''}>{escape(text)}</p>")

    def sounds(self, entries: Sequence[tuple[str, str, Clip, Sequence[tuple[float, float]]]], scale: float = 1) -> None:
        """Add a row of sounds: (file stem, caption, clip, spans to mark in seconds); `scale` tops all waveforms."""
        cells = []
        for stem, caption, clip, spans in entries:
            sound = io.write(self.folder / "sounds" / f"{stem}.wav", clip)
            picture = sound_picture(self.folder / "pictures" / f"{stem}.png", clip, spans=spans, full_scale=scale)
            cells.append(
                f"<figure><figcaption>{escape(caption)}</figcaption>"
                f'<img src="pictures/{picture.name}" alt="Waveform and spectrogram: {escape(caption)}" loading="lazy">'
                f'<audio controls preload="none" src="sounds/{sound.name}"></audio></figure>'
            )
        self.parts.append(f'<div class="row">{"".join(cells)}</div>')

    def picture(self, name: str, alt: str) -> Path:
        """Add a picture and return where its file belongs."""
        self.parts.append(f'<figure class="wide"><img src="pictures/{name}" alt="{escape(alt)}"></figure>')
        return self.folder / "pictures" / name

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], best: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Add a table; `best` are (row, column) to set in bold."""
        head = "".join(f"<th>{escape(str(c))}</th>" for c in columns)
        body = ""
        for i, row in enumerate(rows):
            cells = (f"<td{' class=best' if (i, j) in best else ''}>{escape(str(c))}</td>" for j, c in enumerate(row))
            body += f"<tr>{''.join(cells)}</tr>"
        self.parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def save(self) -> Path:
        """Write index.html, whole or not at all."""
        html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>"
            f"<h1>{escape(self.title)}</h1>{''.join(self.parts)}</body></html>\n"
        )
        path = self.folder / "index.html"
        with io.atomic_file(path) as file:
            file.write(html.encode())
        return path
