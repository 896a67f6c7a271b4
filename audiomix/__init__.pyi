"""Public names, and where each is: read by type checkers, and by ``__init__.py`` when a name is first used."""

from . import (
    arguments as arguments,
    audio as audio,
    audit as audit,
    axes as axes,
    beats as beats,
    captions as captions,
    catalogue as catalogue,
    cells as cells,
    check as check,
    clips as clips,
    corpora as corpora,
    datasets as datasets,
    display as display,
    draw as draw,
    graphs as graphs,
    identity as identity,
    inference as inference,
    interrupts as interrupts,
    items as items,
    loader as loader,
    losses as losses,
    measures as measures,
    memory as memory,
    mixed as mixed,
    mixer as mixer,
    mixers as mixers,
    needs as needs,
    network as network,
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
    plan_json as plan_json,
    plan_sources as plan_sources,
    policy as policy,
    registry as registry,
    report as report,
    resize as resize,
    roll as roll,
    schedule as schedule,
    stopwatch as stopwatch,
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
from .beats.track import track_beats as track_beats
from .clips import Clips as Clips, Notes as Notes
from .corpora import Aioli as Aioli, CorpusSampler as CorpusSampler
from .loader import Collate as Collate, Indexed as Indexed, MixedDict as MixedDict
from .losses.fine_grained import fine_grained_loss as fine_grained_loss, region_means as region_means
from .losses.mix_consistency import mix_consistency as mix_consistency
from .losses.mix_contrast import mix_contrast as mix_contrast
from .losses.streams import StreamLoss as StreamLoss, symmetric_kl as symmetric_kl
from .mixed import Mixed as Mixed, Plans as Plans
from .mixer import Example as Example, Mixer as Mixer
from .mixers.align_mix import AlignMix as AlignMix, AlignPlan as AlignPlan, alignmix as alignmix, sinkhorn as sinkhorn
from .mixers.attentive_mix import AttentiveMix as AttentiveMix
from .mixers.av import AVMix as AVMix, AVPlan as AVPlan
from .mixers.beat import BeatMix as BeatMix
from .mixers.between_class import BetweenClass as BetweenClass, between_class_gains as between_class_gains
from .mixers.byol_mix import BYOLMix as BYOLMix, MemoryBank as MemoryBank
from .mixers.caption import CaptionMix as CaptionMix
from .mixers.cutmix import CutMix as CutMix, SpanPlan as SpanPlan, cutmix as cutmix
from .mixers.fmix import FMix as FMix, cut_field as cut_field, draw_field as draw_field
from .mixers.freq_mix_style import FreqMixStyle as FreqMixStyle, freq_mix_style as freq_mix_style
from .mixers.geodesic_mix import GeodesicMix as GeodesicMix, geodesic as geodesic, geodesic_mix as geodesic_mix
from .mixers.grid_mix import GridMix as GridMix
from .mixers.latent_beat import LatentBeatMix as LatentBeatMix
from .mixers.mask_mix import MaskMix as MaskMix
from .mixers.max_mix import MaxMix as MaxMix, MaxPlan as MaxPlan, max_mix as max_mix
from .mixers.mix_style import MixStyle as MixStyle, StylePlan as StylePlan, mix_style as mix_style
from .mixers.mixup import MixUp as MixUp, mixup as mixup, mixup_power as mixup_power
from .mixers.patch_mix import PatchMix as PatchMix
from .mixers.puzzle_mix import PuzzleMix as PuzzleMix
from .mixers.resize_mix import ResizeMix as ResizeMix, ResizePlan as ResizePlan, resize_mix as resize_mix
from .mixers.saliency_mix import SaliencyMix as SaliencyMix, SaliencyPlan as SaliencyPlan
from .mixers.self_mix import (
    SelfMix as SelfMix,
    SelfPlan as SelfPlan,
    calibrate_windows as calibrate_windows,
    self_mix as self_mix,
)
from .mixers.sm_mix import SMMix as SMMix
from .mixers.smooth_mix import SmoothMix as SmoothMix, draw_window as draw_window
from .mixers.snr_mix import SNRMix as SNRMix, SNRPlan as SNRPlan
from .mixers.speaker_mix import (
    SpeakerMix as SpeakerMix,
    SpeakerPlan as SpeakerPlan,
    TurnHistograms as TurnHistograms,
)
from .mixers.spec_mix import SpecMix as SpecMix
from .mixers.speech_noise import SpeechNoise as SpeechNoise
from .mixers.stem_remix import (
    MixedStems as MixedStems,
    StemPlan as StemPlan,
    StemRemix as StemRemix,
    remix_stems as remix_stems,
)
from .mixers.stream import StreamMix as StreamMix, mix_streams as mix_streams
from .needs import Needs as Needs
from .network.hidden import HiddenMix as HiddenMix, manifold_mixup as manifold_mixup
from .network.layer import MixLayer as MixLayer
from .network.patch_mix import HiddenPatchMix as HiddenPatchMix
from .noise import NoiseFolder as NoiseFolder, Piece as Piece
from .offline.on_the_fly.dataset import MixedDataset as MixedDataset
from .offline.on_the_fly.iterable import IterableMixedDataset as IterableMixedDataset
from .offline.on_the_fly.order import MixedSampler as MixedSampler
from .part import Part as Part
from .pipeline import Pipeline as Pipeline
from .plan import GainPlan as GainPlan, Plan as Plan
from .plan_sources import PlacedPlan as PlacedPlan, SourcesPlan as SourcesPlan
from .policy import OneOf as OneOf, OneOfPlan as OneOfPlan, mix_repeat as mix_repeat
from .schedule import Schedule as Schedule
from .streams.align import resample_frames as resample_frames, stack_frames as stack_frames
from .streams.curriculum import (
    PlateauCurriculum as PlateauCurriculum,
    UncertaintyCurriculum as UncertaintyCurriculum,
    make_curriculum as make_curriculum,
)
from .targets.activity import frame_activity as frame_activity
from .targets.attention import class_attention as class_attention, mixpro as mixpro, transmix as transmix
from .targets.correspondence import correspondence as correspondence, mix_captions as mix_captions
from .targets.pictures import mix_pictures as mix_pictures
from .targets.rttm import Turn as Turn, read_rttm as read_rttm, write_rttm as write_rttm
from .transform import Transform as Transform, TransformPlan as TransformPlan
from .transforms.filter_augment import (
    FilterAugment as FilterAugment,
    FilterPlan as FilterPlan,
    filter_augment as filter_augment,
)
from .transforms.modality_dropout import ModalityDropout as ModalityDropout
from .transforms.operations import Operation as Operation
from .transforms.rand_augment import OperationsPlan as OperationsPlan, RandAugment as RandAugment
from .transforms.random_field import FieldPlan as FieldPlan, RandomField as RandomField, random_field as random_field
from .transforms.room import Room as Room, RoomPlan as RoomPlan
from .transforms.spec_augment import (
    SpecAugment as SpecAugment,
    StripePlan as StripePlan,
    spec_augment as spec_augment,
)
from .transforms.time_mask import AdaptiveTimeMask as AdaptiveTimeMask
from .transforms.time_shift import ShiftPlan as ShiftPlan, TimeShift as TimeShift, time_shift as time_shift
from .transforms.trivial_augment import TrivialAugment as TrivialAugment

__version__: str
