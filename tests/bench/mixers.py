"""Every mode of every mixer and transform against memory and other libraries: ``python tests/bench/mixers.py``.

Modes are those of ``examples()``, so that a new file in audiomix/mixers or audiomix/transforms appears by itself. Times
of a call with labels, drawing included, are multiples of the floor (`measure.py`), microseconds for the small batch;
one thread. All candidates are timed in shuffled order in each run, and medians are printed.

Memory that is allocated anew has to be given to the process page by page, which can cost more than the mixing. So all
is measured in two processes: one whose allocator returns large buffers to the system, as it does by default
(``fresh``), and one that keeps them (``kept``, as glibc.malloc's ``mmap_max=0`` and a large ``trim_threshold`` do),
with page faults a call. Streams, several channels and modes that need beats or captions are timed at their example's
shape.

`TRANSFORMS` names, for each mixer or transform that is neither a sum nor a mask of samples, what it cannot do without.
What it names is timed beside it, alone.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import warnings

import torch
from measure import Times, compare, peers
from torch.utils.data import default_collate

from audiomix import Collate, MixUp, OneOf, Room, mixers, sinkhorn, transforms
from audiomix.audio.loudness import block_energies
from audiomix.audio.saliency import energy

KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"
CLASSES, RATE = 10, 16000
# (B, C, T) waveforms and (B, C, F, N) log-mel spectrograms
SHAPES = {
    "8 x 256": (8, 1, 256),
    "64 x 1 s": (64, 1, RATE),
    "log-mel": (64, 1, 64, 431),
    "64 x 10 s": (64, 1, 10 * RATE),
    "log-mel 10 s": (64, 1, 128, 998),
}


# Mixers whose cost is that of a transform of their own: why they may take more than four floors.
TRANSFORMS = {
    "align_mix": "features of cells, at most 100 iterations of Sinkhorn on (16, 16), a product with (N, N) matrices",
    "attentive_mix": "the saliency: mean and squares of waves, lowest bin of spectrograms; of spectral_flux an STFT",
    "beat": "a warp of each partner by the phase vocoder; see tests/bench/warp.py",
    "between_class": "an FFT of each window, for A-weighted levels",
    "byol_mix": "two exponentials and a logarithm of each cell",
    "fmix": "an inverse FFT and a sort of the cells of each clip's noise, which a batch below 10 MB shows",
    "freq_mix_style": "mean and variance of each frequency: two passes before the one that writes",
    "geodesic_mix": "norms, an angle, a sine and a cosine of each pair of embeddings",
    "latent_beat": "the warp of `beat`, and the autoencoder",
    "mask_mix": "a draw and a sort of the cells of each clip, of which small patches make thousands",
    "patch_mix": "a draw and a sort of the cells of each clip, of which small patches make thousands",
    "mix_style": "mean and variance of each channel: two passes before the one that writes",
    "puzzle_mix": "the saliency of both clips, and a sort of their cells",
    "rand_augment": "each of its operations: filters by FFT, resampling, a phase vocoder",
    "random_field": "the product of matrices that is the field, its exponential, and two reads of each bin for a warp",
    "resize_mix": "an FFT of the partner and an inverse one of its piece, each clip's of a length of its own; linear "
    "interpolation of spectrograms",
    "saliency_mix": "the saliency, as of AttentiveMix, and its largest cell; label='saliency' sums the maps of both",
    "speaker_mix": "the active level of each utterance, and mixes several times as long as their utterances",
    "speech_noise": "the active level of speech and noise",
    "trivial_augment": "that of rand_augment",
}


def all_examples():
    """Return the examples of all mixers, of `OneOf` and of all transforms."""
    kinds = [mixers.get(name) for name in mixers.available()] + [OneOf]
    kinds += [transforms.get(name) for name in transforms.available()]
    return [example for kind in kinds for example in kind.examples()]


def kind_of(shape):
    return "spectrogram" if len(shape) == 4 else "wave"


def fits(example, shape):
    """Whether a mode is timed at this shape: of the example's kind, without notes that belong to its own clips."""
    needs, own = example.mixer.needs, (1, *example.shape)
    alike = kind_of(own) == kind_of(shape) and own[1] == shape[1]
    return alike and not needs.notes and "stream" not in needs.domain


def call_of(example, x, labels, *, out=None):
    """Return a function that calls a mode."""
    mixer = example.mixer.replace(num_classes=CLASSES)
    if "rate" in mixer.options() and "wave" in mixer.needs.domain and x.ndim == 3:
        mixer = mixer.at_rate(RATE)
    given = dict(example.notes(len(x)))
    if example.partners == "second":
        given["other"] = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    if out is not None:
        given["out"] = out
    return lambda: mixer(x, labels, **given)


