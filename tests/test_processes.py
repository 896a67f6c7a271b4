"""Two other processes, which share nothing with this one but the code, draw and mix the same to the bit."""

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from laws import batch, call

from audiomix import OneOf, mixers, transforms
from audiomix.draw import generator_for
from audiomix.network import HiddenPatchMix


def examples():
    """Return the examples of all mixers and transforms, and of what mixes hidden states."""
    kinds = [room.get(name) for room in (mixers, transforms) for name in room.available()]
    return [example for kind in [*kinds, OneOf, HiddenPatchMix] for example in kind.examples()]


def digests(rank, sent, threads):
    """Return a digest of what a process of this rank mixes by each mixer that it was sent, and whether it draws."""
    torch.set_num_threads(threads)
    found = []
    for number, (example, mixer) in enumerate(zip(examples(), sent, strict=True)):
        torch.manual_seed(number)  # a step of a training has other random numbers behind it on every rank
        draws, text = generator_for(0, number, rank), b""
        before = draws.get_state()
        for _ in range(2):  # of few choices two ranks may draw the same ones once
            mixed = call(example, batch(example, 8), mixer=mixer, generator=draws)
            text += mixed.plans[0].to_json().encode() + mixed.x.contiguous().numpy().tobytes()
        drawn = not torch.equal(draws.get_state(), before)
        found.append((hashlib.blake2b(text, digest_size=8).hexdigest(), drawn))
    return found


@pytest.mark.slow
def test_two_processes_mix_as_one_does(monkeypatch):
    """A rank's draws depend on its generator alone, and are its own: not on hashes, caches or the order of calls."""
    sent, threads = [example.mixer for example in examples()], torch.get_num_threads()
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        both = [pool.submit(digests, rank, sent, threads) for rank in (0, 1)]
        names = [repr(mixer) for mixer in sent]
        here = [dict(zip(names, digests(rank, sent, threads))) for rank in (0, 1)]
        there = [dict(zip(names, ranks.result(timeout=300))) for ranks in both]
    assert there == here
    assert not {name for name, (digest, drawn) in here[0].items() if drawn and digest == here[1][name][0]}
