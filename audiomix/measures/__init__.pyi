"""What is measured of predictions and of features, one family a file."""

from . import (
    calibration as calibration,
    forgetting as forgetting,
    geometry as geometry,
    intrusion as intrusion,
    neural_collapse as neural_collapse,
    temperature as temperature,
)
