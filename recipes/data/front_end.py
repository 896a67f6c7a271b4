"""The front end of a run: spectrogram views, waveform views, or views of embeddings."""

from audiomix import check

from ..training.config import Config, count_samples
from .embeddings import EmbeddingViews
from .views import SpectrogramViews, Views, WaveformViews

__all__ = ["check_views", "make_views"]


def make_views(config: Config, rate: int, size: int | None = None) -> Views:
    """Return the front end that `config` names, for clips of a rate in Hz; their `size` in samples is checked if given.

    Raises
    ------
    ValueError
        A view that this front end does not have, or clips shorter than its window, which may not be open.
    """
    if size is not None:
        check_views(config, rate, size)
    return _kind(config)(config, rate)


def check_views(config: Config, rate: int, size: int) -> None:
    """Raise what `make_views` does, of a configuration whose window may be open: it is chosen for the clips."""
    _kind(config).check_names(config)
    if config.window is None or config.embedding is not None:
        return
    window = count_samples("window", config.window, rate)
    if size < window:
        least = f"at least {window / rate:.4g}, the window of --window {config.window} at {rate} Hz"
        check.fail("seconds", least, f"{size / rate:.4g} ({size} samples)", "a shorter window for such clips?")


def _kind(config: Config) -> type[Views]:
    if config.embedding is not None:
        return EmbeddingViews
    return {"spectrogram": SpectrogramViews, "waveform": WaveformViews}[config.front]
