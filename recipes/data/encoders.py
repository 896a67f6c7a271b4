"""Encoders that somebody else trained, and what they make of clips: an embedding (D,) of each.

An encoder is named by ``--embedding``: an ONNX file, a callable ``package.module:name`` or ``file.py:name``, or a file
of embeddings that were computed elsewhere (``.npz`` or ``.npy``). It is identified by its bytes, so a run cannot go on,
or predict, with another one of the same name.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiomix import check, draw, identity
from audiomix.registry import explain_errors, is_path, load

__all__ = ["Encoder", "embedding_size", "encoder_digest", "is_table", "open_encoder", "read_table"]

_TABLES = (".npy", ".npz")
_EXPECTED = "FILE.onnx, package.module:callable, FILE.npz or FILE.npy"


@dataclass(frozen=True, eq=False)
class Encoder:
    """What makes an embedding of a clip."""

    name: str  # as it was named
    rate: int | None  # sample rate in Hz that it wants; None where it does not say
    encode: Callable[[Tensor, int], Any]  # waves (B, T), float32, and their rate in Hz to embeddings (B, D)

    def __call__(self, waves: Tensor, rate: int) -> Tensor:
        """Return the embeddings, float32 (B, D), of clips.

        Parameters
        ----------
        waves : Tensor, shape (B, T), float32
            Mono clips, full scale 1.
        rate : int
            Their sample rate in Hz.

        Raises
        ------
        ValueError
            The encoder fails, wants another rate, or returns something else than a finite (B, D).
        """
        if self.rate is not None and rate != self.rate:
            check.fail("rate", f"{self.rate}, which {self.name} wants", rate, f"--rate {self.rate}")
        expected = f"an encoder of waves {tuple(waves.shape)}, float32, at {rate} Hz"
        with explain_errors("embedding", expected, self.name, self.name), torch.no_grad():
            found = torch.as_tensor(self.encode(waves, rate))
        if found.ndim != 2 or len(found) != len(waves):
            check.fail(f"what {self.name} returns", f"embeddings ({len(waves)}, D)", f"shape {tuple(found.shape)}")
        return check.finite(f"what {self.name} returns", found.float().cpu())


def is_table(text: str) -> bool:
    """Return whether a name is that of a file of embeddings, which cannot encode new clips.

    >>> is_table("features.npz"), is_table("encoder.onnx")
    (True, False)
    """
    return Path(text).suffix in _TABLES


def open_encoder(text: str) -> Encoder:
    """Return the encoder that a name means.

    Parameters
    ----------
    text : str
        An ONNX file with one input, waves (B, T) in float32, whose first output is (B, D); it may tell its rate in Hz
        as the property ``rate``, or as JSON with ``rate`` in the property ``audiomix``. Or a callable: it is called
        with waves (B, T), a Tensor, and their rate, and returns a Tensor or an array (B, D); its attribute ``rate``, if
        it has one, is the rate that it wants.

    Raises
    ------
    ValueError
        No such file, a callable that cannot be imported or is refused (see `audiomix.registry.refuse_paths`), or a file
        of embeddings.
    """
    if Path(text).suffix == ".onnx":
        return _open_onnx(text)
    if is_table(text):
        slip = "it has those of the data set alone; an ONNX file or a callable encodes any clip"
        check.fail("embedding", "an encoder", text, slip)
    if not is_path(text):
        check.fail("embedding", _EXPECTED, repr(text))
    found = load(text, "embedding")
    rate = getattr(found, "rate", None)
    return Encoder(text, None if rate is None else check.rate(f"rate of {text}", rate), found)


def _open_onnx(text: str) -> Encoder:
    path = _file(text)
    try:
        import onnxruntime
    except ImportError:
        check.fail("embedding", "a callable here, without onnxruntime", text, "pip install onnxruntime")
    with explain_errors("embedding", "an ONNX file", text, text):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if len(inputs := session.get_inputs()) != 1:
        names = ", ".join(one.name for one in inputs)
        check.fail("embedding", "a network with one input: waves (B, T)", f"{text} with {len(inputs)}: {names}")
    known = session.get_modelmeta().custom_metadata_map
    rate = json.loads(known["audiomix"]).get("rate") if "audiomix" in known else known.get("rate")

    def encode(waves: Tensor, _: int) -> Any:
        return session.run(None, {inputs[0].name: waves.numpy()})[0]

    return Encoder(text, None if rate is None else check.rate(f"rate of {text}", int(rate)), encode)


def encoder_digest(text: str) -> str:
    """Return the hash of what decides the embeddings: of the ONNX file, of the callable's source file, or of the table.

    What the callable reads or imports is not in it.

    Parameters
    ----------
    text : str
        See `open_encoder`; or a file of embeddings.
    """
    if is_table(text) or Path(text).suffix == ".onnx":
        path, ids = _file(text), _ids_file(text)
        return identity.digest([_hash(part) for part in (path, ids) if part.is_file()], size=8)
    found = load(text, "embedding")
    source = inspect.getsourcefile(found if inspect.isroutine(found) or inspect.isclass(found) else type(found))
    return identity.digest([text.rpartition(":")[2], _hash(Path(source)) if source else ""], size=8)


def read_table(text: str, ids: Sequence[str]) -> np.ndarray:
    """Return the embeddings of clips, float32 (N, D), from a file that names the clip of each row.

    Parameters
    ----------
    text : str
        An ``.npz`` file with the arrays ``ids`` (M,) and ``x`` (M, D), or an ``.npy`` file (M, D) with its ids in a
        file beside it, one a line: ``features.ids.txt`` for ``features.npy``. Rows are in any order; other clips may
        be there.
    ids : sequence of str
        Ids of the N clips, as the data set has them.

    Raises
    ------
    ValueError
        A file is missing or damaged, an id stands twice or is missing, or a value is not finite. Without ids rows in
        another order would go unnoticed, so there is no reading by order alone.
    """
    path = _file(text)
    with explain_errors("embedding", "a NumPy file", text, text):
        loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        if missing := [name for name in ("ids", "x") if name not in loaded]:
            got = f"{text} without {' and '.join(missing)}"
            check.fail("embedding", "an .npz file with ids (M,) and x (M, D)", got)
        names, x = [str(name) for name in loaded["ids"]], loaded["x"]
    else:
        if not (beside := _ids_file(text)).is_file():
            slip = f"the ids of its rows, one a line, such as {ids[0]}; rows in a wrong order would go unnoticed"
            check.fail("embedding", f"a file with {beside} beside it", text, slip)
        names, x = beside.read_text(encoding="utf-8").splitlines(), loaded
    if x.ndim != 2 or len(x) != len(names):
        check.fail("embedding", f"({len(names)}, D), a row for each id", f"{text} of shape {x.shape}")
    where = {name: i for i, name in enumerate(names)}
    if len(where) != len(names):
        twice = next(name for i, name in enumerate(names) if where[name] != i)
        check.fail("embedding", "one that names each clip once", f"{text} with {twice} twice")
    if missing := [name for name in ids if name not in where]:
        slip, got = f"its ids look like {names[0]}", f"{text} without {len(missing)}, e.g. {missing[0]}"
        check.fail("embedding", f"one of all {len(ids)} clips", got, slip)
    rows = np.asarray(x[[where[name] for name in ids]], np.float32)
    check.finite(f"embedding: {text}", torch.from_numpy(rows))
    return rows


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def embedding_size(text: str, samples: int, rate: int) -> int:
    """Return D, the size of an embedding: of a table, or of what an encoder makes of noise.

    Parameters
    ----------
    text : str
        See `open_encoder`; or a file of embeddings.
    samples, rate : int
        Length in samples and sample rate in Hz of a clip.
    """
    if is_table(text):
        loaded = np.load(_file(text), allow_pickle=False)
        return int((loaded["x"] if Path(text).suffix == ".npz" else loaded).shape[1])
    noise = draw.uniform(-0.1, 0.1, samples, generator=draw.generator_for(0, "embedding")).float()
    return open_encoder(text)(noise[None], rate).shape[1]


def _ids_file(text: str) -> Path:
    return Path(text).expanduser().with_suffix(".ids.txt")


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    return path if path.is_file() else check.fail("embedding", _EXPECTED, text, "there is no such file")
