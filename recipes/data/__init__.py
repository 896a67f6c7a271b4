"""From files to batches: one memory-mapped store, the split, the views of a clip, the loader."""
