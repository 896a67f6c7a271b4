"""``metadata.parquet`` beside the sounds: an audiofolder whose table is Parquet, for pandas, DuckDB or `datasets`.

Columns have one type each; what differs from row to row (`label`, `sources`) is JSON.
"""

from itertools import islice

from ..replay.plan_file import parquet as pyarrow_parquet
from .cells import cells_of, find_types, schema_of
from .export import Export, link_audio

__all__ = ["write"]

_BATCH = 1024


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    parquet = pyarrow_parquet()
    import pyarrow

    types = find_types(job.rows())
    schema = schema_of(pyarrow, types)
    rows = job.rows()
    with parquet.ParquetWriter(job.folder / "metadata.parquet", schema, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            for row in batch:
                link_audio(job, row)
            writer.write_table(pyarrow.Table.from_pylist([cells_of(row, types) for row in batch], schema))
    return []
