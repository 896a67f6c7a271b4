"""Public names, and where each is: read by type checkers, and by ``__init__.py`` when a name is first used."""

from . import (
    arguments as arguments,
    audio as audio,
    audit as audit,
    axes as axes,
    beats as beats,
    captions as captions,
    cells as cells,
    check as check,
    clips as clips,
    datasets as datasets,
    draw as draw,
    graphs as graphs,
    identity as identity,
    interrupts as interrupts,
    items as items,
    loader as loader,
    losses as losses,
    mixed as mixed,
    mixer as mixer,
    mixers as mixers,
    needs as needs,
    noise as noise,
    numba_cache as numba_cache,
    offline as offline,
    options as options,
    pairing as pairing,
    part as part,
    partners as partners,
    parts as parts,
    pipeline as pipeline,
    plan as plan,
    plan_sources as plan_sources,
    policy as policy,
    registry as registry,
    report as report,
    roll as roll,
    schedule as schedule,
    streams as streams,
    targets as targets,
    terminal as terminal,
    torchaudio as torchaudio,
    transform as transform,
    transforms as transforms,
)
from .audio.features import LogMel as LogMel
from .audio.reverb import reverberate as reverberate
from .beats.grid import BeatGrid as BeatGrid
from .clips import Clips as Clips, Notes as Notes
from .loader import Collate as Collate, Indexed as Indexed, MixedDict as MixedDict
from .losses.streams import StreamLoss as StreamLoss, symmetric_kl as symmetric_kl
from .mixed import Mixed as Mixed, Plans as Plans
from .mixer import Example as Example, Mixer as Mixer
from .mixers.align_mix import AlignMix as AlignMix, AlignPlan as AlignPlan, alignmix as alignmix, sinkhorn as sinkhorn
from .mixers.attentive_mix import AttentiveMix as AttentiveMix
from .mixers.av import AVMix as AVMix, AVPlan as AVPlan
from .mixers.beat import BeatMix as BeatMix
from .mixers.between_class import BetweenClass as BetweenClass, between_class_gains as between_class_gains
from .mixers.caption import CaptionMix as CaptionMix
from .mixers.cutmix import CutMix as CutMix, SpanPlan as SpanPlan, cutmix as cutmix
from .mixers.fmix import FMix as FMix, cut_field as cut_field, draw_field as draw_field
from .mixers.grid_mix import GridMix as GridMix
from .mixers.latent_beat import LatentBeatMix as LatentBeatMix
from .mixers.mask_mix import MaskMix as MaskMix
from .mixers.mixup import MixUp as MixUp, mixup as mixup, mixup_power as mixup_power
from .mixers.patch_mix import PatchMix as PatchMix
from .mixers.puzzle_mix import PuzzleMix as PuzzleMix
from .mixers.saliency_mix import SaliencyMix as SaliencyMix, SaliencyPlan as SaliencyPlan
from .mixers.smooth_mix import SmoothMix as SmoothMix, draw_window as draw_window
from .mixers.snr_mix import SNRMix as SNRMix, SNRPlan as SNRPlan
from .mixers.spec_mix import SpecMix as SpecMix
from .mixers.speech_noise import SpeechNoise as SpeechNoise
from .mixers.stream import StreamMix as StreamMix, mix_streams as mix_streams
from .needs import Needs as Needs
from .noise import NoiseFolder as NoiseFolder, Piece as Piece
from .part import Part as Part
from .pipeline import Pipeline as Pipeline
from .plan import GainPlan as GainPlan, Plan as Plan
from .plan_sources import SourcesPlan as SourcesPlan
from .policy import OneOf as OneOf, OneOfPlan as OneOfPlan
from .schedule import Schedule as Schedule
from .streams.align import resample_frames as resample_frames, stack_frames as stack_frames
from .streams.curriculum import (
    PlateauCurriculum as PlateauCurriculum,
    UncertaintyCurriculum as UncertaintyCurriculum,
    make_curriculum as make_curriculum,
)
from .targets.correspondence import correspondence as correspondence, mix_captions as mix_captions
from .targets.pictures import mix_pictures as mix_pictures
from .transform import Transform as Transform, TransformPlan as TransformPlan
from .transforms.filter_augment import (
    FilterAugment as FilterAugment,
    FilterPlan as FilterPlan,
    filter_augment as filter_augment,
)
from .transforms.modality_dropout import ModalityDropout as ModalityDropout
from .transforms.room import Room as Room, RoomPlan as RoomPlan
from .transforms.spec_augment import (
    SpecAugment as SpecAugment,
    StripePlan as StripePlan,
    spec_augment as spec_augment,
)
from .transforms.time_mask import AdaptiveTimeMask as AdaptiveTimeMask
from .transforms.time_shift import ShiftPlan as ShiftPlan, TimeShift as TimeShift, time_shift as time_shift

__version__: str
