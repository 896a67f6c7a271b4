"""What the commands that mix files share: the mixer named on the command line, and its options."""

from collections.abc import Callable
from typing import Any

from .. import check, mixers
from ..options import with_options

__all__ = ["with_mixer_options"]

# Arguments of a mixer that the files decide
_FROM_FILES = ("num_classes", "rate")
# Options for spectrograms, which files are not
_SPECTRAL = ("domain", "log", "mean", "std", "kind")


def with_mixer_options(
    function: Callable[..., int], argv: list[str], skip: tuple[str, ...] = (), documented: Any = None
) -> Callable[..., int]:
    """Return a command with the options of the mixer that a command line names.

    Parameters
    ----------
    function : function
        Its argument ``mixer`` receives the name, its argument ``options`` a dict.
    argv : list of str
        The command line: the options of the command depend on it, so it is looked at before it is parsed.
    skip : tuple of str
        Arguments of the mixer that this command does not offer.
    documented : function, optional
        See `audiomix.options.with_options`.

    Raises
    ------
    ValueError
        There is no such mixer, or it does not mix waveforms, which files hold.
    """
    text = "mixup"
    for i, word in enumerate(argv):
        if word == "--mixer" and i + 1 < len(argv):
            text = argv[i + 1]
            break
        if word.startswith("--mixer="):
            text = word.partition("=")[2]
            break
    chosen = mixers.read(text)
    if chosen.name in mixers.available() and "wave" not in (domains := mixers.domains(chosen.member)):
        got = f"{chosen.name} for {', '.join(sorted(domains))}"
        check.fail("mixer", "one that mixes waveforms", got, f"files are mixed by {', '.join(mixers.for_files())}")
    skip = (*_FROM_FILES, *_SPECTRAL, *skip)
    return with_options(function, chosen.member, f"Options of {chosen.name}", skip, documented)
