"""The rows of the table of mixing: one for each mixer, transform, loss and learned mixing, each at two strengths.

Of every row the strength is chosen from a grid of two, weak before strong, plain training's too: its grid is of weight
decay. What has no row stands in `CUT` with the reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audiomix import check

__all__ = ["BASE", "CUT", "GRID", "KINDS", "ROWS", "MixingRow", "choose_rows"]

BASE = "plain"  # the row that all others are compared with
GRID = 2  # strengths of a row
KINDS = ("baseline", "transform", "mixer", "schedule", "loss", "learned")


@dataclass(frozen=True)
class MixingRow:
    """A row: what is done to the clips or to the loss, and how strongly.

    Parameters
    ----------
    name : str
        As the table shows it.
    kind : str
        One of `KINDS`.
    text : str
        A row of `recipes.benchmark.rows`, with ``{}`` where the strength stands.
    strengths : (str, str)
        The weak and the strong one.
    """

    name: str
    kind: str
    text: str
    strengths: tuple[str, str]

    def __post_init__(self) -> None:
        check.choice("kind", self.kind, KINDS)
        if len(self.strengths) != GRID or self.text.count("{}") != 1:
            check.fail("strengths", f"{GRID} values for one place {{}} in the text", f"{self.strengths} in {self.text}")

    def at(self, strength: int) -> str:
        """Return the row at a strength, counted from 0, as `recipes.benchmark.rows.parse_row` reads it."""
        return self.text.format(self.strengths[strength])


def _mixers(texts: dict[str, tuple[str, tuple[str, str]]]) -> list[MixingRow]:
    return [MixingRow(name, "mixer", f"supervised+{text}", strengths) for name, (text, strengths) in texts.items()]


_P = ("0.5", "1.0")  # share of the clips that are mixed
_MIXED = "+mixup:alpha=0.4,per=clip"  # what the losses of mixes are given

ROWS: tuple[MixingRow, ...] = (
    MixingRow(BASE, "baseline", "supervised:weight_decay={}", ("0.001", "0.05")),
    MixingRow("spec_augment", "baseline", "supervised+spec_augment:freq_masks={}", ("1", "2")),
    MixingRow("label_smoothing", "baseline", "supervised:loss=cross_entropy(label_smoothing={})", ("0.05", "0.1")),
    MixingRow("rand_augment", "transform", "supervised+rand_augment:magnitude={}", ("0.15", "0.4")),
    MixingRow("trivial_augment", "transform", "supervised+trivial_augment:magnitude={}", ("0.5", "1.0")),
    MixingRow("filter_augment", "transform", "supervised+filter_augment:p={}", _P),
    MixingRow("random_field", "transform", "supervised+random_field:p={}", _P),
    *_mixers({
        "mixup": ("mixup:per=clip,alpha={}", ("0.2", "1.0")),
        "mixup_power": ("mixup:domain=power,per=clip,alpha={}", ("0.2", "1.0")),
        "cutmix": ("cutmix:kind=time,alpha=1.0,p={}", _P),
        "fmix": ("fmix:kind=time_freq,alpha=1.0,p={}", _P),
        "resize_mix": ("resize_mix:p={}", _P),
        "spec_mix": ("spec_mix:p={}", _P),
        "mask_mix": ("mask_mix:alpha=1.0,p={}", _P),
        "patch_mix": ("patch_mix:kind=time_freq,partner_share={}", ("0.15", "0.3")),
        "grid_mix": ("grid_mix:kind=time_freq,alpha=1.0,p={}", _P),
        "smooth_mix": ("smooth_mix:kind=time_freq,p={}", _P),
        "saliency_mix": ("saliency_mix:kind=time,alpha=1.0,p={}", _P),
        "attentive_mix": ("attentive_mix:alpha=1.0,p={}", _P),
        "puzzle_mix": ("puzzle_mix:alpha=1.0,p={}", _P),
        "align_mix": ("align_mix:alpha=1.0,p={}", _P),
        "self_mix": ("self_mix:alpha=1.0,p={}", _P),
        "mix_style": ("mix_style:alpha=0.1,p={}", _P),
        "freq_mix_style": ("freq_mix_style:alpha=0.4,p={}", ("0.4", "0.8")),
        "byol_mix": ("byol_mix:alpha={}", ("0.2", "0.4")),
    }),
    MixingRow("mixup_early_stop", "schedule", "supervised+mixup:per=clip,alpha=0.4,p=stop_after:{}", ("0.5", "0.75")),
    MixingRow("soft_bce", "loss", "supervised:loss=mixed_binary_cross_entropy+mixup:per=clip,alpha={}", ("0.2", "1.0")),
    MixingRow("comp_sum", "loss", f"supervised:loss=comp_sum(tau={{}}){_MIXED}", ("1.2", "1.5")),
    MixingRow("limited_confidence", "loss", f"supervised:loss=limited_confidence(draws={{}}){_MIXED}", ("2", "4")),
    MixingRow("decoupled", "loss", f"supervised:loss=decoupled(eta={{}}){_MIXED}", ("0.1", "0.5")),
    MixingRow("ranking", "loss", f"supervised:loss=ranking(weight={{}}){_MIXED}", ("0.1", "0.5")),
    MixingRow("mix_consistency", "loss", f"supervised:loss=mix_consistency(weight={{}}){_MIXED}", ("0.1", "0.5")),
    MixingRow("mix_contrast", "loss", f"supervised:loss=mix_contrast(weight={{}}){_MIXED}", ("0.1", "0.5")),
    MixingRow("metrix", "loss", "supervised:loss=metrix(weight={})", ("0.1", "0.4")),
    MixingRow("adamixup", "learned", "supervised+adamixup:intrusion={}", ("0.5", "1.0")),
    MixingRow("adversarial_automix", "learned", "supervised+adversarial_automix:clean={}", ("0.5", "0.25")),
    MixingRow("madaug", "learned", "supervised+madaug:drawn={}", ("1", "2")),
    MixingRow("invariance_constrained", "learned", "supervised+invariance_constrained:epsilon={}", ("1.0", "0.5")),
    MixingRow("data_efficient", "learned", "supervised+data_efficient:share={}", ("0.3", "0.6")),
)

# By what `audiomix list` and `audiomix-recipes list` call it: why it has no row.
_WAVE = "mixes waveforms; the preset small keeps spectrograms alone, of which mixup_power adds the powers"
_OTHER = "needs what a classifier of clips does not have"
_STREAMS = f"{_OTHER}: a stream of sound and one of pictures"
_QUEUE = f"{_OTHER}: an encoder trained by contrast, and a queue of its negatives"
CUT: dict[str, str] = {
    "between_class": _WAVE,
    "snr_mix": _WAVE,
    "speech_noise": _WAVE,
    "speaker_mix": f"{_OTHER}: several speakers a clip, and the times at which each speaks",
    "beat": f"{_OTHER}: beats",
    "latent_beat": f"{_OTHER}: beats, and an autoencoder of waveforms",
    "stem_remix": f"{_OTHER}: the stems of songs",
    "caption": f"{_OTHER}: captions",
    "av": f"{_OTHER}: pictures",
    "stream": _STREAMS,
    "max_mix": "its label is a union, for tagging; of one class a clip it is mixup_power with another label",
    "sm_mix": f"{_OTHER}: the attention of a transformer",
    "geodesic_mix": f"{_OTHER}: embeddings of length 1",
    "OneOf": "a row is one mixer at two strengths; of a choice among mixers the members would have to be chosen too",
    "mix_repeat": "a step of it costs several of the other rows', so that equal steps would be no fair comparison",
    "time_shift": "all rows are rolled in time already",
    "room": "works on waveforms, and needs impulse responses; the preset small keeps spectrograms alone",
    "time_mask": f"{_OTHER}: streams of clips of several lengths; spec_augment masks time",
    "modality_dropout": _STREAMS,
    "mixed_cross_entropy": "the loss of all rows that name no other",
    "anyloss": "of a batch of 15 clips its measures are too coarse: F of ten classes with a clip or two each",
    "mixoe": f"{_OTHER}: recordings of sounds that are of none of its classes",
    "ranked_gain": "cut for time: ranking stands for RankMixup",
    "mi_mix": "cut for time: mix_contrast stands for contrast of mixes",
    "m3col": f"{_OTHER}: a second modality",
    "soft_clip": f"{_OTHER}: a second modality",
    "m2_mix": f"{_OTHER}: a second modality",
    "info_nce": f"{_OTHER}: pairs of views; mix_contrast stands for contrast of mixes",
    "mochi": _QUEUE,
    "supremix": f"{_OTHER}: a number to predict for each clip, not a class",
    "mix_kd": f"{_OTHER}: a trained teacher",
    "hard_views": f"{_OTHER}: a trained teacher",
    "correctness": "fits the temperature of a network that is trained already; it trains none",
    "ViewTemperature": "the temperature that correctness fits",
    "mixed_ae": "trains an encoder without labels; it is no loss of a classifier",
    "source_contrast": "trains an encoder without labels; it is no loss of a classifier",
    "fine_grained_loss": f"{_OTHER}: the tokens of a transformer",
    "sft_mix": f"{_OTHER}: a decoder of sequences",
    "transcript_loss": f"{_OTHER}: transcripts",
    "StreamLoss": _STREAMS,
    "manifold_mixup": "cut for time",
    "HiddenPatchMix": "cut for time",
    "MixLayer": "cut for time: mix_style and freq_mix_style do to the input what it does to hidden states",
    "HintAug": f"{_OTHER}: a pretrained transformer to be tuned",
}


def choose_rows(names: Iterable[str] = ()) -> list[MixingRow]:
    """Return the rows of these names, or all, in the order of the table.

    Raises
    ------
    ValueError
        There is no such row; a near miss is named.

    Examples
    --------
    >>> [row.name for row in choose_rows(["mixup", "plain"])]
    ['plain', 'mixup']
    """
    wanted, known = list(names), [row.name for row in ROWS]
    for name in wanted:
        check.choice("rows", name, known)
    return [row for row in ROWS if not wanted or row.name in wanted]
