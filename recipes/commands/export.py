r"""``audiomix-recipes export``: a trained network with its front end in one file, sound in and probabilities out.

The spectrogram is computed with matrices, which every format knows, where the recipe takes a fast Fourier transform:

.. math:: S_{f,n} = \Big(\sum_t w_t x_{hn+t} \cos\tfrac{2 \pi f t}{N}\Big)^2 +
          \Big(\sum_t w_t x_{hn+t} \sin\tfrac{2 \pi f t}{N}\Big)^2
"""

import json
import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import torch.nn.functional as F
from cyclopts import Parameter
from torch import Tensor, nn

from audiomix import check
from audiomix.audio import io
from audiomix.draw import generator_for, uniform

from ..console import console
from ..training.out_file import check_file

if TYPE_CHECKING:
    from ..training.trained import Trained

__all__ = ["METADATA", "Listener", "export", "run_exported"]

METADATA = "audiomix.json"  # what is told of the file, as text: in onnx its metadata property `audiomix`
_TOLERANCE = 1e-3  # of a probability: more is another network


class Listener(nn.Module):
    """Sound (B, T) to probabilities (B, K): front end, network and softmax.

    Parameters
    ----------
    trained : Trained
        The run.
    """

    real: Tensor
    imaginary: Tensor
    mel: Tensor

    def __init__(self, trained: "Trained") -> None:
        super().__init__()
        own = trained.views.mel
        spectrogram = own.mel.spectrogram
        self.hop, self.floor, n_fft = spectrogram.hop_length, own.floor, spectrogram.n_fft
        turn = 2 * math.pi / n_fft * torch.outer(torch.arange(n_fft // 2 + 1).double(), torch.arange(n_fft).double())
        window = spectrogram.window.double()
        self.register_buffer("real", (turn.cos() * window).float().unsqueeze(1))  # (n_fft / 2 + 1, 1, n_fft)
        self.register_buffer("imaginary", (turn.sin() * window).float().unsqueeze(1))
        self.register_buffer("mel", own.mel.mel_scale.fb.T.contiguous())
        raw = trained.config.front == "waveform"
        self.mean, self.std = (0.0, 1.0) if raw else (trained.views.mean, trained.views.std)
        self.network = trained.network
        self.edge = n_fft // 2

    def forward(self, wave: Tensor) -> Tensor:
        """Return probabilities, float32."""
        x = F.pad(wave.unsqueeze(1), (self.edge, self.edge), mode="reflect")
        power = F.conv1d(x, self.real, stride=self.hop).square() + F.conv1d(x, self.imaginary, stride=self.hop).square()
        spec = (self.mel @ power).clamp(min=self.floor).log() * (10 / math.log(10))
        return self.network(((spec - self.mean) / self.std).unsqueeze(1)).softmax(-1)


def export(
    run: Path, *, out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("model.onnx"), network: str = "raw"
) -> int:
    """Write a trained network with its front end to one file: sound in, the probability of each class out.

    Input: float32 (batch, samples), mono, of the run's rate and length, full scale 1. Output: float32 (batch, classes).
    The file tells rate, samples and classes as JSON. It is run once to compare it with the run's own network.

    Parameters
    ----------
    run : Path
        Folder of one fold and seed that run or bench made.
    out : Path
        The file: .onnx (ONNX; needs onnx and onnxscript, and onnxruntime to compare), .pt2 (torch.export) or .ts
        (TorchScript, which torch has deprecated).
    network : str
        raw (the network that the method reports, whose error is the headline) or ema (the average of its weights).
    """
    from ..training.trained import load

    check_file(out)
    kind = check.choice("the suffix of out", out.suffix, list(_WRITERS))
    if kind == ".onnx" and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        check.fail("out", "model.ts or model.pt2 here", str(out), f"pip install {' '.join(missing)} for ONNX")
    trained = load(run, network)
    told = json.dumps({
        "classes": trained.classes, "rate": trained.rate, "samples": trained.size, "method": trained.title,
        "network": network,
    })  # fmt: skip
    noise = uniform(-0.5, 0.5, 3 * trained.size, generator=generator_for(0, "export")).float().view(3, trained.size)
    noise[1] *= 0.01
    noise[2] = 0  # silence
    out.parent.mkdir(parents=True, exist_ok=True)
    listener = Listener(trained).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about themselves
        _WRITERS[kind](listener, noise, out, told)
    console.print(f"{out}: {trained.title} ({network}), {out.stat().st_size / 1e6:.1f} MB", highlight=False)
    if kind == ".onnx" and find_spec("onnxruntime") is None:
        console.print("not compared with the run: onnxruntime is not installed", style="yellow")
        return 0
    apart = _compared(trained, out, noise)
    console.print(f"largest difference of probabilities on noise and silence: {apart:.1e}", highlight=False)
    return 0


def _compared(trained: "Trained", out: Path, noise: Tensor) -> float:
    """Return the largest difference to the run's own network; a file that says something else is removed."""
    apart = float((run_exported(out, noise).double() - trained.probabilities(noise)).abs().max())
    if not apart <= _TOLERANCE:
        out.unlink()
        expected = f"probabilities within {_TOLERANCE} of the run's"
        check.fail(f"what {out} says", expected, f"a difference of {apart:.2g}", "another format? The file is removed")
    return apart


@torch.no_grad()
def run_exported(path: Path, wave: Tensor) -> Tensor:
    """Return what an exported file says of sounds (B, T): probabilities (B, K), float32."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"wave": wave.numpy()})[0])
    if path.suffix == ".ts":
        return torch.jit.load(str(path))(wave)
    return torch.export.load(str(path)).module()(wave)


def _onnx(listener: Listener, example: Tensor, out: Path, told: str) -> None:
    import onnx

    shapes = {"wave": {0: torch.export.Dim("batch")}}
    made: Any = torch.onnx.export(
        listener, (example,), dynamo=True, input_names=["wave"], output_names=["probabilities"], dynamic_shapes=shapes,
        verbose=False,
    )  # fmt: skip
    model = made.model_proto
    onnx.helper.set_model_props(model, {"audiomix": told})
    _written(out, model.SerializeToString())


def _script(listener: Listener, example: Tensor, out: Path, told: str) -> None:
    traced = torch.jit.trace(listener, example, check_trace=False)
    _written(out, traced.save_to_buffer(_extra_files={METADATA: told}))


def _program(listener: Listener, example: Tensor, out: Path, told: str) -> None:
    made = torch.export.export(listener, (example,), dynamic_shapes={"wave": {0: torch.export.Dim("batch")}})
    with io.atomic_file(out) as file:
        torch.export.save(made, file, extra_files={METADATA: told})


def _written(out: Path, content: bytes) -> None:
    with io.atomic_file(out) as file:
        file.write(content)


_WRITERS: dict[str, Callable[[Listener, Tensor, Path, str], None]] = {
    ".onnx": _onnx,
    ".ts": _script,
    ".pt2": _program,
}
