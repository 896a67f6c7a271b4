"""Captions of mixed sounds: scenes and where their sounds stand, sentences that are true of them, and their reading."""
