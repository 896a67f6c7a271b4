"""Targets: ``(thing, plan) -> thing``. Labels, frame labels, captions and embeddings follow the plan of the sound."""
