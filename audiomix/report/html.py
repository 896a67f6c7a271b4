"""The one template engine: jinja2, which escapes whatever is filled in; templates lie in ``templates``."""

import base64
import hashlib
import struct
from functools import lru_cache
from importlib import resources
from typing import Any

from .. import check

__all__ = ["data_uri", "png_size", "render", "render_page"]

_PNG = b"\x89PNG\r\n\x1a\n"


def render(template: str, macro: str, **values: Any) -> str:
    """Return one component as HTML, without a page around it.

    Parameters
    ----------
    template : str
        File in ``templates``.
    macro : str
        The component in it.
    **values : Any
        What is filled in; every text is escaped.

    Examples
    --------
    >>> render("blocks.html", "text", text="<b>", muted=False)
    '<p>&lt;b&gt;</p>'
    """
    return str(getattr(_engine().get_template(template).module, macro)(**values))


def render_page(title: str, content: Any) -> str:
    """Return a whole page, which loads nothing but itself and files beside it.

    Its policy lets it run the package's own script alone, so that no text can run as one, and open no connection.

    Parameters
    ----------
    title : str
        Title and first heading.
    content : sequence
        Blocks with a `kind`, which is a macro of ``blocks.html``, and its `values`.
    """
    from markupsafe import Markup

    style, script = (Markup(_read(name)) for name in ("style.css", "page.js"))
    # the browser compares the script with its digest: an inline script from anywhere else does not run
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src 'self' data: file:; media-src 'self' data: file:; base-uri 'none'; form-action 'none'"
    )
    page = _engine().get_template("page.html")
    return page.render(title=title, content=content, style=style, script=script, policy=policy)


@lru_cache(maxsize=1)
def _engine() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("audiomix.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@lru_cache(maxsize=4)
def _read(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as an address that holds them.

    Parameters
    ----------
    content : bytes
        A file.
    kind : str
        Its media type, e.g. ``image/png``.

    Examples
    --------
    >>> data_uri(b"png", "image/png")
    'data:image/png;base64,cG5n'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file, so that a page keeps room for it before it is drawn.

    Parameters
    ----------
    content : bytes
        The file, or its first 24 bytes.

    Raises
    ------
    ValueError
        It is no PNG file.
    """
    if not content.startswith(_PNG) or len(content) < 24:
        check.fail("content", "a PNG file", f"{content[:8]!r}")
    return struct.unpack(">II", content[16:24])
