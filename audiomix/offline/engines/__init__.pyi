"""Where the tasks of a run are done: in processes of this machine, or on a Ray cluster. What comes out is the same."""

from . import (
    cluster as cluster,
    connect as connect,
    engine as engine,
    node as node,
)
