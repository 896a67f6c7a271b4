"""``audiomix-recipes download``: a published data set, fetched and unpacked."""

from pathlib import Path

from audiomix.terminal import Exit, Summary

from ..data.download import fetch

__all__ = ["download"]


def download(name: str, to: Path = Path("data"), *, url: str | None = None, checksum: str | None = None) -> Summary:
    """Fetch and unpack a published data set; the same command goes on where a broken one stopped.

    Prints the folder that run and bench want as ROOT.

    Parameters
    ----------
    name : str
        A data set, such as esc50; a wrong one is answered with all that there are.
    to : Path
        The archive is kept here, and unpacked into a folder of its own.
    url : str
        Another address of the same archive, a mirror's.
    checksum : str
        md5:... or sha256:... instead of the known ones.
    """
    root = fetch(name, to, url=url, checksum=checksum)
    print(root)
    return Summary(Exit.DONE, {"root": root})
