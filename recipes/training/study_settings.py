"""What the founding study has on large data sets that differs from what it has on ESC-10 (the preset ``study``).

From its code: batches of 128 labelled and 128 unlabelled clips, 256 in supervised training; Mean Teacher and Deep
Co-Training have the same batches everywhere.
"""

from typing import Any

__all__ = ["study"]

_METHODS = ("mixmatch", "remixmatch", "fixmatch", "adamatch", "softmatch", "freematch", "flexmatch")
_RAMP = 16000  # steps over which MixMatch's weight rises, whatever the length of the training
_EPOCHS, _BATCH = 300, 128


def study(unlabelled: int, **methods: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return `Dataset.configs` of the preset ``study``.

    Parameters
    ----------
    unlabelled : int
        Clips without labels in the study's runs: with the batches they say how far MixMatch's weight rises.
    **methods
        What else it has of a method.

    >>> study(7051)["study:mixmatch"]["weight"]
    'linear:0:1:0.9697'
    """
    batches = {"batch_labelled": _BATCH, "batch_unlabelled": _BATCH}
    found: dict[str, dict[str, Any]] = {f"study:{name}": batches | methods.get(name, {}) for name in _METHODS}
    found["study:supervised"] = batches | {"batch_labelled": 2 * _BATCH}
    steps = _EPOCHS * (unlabelled // _BATCH)
    found["study:mixmatch"]["weight"] = f"linear:0:1:{min(1.0, _RAMP / steps):.4f}"
    return found
