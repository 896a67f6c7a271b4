"""Visual speech recognition trained with the sound's help: ``audiomix-recipes av FOLDER``."""
