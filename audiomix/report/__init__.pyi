"""Pages and pictures: what a person looks at and listens to."""

from . import (
    beat_figure as beat_figure,
    beat_scene as beat_scene,
    charts as charts,
    curriculum_figure as curriculum_figure,
    figures as figures,
    html as html,
    lanes as lanes,
    mix_figure as mix_figure,
    mix_scene as mix_scene,
    notebook as notebook,
    page as page,
    show as show,
)
