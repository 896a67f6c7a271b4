"""What mixed files really hold, recovered from their sound and held against the manifest and the captions."""

from . import (
    captions as captions,
    checks as checks,
    claims as claims,
    confirm as confirm,
    envelope as envelope,
    gains as gains,
    limits as limits,
    locate as locate,
    recover as recover,
    report as report,
    rows as rows,
    run as run,
)
