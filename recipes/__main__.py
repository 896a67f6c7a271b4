"""``python -m recipes``."""

import sys

from .cli import main

sys.exit(main())
