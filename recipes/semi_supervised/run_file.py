"""``run.yaml`` in a run's folder: all arguments of ``audiomix-recipes run`` that make the same run again.

It names every field of the configuration and every option of the method, with the values the run had: other presets
and other defaults of a later version do not change it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiomix.datasets.dataset import Dataset

from .. import algorithms
from ..training.yaml_file import write_yaml
from .run_spec import RunSpec

__all__ = ["RUN_FILE", "run_arguments", "write_run_file"]

RUN_FILE = "run.yaml"
_HEAD = """The same run again, to the bit on the same machine with the same version:
audiomix-recipes run --config {path} --out ANOTHER_FOLDER
Relative paths, as in mine.py:MyMethod, are relative to the folder that the command runs in."""
_PLAIN = (str, int, float, bool, tuple, list, type(None))


def run_arguments(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """Return the arguments of ``audiomix-recipes run`` that make a run again, by name.

    Parameters
    ----------
    spec : RunSpec
        The run.
    dataset : Dataset
        As it was read, with the `arguments` that led to it.
    """
    defaults = {name: option.default for name, option in algorithms.options(algorithms.get(spec.method)).items()}
    options: Mapping[str, Any] = {k: v for k, v in defaults.items() if isinstance(v, _PLAIN)} | spec.options
    config = spec.config.to_dict()
    if spec.config.weights is not None:
        config["weights"] = str(Path(spec.config.weights).expanduser().absolute())
    return {
        "command": "run",
        "method": spec.method,
        **dict(dataset.arguments),
        **({"outlier_classes": list(dataset.outlier_classes)} if dataset.outlier_classes else {}),
        "fold": [spec.fold],
        "seed": [spec.seed],
        "mixer": spec.mixer or "none",
        "test": len(spec.measured_on) > 1,
        "options": options,
        "config": config,
    }


def write_run_file(spec: RunSpec, dataset: Dataset) -> None:
    """Write ``run.yaml`` into the run's folder; nothing for a data set that no arguments lead to.

    See `run_arguments` for the parameters.
    """
    if dataset.arguments:
        path = spec.out / RUN_FILE
        write_yaml(path, run_arguments(spec, dataset), _HEAD.format(path=path))
