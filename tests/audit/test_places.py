"""Where the plan says that sources lie is tried first, and taken only where the sound shows that they do."""

import numpy as np
import pytest
import torch
from made import Foreign, audited, coloured, mix, write

from audiomix import CutMix, MixUp, SNRMix
from audiomix.audio import io
from audiomix.audit import recover as module
from audiomix.audit.claims import Claims
from audiomix.audit.envelope import _edges, _lines
from audiomix.audit.locate import place_source
from audiomix.audit.recover import recover

RATE = 16000


def quantised(mixed):
    return io.quantise(mixed).float() / 32768


def numbers(value):
    """All numbers and texts of a tree, in order."""
    if isinstance(value, dict):
        return [one for key in value for one in numbers(value[key])]
    return [one for item in value for one in numbers(item)] if isinstance(value, (list, tuple)) else [value]


def same(a, b):
    """Whether two trees have the same texts, and the same numbers up to the order of sums."""
    a, b = numbers(a), numbers(b)
    return len(a) == len(b) and all(
        x == pytest.approx(y, rel=1e-6, abs=1e-9) if isinstance(x, float) else x == y for x, y in zip(a, b)
    )


@pytest.fixture
def searched(monkeypatch):
    """The number of searches in all of a mix, as a list of what they were called with."""
    calls, plain = [], module.align
    monkeypatch.setattr(module, "align", lambda *args, **ways: (calls.append(ways), plain(*args, **ways))[1])
    return calls


def test_right_places_need_no_search_and_give_the_same(searched):
    clips = [coloured(k, 1.0, 500 * k, 3000 + 1000 * k) for k in range(3)]
    offsets, gains = [-3000, 4001, 20000], [0.5, -0.2, 0.05]
    mixed = quantised(sum(g * place_source(c, at, 32000) for c, at, g in zip(clips, offsets, gains)))
    got = recover(mixed, clips, RATE, places=offsets)
    assert searched == []
    assert [one.offset for one in got.found] == offsets
    assert [one.inverted for one in got.found] == [False, True, False]
    for one, gain in zip(got.found, gains):
        assert 10 ** (one.gain_db / 20) == pytest.approx(abs(gain), rel=1e-3)
    assert same(got.plain(), recover(mixed, clips, RATE).plain())


@pytest.mark.parametrize("error", [1, -1, 160, 9000])
@pytest.mark.parametrize("low", [40, 2000])
def test_a_wrong_place_is_not_taken(error, low, searched):
    """Of a sound of 40 to 200 Hz a sample more or less leaves -30 dB: more than rounding."""
    a, b = coloured(1, 2.0, low, 5 * low), coloured(2, 1.0, 1000, 4000)
    mixed = quantised(a + 0.5 * place_source(b, 9000, 32000))
    for places in ([error, 9000], [0, 9000 + error]):
        got = recover(mixed, [a, b], RATE, places=places)
        assert searched
        assert [one.offset for one in got.found] == [0, 9000]
        searched.clear()


def test_what_no_source_explains_is_looked_for(searched):
    a, b, c = coloured(1), coloured(2, 1.0), coloured(3, 1.0)
    mixed = quantised(a + 0.5 * place_source(b, 9000, 32000) + 0.01 * place_source(c, 500, 32000))
    got = recover(mixed, [a, b], RATE, places=[0, 9000])
    assert searched
    assert -50 < got.residual_db < -30
    searched.clear()
    recover(mixed, [a, b, c], RATE, places=[0, 9000, 500])
    assert searched == []


def test_equal_sounds_are_looked_for(searched):
    """Only the sum of their gains is known, wherever they are said to lie."""
    a = coloured(1)
    got = recover(quantised(a), [a, a.clone()], RATE, places=[0, 0])
    assert searched
    assert got.alike


def planted(made):
    """Real sounds with one thing wrong each: 0.5 dB, 10 ms, another file, the other order."""
    a, b = made.a, made.b
    plain = {"gain_db": [0.0, -6.0], "offset_s": [0.0, 1.0]}
    half, late, size = 10 ** (-6 / 20), RATE, a.shape[-1]
    made.add("right", a + half * place_source(b, late, size), "ab", **plain)
    made.add("louder", a + half * 10 ** (0.5 / 20) * place_source(b, late, size), "ab", **plain)
    made.add("later", a + half * place_source(b, late + RATE // 100, size), "ab", **plain)
    made.add("other", a + half * place_source(b, late, size), "ac", **plain)
    made.add("order", a + half * place_source(b, late, size), "ba", **plain)
    return ["louder", "later", "other", "order"]


def test_planted_faults_are_found_as_by_a_search(esc10, tmp_path, monkeypatch, searched):
    made = Foreign(tmp_path)
    for name, file in zip("abc", sorted((esc10 / "audio").iterdir())[5::97]):
        setattr(made, name, made.source(name, 0.4 * io.read(str(file), rate=RATE).samples[:1, : 4 * RATE]))
    wrong = planted(made)
    report = made.audit()
    assert len([one for one in searched if not one]) == 3  # "louder" lies where it should
    assert sorted(item.file for item in report.wrong) == sorted(f"{name}.wav" for name in wrong)
    monkeypatch.setattr(Claims, "places", None)
    assert same([vars(item) for item in report.items], [vars(item) for item in made.audit().items])


@pytest.mark.parametrize(
    "mixer", [MixUp(1.0), SNRMix((-5, 15), level="active"), CutMix(offset="free", fade=0.005, rate=RATE)], ids=str
)
def test_reports_are_those_of_a_search(mixer, tmp_path, monkeypatch):
    for i in range(6):
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=0.4 + 0.15 * i)
    mix(tmp_path / "in", tmp_path / "out", mixer)
    found = audited(tmp_path / "out")
    assert not found.wrong
    monkeypatch.setattr(Claims, "places", None)
    assert same([vars(item) for item in found.items], [vars(item) for item in audited(tmp_path / "out").items])


def test_places_are_as_many_as_sources():
    with pytest.raises(ValueError, match="places must be 2, one for each source"):
        recover(torch.zeros(1, 100), [torch.zeros(1, 50)] * 2, RATE, places=[0])


def test_lines_go_from_centre_to_centre():
    gains = torch.tensor([0.0, 1.0, 1.0, -0.5, 0.0]).double()
    for window, size in ((4, 20), (5, 23), (320, 1500)):
        centres = (np.arange(5) + 0.5) * window - 0.5
        expected = np.interp(np.arange(size), centres, gains.numpy())
        np.testing.assert_allclose(_lines(gains, size, window).numpy(), expected, atol=1e-12)


def test_edges_join_off_and_on_over_at_most_one_window_that_moves():
    """0 is off, 1 on, 2 moving, 3 unknown."""
    state = torch.tensor([0, 1, 2, 0, 0, 3, 1, 0, 2, 2, 1, 2, 1, 0])
    assert _edges(state) == [(0, 1), (1, 3), (6, 7), (12, 13)]
    assert _edges(torch.tensor([1])) == []
