"""Outputs of `audiomix augment` in the forms of other libraries: one form a file."""

from . import (
    cells as cells,
    events as events,
    export as export,
    hf as hf,
    jams as jams,
    lhotse as lhotse,
    nemo as nemo,
    parquet as parquet,
    webdataset as webdataset,
)
