"""Embeddings of clips as what a network sees: computed once for all clips, with views in their own domain."""

import os
import secrets
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from audiomix import check, draw, identity

from ..console import progress_bar
from ..training.config import Config
from ..training.run_folder import fail_damaged
from .encoders import encoder_digest, is_table, open_encoder, read_table
from .rows import Rows
from .store import Store
from .views import Views

__all__ = ["EmbeddingViews", "open_embeddings"]

_BATCH = 16  # clips that are encoded at once
# With it VAT's 2 dB are 0.14 of a standard deviation, the paper's change of CIFAR-10. (Spectrograms of ESC-10 at small
# have a deviation of 21 dB.)
_UNIT_DB = 14.0


class EmbeddingViews(Views):
    """Views of embeddings, normalised with one mean and one standard deviation of the training set.

    A view has Gaussian noise in units of each feature's own deviation, and features that are dropped: set to their own
    mean, each by itself (Srivastava et al., "Dropout", JMLR 2014, without its scaling: the network centres features).

    Parameters
    ----------
    config : Config
        Holds the encoder and the names of the views.
    rate : int
        Sample rate of the clips, in Hz.
    """

    # deviation of the noise, and share of the features that are dropped
    strengths: ClassVar[dict[str, tuple[float, float]]] = {
        "none": (0.0, 0.0),
        "weak": (0.1, 0.0),
        "mid": (0.25, 0.1),
        "full": (0.5, 0.3),
    }
    names = tuple(strengths)

    def __init__(self, config: Config, rate: int) -> None:
        self.check_names(config)
        self.embedding = str(config.embedding)
        self.mel = nn.Identity()  # type: ignore[assignment]  # the encoder is the front end
        self.centre, self.spread = torch.zeros(1), torch.ones(1)  # (D,) once fitted: of each feature, normalised

    @property
    def unit_db(self) -> float:
        """How many dB one unit of the network's input counts as: 14, as embeddings have no dB.

        So an option in dB is a share of their standard deviation, whatever the encoder's unit is.
        """
        return _UNIT_DB

    def load(self, store: Store, device: torch.device, *, quiet: bool = True) -> Rows:
        """Return the embeddings of all clips, (clips, D); on a CPU they stay in the memory-mapped file."""
        return torch.from_numpy(open_embeddings(self.embedding, store, quiet=quiet)).to(device)

    def fit(self, kept: Rows, train: Tensor) -> None:
        """Compute mean and standard deviation of the training clips, of all features and of each; see `Views.fit`."""
        x = kept[train.to(kept.device)]
        self.mean, self.std = x.mean().item(), max(x.std().item(), 1e-5)
        self.centre, self.spread = self.plain(x.mean(0)), x.std(0) / self.std

    def plain(self, kept: Tensor) -> Tensor:
        """Return the normalised embeddings (B, D); see `Views.plain`."""
        return (kept - self.mean) / self.std

    def __call__(
        self, kept: Tensor, name: str, *, generator: torch.Generator, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return a view of each embedding (B, D); `name` is none, weak, mid or full; see `Views.__call__`."""
        deviation, dropped = self.strengths[name]
        (rank, world), size = part, len(kept)
        shape, own = (size * world, kept.shape[1]), slice(rank * size, (rank + 1) * size)
        values = shape[0] * shape[1]
        noise = draw.normal(1.0, values, generator=generator).view(shape)[own].to(kept)
        left = draw.bernoulli(1 - dropped, values, generator=generator).view(shape)[own].to(kept)
        centre, spread = self.centre.to(kept), self.spread.to(kept)
        return torch.where(left > 0, self.plain(kept) + deviation * spread * noise, centre)


def open_embeddings(text: str, store: Store, *, quiet: bool = False) -> np.ndarray:
    """Return the embeddings of all clips of a store, float32 (N, D), memory-mapped; computed where they are not there.

    They lie beside the store, in a file named by the hash of encoder and clips.

    Parameters
    ----------
    text : str
        See `recipes.data.encoders.open_encoder`; or a file of embeddings.
    store : Store
        The clips.
    quiet : bool
        Show no progress.

    Raises
    ------
    ValueError
        See `open_encoder`, `Encoder` and `read_table`; or the file is damaged.
    """
    ids = [item.id for item in store.dataset.items]
    key = identity.digest([[encoder_digest(text), store.digest, store.rate, store.size, ids]], size=8)
    path = store.path.with_name(f"{store.path.name}-embedding-{key}.npy")
    if not path.is_file():
        x = read_table(text, ids) if is_table(text) else _encode(text, store, quiet)
        part = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}.npy")
        try:
            np.save(part, x)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return _map(path, len(ids))


def _encode(text: str, store: Store, quiet: bool) -> np.ndarray:
    encoder, found = open_encoder(text), []
    batches = torch.arange(len(store.dataset)).split(_BATCH)
    with progress_bar(quiet=quiet) as bar:
        for at in bar.track(batches, len(batches), description=f"encoding with {text}", unit="batches"):
            found.append(encoder(store.read(at).float() / 32768, store.rate).numpy())
    if len({x.shape[1] for x in found}) > 1:
        check.fail(f"what {text} returns", "embeddings of one size", f"{sorted({x.shape[1] for x in found})}")
    return np.concatenate(found)


def _map(path: Path, rows: int) -> np.ndarray:
    way, wanted = f"remove {path}: it is computed again", f"float32 embeddings of {rows} clips"
    try:
        x = np.load(path, mmap_mode="c")
    except (ValueError, EOFError) as error:
        fail_damaged(path, wanted, f"something else ({error})", way)
    if x.ndim != 2 or len(x) != rows or x.dtype != np.float32:
        fail_damaged(path, wanted, f"{x.dtype} of shape {x.shape}", way)
    return x
