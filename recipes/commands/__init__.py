"""The commands of ``audiomix-recipes``, one a file; `recipes.cli` joins them."""
