"""Other libraries, where they are installed: the pages of assets/docs and tests/bench compare with them."""

import importlib
import types

import torch

# Import names by the name that pip knows
MODULES = {
    "torchvision": "torchvision",
    "timm": "timm",
    "kornia": "kornia",
    "torch-audiomentations": "torch_audiomentations",
    "audiomentations": "audiomentations",
    "lhotse": "lhotse",
    "Scaper": "scaper",
    "SpeechBrain": "speechbrain",
}


def import_peer(name: str) -> types.ModuleType | str:
    """Return the library, or why it cannot be imported.

    The wheels of torchvision and torchaudio on PyPI are built for CUDA. Beside a CPU-only torch their operators are
    missing and the import fails, though mixing needs none of them: torchaudio comes through `audiomix.torchaudio`, and
    the meta functions that torchvision registers for its operators are left out.
    """
    import numpy as np

    import audiomix.torchaudio  # noqa: F401

    if name == "Scaper":
        vars(np).setdefault("Inf", np.inf)  # its name before NumPy 2, which Scaper 1.6.5 uses
    real, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
    try:
        return importlib.import_module(MODULES[name])
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"{name}: {error}"
    finally:
        torch.library.register_fake = real
