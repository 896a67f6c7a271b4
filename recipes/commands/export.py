r"""``audiomix-recipes export``: a trained network with its front end in one file, sound in and probabilities out.

The spectrogram is computed with matrices, which every format knows, where the recipe takes a fast Fourier transform:

.. math:: S_{f,n} = \Big(\sum_t w_t x_{hn+t} \cos\tfrac{2 \pi f t}{N}\Big)^2 +
          \Big(\sum_t w_t x_{hn+t} \sin\tfrac{2 \pi f t}{N}\Big)^2
"""

import json
import math
import shutil
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from cyclopts import Parameter
from torch import Tensor, nn

from audiomix import check
from audiomix.audio import io
from audiomix.draw import generator_for, uniform
from audiomix.terminal import Exit, Summary

from ..console import say
from ..data.download import ARCHIVES
from ..semi_supervised.inference import TrainedModel, load_model
from ..semi_supervised.published import read_dataset_name, write_checkpoint
from ..training.run_folder import check_file

__all__ = ["METADATA", "WaveClassifier", "export", "run_export"]

METADATA = "audiomix.json"  # name of the metadata inside the file; in onnx it is the property `audiomix`
_TOLERANCE = 1e-3  # of a probability, between the file and the run
_HALF_TOLERANCE = 0.02  # the same where weights have 16 bits
CHECKPOINT_FORMAT = "checkpoint"
BUNDLED = "MIT: the bundled words are synthetic, made by this project (assets/make.py)"


