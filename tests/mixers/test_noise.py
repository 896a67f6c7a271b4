"""Speech in noise: the SNR judged from the sound, who is heard in babble, and what has no SNR."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix.audio import io, level
from audiomix.clips import Clips
from audiomix.mixers.speech_noise import LEFT, SpeechNoise
from audiomix.plan import Plan


def active_rms(x, rate):
    """Measure a sound (C, T) anew: rms over the frames of 32 ms within 30 dB of the loudest one."""
    frames = x.double().split(round(0.032 * rate), -1)  # the last one may be shorter
    power = torch.stack([f.square().mean() for f in frames])
    sounding = [f for f, p in zip(frames, power) if p >= power.max() * 1e-3]
    return torch.cat(sounding, -1).square().mean().sqrt()


def got_db(speech, out, rate=16000):
    """Return the SNR in dB of each clip, from the sound alone: the noise is what was added."""
    added = out.double() - speech.double()
    return torch.stack([20 * torch.log10(active_rms(s, rate) / active_rms(n, rate)) for s, n in zip(speech, added)])


def bursts(*shape, seed=1, share=0.25):
    """Return sounds that are active for a share of their time, as speech is."""
    x = noise(*shape, seed=seed) * 0.1
    size = shape[-1] // 512 * 512
    on = torch.rand(shape[0], size // 512, generator=seeded(seed)) < share
    on[:, 1] = True
    gate = torch.nn.functional.pad(on.repeat_interleave(512, -1), (0, shape[-1] - size))
    return x * gate[:, None] if len(shape) == 3 else x * gate


def tones(size, count=6):
    """Clip i is the i-th of orthogonal tones, all at other levels: what is heard of whom is a projection."""
    time = torch.arange(size).double() / size
    cycles = torch.arange(1, count + 1)[:, None] * 40
    amplitude = torch.logspace(-2, 0, count, dtype=torch.float64)[:, None]
    return (torch.sin(2 * math.pi * cycles * time) * amplitude)[:, None]


def heard(added, tones):
    """Return (B, B): the amplitude of each tone, whatever its phase, in each sound."""
    spectrum = torch.fft.rfft(added[:, 0].double()).abs() / added.shape[-1] * 2
    return spectrum[:, [40 * (j + 1) for j in range(len(tones))]]


@pytest.mark.parametrize("snr", [-5, 0, 0.0, 12.5])
@pytest.mark.parametrize("size", [300, 8192, 20000])
def test_the_snr_is_exact_over_active_speech(snr, size):
    """Auto-AVSR's ``snr if snr else random`` took 0 dB for "not given", and shorter noise raised."""
    speech, babble = bursts(5, 2, 8192), noise(3, 2, size, seed=7)
    out = SpeechNoise(snr)(speech, other=babble, generator=seeded()).x
    torch.testing.assert_close(got_db(speech, out), torch.full((5,), float(snr)).double(), atol=1e-3, rtol=0)


def test_the_measure_can_be_the_whole_clip():
    speech = bursts(4, 1, 8192)
    out = SpeechNoise(3, level="rms", noise=noise(9000))(speech, generator=seeded()).x
    got = 20 * torch.log10(level.rms(speech) / level.rms(out - speech))
    torch.testing.assert_close(got, torch.full((4,), 3.0).double(), atol=1e-3, rtol=0)
    assert bool((got_db(speech, out) > 5).all())  # speech that sounds a quarter of the time


def test_frames_are_32_ms_at_any_rate():
    speech = bursts(3, 1, 48000)
    speech[:, :, 700:] *= torch.linspace(1, 0.01, 47300)
    out = SpeechNoise(6, noise=noise(9000), rate=44100)(speech, generator=seeded()).x
    torch.testing.assert_close(got_db(speech, out, 44100), torch.full((3,), 6.0).double(), atol=1e-3, rtol=0)


def test_real_speech(speech):
    files = sorted(speech.rglob("*.wav"))[::400][:12] or sorted(speech.rglob("*.flac"))[::400][:12]
    clips = torch.stack([io.fit_length(io.read(f, channels=1).samples, 16000) for f in files])
    for mixer in (SpeechNoise((-5, 20), babble=4), SpeechNoise((-5, 20), noise=noise(40000))):
        out, _, (plan,), _ = mixer(clips, generator=seeded())
        noisy = plan.left == 0
        assert int(noisy.sum()) >= 10
        torch.testing.assert_close(got_db(clips, out)[noisy], plan.snr_db[noisy], atol=0.05, rtol=0)


