"""What mixers need to know of each file, one file a kind of note: beats, captions."""