def candidates(shape, only, *, with_peers):
    """Return name -> function for a batch of this shape, and the batch."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.3
    x = x - 50 if x.ndim == 4 else x
    labels = torch.arange(len(x)) % CLASSES
    out, found = torch.empty_like(x), {}
    for example in all_examples():
        name = repr(example.mixer)
        if not fits(example, shape) or not re.search(only, name):
            continue
        found[name] = call_of(example, x, labels)
        if example.writes_out and example.mixer.needs.length == "kept":
            found[f"{name} out="] = call_of(example, x, labels, out=out)
    if re.search(only, "MixUp"):
        w, partner = torch.rand(len(x)).view(-1, *[1] * (x.ndim - 1)), torch.randperm(len(x))
        hot = torch.nn.functional.one_hot(labels, CLASSES).float()
        found["torch.lerp and labels"] = lambda: (
            torch.lerp(x[partner], x, w),
            torch.lerp(hot[partner], hot, w.view(-1, 1)),
        )
        found |= collates(x, labels)
    found |= own_transforms(x, only)
    if re.search(only, "Room") and x.ndim == 3:
        found |= rooms(x)
    if re.search(only, "SNRMix BetweenClass") and x.ndim == 3:
        found |= measures(x)
    return found | (peers(x, labels, CLASSES) if with_peers else {}), x


def own_transforms(x, only):
    """What mixers of `TRANSFORMS` cannot do without, alone, on all clips of the batch."""
    found = {}
    if re.search(only, "SaliencyMix AttentiveMix PuzzleMix"):
        found["energy, of saliency"] = lambda: energy(x)
        if x.ndim == 3 and x.shape[-1] >= 2048:
            window = torch.hann_window(1024)
            found["STFT, of spectral_flux"] = lambda: torch.stft(x[:, 0], 1024, 256, window=window, return_complex=True)
    if re.search(only, "ResizeMix") and x.ndim == 3:
        halves = torch.linspace(0.1, 0.8, len(x)).mul(x.shape[-1] / 2).int().tolist()
        # a transform of its own for each clip: sizes differ, and so does the plan that the library makes of each
        found["rfft, irfft one by one, of ResizeMix"] = lambda: [
            torch.fft.irfft(torch.fft.rfft(one)[..., : half + 1], 2 * half) for one, half in zip(x, halves)
        ]
    if re.search(only, "FMix"):
        cells = torch.randn(len(x), 1 if x.ndim == 3 else 32, 32, dtype=torch.float64)
        found["irfft2 and sort, of FMix"] = lambda: torch.fft.irfft2(torch.fft.rfft2(cells)).flatten(1).argsort(1)
    if x.ndim == 4:
        if re.search(only, "MixStyle FreqMixStyle"):
            found["mean and variance, of MixStyle"] = lambda: torch.var_mean(x, (2, 3))
        if re.search(only, "BYOLMix MixUp"):
            found["log(exp + exp), of BYOLMix"] = lambda: torch.logaddexp(x, x)
        if re.search(only, "MaxMix"):
            y = x.flip(0)
            found["maximum and count, of MaxMix"] = lambda: (torch.maximum(x, y), (x > y).sum((1, 2, 3)))
        if re.search(only, "RandomField"):
            found |= fields(x)
        if re.search(only, "AlignMix"):
            cost = torch.rand(len(x), 16, 16, generator=torch.Generator().manual_seed(0)) * 4
            found["Sinkhorn, of AlignMix"] = lambda: sinkhorn(cost)
    return found


def fields(x):
    """A field of the size of the batch from tables of 25 numbers (its default), the exponential, and two reads."""
    left, right = torch.randn(x.shape[:-1].numel(), 25), torch.randn(25, x.shape[-1])
    bins = torch.randint(x.shape[-2] - 1, x.shape, generator=torch.Generator().manual_seed(0))
    index = (bins * x.shape[-1] + torch.arange(x.shape[-1])).flatten(-2)
    flat, into, above = x.flatten(-2), torch.empty_like(x), index + x.shape[-1]

    def read():
        torch.lerp(flat.gather(-1, index), flat.gather(-1, above), 0.5, out=into.flatten(-2))

    rows = into.view(-1, x.shape[-1])
    return {
        "product, of RandomField": lambda: torch.mm(left, right, out=rows),
        "exponential, of RandomField": lambda: torch.exp(x, out=into),
        "two reads, of RandomField's warps": read,
    }


def collates(x, labels):
    """A collate function that mixes, against torch's followed by the mixer."""
    mixer = MixUp(0.4, num_classes=CLASSES)
    collate = Collate(mixer, key=lambda item: int(item[1]))
    items = list(zip(x.unbind(), labels.unbind()))
    return {"Collate(MixUp)": lambda: collate(items), "default_collate, MixUp": lambda: mixer(*default_collate(items))}


def rooms(x):
    """The Fourier transforms alone of a convolution with a response of 0.5 s a clip, and `Room` with twenty of them."""
    taps = RATE // 2
    responses = torch.randn(20, taps) * torch.exp(-torch.arange(taps) / (taps / 7))
    room, size = Room(responses, rate=RATE), 2 ** (x.shape[-1] + taps - 1).bit_length()
    chosen = responses[torch.arange(len(x)) % 20][:, None]

    def convolve():
        return torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(chosen, size), size)[..., : x.shape[-1]]

    return {"Room, 0.5 s": lambda: room(x), "rfft, rfft, irfft": convolve}


