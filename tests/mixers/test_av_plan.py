"""What an AVMix plan says of its mix: whether the streams belong together, captions, the manifest; and its errors."""

import math

import pytest
import torch
from mixers.two_streams import MODES, spelled
from sounds import noise, seeded

from audiomix import Plan
from audiomix.captions.parse import parse_caption
from audiomix.mixers.av import AVMix, AVPlan
from audiomix.targets.correspondence import correspondence, mix_captions
from audiomix.targets.pictures import mix_pictures


@pytest.mark.parametrize(("name", "options"), MODES.items(), ids=MODES)
def test_correspondence_is_what_the_streams_have_in_common(name, options):
    """Clip k is heard as k and seen as k: the common shares of both, instant by instant, from the streams."""
    if options.get("gains"):
        return
    wave = torch.eye(5).unsqueeze(-1).repeat(1, 1, 600).double()
    frames = torch.eye(5).view(5, 1, 5, 1, 1).expand(5, 600, 5, 12, 20).double()
    mixed = AVMix(**options, p=0.6)(wave, generator=seeded(4))
    plan = mixed.plans[0]
    seen = mix_pictures(frames, plan).mean((3, 4)).transpose(1, 2)
    common = torch.minimum(mixed.x, seen).sum(1).mean(-1)
    got = correspondence(plan, 5)
    torch.testing.assert_close(got.double(), common, atol=0.06 if options.get("mode") == "box" else 1e-6, rtol=0)
    assert got.dtype == torch.float32
    assert ((got == 1) | torch.tensor(name in ("swap", "other picture") or "only" in name)).all()
    assert set(got[plan.present == 0].tolist()) <= {1.0}
    assert correspondence(Plan(plan.partner, plan.weight)).tolist() == [1.0] * 5
    with pytest.raises(ValueError, match="size must be 5"):
        correspondence(plan, 4)


def test_a_share_p_of_the_pairs_is_false():
    plan = AVMix(mode="swap", p=0.25)(noise(4000, 1, 8), generator=seeded()).plans[0]
    assert abs(int((correspondence(plan) == 0).sum()) - 1000) < 4 * math.sqrt(4000 * 0.25 * 0.75)


def test_one_plan_mixes_the_captions_too():
    texts, wave = ["A dog barks.", "Rain falls.", "I sing."], noise(3, 1, 400)
    mixed = AVMix(num_classes=3)(wave, torch.arange(3), generator=seeded())
    for i, said in enumerate(mix_captions(texts, mixed.plans[0])):
        found = parse_caption(said, texts)
        assert list(found.mentioned) == (mixed.target[i] > 0.1).tolist()
        assert set(found.relations.values()) <= {"together", None}
        assert said.startswith(texts[i][:-1])
    swap = AVMix(mode="swap")(wave, generator=seeded())
    assert mix_captions(texts, swap.plans[0]) == [texts[j] for j in swap.plans[0].partner]
    assert mix_captions(texts, swap.plans[0], stream="picture") == texts
    orders = set()
    for seed in range(40):
        cut = AVMix(1.0, mode="time", p=0.8)(spelled(3, 1, 6), generator=seeded(seed))
        for i, said in enumerate(mix_captions(texts, cut.plans[0])):
            heard = cut.x[i, 0].tolist()
            counts = [heard.count(k + 1.0) / 6 for k in range(3)]
            found = parse_caption(said, texts)
            assert list(found.mentioned) == [share >= 0.1 for share in counts]
            for (a, b), name in found.relations.items():
                order = heard if a == i else heard[::-1]
                sounds_first = heard[0] == a + 1 and heard[-1] == b + 1
                sounds_last = heard[0] == b + 1 and heard[-1] == a + 1
                assert name == ("before" if sounds_first else "after" if sounds_last else name)
                assert (name in ("before", "after")) == (sounds_first or sounds_last), (said, order)
                orders.add(name)
    assert {"before", "after"} < orders
    noisy = Plan(torch.tensor([1]), torch.tensor([0.95]).double())
    assert mix_captions(texts[:1], noisy, other=texts) == texts[:1]
    assert mix_captions(texts[:1], noisy, other=texts, least=0.05) == ["A dog barks and rain falls."]
    assert mix_captions([None], noisy, other=texts, least=0.01) == ["Rain falls."]


def test_the_manifest_says_how_much_of_each_stream_is_the_originals():
    mixer = AVMix(mode="swap")
    plan = mixer(noise(2, 1, 40), lengths=torch.tensor([40, 10]), generator=seeded()).plans[0]
    assert plan.describe(0) == {
        "mode": "swap", "sound_share": 0.75, "picture_share": 1.0, "correspondence": 0.75,
    }  # fmt: skip
    assert plan.describe(1)["correspondence"] == 0.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "cut"}, ValueError, "mode must be one of linear, time, box, swap"),
        ({"sound": "mixed"}, ValueError, "sound must be one of mix, keep, got 'mixed': did you mean 'mix'"),
        ({"gains": "sqrt", "mode": "time"}, ValueError, "gains must be left out where only one of the sounds"),
        ({"gains": "loud"}, ValueError, "gains must be one of amplitude"),
        ({"label": "none"}, ValueError, "label must be one of both, sound, picture"),
        ({"pixels": (3, 4)}, ValueError, "pixels must be left out unless mode='box'"),
        ({"pixels": 3, "mode": "box"}, TypeError, r"pixels must be \(height, width\), got 3"),
        ({"pixels": (0, 4), "mode": "box"}, ValueError, "pixels must be an integer of at least 1"),
        ({"rate": 44.1}, ValueError, "did you mean 44100"),
        ({"alpha": -1}, ValueError, "alpha must be"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        AVMix(**options)


def test_wrong_plans_and_captions_are_named():
    plan = AVMix(mode="time")(noise(2, 1, 40), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of mode 'linear', as the mixer is, got 'time'"):
        AVMix()(noise(2, 1, 40), plan=plan)
    with pytest.raises(ValueError, match="captions must be a list of 2 texts"):
        mix_captions("ab", plan)
    with pytest.raises(ValueError, match="other must be texts of at least 2 partners, got 1"):
        mix_captions(["a", "b"], Plan(torch.tensor([1, 1]), torch.tensor([0.5, 0.5]).double()), other=["c"])
    fields = {"extent": plan.extent, "valid": plan.valid, "sound": plan.sound, "picture": plan.picture, "mode": "time"}
    for name, value, message in (
        ("extent", plan.extent[:, :1], r"extent must be float64 of shape \(2, 2\)"),
        ("sound", plan.sound.float(), r"sound must be float64 of shape \(2,\), got torch.float32"),
        ("picture", plan.picture + 1.5, r"picture must be in \[0, 1\]"),
        ("mode", "box", "box must be a torch.Tensor"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            AVPlan.of(plan.partner, plan.weight, plan.weight, plan.weight, **{**fields, name: value})
