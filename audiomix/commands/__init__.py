"""The commands of ``audiomix``, one a file; `audiomix.cli` joins them."""
