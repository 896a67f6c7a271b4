"""Semi-supervised training: one method on one fold with one seed, its measures, and predictions with the result."""
