"""One training loop, and what it needs: state, checkpoints, logs, evaluation, the settings of a run."""
