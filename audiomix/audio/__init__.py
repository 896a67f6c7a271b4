"""Sound itself: files, levels, spectrograms, stretching, the kernel that adds sounds; only `blend` knows of plans."""
