"""Mixers of pieces that lie in time alone, or in time and frequency: what their option `kind` means."""

from .. import check
from ..clips import Clips
from ..mixer import SPECTROGRAM, WAVE, Mixer, Needs

__all__ = ["KindMixer"]


class KindMixer(Mixer):
    """Base of mixers with a `kind`, ``time`` or ``time_freq``, which their constructors set."""

    kind: str

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms for ``time``, else spectrograms."""
        return Needs(domain=frozenset({WAVE, SPECTROGRAM} if self.kind == "time" else {SPECTROGRAM}), axes=True)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms for ``time_freq``: with fewer than four bins `x` is one."""
        super().check_input(own, source)
        x = own.x
        if self.kind == "time_freq" and (x.ndim < 3 or x.shape[-2] < 4):
            slip = "a waveform? kind='time'"
            check.fail("x", "spectrograms (B, ..., F, N) for kind='time_freq'", f"shape {tuple(x.shape)}", slip)