def test_a_range_is_uniform_and_a_list_has_equal_chances():
    speech = noise(600, 1, 600)
    mixer = SpeechNoise((-5, 20), noise=noise(600), level="rms")
    out = mixer(speech, generator=seeded()).x
    got = (20 * torch.log10(level.rms(speech) / level.rms(out - speech))).sort().values
    ks = (((got + 5) / 25) - torch.arange(600) / 600).abs().max()
    assert ks < 1.95 / math.sqrt(600)  # 0.1 %
    choices = [-5, 0, 10, None]
    out = SpeechNoise(choices, noise=noise(600), level="rms")(speech, generator=seeded()).x
    added = level.rms(out - speech)
    for choice in choices:
        if choice is None:
            found = added == 0
        else:
            found = (20 * torch.log10(level.rms(speech) / added.clamp(min=1e-9)) - choice).abs() < 0.01
        assert found.double().mean().item() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 600))


def test_clean_keeps_the_bits():
    speech = noise(6, 1, 500)
    for snr in (None, math.inf, [None], [math.inf]):
        out, _, (plan,), _ = SpeechNoise(snr, babble=2)(speech)
        assert torch.equal(out, speech)
        assert [LEFT[i] for i in plan.left] == ["clean was drawn"] * 6
    out, _, (plan,), _ = SpeechNoise(0, p=0.5, babble=2)(speech.repeat(30, 1, 1), generator=seeded())
    same = (out == speech.repeat(30, 1, 1)).flatten(1).all(1)
    assert 60 < same.sum() < 120
    eligible = torch.tensor([True, False, True, False, False, True])
    out = SpeechNoise(0, babble=2)(speech, eligible=eligible).x
    assert torch.equal((out == speech).flatten(1).all(1), ~eligible)
    assert torch.equal(same, plan.snr_db == math.inf)


def test_a_schedule_of_snr():
    speech = noise(3, 1, 1000)
    for progress, expected in [(0, 20), (0.5, 10), (1, 0)]:
        out = SpeechNoise("linear:20:0", babble=1)(speech, progress=progress).x
        torch.testing.assert_close(got_db(speech, out), torch.full((3,), float(expected)).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_babble_is_of_distinct_others_at_equal_levels(count):
    """Tone i is clip i, so who is heard, and how loud, is read off the spectrum."""
    voices = tones(4000)
    for seed in range(20):
        out = SpeechNoise(0, babble=count)(voices, generator=seeded(seed)).x
        amplitude = heard(out - voices, voices)
        loudest = amplitude.amax(1, keepdim=True)
        among = amplitude > 0.1 * loudest
        assert among.sum(1).tolist() == [count] * 6
        assert not bool(among.diagonal().any())  # never the clip itself
        for row, who in zip(amplitude, among):
            assert row[who].max() / row[who].min() == pytest.approx(1, abs=0.02)  # 40 dB apart before
        torch.testing.assert_close(got_db(voices, out), torch.zeros(6).double(), atol=1e-3, rtol=0)


def test_every_other_clip_is_as_likely():
    voices, counts = tones(400, 5), torch.zeros(5, 5)
    generator, rounds = seeded(), 200
    for _ in range(rounds):
        plan = SpeechNoise(0, babble=2).draw(*[Clips(voices)] * 2, generator=generator)
        counts += torch.nn.functional.one_hot(plan.voices, 5).sum(1)
    off = counts[~torch.eye(5, dtype=torch.bool)]
    assert bool((counts.diagonal() == 0).all())
    assert (off / rounds - 0.5).abs().max() < 4.5 * math.sqrt(0.25 / rounds)


def test_with_ids_no_speaker_is_heard_twice_or_over_himself():
    voices = tones(4000)
    speakers = ["ann", "ann", "ann", "bob", "cy", "cy"]
    for seed in range(20):
        out = SpeechNoise(0, babble=2)(voices, ids=speakers, generator=seeded(seed)).x
        amplitude = heard(out - voices, voices)
        for i, row in enumerate(amplitude):
            found = [speakers[j] for j in range(6) if row[j] > 0.1 * row.max()]
            assert sorted([*found, speakers[i]]) == ["ann", "bob", "cy"]
    with pytest.raises(ValueError, match="of more than 3 speakers for babble=3, got 3"):
        SpeechNoise(0, babble=3, few="error")(voices, ids=torch.tensor([1, 1, 1, 2, 3, 3]))
    with pytest.raises(ValueError, match="ids must be of 6 items"):
        SpeechNoise(0, babble=3)(voices, ids=[1, 2])


def test_a_batch_too_small_gives_what_there_is_and_says_so():
    voices = tones(4000, 3)
    out, _, (plan,), _ = SpeechNoise(0, babble=30)(voices)
    assert (heard(out - voices, voices) > 1e-4).sum(1).tolist() == [2, 2, 2]
    assert (plan.voices >= 0).sum(1).tolist() == [2, 2, 2]
    torch.testing.assert_close(got_db(voices, out), torch.zeros(3).double(), atol=1e-3, rtol=0)
    out, _, (plan,), _ = SpeechNoise(0, babble=30)(voices[:1])
    assert torch.equal(out, voices[:1])
    assert LEFT[plan.left[0]] == "nobody else speaks"
    with pytest.raises(ValueError, match="few='fewer' takes all"):
        SpeechNoise(0, babble=3, few="error")(voices)


@pytest.mark.parametrize("babble", [None, 2])
def test_lengths_are_respected(babble):
    speech, lengths = bursts(4, 1, 4096, share=0.6), torch.tensor([4096, 1500, 3000, 0])
    for i, n in enumerate(lengths.tolist()):
        speech[i, :, n:] = math.nan  # padding that nobody may read
    mixer = SpeechNoise(5, babble=babble, noise=None if babble else noise(700))
    out, _, (plan,), _ = mixer(speech, lengths=lengths, generator=seeded())
    for i, n in enumerate(lengths.tolist()):
        assert bool((out[i, :, n:] == 0).all())
        if n:
            got = got_db(speech[i : i + 1, :, :n], out[i : i + 1, :, :n])
            assert got.item() == pytest.approx(5, abs=1e-3)
    assert LEFT[plan.left[3]] == "silent speech"


def test_longer_noise_is_cropped_anywhere_and_shorter_noise_is_tiled_from_anywhere():
    speech = torch.ones(400, 1, 100)
    ramp = torch.arange(1.0, 1001.0)
    for size in (1000, 100, 40):
        out = SpeechNoise(0, noise=ramp[:size])(speech, generator=seeded()).x
        added = (out - speech)[:, 0].double()
        scale = (added[:, 1:] - added[:, :-1]).median(1).values  # the ramp rises by one a sample
        values = (added / scale[:, None]).round().long()
        if size > 100:
            assert bool((values.diff() == 1).all())  # a crop has no seam
        else:
            assert bool(((values.diff() - 1) % size == 0).all())
        first = values[:, 0]
        last = 1000 - 100 + 1 if size > 100 else size
        assert 1 <= first.min() <= 1 + last * 0.1
        assert last * 0.9 <= first.max() <= last


def test_each_of_several_noises_is_drawn_and_none_of_its_padding():
    speech = torch.ones(300, 1, 64)
    sounds = [torch.full((50,), 1.0), torch.full((1, 300), -1.0)]
    out = SpeechNoise(0, noise=sounds)(speech, generator=seeded()).x
    added = out - speech
    torch.testing.assert_close(added.abs(), torch.ones_like(added))
    positive = added[:, 0, 0] > 0
    assert torch.equal(added[:, 0].sum(1).abs(), torch.full((300,), 64.0))
    assert positive.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(300))


