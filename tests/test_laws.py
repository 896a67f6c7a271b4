"""Laws every mixer obeys. A new file in audiomix/mixers is held to them unedited."""

import copy
import dataclasses
import math
import pickle

import pytest
import torch
from sounds import noise, seeded

from audiomix import CutMix, MixUp, OneOf, Plan, SNRMix, mixers

NAMES = [*mixers.available(), "one_of"]


@pytest.fixture(params=NAMES)
def mixer(request):
    return (OneOf if request.param == "one_of" else mixers.get(request.param)).example()


def classes(mixer, size, num_classes=8):
    mixer.num_classes = num_classes
    return torch.arange(size) % num_classes


def least_squares(mixed, own, partner):
    """Gains of two sounds in a mix, found from the sounds alone."""
    sources = torch.stack([own.flatten(), partner.flatten()], 1).double()
    return torch.linalg.lstsq(sources, mixed.flatten().double()[:, None]).solution[:, 0]


def test_the_sound_holds_what_the_plan_says(mixer):
    wave = noise(8, 2, 4000) * torch.linspace(0.1, 1, 8)[:, None, None]
    x, _, (plan,), _ = mixer(wave, generator=seeded())
    assert (plan.partner != torch.arange(8)).all()
    for i, j in enumerate(plan.partner.tolist()):
        own, partner = wave[i], wave[j]
        a, b = (g[i] for g in plan.gains())
        if hasattr(plan, "span"):  # cut: every sample is the one or the other
            is_partner = (x[i] == partner).all(0)
            assert ((x[i] == own).all(0) | is_partner).all()
            torch.testing.assert_close(1 - is_partner.double().mean(), plan.weight[i], atol=1e-9, rtol=0)
        else:
            found = least_squares(x[i], own, partner)
            torch.testing.assert_close(found, torch.stack([a, b]), atol=1e-5, rtol=1e-5)


