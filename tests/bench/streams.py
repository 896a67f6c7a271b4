"""Stream mixing against memory traffic and against torch.lerp: ``python tests/bench/streams.py``.

Times are multiples of the floor (`measure.py`). All runs of StreamMix check, draw and look for values that are not
finite, as training does.
"""

import argparse

import torch
from measure import FLOOR, compare

from audiomix import StreamMix


def measure(shape, runs):
    """Print all ratios for streams of this shape."""
    generator = torch.Generator().manual_seed(0)
    x, sound = (torch.randn(shape, generator=generator) for _ in range(2))
    fast = torch.randn(shape[0], 4 * shape[1], shape[2], generator=generator)
    parts = torch.randn(shape[0], 4 * shape[1], shape[2] // 4, generator=generator)
    out = torch.empty_like(x)
    lengths = torch.full((shape[0],), shape[1]) - torch.arange(shape[0]) % (shape[1] // 4)
    w = torch.full((shape[0], 1, 1), 0.7)
    learned = x.clone().requires_grad_()
    mixers = {mode: StreamMix(0.7, mode=mode) for mode in ("linear", "replace", "span")}
    layer, rms = (StreamMix(0.7, normalise=kind) for kind in ("layer", "rms"))
    between, stack = (StreamMix(0.7, other_rate=100, align=kind) for kind in ("interpolate", "stack"))
    candidates = {
        "torch.lerp(out=)": lambda: torch.lerp(sound, x, w, out=out),
        **{f"{m}, out=": lambda mixer=mixer: mixer(x, other=sound, out=out) for m, mixer in mixers.items()},
        "linear with lengths, out=": lambda: mixers["linear"](
            x, other=sound, lengths=lengths, other_lengths=lengths, out=out
        ),
        "torch.lerp": lambda: torch.lerp(sound, x, w),
        **{m: lambda mixer=mixer: mixer(x, other=sound) for m, mixer in mixers.items()},
        **{f"{m}, with a gradient": lambda mixer=mixer: mixer(learned, other=sound) for m, mixer in mixers.items()},
        "linear, normalise=layer": lambda: layer(x, other=sound),
        "linear, normalise=rms": lambda: rms(x, other=sound),
        "linear, 100 to 25 frames/s by interpolation": lambda: between(x, other=fast, out=out),
        "linear, 100 to 25 frames/s by stacking": lambda: stack(x, other=parts, out=out),
    }
    found = compare(candidates, x, runs)
    print(f"\n{' x '.join(map(str, shape))} float32, {x.numel() * 4 / 1e6:.1f} MB; multiples of the floor (quartiles)")
    for name in candidates:
        low, middle, high = (ratio / FLOOR for ratio in found[name].ratios)
        print(f"  {name:46s} {middle:8.2f}   ({low:.2f} .. {high:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, action="append")
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for shape in arguments.shape or [(32, 500, 768), (16, 100, 256)]:
        measure(tuple(shape), arguments.runs)


if __name__ == "__main__":
    main()
