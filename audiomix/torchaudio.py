"""torchaudio's transforms and functionals, importable beside any build of torch.

torchaudio 2.11 (the last release on PyPI) loads an extension built for CUDA 13.0 when it is imported, so that beside a
CPU-only torch, or a torch built for another CUDA, ``import torchaudio`` raises OSError or RuntimeError. The transforms
and functionals are pure PyTorch and need none of it. Where the plain import fails, the half-imported submodules are
removed, a stand-in for ``torchaudio._extension`` ("no extension here") takes their place, and the import runs again.
`EXTENSION` says which of the two happened.

>>> from audiomix.torchaudio import transforms as T
>>> T.Resample(44100, 16000)
Resample()
"""

import copyreg
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

__all__ = ["EXTENSION", "functional", "transforms"]


def _absent(*_: Any, **__: Any) -> None:
    raise RuntimeError("this function of torchaudio needs its compiled extension, which does not fit this torch")


def _without_extension(_: Callable) -> Callable:
    return _absent


def _stand_in() -> types.ModuleType:
    """Return what torchaudio's own code asks of ``torchaudio._extension``, all of it answered with "absent"."""
    module = types.ModuleType("torchaudio._extension", "Stand-in made by audiomix.torchaudio: no compiled extension.")
    module.__dict__.update(
        fail_if_no_align=_without_extension,
        fail_if_no_rir=_without_extension,
        lazy_import_sox_ext=_absent,
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _IS_RIR_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        stands_in=True,
    )
    return module


def _import() -> bool:
    """Import torchaudio; return whether its own extension module is in place."""
    try:
        importlib.import_module("torchaudio")
    except (OSError, RuntimeError):
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _stand_in()
        importlib.import_module("torchaudio")
    return not hasattr(sys.modules["torchaudio._extension"], "stands_in")


def _rebuild(name: str) -> Any:
    kind = getattr(transforms, name)
    return kind.__new__(kind)


def _reduce(module: Any) -> tuple:
    return _rebuild, (type(module).__name__,), module.__dict__


EXTENSION = _import()

functional = importlib.import_module("torchaudio.functional")
transforms = importlib.import_module("torchaudio.transforms")

if not EXTENSION:
    # A spawned worker that unpickles a transform must come through this module: plain torchaudio fails there too.
    for _name in transforms.__all__:
        copyreg.pickle(getattr(transforms, _name), _reduce)