def test_the_label_is_the_originals_at_the_plans_weight(mixer, spelled):
    labels = classes(mixer, 8)
    _, target, (plan,), _ = mixer(spelled, labels, generator=seeded())
    for i, j in enumerate(plan.partner.tolist()):
        expected = torch.zeros(8, dtype=torch.float64)
        expected[i] += plan.weight[i]
        expected[j] += 1 - plan.weight[i]
        torch.testing.assert_close(target[i].double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(target.sum(1), torch.ones(8))  # label mass


def test_the_generator_alone_decides(mixer):
    wave = noise(8, 1, 1000)
    torch.manual_seed(5)
    first = mixer(wave, generator=seeded())
    torch.manual_seed(6)
    before = torch.get_rng_state()
    second = mixer(wave, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    assert torch.equal(first.x, second.x)
    assert first.plans[0].to_json() == second.plans[0].to_json()
    assert not torch.equal(first.x, mixer(wave, generator=seeded(1)).x)


def test_without_a_generator_the_global_one_decides(mixer):
    wave = noise(8, 1, 1000)
    torch.manual_seed(3)
    first = mixer(wave).x
    torch.manual_seed(3)
    assert torch.equal(first, mixer(wave).x)
    assert not torch.equal(first, mixer(wave).x)


def test_a_plan_replays_to_the_bit_through_json(mixer):
    wave = noise(8, 1, 1000)
    labels = classes(mixer, 8)
    mixed = mixer(wave, labels, generator=seeded())
    plan = Plan.from_json(mixed.plans[0].to_json())
    again = mixer(wave, labels, plan=plan)
    assert torch.equal(mixed.x, again.x)
    assert torch.equal(mixed.target, again.target)
    assert plan.to_json() == mixed.plans[0].to_json()
    assert "NaN" not in plan.to_json()
    assert plan.to(torch.device("cpu"), torch.float16) is plan


def test_the_input_is_left_unchanged(mixer):
    wave, labels = noise(8, 1, 1000), classes(mixer, 8)
    before, labels_before = wave.clone(), labels.clone()
    mixer(wave, labels, generator=seeded())
    assert torch.equal(wave, before)
    assert torch.equal(labels, labels_before)


def test_eval_is_the_identity(mixer):
    wave, labels = noise(8, 1, 1000), classes(mixer, 8)
    x, target, (plan,), _ = mixer.eval()(wave, labels, generator=seeded())
    assert torch.equal(x, wave)
    assert torch.equal(target, torch.eye(8))
    assert (plan.weight == 1).all()


def test_p_zero_changes_nothing_and_p_half_mixes_half(mixer):
    wave = noise(200, 1, 64)
    never = copy.deepcopy(mixer)
    never.p = type(never.p).of(0)
    assert torch.equal(never(wave, generator=seeded()).x, wave)
    half = copy.deepcopy(mixer)
    half.p = type(half.p).of(0.5)
    count = sum(int((half(wave, generator=seeded(s)).plans[0].partner != torch.arange(200)).sum()) for s in range(10))
    # 2000 fair coins; four standard deviations (kornia applied p twice and mixed a quarter)
    assert abs(count - 1000) < 4 * math.sqrt(2000 * 0.25)


def test_a_batch_of_one_is_unchanged(mixer):
    wave = noise(1, 1, 1000)
    x, target, (plan,), _ = mixer(wave, classes(mixer, 1), generator=seeded())
    assert torch.equal(x, wave)
    assert plan.weight.tolist() == [1.0]
    assert target.tolist() == [[1.0, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_small_and_odd_batches(mixer, size):
    wave = noise(size, 1, 500)
    plan = mixer(wave, generator=seeded()).plans[0]
    if not isinstance(mixer, OneOf):  # its members draw partners each for themselves
        assert sorted(plan.partner.tolist()) == list(range(size))
    assert (plan.partner != torch.arange(size)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_labels_are_not_cast_to_it(mixer, dtype):
    wave = noise(4, 1, 1000, dtype=dtype) * 0.1
    mixer.num_classes = 4096
    x, target, _, _ = mixer(wave, torch.tensor([2049, 1, 2, 3]), generator=seeded())
    assert x.dtype == dtype
    assert x.isfinite().all()
    assert target.dtype == torch.float32
    assert target[0, 2049] > 0  # half precision has no 2049


def test_silence_stays_finite(mixer):
    for wave in (torch.zeros(4, 1, 1000), torch.cat([torch.zeros(2, 1, 1000), noise(2, 1, 1000)])):
        x, _, (plan,), _ = mixer(wave, classes(mixer, 4), generator=seeded())
        assert x.isfinite().all()
        assert plan.weight.isfinite().all()


VARIANTS = {
    **{name: lambda name=name: mixers.get(name).example() for name in mixers.available()},
    "one_of": OneOf.example,
    "one_of cut and sum": lambda: OneOf([CutMix(), MixUp(), None], per="clip"),
    "cutmix fade": lambda: CutMix(fade=0.05, rate=1000),
    "snr_mix active": lambda: SNRMix(level="active"),
    "mixup unit_power": lambda: MixUp(gain_law="unit_power"),
}
SPECTRAL = {
    "cutmix time": CutMix,
    "cutmix freq": lambda: CutMix("freq"),
    "cutmix box": lambda: CutMix("box"),
    "mixup as_is": lambda: MixUp(domain="as_is"),
    "mixup power": lambda: MixUp(domain="power"),
}


@pytest.mark.parametrize("name", [*VARIANTS, *SPECTRAL])
def test_padding_is_never_mixed_in(name):
    spectral = name in SPECTRAL
    mixer = (SPECTRAL if spectral else VARIANTS)[name]()
    size = 100 if spectral else 1000
    wave = noise(8, 1, 12, size) - 50 if spectral else noise(8, 1, size)
    lengths = (torch.tensor([1.0, 0.7, 0.3, 1.0, 0.05, 0.99, 0.01, 0.5]) * size).round().long()
    behind = (torch.arange(size) >= lengths[:, None]).view(8, *[1] * (wave.ndim - 2), size).expand_as(wave)
    quiet, loud = wave.masked_fill(behind, -100 if spectral else 0), wave.masked_fill(behind, 1e6)
    for seed in range(6):
        plan = mixer(quiet, lengths=lengths, generator=seeded(seed)).plans[0]
        a, b = (mixer(x, lengths=lengths, plan=plan) for x in (quiet, loud))
        assert torch.equal(a.x[~behind], b.x[~behind])
        for mixed, x in ((a.x, quiet), (b.x, loud)):  # what stands behind is silence or the original's own padding
            assert ((mixed[behind] == 0) & (not spectral) | (mixed[behind] == x[behind])).all()
        assert torch.equal(b.lengths, lengths)
        drawn = mixer(loud, lengths=lengths, generator=seeded(seed))  # levels, too, ignore the padding
        assert drawn.plans[0].to_json() == plan.to_json()


def test_plans_carry_no_gradient(mixer):
    wave = noise(4, 1, 1000).requires_grad_()
    with torch.no_grad():
        wave[0] = 0  # the gradient of a level is infinite at silence
    for lengths in (None, torch.tensor([1000, 0, 500, 7])):
        mixed = mixer(wave, classes(mixer, 4), lengths=lengths, generator=seeded())
        copy.deepcopy(mixed.plans[0])
        assert not mixed.target.requires_grad
        mixed.x.square().sum().backward()
        assert wave.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_no_gain(mixer, dtype):
    wave = (noise(8, 1, 1000) * 0.3).to(dtype)
    mixed = mixer(wave, generator=seeded())
    exact = mixer(wave.double(), plan=mixed.plans[0])
    error = (mixed.x.double() - exact.x).abs()
    assert (error <= torch.finfo(dtype).eps * exact.x.abs() + 1e-6).all()


def test_a_plan_of_another_mixer_is_refused(mixer):
    @dataclasses.dataclass(frozen=True, eq=False)
    class Foreign(Plan):
        pass

    plan = Foreign(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]).double())
    with pytest.raises(ValueError, match="plan must be a .*Plan, got a Foreign"):
        mixer(noise(2, 1, 100), plan=plan)


def test_the_plan_of_eval_replays_as_the_identity(mixer):
    wave, other = noise(4, 1, 100), noise(2, 1, 100)
    plan = mixer.eval()(wave, other=other).plans[0]
    assert torch.equal(mixer.train()(wave, other=other, plan=plan).x, wave)


def test_lengths_and_out(mixer):
    wave, out = noise(4, 1, 300), torch.full((4, 1, 300), torch.nan)
    given = {"lengths": torch.tensor([300, 10, 200, 0]), "plan": None}
    given["plan"] = mixer(wave, lengths=given["lengths"], generator=seeded()).plans[0]
    assert mixer(wave, **given, out=out).x is out
    torch.testing.assert_close(out, mixer(wave, **given).x)
    assert mixer.eval()(wave, out=out.fill_(torch.nan)).x is out
    assert torch.equal(out, wave)


def test_full_lengths_are_no_lengths(mixer):
    wave = noise(6, 1, 1000)
    plain = mixer(wave, generator=seeded())
    told = mixer(wave, lengths=torch.full((6,), 1000), generator=seeded())
    torch.testing.assert_close(plain.x, told.x)
    torch.testing.assert_close(plain.plans[0].weight, told.plans[0].weight)


def test_weights_count_only_the_valid_area(mixer):
    """A partner that covers a tenth of the clip cannot have most of the label."""
    wave, lengths = noise(2, 1, 1000), torch.tensor([1000, 100])
    for seed in range(20):
        plan = mixer(wave, lengths=lengths, generator=seeded(seed)).plans[0]
        if hasattr(plan, "span"):
            assert plan.weight[0] >= 0.9 - 1e-9


def test_partners_come_from_the_second_batch(mixer):
    wave, other = noise(5, 1, 800, seed=1), noise(3, 1, 800, seed=2)
    mixer.num_classes = 8
    x, target, (plan,), _ = mixer(
        wave, torch.arange(5), other=other, other_target=torch.tensor([5, 6, 7]), generator=seeded()
    )
    assert plan.partner.max() <= 2
    assert x.shape == wave.shape
    torch.testing.assert_close(target[torch.arange(5), torch.arange(5)].double(), plan.weight, atol=1e-6, rtol=0)
    torch.testing.assert_close(target[torch.arange(5), plan.partner + 5].double(), 1 - plan.weight, atol=1e-6, rtol=0)
    generator = seeded()
    with pytest.raises(ValueError, match="other_target must be given"):
        mixer(wave, torch.arange(5), other=other, generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_gradients_flow_and_out_is_refused_with_them(mixer):
    wave = noise(4, 1, 300).requires_grad_()
    plan = mixer(wave, generator=seeded()).plans[0]
    mixer(wave, plan=plan).x.sum().backward()
    assert wave.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="out must be None where a gradient is needed"):
        mixer(wave, plan=plan, out=torch.empty(4, 1, 300))


def test_out_is_written_and_equals_the_plain_call(mixer):
    wave, out = noise(4, 1, 300), torch.full((4, 1, 300), torch.nan)
    plan = mixer(wave, generator=seeded()).plans[0]
    got = mixer(wave, plan=plan, out=out).x
    assert got is out
    torch.testing.assert_close(out, mixer(wave, plan=plan).x)
    with pytest.raises(ValueError, match="out must be memory of its own"):
        mixer(wave, plan=plan, out=wave)


def test_mix_compiles_to_one_graph(mixer):
    wave = noise(4, 1, 300)
    plan = mixer(wave, generator=seeded()).plans[0]
    compiled = torch.compile(mixer.mix, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(wave, plan), mixer.mix(wave, plan))


def test_partners_are_uniform(mixer):
    wave, counts = noise(5, 1, 64), torch.zeros(5, 5)
    for seed in range(600):
        counts[torch.arange(5), mixer(wave, generator=seeded(seed)).plans[0].partner] += 1
    assert (counts.diagonal() == 0).all()
    off = counts[~torch.eye(5, dtype=torch.bool)].view(5, 4)
    chi2 = ((off - 150) ** 2 / 150).sum(1)  # 3 degrees of freedom a row; 99.99 % below 21.1
    assert (chi2 < 21.1).all(), chi2


def test_eligible_clips_alone_take_part(mixer):
    wave, eligible = noise(8, 1, 300), torch.tensor([1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.bool)
    x, _, (plan,), _ = mixer(wave, eligible=eligible, generator=seeded())
    assert torch.equal(x[~eligible], wave[~eligible])
    assert eligible[plan.partner[eligible]].all()
    assert (plan.partner[eligible] != torch.arange(8)[eligible]).all()


def test_classes_differ_or_agree_as_asked(mixer):
    wave, labels = noise(9, 1, 300), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    mixer = copy.deepcopy(mixer)
    if isinstance(mixer, OneOf):
        for member in mixer.mixers:
            member.pairing = "different_class"
    mixer.pairing, mixer.num_classes = "different_class", 3
    partner = mixer(wave, labels, generator=seeded()).plans[0].partner
    assert (labels[partner] != labels).all()
    if not isinstance(mixer, OneOf):
        mixer.pairing = "same_class"
        partner = mixer(wave, labels, generator=seeded()).plans[0].partner
        assert (labels[partner] == labels).all()
        assert (partner != torch.arange(9)).all()


def test_mixers_chain(mixer):
    wave = noise(8, 1, 300)
    first = mixer(wave, classes(mixer, 8), generator=seeded())
    second = mixer(first.x, first.target, generator=seeded(1))
    torch.testing.assert_close(second.target.sum(1), torch.ones(8))


def test_it_pickles_and_copies(mixer):
    wave = noise(4, 1, 300)
    twin = pickle.loads(pickle.dumps(mixer))
    assert torch.equal(twin(wave, generator=seeded()).x, mixer(wave, generator=seeded()).x)
    assert type(mixer).__name__ in repr(mixer)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": torch.arange(8).view(8, 1)}, TypeError, r"x must be floating point, got torch\.int64"),
        ({"x": torch.zeros(100)}, ValueError, r"x must be a batch .* got shape \(100,\): a single clip"),
        ({"x": torch.zeros(0, 1, 100)}, ValueError, r"x must be not empty"),
        ({"target": torch.arange(3)}, ValueError, r"target must be of 4 items"),
        ({"target": torch.tensor([0, 1, 2, 99])}, ValueError, r"target must be class ids in 0\.\.7, got 0\.\.99"),
        ({"lengths": torch.tensor([0.5, 1, 1, 1])}, TypeError, r"lengths must be whole numbers .* relative lengths\?"),
        ({"lengths": torch.tensor([1, 2, 3, 500])}, ValueError, r"lengths must be within \[0, 100\]"),
        ({"progress": 17}, ValueError, r"progress must be .* not a step or an epoch"),
        ({"generator": 3}, TypeError, r"did you mean torch\.Generator\(\)\.manual_seed\(3\)"),
        ({"target": torch.arange(4)[:, None]}, ValueError, r"of shape \(B, 8\).*class ids\? target\[:, 0\]"),
        ({"target": torch.ones(4, 8, 5).long()}, TypeError, r"target must be floating point"),
        ({"out": torch.zeros(4, 1, 99)}, ValueError, r"out must be like x"),
        ({"other": torch.ones(3, 1, 100)}, ValueError, r"other_target must be given, as target is"),
        ({"other": torch.ones(3, 1, 100), "other_target": torch.arange(1)}, ValueError, r"other_target must be of 3"),
        ({"other_target": torch.arange(4)}, ValueError, r"other must be given with other_target"),
        ({"length": torch.ones(4)}, TypeError, r"no argument 'length': did you mean lengths=\?"),
        ({"eligible": torch.ones(4)}, ValueError, r"eligible must be bool"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(mixer, arguments, error, message):
    mixer.num_classes = 8
    state = torch.get_rng_state()
    call = {"x": torch.zeros(4, 1, 100), "target": torch.arange(4), **arguments}
    with pytest.raises(error, match=message):
        mixer(call.pop("x"), call.pop("target"), **call)
    assert torch.equal(torch.get_rng_state(), state)


def test_class_ids_need_num_classes(mixer):
    mixer.num_classes = None
    with pytest.raises(ValueError, match="pass num_classes=K"):
        mixer(torch.zeros(4, 1, 100), torch.arange(4))


def test_spectrograms_keep_their_shape(mixer):
    spec = noise(4, 1, 40, 101)
    if mixer.waveforms_only or type(mixer).__name__ == "BetweenClass":
        pytest.skip("a mixer of waveforms")
    assert mixer(spec, generator=seeded()).x.shape == (4, 1, 40, 101)
