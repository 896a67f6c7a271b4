"""Rows of an array on disk that are read when they are asked for, so that a data set of any size takes no memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["FileRows", "Rows", "Selected", "fits_in_memory"]

# Bytes of what a front end keeps that stay in the memory of a CPU; what is larger is read from disk row by row
IN_MEMORY = 2**30
_CPU = torch.device("cpu")


class Rows(Protocol):
    """What is kept of N clips: a Tensor (N, ...), or `FileRows`."""

    @property
    def device(self) -> torch.device:
        """Where rows come to."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the values."""

    @property
    def shape(self) -> torch.Size:
        """N, and the shape of a row."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice, /) -> Tensor: ...


class FileRows:
    """Rows of an array in a file, read by position: a mapped file would stay in memory page by page.

    Parameters
    ----------
    file : Path
        The file.
    offset : int
        Bytes before the first row.
    dtype : str
        NumPy's type, with the byte order.
    row : tuple of int
        Shape of a row.
    places : Tensor, shape (N,), int64
        Which rows of the file these are.
    device : torch.device
        Where they are brought to.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.f4"
    >>> _ = path.write_bytes(np.arange(6, dtype="<f4").tobytes())
    >>> FileRows(path, 0, "<f4", (2,), torch.tensor([2, 0]))[torch.tensor([0, 1, 0])]
    tensor([[4., 5.],
            [0., 1.],
            [4., 5.]])
    """

    def __init__(
        self,
        file: Path,
        offset: int,
        dtype: str,
        row: tuple[int, ...],
        places: Tensor,
        device: torch.device = _CPU,
    ) -> None:
        self.file, self.offset, self.row, self.places, self.device = file, offset, row, places, device
        self._dtype = np.dtype(dtype)
        self._bytes = self._dtype.itemsize * int(np.prod(row))
        self.dtype = torch.from_numpy(np.empty(0, self._dtype)).dtype

    @property
    def shape(self) -> torch.Size:
        """N, and the shape of a row."""
        return torch.Size([len(self.places), *self.row])

    def to(self, device: torch.device) -> "FileRows":
        """Return the same rows, which are brought to `device`."""
        return FileRows(self.file, self.offset, self._dtype.str, self.row, self.places, device)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Return rows, (B, ...): those at an int64 tensor (B,), in its order, or of a slice."""
        places = (self.places[index] if isinstance(index, slice) else self.places[index.cpu()]).tolist()
        values = np.empty((len(places), *self.row), self._dtype)
        with open(self.file, "rb") as file:
            for values_of_row, place in zip(values.reshape(len(places), -1), places):
                file.seek(self.offset + place * self._bytes)
                if file.readinto(values_of_row.data) != self._bytes:
                    raise OSError(f"{self.file} was cut while it was read: row {place} is not there")
        return torch.from_numpy(values).to(self.device)


class Selected:
    """Some of the rows of `kept`, those at `indices` (B,), a batch of them at a time."""

    def __init__(self, kept: Rows, indices: Tensor) -> None:
        self.kept, self.indices = kept, indices

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield `size` rows after another."""
        for part in self.indices.split(size):
            yield self.kept[part.to(self.kept.device)]


def fits_in_memory(size: int, device: torch.device) -> bool:
    """Return whether so many bytes are kept on `device`: up to 1 GiB on a CPU, up to half of a GPU's free memory."""
    if device.type == "cuda":
        return size <= torch.cuda.mem_get_info(device)[0] // 2
    return size <= IN_MEMORY
