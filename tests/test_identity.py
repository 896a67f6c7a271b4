"""What runs depend on: digests that are equal for equal values, differences that can be read."""

import pytest

from audiomix.identity import differences, digest


def test_a_digest_depends_on_values_and_their_order_alone():
    assert digest([{"a": 1}, [2, "b"]]) == digest(part for part in ({"a": 1}, (2, "b")))
    others = [[{"a": 1}], [[2, "b"], {"a": 1}], [{"a": 1.5}, [2, "b"]], [{"a": 1}, [2, "c"]], [{"a": 1}, [2, None]]]
    assert len({digest(parts) for parts in [[{"a": 1}, [2, "b"]], *others]}) == 1 + len(others)
    assert [len(digest([], size)) for size in (4, 6, 16)] == [8, 12, 32]
    with pytest.raises(TypeError, match="JSON"):
        digest([object()])


def test_settings_that_a_run_may_go_on_with_do_not_differ():
    before = {"seed": 0, "across": ["fold"], "mixer": {"name": "mixup", "options": {"alpha": 0.4}}, "rate": None}
    now = {"seed": 0, "across": ("fold",), "mixer": {"name": "mixup", "options": {"alpha": 0.4}}, "words": None}
    assert differences(before, now) == []


def test_differences_name_what_is_now_and_what_was():
    before = {"seed": 0, "mixer": {"name": "mixup", "options": {"alpha": 0.4}}, "data": "abc", "out": "a"}
    now = {"seed": 1, "mixer": {"name": "mixup", "options": {"alpha": 0.3}}, "data": "b" * 100, "out": "b"}
    assert differences(before, now, ignore=["out"], hints={"data": " (other clips)"}) == [
        f"data '{'b' * 76}... instead of 'abc' (other clips)",
        "mixer.options.alpha 0.3 instead of 0.4",
        "seed 1 instead of 0",
    ]
    assert differences({"mixer": None}, {"mixer": {"name": "mixup"}}) == ["mixer {'name': 'mixup'} instead of None"]
