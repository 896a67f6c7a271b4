"""Captions of mixed sounds: the scene, where its sounds stand, and the sentence that is true of it."""
