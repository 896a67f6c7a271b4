"""``audiomix-recipes list``: what can be chosen by name."""

from audiomix.terminal import Exit, Summary

from ._listing import describe_names, list_sections, print_sections

__all__ = ["list"]


def list(*names: str) -> Summary:
    """Show what each command takes by name: methods, data sets, mixers and networks with options, presets with values.

    Those of installed packages are among them; one's own are chosen by path, as in run mine.py:MyMethod.

    Parameters
    ----------
    names : tuple
        Show all options of these alone, with type, default and help, as in list fixmatch mixup.
    """
    if names:
        return Summary(Exit.DONE, describe_names(names))
    print_sections(sections := list_sections())
    return Summary(Exit.DONE, {s.key: {entry.name: entry.facts() for entry in s.entries} for s in sections})
