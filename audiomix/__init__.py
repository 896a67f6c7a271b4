"""audiomix: mixing for audio and speech. A plan is drawn once and applied to every stream.

Names are imported when they are first used, so that ``import audiomix`` costs next to nothing beyond ``import torch``.
"""

import importlib
from typing import Any

# The only list of public names besides the folders; module -> names
_PUBLIC = {
    "beats.grid": ["BeatGrid"],
    "audio.features": ["LogMel"],
    "losses.streams": ["StreamLoss", "symmetric_kl"],
    "clips": ["Clips", "Notes"],
    "mixer": ["Example", "Mixer", "Needs"],
    "mixers.av": ["AVMix", "AVPlan"],
    "mixers.beat": ["BeatMix"],
    "mixers.between_class": ["BetweenClass", "between_class_gains"],
    "mixers.caption": ["CaptionMix"],
    "mixers.cutmix": ["CutMix", "SpanPlan", "cutmix"],
    "mixers.latent_beat": ["LatentBeatMix"],
    "mixers.mixup": ["MixUp", "mixup", "mixup_power"],
    "mixers.snr_mix": ["SNRMix", "SNRPlan"],
    "loader": ["Collate", "Indexed"],
    "pipeline": ["Pipeline"],
    "plan": ["GainPlan", "Mixed", "Part", "Plan"],
    "policy": ["OneOf", "OneOfPlan"],
    "schedule": ["Schedule"],
    "streams.align": ["resample_frames", "stack_frames"],
    "streams.curriculum": ["PlateauCurriculum", "UncertaintyCurriculum", "make_curriculum"],
    "transforms.modality_dropout": ["ModalityDropout"],
    "transforms.time_mask": ["AdaptiveTimeMask"],
    "mixers.stream": ["StreamMix", "mix_streams"],
    "mixers.speech_noise": ["SpeechNoise"],
    "targets.correspondence": ["correspondence", "mix_captions"],
    "targets.pictures": ["mix_pictures"],
}
_MODULES = (
    "audio", "beats", "captions", "check", "datasets", "draw", "losses", "mixers", "offline", "streams", "targets",
    "torchaudio", "transforms",
)  # fmt: skip
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
