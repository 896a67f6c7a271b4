"""Settings of single data sets that differ from those of a preset; the user's own settings come first.

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


# Words are short, and one that is rolled round the clip's end is none. `run supervised speech_commands ROOT --seed 5
# --validation official --threads 1` on five words errs there (error_valid_ema) by 15.7 % with `--hop 160 --roll 1
# --steps 400`, by 12.0 with `--hop 160 --steps 400`, by 9.7 with `--steps 400`, all with `--model-options pool=mean`.
# Seed 11 as it is: 9.3 with `--steps 400`, 4.7 with 1200; adamatch 3.3 and fixmatch 3.0 with 1200.
_WORDS = {"rate": 16000, "n_fft": 512, "hop": 80, "roll": 0.1}
# The study's 35 words: 84,843 training clips, nine tenths of them unlabelled.
_SPEECH_COMMANDS = {"small": _WORDS | {"steps": 1200}, "strong": _WORDS} | _study(76359)
# The study's rate, and its threshold here. Nine folds hold 7,859 clips on average, nine tenths of them unlabelled.
_RATE = {"rate": 22050}
_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "speech_commands": _SPEECH_COMMANDS,
    "speech_commands_12": _SPEECH_COMMANDS,
    "urbansound8k": {"study": _RATE, "original": _RATE} | _study(7073, fixmatch={"threshold": 0.95}),
}
