"""Public names, and where each is: read by type checkers, and by ``__init__.py`` when a name is first used."""

from . import (
    audio as audio,
)
from . import (
    audit as audit,
)
from . import (
    beats as beats,
)
from . import (
    captions as captions,
)
from . import (
    check as check,
)
from . import (
    clips as clips,
)
from . import (
    datasets as datasets,
)
from . import (
    draw as draw,
)
from . import (
    loader as loader,
)
from . import (
    losses as losses,
)
from . import (
    mixer as mixer,
)
from . import (
    mixers as mixers,
)
from . import (
    offline as offline,
)
from . import (
    options as options,
)
from . import (
    pairing as pairing,
)
from . import (
    parts as parts,
)
from . import (
    pipeline as pipeline,
)
from . import (
    plan as plan,
)
from . import (
    policy as policy,
)
from . import (
    registry as registry,
)
from . import (
    report as report,
)
from . import (
    schedule as schedule,
)
from . import (
    streams as streams,
)
from . import (
    targets as targets,
)
from . import (
    torchaudio as torchaudio,
)
from . import (
    transforms as transforms,
)
from .audio.features import LogMel as LogMel
from .beats.grid import BeatGrid as BeatGrid
from .clips import (
    Clips as Clips,
)
from .clips import (
    Notes as Notes,
)
from .loader import (
    Collate as Collate,
)
from .loader import (
    Indexed as Indexed,
)
from .losses.streams import (
    StreamLoss as StreamLoss,
)
from .losses.streams import (
    symmetric_kl as symmetric_kl,
)
from .mixer import (
    Example as Example,
)
from .mixer import (
    Mixer as Mixer,
)
from .mixer import (
    Needs as Needs,
)
from .mixers.av import (
    AVMix as AVMix,
)
from .mixers.av import (
    AVPlan as AVPlan,
)
from .mixers.beat import BeatMix as BeatMix
from .mixers.between_class import (
    BetweenClass as BetweenClass,
)
from .mixers.between_class import (
    between_class_gains as between_class_gains,
)
from .mixers.caption import CaptionMix as CaptionMix
from .mixers.cutmix import (
    CutMix as CutMix,
)
from .mixers.cutmix import (
    SpanPlan as SpanPlan,
)
from .mixers.cutmix import (
    cutmix as cutmix,
)
from .mixers.latent_beat import LatentBeatMix as LatentBeatMix
from .mixers.mixup import (
    MixUp as MixUp,
)
from .mixers.mixup import (
    mixup as mixup,
)
from .mixers.mixup import (
    mixup_power as mixup_power,
)
from .mixers.snr_mix import (
    SNRMix as SNRMix,
)
from .mixers.snr_mix import (
    SNRPlan as SNRPlan,
)
from .mixers.speech_noise import SpeechNoise as SpeechNoise
from .mixers.stream import (
    StreamMix as StreamMix,
)
from .mixers.stream import (
    mix_streams as mix_streams,
)
from .pipeline import Pipeline as Pipeline
from .plan import (
    GainPlan as GainPlan,
)
from .plan import (
    Mixed as Mixed,
)
from .plan import (
    Part as Part,
)
from .plan import (
    Plan as Plan,
)
from .policy import (
    OneOf as OneOf,
)
from .policy import (
    OneOfPlan as OneOfPlan,
)
from .schedule import Schedule as Schedule
from .streams.align import (
    resample_frames as resample_frames,
)
from .streams.align import (
    stack_frames as stack_frames,
)
from .streams.curriculum import (
    PlateauCurriculum as PlateauCurriculum,
)
from .streams.curriculum import (
    UncertaintyCurriculum as UncertaintyCurriculum,
)
from .streams.curriculum import (
    make_curriculum as make_curriculum,
)
from .targets.correspondence import (
    correspondence as correspondence,
)
from .targets.correspondence import (
    mix_captions as mix_captions,
)
from .targets.pictures import mix_pictures as mix_pictures
from .transforms.modality_dropout import ModalityDropout as ModalityDropout
from .transforms.time_mask import AdaptiveTimeMask as AdaptiveTimeMask

__version__: str
