import math

import pytest

from audiomix import MixUp, Schedule


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.4", {0: 0.4, 1: 0.4}),
        ("constant:2", {0.5: 2}),
        ("linear:0:1", {0: 0, 0.25: 0.25, 1: 1}),
        ("linear:1:0:0.5", {0: 1, 0.25: 0.5, 0.5: 0, 1: 0}),
        ("cosine:0.1:1", {0: 0.1, 0.5: 0.55, 1: 1}),
        ("exp_ramp:0.01:1", {0: 0.01, 0.5: 0.1, 1: 1}),
        ("exp_approach:0:1", {0: 0, 0.5: 0.9241418199787566, 1: 1}),  # (1 - e^-2.5) / (1 - e^-5)
        ("exp_approach:1:0.2:0.5", {0: 1, 0.25: 0.26068654401699475, 0.5: 0.2, 0.8: 0.2}),
        ("sigmoid_ramp:0:1", {0: math.exp(-5), 0.5: math.exp(-1.25), 1: 1}),
        ("sigmoid_ramp:0:2:0.4", {0.2: 2 * math.exp(-1.25), 0.4: 2, 0.9: 2}),
        ("steps:1:0.5@0.3:0@0.6", {0: 1, 0.29: 1, 0.3: 0.5, 0.6: 0, 1: 0}),
        ("stop_after:0.75", {0: 1, 0.74: 1, 0.75: 0, 1: 0}),
        ("stop_after:0.5:0.4", {0: 0.4, 0.5: 0}),
        ("tanh_rise:0.01:1:0.2", {0: 0.01, 0.2: 0.7715941559557649, 0.9: 1, 1: 1}),  # min(tanh(epoch / 40) + 0.01, 1)
        ("tanh_rise:0:0.5:0.1", {0: 0, 0.1: 0.38079707797788246}),
        ("alternate:1:0:4", {0: 1, 0.24: 1, 0.25: 0, 0.49: 0, 0.5: 1, 0.75: 0, 1: 0}),
        ("alternate:0.8:0.2:6:2:1", {0: 0.8, 0.3: 0.8, 0.34: 0.2, 0.5: 0.8, 0.7: 0.8, 0.84: 0.2, 1: 0.2}),
    ],
)
def test_known_values(text, values):
    schedule = Schedule.of(text)
    for t, value in values.items():
        assert schedule(t) == pytest.approx(value, abs=1e-12)
    assert Schedule.of(str(schedule)) == schedule


@pytest.mark.parametrize(
    "text",
    [
        "liner:0:1",
        "linear:0",
        "linear:a:1",
        "linear:0:1:2",
        "exp_ramp:0:1",
        "exp_approach:0:1:0",
        "steps:1:2",
        "steps:1:0@30",
        "stop_after:7",
        "tanh_rise:1:0.5:0.2",
        "tanh_rise:0:1:0",
        "tanh_rise:0:1",
        "alternate:1:0",
        "alternate:1:0:0",
        "alternate:1:0:2.5",
        "alternate:1:0:4:1",
        "alternate:1:0:4:1:0",
        "nan",
        "",
    ],
)
def test_bad_forms_are_refused_by_name(text):
    with pytest.raises(ValueError, match="alpha"):
        Schedule.of(text, "alpha")


def test_progress_is_a_fraction():
    with pytest.raises(ValueError, match="not a step or an epoch"):
        Schedule.of("linear:0:1")(40)


def test_a_schedule_stands_wherever_a_number_does():
    assert MixUp("linear:0:1").alpha(0.5) == 0.5
    with pytest.raises(ValueError, match="alpha must be a number in"):
        MixUp("linear:-1:1")
    with pytest.raises(ValueError, match="p must be a number in"):
        MixUp(p="linear:0:2")


def test_the_string_form_reads_back_as_the_same_numbers():
    for text in ("linear:0:0.123456789", "steps:0.1:0.30000000000000004@0.3333333333333333", "1e-12"):
        assert Schedule.of(str(Schedule.of(text))) == Schedule.of(text)


def test_the_two_exponentials_bend_opposite_ways():
    """A share that rises: exp_ramp spends the first half below a tenth, exp_approach above nine tenths."""
    assert Schedule.of("exp_ramp:0.01:1")(0.49) < 0.1
    assert Schedule.of("exp_approach:0:1")(0.5) > 0.9
    rising = [Schedule.of("exp_approach:0:1")(t / 100) for t in range(101)]
    assert rising == sorted(rising)
    assert (rising[0], rising[-1]) == (0, 1)


@pytest.mark.parametrize("kind", ["linear", "cosine", "exp_ramp", "exp_approach", "sigmoid_ramp"])
def test_a_ramp_arrives_at_its_end_to_the_bit(kind):
    """0.2 + (0.9 - 0.2) is 0.8999999999999999, and a share that stops short of 1 is not the pure picture."""
    for a, b in ((0.2, 0.9), (0.1, 0.7), (0.7, 1.0), (0.9, 0.3)):
        assert Schedule.of(f"{kind}:{a}:{b}:0.5")(0.5) == b
        assert Schedule.of(f"{kind}:{a}:{b}:0.5")(0.75) == b
        assert Schedule.of(f"{kind}:{a}:{b}")(1.0) == b


def test_every_other_epoch_is_every_other_epoch_whatever_is_rounded():
    """29 / 100 * 100 is 28.999999999999996: epoch 29 would be taken for epoch 28."""
    assert 29 / 100 * 100 < 29
    for epochs in range(1, 400):
        schedule = Schedule.of(f"alternate:1:0:{epochs}")
        assert [schedule(epoch / epochs) for epoch in range(epochs)] == [1.0 - epoch % 2 for epoch in range(epochs)]
    steps = 7_654_321
    by_step, turns = Schedule.of(f"alternate:0.3:0.6:{steps}"), Schedule.of(f"alternate:0.3:0.6:{steps}:3:2")
    for step in range(0, steps, 9973):
        assert by_step(step / steps) == (0.6 if step % 2 else 0.3)
        assert turns(step / steps) == (0.3 if step % 5 < 3 else 0.6)
    assert by_step(1) == by_step((steps - 1) / steps)


def test_the_share_of_madaug_rises_to_all_and_stays():
    share = Schedule.of("tanh_rise:0.01:1:0.2")  # 40 of 200 epochs
    found = [share(epoch / 200) for epoch in range(201)]
    assert found == [pytest.approx(min(math.tanh(epoch / 40) + 0.01, 1), abs=1e-12) for epoch in range(201)]
    assert found == sorted(found)
    assert found[-1] == 1
    assert share.within("p", 0, 1) is share
    assert not share.is_constant
    assert not Schedule.of("alternate:1:0:9").is_constant