def test_silence_on_either_side_changes_nothing_and_is_said():
    speech = bursts(4, 1, 4096)
    speech[1] = 0
    out, _, (plan,), _ = SpeechNoise(0, noise=noise(5000))(speech, generator=seeded())
    assert [LEFT[i] for i in plan.left] == ["noisy", "silent speech", "noisy", "noisy"]
    assert bool((out[1] == 0).all())
    out, _, (plan,), _ = SpeechNoise(0, noise=torch.zeros(5000))(speech)
    assert torch.equal(out, speech)
    assert {LEFT[i] for i in plan.left} == {"silent noise", "silent speech"}
    # a silent voice in the babble: the others are heard, at the SNR
    out = SpeechNoise(0, babble=3)(speech, generator=seeded()).x
    torch.testing.assert_close(got_db(speech, out)[[0, 2, 3]], torch.zeros(3).double(), atol=1e-3, rtol=0)
    speech[1] = math.nan
    out = SpeechNoise(0, babble=3)(speech, generator=seeded()).x
    assert not bool(out[[0, 2, 3]].isnan().any())


def test_the_limiter_is_one_gain_for_the_mix():
    speech = noise(4, 1, 8000)
    speech = speech / level.peak(speech)[:, None, None].float() * torch.tensor([0.9, 0.9, 0.1, 0.9])[:, None, None]
    mixer = {limit: SpeechNoise([0, None], babble=2, limit=limit) for limit in (False, True)}
    loud, limited = (mixer[limit](speech, generator=seeded(1)) for limit in (False, True))
    peaks = loud.x.abs().amax((1, 2))
    assert peaks.max() > 1.05
    for i in range(4):
        gain = min(1.0, 1 / float(peaks[i]))
        torch.testing.assert_close(limited.x[i], loud.x[i] * gain, atol=1e-6, rtol=1e-5)
        assert float(limited.x[i].abs().max()) <= 1 + 1e-6
    assert any(float(p) <= 1 for p in peaks)


