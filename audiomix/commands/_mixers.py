"""What the commands that mix files share: the mixer named on the command line, and its options."""

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, get_args, get_origin

from cyclopts import Parameter

from .. import check, mixers
from ..needs import WAVE
from ..options import Option, literal_converter, options_of, parameter_texts

__all__ = ["with_mixer_options", "with_options"]

# Arguments of a mixer that the files decide
_FROM_FILES = ("num_classes", "rate")
# Options for spectrograms, which files are not. `kind` is offered: mixers of spectrograms have one for time alone.
_SPECTRAL = ("domain", "log", "mean", "std")


def with_mixer_options(
    function: Callable[..., Any],
    argv: list[str],
    skip: tuple[str, ...] = (),
    documented: Any = None,
    *,
    writes_files: bool = True,
) -> Callable[..., Any]:
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
        See `with_options`.
    writes_files : bool
        Refuse mixers that mix no waveforms, and offer no options for spectrograms.

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
    if writes_files and chosen.name in mixers.available():
        _check_mixes_waves(chosen.name, mixers.domains(chosen.member))
    skip = (*_FROM_FILES, *(_SPECTRAL if writes_files else ()), *skip)
    return with_options(function, chosen.member, f"Options of {chosen.name}", skip, documented)


def _check_mixes_waves(name: str, domains: frozenset[str]) -> None:
    """Raise where a mixer of these domains mixes no waveforms, which files hold."""
    if WAVE not in domains:
        got = f"{name} for {', '.join(sorted(domains))}"
        drawn = f"audiomix mix A B --mixer {name} --picture mix.png draws it"
        slip = f"{drawn}; files are mixed by {', '.join(mixers.for_files())}"
        check.fail("mixer", "one that mixes waveforms", got, slip)


def with_options(
    function: Callable[..., Any],
    target: Callable[..., Any],
    group: str,
    skip: Iterable[str] = (),
    documented: Any = None,
) -> Callable[..., Any]:
    """Return a command with the options of `target` in its signature.

    cyclopts reads the signature: ``--help`` lists the options, and wrong ones are refused by name.

    Parameters
    ----------
    function : function
        Its argument ``options`` receives the given ones, a dict.
    target : class or function
        Whose options they are.
    group : str
        Heading of the options in ``--help``.
    skip : iterable of str
        Arguments of `target` that are not offered.
    documented : function, optional
        Whose docstring says what the command does and what its own arguments mean, where its own does not.
    """
    signature = inspect.signature(function)
    own = [p for name, p in signature.parameters.items() if name != "options"]
    taken = {p.name for p in own}
    extra = [o for o in options_of(target, skip) if o.name not in taken]

    def run(*args: Any, **kwargs: Any) -> Any:
        options = {o.name: kwargs.pop(o.name) for o in extra if o.name in kwargs}
        return function(*args, **kwargs, options=options)

    more = [
        inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=_annotation(o, group))
        for o in extra
    ]
    run.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    run.__doc__, run.__name__ = _summary(function.__doc__ or documented.__doc__), function.__name__
    run.__annotations__ = {p.name: p.annotation for p in more}
    texts = parameter_texts(documented) | {name: text for name, text in parameter_texts(function).items() if text}
    hints = typing.get_type_hints(function, include_extras=True)
    for p in own:
        hint = hints[p.name]
        helped = any(isinstance(m, Parameter) and m.help for m in getattr(hint, "__metadata__", ()))
        text = texts.get(p.name)
        run.__annotations__[p.name] = Annotated[hint, Parameter(help=text)] if text and not helped else hint
    return run


def _annotation(option: Option, group: str) -> Any:
    negative, converter = None if option.kind is bool else "", literal_converter(option.kind)
    several = any(get_origin(kind) is Sequence for kind in (option.kind, *get_args(option.kind)))
    how = Parameter(
        help=option.help, group=group, negative=negative, converter=converter, consume_multiple=several or None
    )
    return Annotated[option.kind, how]


def _summary(doc: str) -> str:
    """Return what stands in front of the sections of a numpydoc docstring, without its markup."""
    return inspect.cleandoc(doc).split("\nParameters\n---")[0].replace("`", "").strip()
