"""Weak and strong views of clips, made in batches on the device of the data.

There are two front ends. `SpectrogramViews` computes all spectrograms once and augments those, which is fast.
`WaveformViews` keeps samples, augments them and computes the spectrogram of every view, as the founding study did. Both
draw one set of parameters for each clip from the generator they are given.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from audiomix import check, draw, identity
from audiomix.audio.features import LogMel

from ..training.choices import fft_size
from ..training.config import Config, count_samples
from .rows import FileRows, Rows, Selected, fits_in_memory
from .store import ArrayFile, SourceRows, Store, map_arrays, open_index

__all__ = ["SpectrogramViews", "Strength", "Views", "WaveformViews"]

_CHUNK = 64  # clips whose spectrograms are computed, or read, at once
_FORMAT = 1  # of the file of spectrograms, part of its name


class Views:
    """A front end: what is kept of each clip, the network's input, and its augmented views.

    Parameters
    ----------
    config : Config
        Holds the settings of the spectrogram and the names of the views; none is open.
    rate : int
        Sample rate of the clips, in Hz.

    Raises
    ------
    ValueError
        A name of a view that this front end does not have, or a setting that is open.
    """

    names: ClassVar[tuple[str, ...]] = ()
    # the network's input is (dB - mean) / std
    mean, std = 0.0, 1.0

    @property
    def unit_db(self) -> float:
        """How many dB one unit of the network's input is."""
        return self.std

    def __init__(self, config: Config, rate: int) -> None:
        self.check_names(config)
        if config.window is None or config.hop is None or config.n_mels is None:
            slip = "recipes.training.choices.choose(config, facts) does, from facts of the data"
            check.fail("window, hop, n_mels", "given, or chosen before", "an open one", slip)
        window, hop = count_samples("window", config.window, rate), count_samples("hop", config.hop, rate)
        self.mel = LogMel(
            rate, n_fft=fft_size(window), window=window, hop=hop, n_mels=config.n_mels, floor_db=config.floor_db
        ).requires_grad_(False)

    @classmethod
    def check_names(cls, config: Config) -> None:
        """Raise ValueError where `config` names a view that this front end does not have."""
        for option in ("labelled_view", "weak_view", "strong_view"):
            if (name := getattr(config, option)) is not None:  # an open one is chosen from these
                check.choice(option, name, cls.names)

    def load(self, store: Store, device: torch.device, *, quiet: bool = True) -> Rows:
        """Return what is kept of all clips of a store; batches of it come to `device`.

        Where it does not fit into memory it is read from disk, batch by batch: the same values.
        """
        raise NotImplementedError

    def fit(self, kept: Rows, train: Tensor) -> None:
        """Compute the normalisation from the clips at the indices `train` of `kept`; by default there is none."""

    def plain(self, kept: Tensor) -> Tensor:
        """Return the network's input (B, 1, F, N) of clips as they are; `load` returned `kept`, shape (B, ...)."""
        raise NotImplementedError

    def __call__(
        self, kept: Tensor, name: str, *, generator: torch.Generator, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return an augmented view (B, 1, F, N) of each clip of a batch.

        Parameters
        ----------
        kept : Tensor, shape (B, ...)
            What `load` returned, of a batch, or of this process's slice of one.
        name : str
            Name of the view, one of `names`.
        generator : torch.Generator
            Source of the parameters. They are drawn for the whole batch, so a slice gets the views of one process.
        part : tuple of int
            ``(rank, world)``: which of so many equal slices of the batch.
        """
        raise NotImplementedError


class _Draws:
    """Random parameters of B clips: of slice ``part[0]`` of a batch of ``part[1]`` slices, for which all are drawn."""

    def __init__(self, size: int, generator: torch.Generator, part: tuple[int, int]) -> None:
        rank, world = part
        self.size, self.generator, self.own = size * world, generator, slice(rank * size, (rank + 1) * size)

    def uniform(self, low: float, high: float) -> Tensor:
        return draw.uniform(low, high, self.size, generator=self.generator)[self.own]

    def bernoulli(self, p: float) -> Tensor:
        return draw.bernoulli(p, self.size, generator=self.generator)[self.own]

    def integers(self, high: int) -> Tensor:
        return draw.integers(torch.full((self.size,), high), generator=self.generator)[self.own]


@dataclass(frozen=True)
class Strength:
    """Ranges of the random parameters of a spectrogram view; lengths along an axis are shares of it."""

    gain_db: float  # the gain is U(-gain_db, gain_db)
    zoom: float = 0.0  # time runs exp(U(-zoom, zoom)) times as fast
    shift: float = 0.0  # the shift along frequency is U(-shift, shift)
    masks: int = 0  # number of masks along time, and as many along frequency
    time_mask: float = 0.0  # longest mask along time
    band_mask: float = 0.0  # longest mask along frequency

    def scaled(self, factor: float) -> "Strength":
        """Return the strength with zoom and masks in time that are `factor` times as large."""
        return replace(self, zoom=self.zoom * factor, time_mask=self.time_mask * factor)


class SpectrogramViews(Views):
    """Views of log-mel spectrograms, normalised with one mean and one standard deviation of the training set.

    A view is rolled in time, zoomed in time and shifted in frequency (bilinear, reflected at the edges), changed in
    gain, and masked (Park et al., "SpecAugment", Interspeech 2019); a mask has the value 0, the mean of the data.
    See `Views` for the parameters.
    """

    # calibrated on 216 frames of 64 bands
    strengths: ClassVar[dict[str, Strength]] = {
        "none": Strength(0),
        "weak": Strength(3),
        "mid": Strength(6, zoom=0.2, shift=2 / 64, masks=1, time_mask=40 / 216, band_mask=12 / 64),
        "full": Strength(9, zoom=0.4, shift=5 / 64, masks=2, time_mask=50 / 216, band_mask=14 / 64),
    }
    names = tuple(strengths)

    def __init__(self, config: Config, rate: int) -> None:
        super().__init__(config, rate)
        if config.roll is None:
            slip = "recipes.training.choices.choose(config, facts) does, from facts of the data"
            check.fail("roll", "given, or chosen before", "an open one", slip)
        self.roll, self.time_strength = config.roll, config.time_strength

    def load(self, store: Store, device: torch.device, *, quiet: bool = True) -> Rows:
        """Return the spectrograms of all clips, (clips, 1, F, N), in dB; see `Views.load`.

        Where they are more than `recipes.data.rows.fits_in_memory` allows, they lie in a file beside the store.
        """
        self.mel.to(device)
        count = len(store.dataset)
        row = tuple(self._spectrograms(store, torch.zeros(1, dtype=torch.int64), device).shape[1:])
        if fits_in_memory(4 * count * math.prod(row), device):
            kept = torch.empty((count, *row), device=device)
            for part in torch.arange(count).split(_CHUNK):
                kept[part[0] : part[-1] + 1] = self._spectrograms(store, part, device)
            return kept
        return self._file(store, row, device, quiet)

    def _spectrograms(self, store: Store, rows: Tensor, device: torch.device) -> Tensor:
        return self.mel(store.read(rows).to(device).unsqueeze(1))

    def _file(self, store: Store, row: tuple[int, ...], device: torch.device, quiet: bool) -> FileRows:
        """Return the spectrograms of a store from their file, which is written if it is not there."""
        parts = torch.arange(len(store.dataset)).split(_CHUNK)
        # what a store could read is part of the name: a file that could not be read then may be readable now
        ids = [item.id for item in store.dataset.items]
        key = identity.digest([[_FORMAT, self.mel.arguments, ids]], size=6)
        path = store.path.with_name(f"{store.path.name}-mel-{key}")
        array = ArrayFile("spectrograms.f4", "<f4", row)

        def compute(part: Tensor) -> SourceRows:
            return SourceRows((self._spectrograms(store, part, device).cpu().numpy(),), {})

        open_index(
            path,
            [array],
            [(str(i), part) for i, part in enumerate(parts)],
            compute,
            lambda folder, facts, errors: {"rows": len(store.dataset), "row": row},
            keys=("rows", "row"),
            title=f"spectrograms of {store.dataset.name}",
            workers=1,
            quiet=quiet,
        )
        map_arrays(path, [array], len(store.dataset))  # is all there?
        return FileRows(path / array.file, 0, array.dtype, row, torch.arange(len(store.dataset)), device)

    def fit(self, kept: Rows, train: Tensor) -> None:
        """Compute mean and standard deviation of the training clips, some at a time; see `Views.fit`."""
        count, mean, squares = 0, 0.0, 0.0  # squares: of the differences from the mean
        for part in Selected(kept, train).split(_CHUNK):
            part = part.double()
            size, own = part.numel(), part.mean().item()
            squares += (part - own).square().sum().item() + (own - mean) ** 2 * count * size / (count + size)
            mean += (own - mean) * size / (count + size)
            count += size
        self.mean, self.std = mean, max(math.sqrt(squares / (count - 1)), 1e-5)

    def plain(self, kept: Tensor) -> Tensor:
        """Return the normalised spectrograms; see `Views.plain`."""
        return (kept - self.mean) / self.std

    def __call__(
        self, kept: Tensor, name: str, *, generator: torch.Generator, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return a view of each spectrogram; `name` is none, weak, mid or full; see `Views.__call__`."""
        s, draws = self.strengths[name].scaled(self.time_strength), _Draws(len(kept), generator, part)
        spec = roll(self.plain(kept), draws.uniform(-self.roll, self.roll))
        if s.zoom or s.shift:
            zoom = draws.uniform(-s.zoom, s.zoom).exp()
            spec = zoom_and_shift(spec, zoom, draws.uniform(-s.shift, s.shift))
        gain = draws.uniform(-s.gain_db, s.gain_db) / self.std
        spec = spec + gain.to(spec).view(-1, 1, 1, 1)
        for _ in range(s.masks):
            spec = spec * _mask(spec, -1, s.time_mask, draws)
            spec = spec * _mask(spec, -2, s.band_mask, draws)
        return spec


def roll(spec: Tensor, share: Tensor) -> Tensor:
    """Shift each spectrogram (B, 1, F, N) circularly in time, by `share` (B,) of the frames."""
    frames = spec.shape[-1]
    shift = (share * frames).round().long().to(spec.device)
    index = (torch.arange(frames, device=spec.device) - shift[:, None]) % frames  # (B, N)
    return spec.gather(-1, index[:, None, None, :].expand_as(spec))


def zoom_and_shift(spec: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Return spectrograms (B, 1, F, N) that are zoomed in time about the middle and shifted in frequency.

    Time runs `zoom` (B,) times as fast, and the shift (B,) towards higher bands is a share of the bands.
    """
    theta = torch.zeros(len(spec), 2, 3, dtype=torch.float64)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 1, 2] = zoom, 1.0, -2 * shift
    grid = F.affine_grid(theta.to(spec), list(spec.shape), align_corners=False)
    return F.grid_sample(spec, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _mask(spec: Tensor, axis: int, longest: float, draws: _Draws) -> Tensor:
    """Return 0 inside one mask along `axis` of each spectrogram, 1 elsewhere."""
    length = draws.uniform(0, longest)
    start = draws.uniform(0, 1) * (1 - length)
    inside = span(start.to(spec.device), length.to(spec.device), spec.shape[axis])
    return (~inside).to(spec).unsqueeze(1).unsqueeze(2 if axis == -1 else 3)


def span(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return a mask (B, size), True in one span a row: `start` and `length`, each (B,), are shares of the row."""
    first, last = (start * size).round(), ((start + length) * size).round()
    position = torch.arange(size, device=start.device)
    return (position >= first[:, None]) & (position < last[:, None])


class WaveformViews(Views):
    """The founding study's views: each clip has one of three changes; half of all weak views have none.

    ===========  ========================================  ==================  =====================
    change       what                                      weak (half)         strong (all)
    ===========  ========================================  ==================  =====================
    occlusion    a span of the waveform is silenced        U(0, 0.25)          U(0, 0.75)
    speed        nearest-neighbour resampling, cut or      U(0.5, 1.5)         U(0.25, 1.75)
                 padded back at random; above 1 is slower
    cutout       a rectangle of the spectrogram is -80 dB  sides U(0.1, 0.5)   sides U(0.5, 1)
    ===========  ========================================  ==================  =====================

    Spectrograms are raw dB: the first batch normalisation scales them. See `Views` for the parameters.
    """

    # share of the clips that are changed; ranges of occlusion, speed and cutout
    ranges: ClassVar[dict[str, tuple]] = {
        "none": (0.0, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0)),
        "weak": (0.5, (0.0, 0.25), (0.5, 1.5), (0.1, 0.5)),
        "strong": (1.0, (0.0, 0.75), (0.25, 1.75), (0.5, 1.0)),
    }
    names = tuple(ranges)

    def load(self, store: Store, device: torch.device, *, quiet: bool = True) -> Rows:
        """Return the samples of all clips, int16 (clips, T); on a CPU they stay in the store's file.

        See `Views.load`.
        """
        self.mel = self.mel.to(device)
        if device.type != "cpu" and fits_in_memory(2 * math.prod(store.rows.shape), device):
            return store.samples.to(device)
        return store.rows.to(device)

    def plain(self, kept: Tensor) -> Tensor:
        """Return the spectrograms, in dB; see `Views.plain`."""
        return self.mel(kept.unsqueeze(1))

    def __call__(
        self, kept: Tensor, name: str, *, generator: torch.Generator, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return a view of each clip; `name` is none, weak or strong; see `Views.__call__`."""
        share, occlusion, speed, cutout = self.ranges[name]
        draws = _Draws(len(kept), generator, part)
        which = draws.integers(3)
        which = torch.where(draws.bernoulli(share), which, -1)
        wave = kept.float() / 32768
        which = which.to(wave.device)  # from here on in the memory of the clips: masks are as large as they are
        occluded = _spans(occlusion, wave.shape[-1], draws, wave.device) & (which == 0)[:, None]
        wave = wave.masked_fill(occluded, 0.0)
        rate, align = (draws.uniform(low, high).to(wave.device) for low, high in (speed, (0.0, 1.0)))
        chosen = which == 1
        wave[chosen] = stretch(wave[chosen], rate[chosen], align[chosen])
        spec = self.mel(wave.unsqueeze(1))
        frames = _spans(cutout, spec.shape[-1], draws, wave.device)[:, None, :]
        bands = _spans(cutout, spec.shape[-2], draws, wave.device)[:, :, None]
        cut = frames & bands & (which == 2)[:, None, None]
        return spec.masked_fill(cut.unsqueeze(1), -80.0)


def stretch(wave: Tensor, rate: Tensor, align: Tensor) -> Tensor:
    """Resample clips (B, T) by taking the nearest sample, then cut or pad them back; the pitch changes with the speed.

    `rate` (B,) is the factor of the length, above 1 slower; `align` (B,) in [0, 1] says where a clip is cut or padded:
    0
    keeps the beginning, 1 the end.
    """
    size = wave.shape[-1]
    length = (rate * size).round()
    start = (align * (length - size)).round()  # below 0: that many zeros come first
    position = torch.arange(size, device=start.device) + start[:, None]  # in the stretched clip, (B, T)
    source = (position / rate[:, None]).long().clamp(0, size - 1)
    valid = (position >= 0) & (position < length[:, None])
    return wave.gather(-1, source) * valid.to(wave)


def _spans(lengths: tuple[float, float], size: int, draws: _Draws, device: torch.device) -> Tensor:
    """Return a mask (B, size) that is True in one random span a row, whose length is a share in the range `lengths`."""
    length = draws.uniform(*lengths)
    start = draws.uniform(0, 1) * (1 - length)
    return span(start.to(device), length.to(device), size)
