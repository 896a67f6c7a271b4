"""How well two pieces go together, beat by beat: what is measured of each, and their likeness at every offset."""

from . import features as features, score as score
from .features import BeatFeatures as BeatFeatures, measure as measure
from .score import Mashability as Mashability, mashability as mashability
