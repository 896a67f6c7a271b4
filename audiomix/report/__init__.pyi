"""Pages and pictures: what a person looks at and listens to."""

from . import (
    beat_figure as beat_figure,
    beat_scene as beat_scene,
    curriculum_figure as curriculum_figure,
    figures as figures,
    mix_figure as mix_figure,
    mix_scene as mix_scene,
    page as page,
)