class WaveClassifier(nn.Module):
    """Sound (B, T) to probabilities (B, K): front end, network and softmax.

    Parameters
    ----------
    model : TrainedModel
        Network and front end.
    """

    real: Tensor
    imaginary: Tensor
    mel: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        own = model.views.mel
        spectrogram = own.mel.spectrogram
        self.hop, self.floor, n_fft = spectrogram.hop_length, own.floor, spectrogram.n_fft
        turn = 2 * math.pi / n_fft * torch.outer(torch.arange(n_fft // 2 + 1).double(), torch.arange(n_fft).double())
        before = (n_fft - len(spectrogram.window)) // 2  # torch.stft pads a shorter window so
        window = F.pad(spectrogram.window.double(), (before, n_fft - len(spectrogram.window) - before))
        self.register_buffer("real", (turn.cos() * window).float().unsqueeze(1))  # (n_fft / 2 + 1, 1, n_fft)
        self.register_buffer("imaginary", (turn.sin() * window).float().unsqueeze(1))
        self.register_buffer("mel", own.mel.mel_scale.fb.T.contiguous())
        raw = model.config.front == "waveform"
        self.mean, self.std = (0.0, 1.0) if raw else (model.views.mean, model.views.std)
        self.network = model.network
        self.edge = n_fft // 2

    def forward(self, wave: Tensor) -> Tensor:
        """Return probabilities (B, K), float32.

        Parameters
        ----------
        wave : Tensor, shape (B, T)
            Sounds, full scale 1.
        """
        x = F.pad(wave.unsqueeze(1), (self.edge, self.edge), mode="reflect")
        power = F.conv1d(x, self.real, stride=self.hop).square() + F.conv1d(x, self.imaginary, stride=self.hop).square()
        spec = (self.mel @ power).clamp(min=self.floor).log() * (10 / math.log(10))
        return self.network(((spec - self.mean) / self.std).unsqueeze(1)).softmax(-1)


def export(
    run: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("model.onnx"),
    format: str | None = None,
    network: str = "headline",
    head: str = "none",
    licence: str | None = None,
    trust: Annotated[bool, Parameter(negative=())] = False,
) -> Summary:
    """Write a trained network with its front end to one file: sound in, the probability of each class out.

    With --format checkpoint, a folder to publish instead: weights as safetensors with 16 bits, the settings of the
    front end, and a model card. predict takes it where it takes a run.

    Input: float32 (batch, samples), mono, of the run's rate and length, full scale 1. Output: float32 (batch, classes).
    The file tells rate, samples and classes as JSON. It is run once to compare it with the run's own network.

    Parameters
    ----------
    run : Path
        Folder of one fold and seed that run or bench made.
    out : Path
        The file: .onnx (ONNX; needs onnx and onnxscript, and onnxruntime to compare), .pt2 (torch.export) or .ts
        (TorchScript, which torch has deprecated). With --format checkpoint, a folder.
    format : str
        onnx, pt2, ts or checkpoint; by default the suffix of OUT tells.
    network : str
        raw (the network that the method reports), ema (the average of its weights), or headline: the one whose error
        comes first in the results, raw unless the bench was told otherwise. What was taken is printed.
    head : str
        none for the network as it was trained; refit or graph for a head that the run fitted afterwards (run --head).
    licence : str
        For the model card: under which licence the sounds are, and whom to name; known for data sets that download has.
    trust : bool
        Run the Python code that the run's settings name, as in mine.py:Net. Only for a run that you know.
    """
    if format is not None:
        check.choice("format", format, [*(suffix[1:] for suffix in _WRITERS), CHECKPOINT_FORMAT])
    if format == CHECKPOINT_FORMAT:
        return _publish(load_model(run, network, head=head, trust=trust), out, licence)
    check_file(out)
    if format is not None and out.suffix != f".{format}":
        check.fail("out", f"a file named .{format}, as --format says", str(out))
    kind = check.choice("the suffix of out", out.suffix, list(_WRITERS))
    if kind == ".onnx" and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        check.fail("out", "model.ts or model.pt2 here", str(out), f"pip install {' '.join(missing)} for ONNX")
    model = load_model(run, network, head=head, trust=trust)
    if model.encoder is not None:
        slip = f"its encoder {model.encoder.name} is a file of its own; predict takes such a run"
        check.fail("run", "one on spectrograms", f"{run} on embeddings", slip)
    metadata = json.dumps({
        "classes": model.classes, "rate": model.rate, "samples": model.size, "method": model.title,
        "network": model.which,
    })  # fmt: skip
    noise = _noise(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    classifier = WaveClassifier(model).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn of their own internals
        _WRITERS[kind](classifier, noise, out, metadata)
    taken = f"network {model.which}{' (the headline)' * (network == 'headline')}"
    say(f"{out}: {model.title}, {taken}, {out.stat().st_size / 1e6:.1f} MB")
    facts = {"out": out, "classes": model.classes, "rate": model.rate, "samples": model.size, "network": model.which}
    if kind == ".onnx" and find_spec("onnxruntime") is None:
        say("not compared with the run: onnxruntime is not installed", style="yellow")
        return Summary(Exit.DONE, {**facts, "difference": None})
    difference = _compare(model, out, noise)
    say(f"largest difference of probabilities on noise and silence: {difference:.1e}")
    return Summary(Exit.DONE, {**facts, "difference": difference})


def _publish(model: TrainedModel, out: Path, licence: str | None) -> Summary:
    """Write a folder to publish, and compare what it says with the run's own network."""
    if out.suffix in _WRITERS:
        check.fail("out", "a folder, as --format checkpoint writes one", str(out))
    known = {name: archive.licence for name, archive in ARCHIVES.items()} | {"demo": BUNDLED}
    path = write_checkpoint(model, out, licence=licence or known.get(read_dataset_name(model), ""))
    difference = float((load_model(out).probabilities(_noise(model)) - model.probabilities(_noise(model))).abs().max())
    if not difference <= _HALF_TOLERANCE:
        shutil.rmtree(out)
        expected = f"probabilities within {_HALF_TOLERANCE} of the run's"
        check.fail(f"what {out} says", expected, f"a difference of {difference:.2g}", "16 bits are too few for it")
    say(f"{out}: {model.title}, network {model.which}, {path.stat().st_size / 1e6:.2f} MB")
    say(f"largest difference of probabilities on noise and silence: {difference:.1e}")
    facts = {"out": out, "classes": model.classes, "rate": model.rate, "samples": model.size, "network": model.which}
    return Summary(Exit.DONE, {**facts, "difference": difference})


def _noise(model: TrainedModel) -> Tensor:
    """Return loud noise, quiet noise and silence, (3, T)."""
    noise = uniform(-0.5, 0.5, 3 * model.size, generator=generator_for(0, "export")).float().view(3, model.size)
    noise[1] *= 0.01
    noise[2] = 0
    return noise


def _compare(model: TrainedModel, out: Path, noise: Tensor) -> float:
    """Return the largest difference from the run's own network; a file with another output is removed."""
    difference = float((run_export(out, noise).double() - model.probabilities(noise)).abs().max())
    if not difference <= _TOLERANCE:
        out.unlink()
        expected, slip = f"probabilities within {_TOLERANCE} of the run's", "another format? The file is removed"
        check.fail(f"what {out} says", expected, f"a difference of {difference:.2g}", slip)
    return difference


@torch.no_grad()
def run_export(path: Path, wave: Tensor) -> Tensor:
    """Return the output of an exported file: probabilities (B, K), float32.

    Parameters
    ----------
    path : Path
        The file; its suffix tells the format.
    wave : Tensor, shape (B, T)
        Sounds, full scale 1.
    """
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"wave": wave.numpy()})[0])
    if path.suffix == ".ts":
        return torch.jit.load(str(path))(wave)
    return torch.export.load(str(path)).module()(wave)


def _onnx(classifier: WaveClassifier, example: Tensor, out: Path, metadata: str) -> None:
    import onnx

    shapes = {"wave": {0: torch.export.Dim("batch")}}
    program: Any = torch.onnx.export(
        classifier, (example,), dynamo=True, input_names=["wave"], output_names=["probabilities"],
        dynamic_shapes=shapes, verbose=False,
    )  # fmt: skip
    model = program.model_proto
    onnx.helper.set_model_props(model, {"audiomix": metadata})
    _write(out, model.SerializeToString())


def _script(classifier: WaveClassifier, example: Tensor, out: Path, metadata: str) -> None:
    traced = torch.jit.trace(classifier, example, check_trace=False)
    _write(out, traced.save_to_buffer(_extra_files={METADATA: metadata}))


def _program(classifier: WaveClassifier, example: Tensor, out: Path, metadata: str) -> None:
    program = torch.export.export(classifier, (example,), dynamic_shapes={"wave": {0: torch.export.Dim("batch")}})
    with io.atomic_file(out) as file:
        torch.export.save(program, file, extra_files={METADATA: metadata})


def _write(out: Path, content: bytes) -> None:
    with io.atomic_file(out) as file:
        file.write(content)


_WRITERS: dict[str, Callable[[WaveClassifier, Tensor, Path, str], None]] = {
    ".onnx": _onnx,
    ".ts": _script,
    ".pt2": _program,
}