@pytest.mark.parametrize("options", [{"babble": 3}, {"noise": noise(2, 1, 900)}, {"babble": 2, "limit": True}])
def test_a_plan_replays_to_the_bit_through_json(options):
    speech, lengths = bursts(5, 1, 2000, share=0.7), torch.tensor([2000, 1000, 1500, 2000, 600])
    mixer = SpeechNoise([0, 5, None], p=0.8, **options)
    first = mixer(speech, lengths=lengths, generator=seeded())
    plan = Plan.from_json(first.plans[0].to_json())
    again = mixer(speech, lengths=lengths, plan=plan)
    assert torch.equal(first.x, again.x)
    assert torch.equal(mixer(speech, lengths=lengths, generator=seeded()).x, first.x)
    out = torch.empty_like(speech)
    assert mixer(speech, lengths=lengths, plan=plan, out=out).x is out
    assert torch.equal(out, first.x)


def test_eval_labels_dtypes_and_gradients():
    speech = bursts(4, 1, 3000, share=0.7)
    kept = speech.clone()
    mixer = SpeechNoise(0, babble=2, num_classes=4)
    assert torch.equal(mixer(speech, torch.arange(4)).target, torch.eye(4))
    assert torch.equal(speech, kept)
    assert mixer.eval()(speech).x is speech
    mixer.train()
    assert mixer(speech[:, 0], generator=seeded()).x.shape == (4, 3000)
    for dtype in (torch.float16, torch.bfloat16):  # rounded once, at the end
        half = mixer(speech.to(dtype), generator=seeded()).x
        exact = mixer(speech.to(dtype).double(), generator=seeded()).x
        assert half.dtype == dtype
        assert bool(((half.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 1e-6).all())
    speech.requires_grad_()
    out, _, (plan,), _ = mixer(speech, generator=seeded())
    torch.testing.assert_close(out.detach(), mixer(speech.detach(), plan=plan).x, atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(out[0].sum(), speech)
    assert bool((gradient[0] == 1).all())
    assert bool((gradient[plan.voices[0]] != 0).any())


@pytest.mark.parametrize("options", [{"babble": 2}, {"noise": noise(900)}])
def test_mix_compiles_to_one_graph(options):
    speech, mixer = noise(4, 1, 3000), SpeechNoise(0, **options)
    own = Clips(speech)
    plan = mixer.draw(own, own, generator=seeded())
    compiled = torch.compile(mixer.mix, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(own, own, plan), mixer.mix(own, own, plan))


def test_stored_noise_fits_the_speech():
    mono, stereo = noise(1, 900), noise(2, 900, seed=3)
    speech = noise(3, 2, 500)
    out = SpeechNoise(0, noise=mono)(speech).x - speech
    torch.testing.assert_close(out[:, 0], out[:, 1], atol=1e-5, rtol=0)
    out = SpeechNoise(0, noise=stereo)(speech).x - speech
    assert (out[:, 0] - out[:, 1]).abs().max() > 0.1
    with pytest.raises(ValueError, match="noise must be of 1 or 1 channels"):
        SpeechNoise(0, noise=stereo)(noise(3, 1, 500))
    assert "noise" not in SpeechNoise(0, noise=mono).state_dict()


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SpeechNoise(-math.inf), ValueError, "snr_db must be a"),
        (lambda: SpeechNoise([0, -math.inf]), ValueError, "snr_db must be a number in"),
        (lambda: SpeechNoise([0, math.nan]), ValueError, "snr_db must be a number in"),
        (lambda: SpeechNoise((20, 0)), ValueError, "the other way round"),
        (lambda: SpeechNoise((0, 5, 10)), ValueError, "a list for choices"),
        (lambda: SpeechNoise([]), ValueError, "at least one choice"),
        (lambda: SpeechNoise(0, babble=2, noise=noise(50)), ValueError, "babble is made of the batch"),
        (lambda: SpeechNoise(0, noise=noise(50).to(torch.int16)), TypeError, "16 bit samples"),
        (lambda: SpeechNoise(0, noise=[noise(50), noise(2, 50)]), ValueError, "of as many channels"),
        (lambda: SpeechNoise(0, rate=16), ValueError, "did you mean 16000"),
        (lambda: SpeechNoise(0)(noise(2, 1, 50)), ValueError, "other must be given: the noise"),
        (lambda: SpeechNoise(0, babble=1)(noise(2, 1, 50), other=noise(2, 1, 50)), ValueError, "None with babble"),
        (lambda: SpeechNoise(0, babble=1)(noise(2, 1, 50).to(torch.int16)), TypeError, "16 bit samples"),
        (lambda: SpeechNoise(0, babble=1)(noise(2, 1, 5, 50)), ValueError, "mix before the spectrogram"),
    ],
)
def test_wrong_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
    clips = noise(4, 1, 100)
    plan = SpeechNoise(0)(clips, other=noise(3, 1, 100), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="the noises given"):
        SpeechNoise(0)(clips, other=noise(1, 1, 100), plan=plan)
