"""What lies on disk: the layouts of data sets, their tables, and the audio files in them."""
