"""Two streams of an utterance, and finding them again in a mix."""

import torch
from sounds import noise

MODES = ["linear", "replace", "span"]


def streams(batch=6, frames=50, width=7, sound_frames=None):
    return noise(batch, frames, width), noise(batch, sound_frames or frames, width, seed=2)


def least_squares(mixed, own, partner):
    sources = torch.stack([own.flatten(), partner.flatten()], 1).double()
    return torch.linalg.lstsq(sources, mixed.flatten().double()[:, None]).solution[:, 0]


def frames_of(mixed, picture, sound):
    """Which frames are the sound's, found by value; all others must be the picture's."""
    is_sound, is_picture = (mixed == sound).all(-1), (mixed == picture).all(-1)
    assert (is_sound ^ is_picture).all()
    return is_sound


def runs(mask):
    """Lengths of the runs of True in a row."""
    return [len(r) for r in "".join("x" if m else " " for m in mask.tolist()).split()]
