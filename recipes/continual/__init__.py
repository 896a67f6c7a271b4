"""Classes that come task by task, with a small memory of the earlier ones: ``audiomix-recipes continual``."""
