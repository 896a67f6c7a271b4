"""What mixed files really hold, recovered from their sound and held against the manifest and the captions."""
