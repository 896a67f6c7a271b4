"""Rooms against the bare FFT of the batch and against other libraries: ``python tests/bench/room.py``.

The floor is the FFT of the clips there and back at a size that suits it. All are timed in turn within one process, in
seconds of the CPU, and the least of each is compared: machines are shared and noisy. Run it with ``OMP_NUM_THREADS=1``.
torchaudio and torch-audiomentations are timed where they are installed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from scipy.fft import next_fast_len

from audiomix import Room
from audiomix.audio import io
from audiomix.audio.clip import Clip

# clips, seconds, seconds of the responses
SHAPES = [(64, 1, 0.25), (64, 1, 0.5), (64, 1, 3), (64, 5, 0.5), (64, 5, 5), (64, 10, 0.5), (64, 10, 3), (16, 30, 1)]


def least_times(functions, runs):
    found = {name: [] for name in functions}
    for run in range(runs + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if run:
                found[name].append(time.process_time() - start)
    return {name: min(times) for name, times in found.items()}


def peers(x, responses, rate, folder):
    """Calls of other libraries on the same batch, by name."""
    found = {}
    try:
        from audiomix.torchaudio import functional

        alone = responses[: len(x)]
        found["torchaudio fftconvolve"] = lambda: functional.fftconvolve(x, alone)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"torchaudio: {error}")
    try:
        from torch_audiomentations.augmentations import impulse_response as theirs

        read = {}
        for number, response in enumerate(responses):
            path = Path(folder) / f"{number}.wav"
            io.write(path, Clip(response, rate), subtype="FLOAT")
            read[path] = response
        # it reads its files at each call, by functions that torchaudio has no more: here from memory
        theirs.Audio = lambda **_: lambda path: read[Path(path)]
        apply = theirs.ApplyImpulseResponse(folder, p=1.0, sample_rate=rate, output_type="dict")
        found["torch-audiomentations without reading"] = lambda: apply(x, sample_rate=rate)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        print(f"torch-audiomentations: {error}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rate, generator = 16000, torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; times as multiples of the bare FFT")
    for clips, seconds, long in SHAPES:
        x = torch.randn(clips, 1, seconds * rate, generator=generator)
        taps = round(long * rate)
        decay = torch.exp(-6.9 * torch.arange(taps) / taps)
        responses = torch.randn(clips, 1, taps, generator=generator) * decay
        of_any_length = [one[:, : taps // (1 + i % 4)] for i, one in enumerate(responses)]
        plain, early = Room(responses, rate=rate), Room(responses, rate=rate, early_only=True)
        direct, mixed = Room(responses, normalise="direct"), Room(of_any_length)
        n = next_fast_len(x.shape[-1], real=True)
        with tempfile.TemporaryDirectory() as folder:
            calls = {
                "bare": lambda x=x, n=n: torch.fft.irfft(torch.fft.rfft(x, n), n),
                "Room": lambda x=x, room=plain: room(x),
                "direct": lambda x=x, room=direct: room(x),
                "early_only": lambda x=x, room=early: room(x),
                "1 to 1/4 as long": lambda x=x, room=mixed: room(x),
                **peers(x, responses, rate, folder),
            }
            times = least_times(calls, arguments.runs * (1 if x.numel() > 1 << 21 else 4))
        bare = times.pop("bare")
        text = ", ".join(f"{name} {each / bare:.2f}" for name, each in times.items())
        print(f"{clips} x {seconds} s, responses of {long} s: FFT {bare * 1e3:.1f} ms; {text}", flush=True)


if __name__ == "__main__":
    main()
