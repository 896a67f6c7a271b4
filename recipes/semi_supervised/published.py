"""A network to publish: weights with 16 bits as safetensors, what its front end needs as JSON, and a model card.

``predict`` takes such a folder where it takes a run, on any machine: no code but this package's is in it, and no path.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

import audiomix
from audiomix import check
from audiomix.audio import io

from .. import models
from ..data.shared import FRONT_END
from ..training.config import OPEN
from ..training.ema import EMA
from ..training.run_folder import check_folder, read_json, read_run, write_json, write_text
from ..training.yaml_file import read_yaml
from .inference import PUBLISHED, WEIGHTS, TrainedModel
from .run_file import RUN_FILE

__all__ = ["read_dataset_name", "write_checkpoint"]

_VIEWS = ("labelled_view", "weak_view", "strong_view")  # a front end is made with its views
# Fields of `Config` that front end and network are made from
_FIELDS = tuple(dict.fromkeys((*FRONT_END, *OPEN, *_VIEWS, "model", "model_options")))
_ELSEWHERE = ("device", "threads")
# Comments, and the paths of this machine; a long path goes on in lines that are indented further.
_NOT_COPIED = re.compile(
    r"^(?:#.*\n|(?:root|unlabelled):.*\n(?:  .*\n)*|  weights:.*\n(?:    .*\n)*)", re.MULTILINE
)
_PATHS = {"root": "DATA", "unlabelled": "MORE_SOUNDS", "weights": "FIRST_WEIGHTS"}  # what stands for them in a command
_HEAD = """# How this network was trained, without the paths of the machine that did so:
# audiomix-recipes run --config run.yaml{paths} --out FOLDER
"""
_CARD = """# {title} on {dataset}

A network of audiomix: {seconds:g} s of mono sound at {rate} Hz in, the probability of each of {count} classes out.
Weights of {megabytes:.2f} MB.

| | |
|---|---|
| method | {title} |
| network | `{model}`, {parameters:,} parameters, {which} |
| data | {dataset}, fold {fold} held out, labels kept: {labelled} |
| licence of the data | {licence} |
| {error_name} | {error} |
| classes | {classes} |

The weights are made from these data: whoever passes them on names the data and their licence.

```sh
audiomix-recipes predict {folder} YOUR_SOUNDS -o labels.csv
```

Made by these two commands, with audiomix {version} (`run.yaml` lies beside this file):

```sh
audiomix-recipes run --config run.yaml{paths} --out RUN
audiomix-recipes export RUN/{run} -o {folder} --format checkpoint{network}
```
"""


def read_dataset_name(model: TrainedModel) -> str:
    """Return the name of the data set that a run was trained on, without its options."""
    return str(read_json(model.folder / "config.json", "settings")["settings"]["dataset"]).partition(":")[0]


def write_checkpoint(model: TrainedModel, out: Path, *, licence: str = "") -> Path:
    """Write a run's network to a folder of its own: ``model.safetensors``, ``model.json``, ``run.yaml``, ``README.md``.

    Parameters
    ----------
    model : TrainedModel
        Of a finished run.
    out : Path
        The folder.
    licence : str
        Licence of the data and whom to name; empty where it is not known.

    Returns
    -------
    Path
        The file of the weights.

    Raises
    ------
    ValueError
        The run is not finished, or its network is several networks, or one's own that nobody else has.
    FileExistsError
        The folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} holds something already: choose another --out")
    result = read_run(model.folder)
    if result is None:
        check.fail("run", "a finished run, with result.json", str(model.folder))
    if not models.is_ours(model.config.model):
        check.fail("the network", "one of this package", model.config.model, "others lack its code: --format onnx")
    if model.config.embedding is not None:
        check.fail("the network", "one on sounds", f"one on embeddings of {model.config.embedding}", "pass the run on")
    weights = _weights(model)
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with io.atomic_file(out / WEIGHTS) as file:
        file.write(save(weights))
    config = model.config.to_dict()
    kept = {name: config[name] for name in _FIELDS if name not in _ELSEWHERE}
    facts: dict[str, Any] = {
        "title": model.title, "network": model.which, "classes": list(model.classes), "rate": model.rate,
        "samples": model.size, "mean": model.views.mean, "std": model.views.std, "config": kept,
        "audiomix": audiomix.__version__,
    }  # fmt: skip
    write_json(out / PUBLISHED, facts)
    paths = _copy_run_file(model.folder, out)
    write_text(out / "README.md", _card(model, out, result, licence, paths))
    return out / WEIGHTS


def _weights(model: TrainedModel) -> dict[str, Tensor]:
    """Return the tensors of the one network, floating point ones with 16 bits where that holds them."""
    inner: nn.Module = model.network.average if isinstance(model.network, EMA) else model.network
    options = models.options(model.config.model, model.config.model_options)
    like = models.build(model.config.model, len(model.classes), seed=0, **options)
    found = inner.state_dict()
    if found.keys() != like.state_dict().keys():
        check.fail("the network", "one network", "several that predict together", "--format onnx holds them")
    return {name: _half(tensor) for name, tensor in found.items()}


def _half(tensor: Tensor) -> Tensor:
    half = tensor.half() if tensor.is_floating_point() else tensor
    return (half if bool(torch.isfinite(half).all()) else tensor).contiguous()


def _copy_run_file(run: Path, out: Path) -> str:
    """Copy ``run.yaml`` without the paths of this machine; return the options that take their place."""
    if not (run / RUN_FILE).is_file():
        return ""
    text, found = (run / RUN_FILE).read_text(encoding="utf-8"), read_yaml(run / RUN_FILE)
    paths = {"root": found.get("root"), "unlabelled": found.get("unlabelled"), "weights": found["config"]["weights"]}
    options = "".join(f" --{name} {_PATHS[name]}" for name, path in paths.items() if path is not None)
    write_text(out / RUN_FILE, _HEAD.format(paths=options) + _NOT_COPIED.sub("", text))
    return options


def _card(model: TrainedModel, out: Path, result: Any, licence: str, paths: str) -> str:
    settings = read_json(model.folder / "config.json", "settings")["settings"]
    name, _, head = model.which.partition("+")
    result = result.with_head(head or "none")
    errors = {"raw": result.error_last, "ema": result.error_last_ema}
    on = "held-out" if result.measured_on == "test" else "validation"
    return _CARD.format(
        title=model.title,
        dataset=settings["dataset"],
        seconds=model.seconds,
        rate=model.rate,
        count=len(model.classes),
        megabytes=(out / WEIGHTS).stat().st_size / 1e6,
        model=model.config.model,
        parameters=sum(p.numel() for p in model.network.parameters()),
        which={"raw": "weights after the last step", "ema": "running average of the weights"}[name]
        + (f", head {head}" if head else ""),
        fold=settings["fold"],
        labelled=settings["config"]["labelled"],
        licence=licence or "not known: find out before you publish",
        error_name=f"error on the {on} clips",
        error=f"{errors[name]:.1f} %",
        classes=", ".join(model.classes),
        folder=out.name,
        version=audiomix.__version__,
        paths=paths,
        run=f"fold{settings['fold']}-seed{settings['seed']}",
        network=f" --network {name}" * (name != "raw") + f" --head {head}" * bool(head),
    )
