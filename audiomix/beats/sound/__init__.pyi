"""A sound as trackers need it: one channel, where something begins, and the beats that fit that best."""

from . import bar_pointer as bar_pointer, channel as channel, onsets as onsets, spectrum as spectrum
from .channel import mono as mono, one_channel as one_channel
