"""torchaudio is importable beside any build of torch: both paths, and unpickling in a spawned worker."""

import multiprocessing
import pickle
import subprocess
import sys

import pytest
import torch
from sounds import noise

from audiomix import torchaudio
from audiomix.torchaudio import transforms as T


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


FAILS = """
import sys, importlib.abc, types
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchaudio._extension":
            raise {error}("libc10_cuda.so: cannot open shared object file")
sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize("error", ["OSError", "RuntimeError"])
def test_where_the_extension_does_not_load_a_stand_in_takes_its_place(error):
    code = FAILS.format(error=error) + (
        "import torch\nfrom audiomix import torchaudio as ta\n"
        "x = ta.transforms.Resample(44100, 16000)(torch.ones(1, 44100))\n"
        "print(ta.EXTENSION, tuple(x.shape), hasattr(ta.functional, 'lfilter'))"
    )
    assert run(code) == "False (1, 16000) True"


def test_where_it_loads_it_is_left_alone():
    code = """
import sys, types
fine = types.ModuleType("torchaudio._extension")
for name in ("fail_if_no_align", "fail_if_no_rir"):
    setattr(fine, name, lambda f: f)
fine.lazy_import_sox_ext = fine._check_cuda_version = lambda *a: None
fine._IS_TORCHAUDIO_EXT_AVAILABLE = fine._IS_ALIGN_AVAILABLE = False
sys.modules["torchaudio._extension"] = fine
from audiomix import torchaudio as ta
print(ta.EXTENSION, sys.modules["torchaudio._extension"] is fine)
"""
    assert run(code) == "True True"


def test_other_errors_are_not_hidden():
    with pytest.raises(subprocess.CalledProcessError):
        run(FAILS.format(error="KeyError") + "import audiomix.torchaudio")


def test_transforms_work():
    wave = noise(2, 1, 16000)
    assert T.MelSpectrogram(16000, n_mels=40)(wave).shape == (2, 1, 40, 81)
    assert torchaudio.functional.lowpass_biquad(wave, 16000, 1000).abs().mean() < wave.abs().mean()


def test_a_transform_is_unpickled_in_a_spawned_worker():
    module = T.Resample(44100, 16000)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        got = pool.apply(_unpickled, (pickle.dumps(module),))
    assert got == pytest.approx(float(module(torch.ones(1, 4410)).sum()))


def _unpickled(data):
    return float(pickle.loads(data)(torch.ones(1, 4410)).sum())
