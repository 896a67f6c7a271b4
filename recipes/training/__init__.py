"""One training loop for every recipe, and what it needs: settings, state, checkpoints, logs, the folder of a run."""