def measures(x):
    """What loudness and A-weighted levels cannot do without: the K filter, its sample by sample form, and the FFT."""
    from pyloudnorm import Meter
    from scipy.signal import lfilter

    def filter_by_samples():
        y = x.double().numpy()
        for stage in Meter(RATE)._filters.values():
            y = lfilter(stage.b, stage.a, y)

    if x.shape[-1] < 2048:
        return {}
    frames = x.unfold(-1, 2048, 1024)
    return {
        "K filter: block_energies": lambda: block_energies(x, RATE),
        "K filter: scipy's lfilter, twice": filter_by_samples,
        "FFT of BetweenClass": lambda: torch.cat([torch.fft.rfft(part)[..., :1] for part in frames.split(4)]),
    }


def own_shapes(only):
    """Return the modes that fit none of `SHAPES`, each with the batch of its own shape: name -> (function, x)."""
    found = {}
    for example in all_examples():
        name = repr(example.mixer)
        if not any(fits(example, shape) for shape in SHAPES.values()) and re.search(only, name):
            x = torch.randn(8, *example.shape, generator=torch.Generator().manual_seed(0)) * 0.3
            mixer = example.mixer.replace(num_classes=CLASSES)
            given = dict(example.notes(8))
            if example.partners == "second":
                given["other"] = torch.randn(8, *example.shape)
            found[name] = (lambda mixer=mixer, x=x, given=given: mixer(x, torch.arange(8), **given)), x
    return found


def measure(only, runs, sizes, *, with_peers):
    """Return {size: {candidate: Times}} of this process."""
    found = {}
    for size in sizes:
        functions, x = candidates(SHAPES[size], only, with_peers=with_peers)
        found[size] = compare(functions, x, runs) if functions else {}
    if len(sizes) == len(SHAPES):
        own = own_shapes(only).items()
        found["own shape, 8 clips"] = {name: compare({name: function}, x, runs)[name] for name, (function, x) in own}
    return {size: table for size, table in found.items() if table}


def in_child(arguments, pages):
    """Return what `measure` finds in a process of its own, with pages kept or not."""
    command = [sys.executable, __file__, "--child", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    environment["GLIBC_TUNABLES"] = KEPT if pages == "kept" else ""
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    *notes, result = done.stdout.splitlines()
    return notes, json.loads(result)


def print_table(size, fresh, kept):
    """Print one size: with and without out=, pages fresh and kept, and the page faults of a call."""
    small = size.startswith(("8 x", "own"))
    unit = "microseconds" if small else "multiples of the floor"
    print(f"\n{size}: {unit}" + ("" if "copy" not in fresh else f"; floor {1.5e6 * fresh['copy'].seconds:.1f} us"))
    print(f"  {'':66s} {'fresh pages':>24s} {'pages kept':>16s}")
    print(f"  {'':66s} {'out=':>7s} {'plain':>7s} {'faults':>8s} {'out=':>7s} {'plain':>8s}")

    def cell(table, name):
        if name not in table:
            return "-"
        return f"{table[name].seconds * 1e6:.0f}" if small else f"{table[name].floors:.2f}"

    for name in fresh:
        if name == "copy" or (name.endswith(" out=")):
            continue
        into = f"{name} out="
        row = [cell(fresh, into), cell(fresh, name), f"{fresh[name].faults:.0f}", cell(kept, into), cell(kept, name)]
        print("  {:66s} {:>7s} {:>7s} {:>8s} {:>7s} {:>8s}".format(name[:66], *row))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", default="", metavar="REGEX", help="modes whose text this is found in: 'SNRMix|Room'")
    parser.add_argument("--size", choices=SHAPES, nargs="+", default=list(SHAPES))
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        warnings.simplefilter("ignore")
        found = measure(given.only, given.runs, given.size, with_peers=not given.no_peers)
        print(json.dumps({size: {name or "copy": t for name, t in table.items()} for size, table in found.items()}))
        return
    words = sys.argv[1:] if arguments is None else arguments
    results = {pages: in_child(words, pages) for pages in ("fresh", "kept")}
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    print(f"torch {torch.__version__}, {threads} thread(s), median of {given.runs} runs")
    for note in dict.fromkeys(results["fresh"][0]):
        print(note)
    for name, cost in TRANSFORMS.items():
        kind = (mixers if name in mixers.available() else transforms).get(name).__name__
        if re.search(given.only, kind):
            print(f"{kind}: {cost}")
    tables = {pages: result for pages, (_, result) in results.items()}
    for size in tables["fresh"]:
        fresh, kept = ({name: Times(*t) for name, t in tables[pages][size].items()} for pages in ("fresh", "kept"))
        print_table(size, fresh, kept)


if __name__ == "__main__":
    main()
