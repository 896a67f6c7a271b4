r"""SpecMix: bands of time and bands of frequency of each spectrogram are its partner's.

.. math:: x'[f, t] = \begin{cases} x_p[f, t] & t \in \bigcup_k T_k \text{ or } f \in \bigcup_k F_k \\ x[f, t] &
          \text{elsewhere} \end{cases}, \qquad w = \mathrm{mean}(M)

In the authors' code widths and places of both kinds of bands follow the number of bins; here each follows its own
axis.

Source: Kim, Han and Ko, "SpecMix: A Mixed Sample Data Augmentation Method for Training with Time-Frequency Domain
Features", Interspeech 2021.
Label: mixed by the share of the valid area that is kept.
"""

import numpy as np

from .. import check, draw
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Needs, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ..transform import check_spectrogram, whole_numbers
from ._band_plan import BandMixer, plan_bands

__all__ = ["SpecMix"]


class SpecMix(BandMixer):
    """Put bands of time and bands of frequency of another spectrogram into each.

    Parameters
    ----------
    time_bands, freq_bands : int
        Most bands of each kind; their number is uniform from 0 on.
    width : float
        Width of every band, as a fraction of its axis: of the frames that both clips have, or of the bins. The paper
        has 0.3 for scenes and 0.1 for sound events.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the valid area that is kept, after rounding, where bands overlap counted once. With two
    bands of each kind a ninth of the clips has none and stays as it is; of width 0.3 the mean weight is 0.54. Starts
    are uniform over all places where a band fits.

    See Also
    --------
    audiomix.SpecAugment : stripes that are hidden, and a label that stays.

    Examples
    --------
    >>> import torch
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = SpecMix(num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> kept = (mixed.x == spec).double().mean((1, 2, 3))
    >>> bool(torch.allclose(kept, mixed.plans[0].weight))
    True
    """

    def __init__(
        self,
        time_bands: int = 2,
        freq_bands: int = 2,
        width: float = 0.3,
        *,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.time_bands = check.integer("time_bands", time_bands, 0)
        self.freq_bands = check.integer("freq_bands", freq_bands, 0)
        if not self.time_bands and not self.freq_bands:
            check.fail("freq_bands", "above 0 where time_bands is 0", freq_bands, "nothing would be mixed")
        self.width = check.fraction("width", width)

    @property
    def needs(self) -> Needs:
        """Spectrograms."""
        return Needs(domain=frozenset({SPECTROGRAM}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds of bands, together and alone."""
        mixers = [cls(), cls(1, 3, width=0.1), cls(time_bands=0), cls(freq_bands=0)]
        return [Example(mixer, shape=(1, 12, 100)) for mixer in mixers]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, and how many bands there are and where; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        both = overlap(own, source, partner)[1].numpy()
        bins = np.full(len(own), own.x.shape[-2])
        spans = self._draw_bands(self.time_bands, both, generator)
        bands = self._draw_bands(self.freq_bands, bins, generator)
        bands = np.where((both > 0)[:, None, None], bands, 0)
        return plan_bands(own, source, partner, mixed, spans, bands, where="either")

    def _draw_bands(self, most: int, size: np.ndarray, generator: Generator) -> np.ndarray:
        """Return bands on axes of `size` (B,); (B, most, 2), of no width where there are fewer than `most`."""
        numbers = draw.uniform(0, 1, (1 + most) * len(size), generator=generator).view(len(size), 1 + most).numpy()
        count = whole_numbers(numbers[:, :1], most + 1)
        width = np.where(np.arange(most) < count, np.rint(self.width * size)[:, None], 0)
        start = whole_numbers(numbers[:, 1:], size[:, None] - width + 1) * (width > 0)
        bands = np.stack([start, start + width], -1)
        return bands if most else np.zeros((len(size), 1, 2))

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms."""
        super().check_input(own, source)
        check_spectrogram(own.x)
