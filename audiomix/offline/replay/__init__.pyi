"""Mixes that were made once are made again: read an output, check it, replay its plans, publish them."""

from . import (
    compare as compare,
    output as output,
    plan_file as plan_file,
    publish as publish,
    render_plans as render_plans,
    replayer as replayer,
    search as search,
    verify as verify,
)
