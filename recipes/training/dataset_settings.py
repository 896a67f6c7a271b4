"""Settings of single data sets in the founding study; the user's own settings come first.

What can be read off the data is chosen from it: `recipes.training.choices`.

The preset ``study`` is the founding study. From its code, on data sets larger than ESC-10: batches of 128 labelled and
128 unlabelled clips, 256 in supervised training; Mean Teacher and Deep Co-Training have the same batches everywhere.
"""

from typing import Any

__all__ = ["settings_for"]

_METHODS = ("mixmatch", "remixmatch", "fixmatch", "adamatch", "softmatch", "freematch", "flexmatch")
_RAMP = 16000  # steps over which MixMatch's weight rises, whatever the length of the training
_EPOCHS, _BATCH = 300, 128


def settings_for(dataset: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a data set that differ from the presets'.

    They are fields of `Config` by preset, and by ``PRESET:METHOD`` fields and options of a method.

    Examples
    --------
    >>> settings_for("urbansound8k")["study:mixmatch"]["weight"]
    'linear:0:1:0.9697'
    >>> settings_for("esc10")
    {}
    """
    return _SETTINGS.get(dataset, {})


def _study(unlabelled: int, **methods: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the preset ``study`` has on a large data set, and of single methods besides.

    With the batches, the clips without labels in the study's runs say how far MixMatch's weight rises.
    """
    batches = {"batch_labelled": _BATCH, "batch_unlabelled": _BATCH}
    settings: dict[str, dict[str, Any]] = {f"study:{name}": batches | methods.get(name, {}) for name in _METHODS}
    settings["study:supervised"] = batches | {"batch_labelled": 2 * _BATCH}
    steps = _EPOCHS * (unlabelled // _BATCH)
    settings["study:mixmatch"]["weight"] = f"linear:0:1:{min(1.0, _RAMP / steps):.4f}"
    return settings


# The study's 35 words: 84,843 training clips, nine tenths of them unlabelled.
_SPEECH_COMMANDS = _study(76359)
# The study's rate, and its threshold here. Nine folds hold 7,859 clips on average, nine tenths of them unlabelled.
_RATE = {"rate": 22050}
_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "speech_commands": _SPEECH_COMMANDS,
    "speech_commands_12": _SPEECH_COMMANDS,
    "urbansound8k": {"study": _RATE, "original": _RATE} | _study(7073, fixmatch={"threshold": 0.95}),
}
