"""``audiomix mix`` of two videos: one plan for pictures, sound, label and caption, judged from the file it writes."""

import json

import pytest
import soundfile
import torch
from made_video import RATE, av_video
from sounds import DATA, noise

from audiomix import cli
from audiomix.audio import io
from audiomix.audio.video import read_video
from audiomix.offline import films
from audiomix.plan import Plan
from audiomix.targets.pictures import mix_pictures

av = pytest.importorskip("av", reason="needs PyAV: pip install 'audiomix[video]'")
GRID = DATA / "grid" / "video"
RED, BLUE = (254, 0, 0), (0, 0, 254)
OWN, THEIRS = (0.4, 1.6), (0.84, 1.24)


@pytest.fixture
def mix(capsys):
    def run(a, b, out, *words, mixer="av", code=0):
        assert cli.main(["mix", str(a), str(b), "-o", str(out), "--mixer", mixer, *words]) == code
        said = capsys.readouterr()
        return json.loads(said.out) if code == 0 else said.err + said.out

    return run


def make(path, own, **options):
    """Write the original (red flashes) or the partner (blue ones); their clicks are the same."""
    return av_video(path, flashes=OWN if own else THEIRS, colour=RED if own else BLUE, **options)


def light(video, colour):
    """How bright each picture is in a colour, 0 to 1."""
    return video.frames[:, 0 if colour is RED else 2].float().mean((1, 2)) / 254


def flash(video, colour, near):
    return float(video.times[torch.where((video.times - near).abs() < 0.15, light(video, colour), -1.0).argmax()])


def click(video, near):
    power = video.sound.samples.double().pow(2).mean(0)
    at = video.sound_start + torch.arange(len(power)) / video.sound.rate
    best = torch.where((at - near).abs() < 0.15, power, -1.0).argmax()
    return float(at[best]), float(video.sound.samples[0].abs()[best])


CASES = {
    "plain": ({}, {}),
    "their sound starts later": ({}, {"sound_start": 0.16}),
    "our sound starts later": ({"sound_start": 0.16}, {}),
    "first picture missing": ({"picture_start": 0.04}, {}),
    "their first picture missing": ({}, {"picture_start": 0.12}),
    "stereo": ({"channels": 2}, {}),
    "odd counts": ({"seconds": 1.96}, {"seconds": 2.04}),
    "another container": ({}, {"codecs": ("libx264", "pcm_s16le")}),
}


@pytest.mark.parametrize("case", CASES)
def test_flashes_and_clicks_of_both_still_coincide(case, tmp_path, mix):
    ours, theirs = CASES[case]
    a, b = tmp_path / "a.mp4", tmp_path / ("b.mov" if "codecs" in theirs else "b.mp4")
    shown, met = make(a, True, **ours), make(b, False, **theirs)
    # the mix starts with its first picture: so do both sources
    shown = [t - ours.get("picture_start", 0) for t in shown]
    met = [t - theirs.get("picture_start", 0) for t in met]
    said = mix(a, b, tmp_path / "out.mp4", "--crop", "start", "--seed", "2")
    made = read_video(tmp_path / "out.mp4")
    for colour, times in ((RED, shown), (BLUE, met)):
        for time in times:
            assert flash(made, colour, time) == pytest.approx(time, abs=0.003)
            assert click(made, time)[0] == pytest.approx(time, abs=0.003)
    # one plan: what the label says is what is seen
    weight = said["label"]["a"]
    if case == "their first picture missing":  # they are 1.88 s of 2 s long, and the label is a mean
        weight = 1 - (1 - weight) * 2.0 / 1.88
    assert light(made, RED).max() == pytest.approx(weight, abs=0.03)
    assert light(made, BLUE).max() == pytest.approx(1 - weight, abs=0.03)
    heard = click(made, shown[0])[1] / (click(made, shown[0])[1] + click(made, met[0])[1])
    assert heard == pytest.approx(weight, abs=0.08)  # AAC; the weakest of it all
    assert len(made.times) == said["pictures"]["frames"] == len(read_video(a).times)
    assert made.sound.samples.shape[0] == ours.get("channels", 1)
    assert said["correspondence"] == pytest.approx(1)
    assert (said["mode"], said["pictures"]["rate"]) == ("linear", 25)


@pytest.mark.parametrize("swapped", [False, True])
def test_other_rates_and_sizes(swapped, tmp_path, mix):
    options = [{"size": (48, 64)}, {"rate": 30000 / 1001, "size": (36, 48)}]
    ours, theirs = options[::-1] if swapped else options
    shown, met = make(tmp_path / "a.mp4", True, **ours), make(tmp_path / "b.mp4", False, **theirs)
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mkv", "--crop", "start")
    made = read_video(tmp_path / "out.mkv")
    assert made.frames.shape[2:] == ours["size"]
    assert said["pictures"]["rate"] == pytest.approx(ours.get("rate", 25))
    assert said["pictures"]["partner_rate"] == pytest.approx(theirs.get("rate", 25))
    assert flash(made, RED, shown[0]) == pytest.approx(shown[0], abs=0.002)
    # theirs is seen where one of our pictures has its middle within it: half of each picture away at most
    apart = [abs(flash(made, BLUE, t) - click(made, t)[0]) for t in met]
    assert max(apart) <= 0.5 / 25 + 0.5 / (30000 / 1001)
    assert light(made, BLUE).max() == pytest.approx(said["label"]["b"], abs=0.04)


def test_pictures_of_a_size_that_was_asked_for(tmp_path, mix):
    make(tmp_path / "a.mp4", True, seconds=0.6)
    make(tmp_path / "b.mp4", False, seconds=0.6, size=(32, 100))
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", "--picture-size", "24", "36")
    assert read_video(tmp_path / "out.mp4").frames.shape == (15, 3, 24, 36)
    assert said["pictures"]["partner_size"] == [32, 100]


@pytest.mark.parametrize(("ours", "theirs"), [(2.0, 1.4), (1.4, 2.0)])
@pytest.mark.parametrize("length", ["original", "shortest", "longest", "1.0", "2.4"])
def test_lengths(ours, theirs, length, tmp_path, mix):
    make(tmp_path / "a.mp4", True, seconds=ours)
    make(tmp_path / "b.mp4", False, seconds=theirs)
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", "--length", length, "--crop", "start")
    wanted = {"original": ours, "shortest": min(ours, theirs), "longest": 2.0}.get(length) or float(length)
    made = read_video(tmp_path / "out.mp4")
    assert len(made.times) == round(25 * wanted)
    assert made.sound.samples.shape[-1] == pytest.approx(wanted * RATE, abs=1)
    for time in (t for t in THEIRS if t < min(theirs, wanted)):
        if time < ours or length == "longest":
            assert flash(made, BLUE, time) == pytest.approx(time, abs=0.003)
    assert light(made, RED)[10] == pytest.approx(said["label"]["a"], abs=0.2)
    if wanted > ours:  # behind the original's end there is nothing of it
        assert light(made, RED)[round(25 * ours) :].max() < 0.05


def test_a_longer_partner_is_cut_in_pictures_and_sound_alike(tmp_path, mix):
    make(tmp_path / "a.mp4", True, seconds=1.0)
    av_video(tmp_path / "b.mp4", flashes=[0.2 + 0.6 * k for k in range(7)], colour=BLUE, seconds=4.6)
    met = [0.2 + 0.6 * k for k in range(7)]
    for seed in range(3):
        mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", "--seed", str(seed))
        made = read_video(tmp_path / "out.mp4")
        blue = light(made, BLUE)
        where = made.times[(blue > 0.5 * blue.max()).nonzero().flatten()]
        assert 1 <= len(where) <= 3
        power = made.sound.samples[0].abs()
        for time in where:  # a picture's length at most, as the cut falls anywhere within one
            near = ((torch.arange(len(power)) / RATE - time).abs() < 0.045) & (power > 0.1)
            assert near.any(), (seed, float(time))
    assert len(met) == 7


def test_a_cut_in_time_cuts_pictures_and_sound_in_the_same_seconds(tmp_path, mix):
    for name, colour, tone in (("a", RED, 400), ("b", BLUE, 1500)):
        av_video(tmp_path / f"{name}0.mp4", flashes=(), dark=colour, sound=False)
        t = torch.arange(2 * RATE) / RATE
        film = read_video(tmp_path / f"{name}0.mp4")
        sound = io.Clip(0.4 * torch.sin(2 * torch.pi * tone * t)[None], RATE)
        io.write_video(tmp_path / f"{name}.mp4", type(film)(film.frames, film.times, film.rate, sound))
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", "--mode", "time", "--seed", "5")
    made = read_video(tmp_path / "out.mp4")
    blue = light(made, BLUE) > 0.5
    spectrum = made.sound.samples[0][: 50 * 640].view(50, 640).mul(torch.hann_window(640)).to(torch.float64)
    spectrum = torch.fft.rfft(spectrum).abs()
    theirs = spectrum[:, 60] > spectrum[:, 16]  # 25 Hz a bin
    assert 3 < int(blue.sum()) < 47
    assert (blue != theirs).sum() <= 2  # at the two edges
    assert blue.double().mean() == pytest.approx(said["label"]["b"], abs=0.03)
    assert (light(made, RED)[~blue] > 0.9).all()
    assert (light(made, RED)[blue] < 0.1).all()


def test_a_box_and_a_swap(tmp_path, mix):
    for name, colour in (("a", RED), ("b", BLUE)):
        av_video(tmp_path / f"{name}.mp4", flashes=(0.4,) if name == "a" else (1.2,), dark=colour, colour=colour)
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "box.mp4", "--mode", "box", "--seed", "1")
    made = read_video(tmp_path / "box.mp4")
    covered = (made.frames[:, 2] > 127).double().mean((0, 1, 2))
    assert covered == pytest.approx(said["label"]["b"], abs=0.03)
    pixels = 48 * 64 * said["label"]["b"]  # counted: a box lies on whole ones
    assert pixels == pytest.approx(round(pixels), abs=1e-6)
    words = ["--mode", "swap", "--captions", "Red.", "Blue."]
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "swap.mp4", *words)
    made = read_video(tmp_path / "swap.mp4")
    assert light(made, RED).min() > 0.9
    assert click(made, 1.2)[1] > 0.3 > 0.05 > click(made, 0.4)[1]
    assert (said["caption"], said["picture_caption"], said["correspondence"]) == ("Blue.", "Red.", 0)


def test_labels_and_captions_by_the_same_plan(tmp_path, mix):
    make(tmp_path / "a.mp4", True, seconds=0.6)
    make(tmp_path / "b.mp4", False, seconds=0.6)
    words = ["--labels", "dog", "rain", "--captions", "A dog barks.", "Rain falls."]
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", *words)
    assert said["caption"] == "A dog barks and rain falls."
    assert "picture_caption" not in said
    weight = said["plan"]["weight"]["float64"][0]
    assert said["label"] == pytest.approx({"dog": weight, "rain": 1 - weight})


@pytest.mark.parametrize("mode", ["linear", "time", "box"])
def test_groups_of_pictures_are_mixed_as_all_at_once(mode, tmp_path, mix, monkeypatch):
    times = [0.0, 0.05, 0.11, 0.3, 0.5, 0.52, 0.9, 1.3, 1.4, 1.9]
    make(tmp_path / "a.mp4", True, times=times, dark=(90, 10, 0))
    make(tmp_path / "b.mp4", False, rate=30000 / 1001, dark=(0, 50, 99))
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.mp4", "--mode", mode, "--crop", "start")
    plan = Plan.from_json(json.dumps(said["plan"]))
    own, theirs = films.Film.open(tmp_path / "a.mp4"), films.Film.open(tmp_path / "b.mp4")
    a, b = read_video(tmp_path / "a.mp4"), read_video(tmp_path / "b.mp4")
    last = 1 / (own.seconds - times[-1])
    whole = mix_pictures(
        a.frames[None], plan, other=b.frames[None], rate=last, other_rate=b.rate, times=a.times, other_times=b.times
    )[0]
    for group in (1, 3, 100):
        monkeypatch.setattr(films, "_GROUP", group)
        found = list(films.mix_films(own, theirs, plan, seconds=own.seconds))
        assert [t for t, _ in found] == pytest.approx(times, abs=1e-4)
        assert torch.equal(torch.stack([p for _, p in found]), whole), group


def test_behind_the_end_pictures_are_black_and_the_last_one_stays_as_long_as_it_did(tmp_path):
    make(tmp_path / "a.mp4", True, seconds=1.0, dark=RED)
    times = [0.0, 0.4, 0.8]  # the last one is shown for 1.2 s in the file
    av_video(tmp_path / "b.mp4", times=times, flashes=(), dark=BLUE, colour=BLUE)
    own, theirs = films.Film.open(tmp_path / "a.mp4"), films.Film.open(tmp_path / "b.mp4")
    found = list(films.mix_films(own, theirs, half(), seconds=1.4))
    pictures = torch.stack([p for _, p in found]).float().mean((2, 3))
    assert len(found) == 35
    assert pictures[:24, 0].min() > 110
    assert pictures[26:, 0].max() < 5
    long = films.Film(theirs.path, theirs.times, 2.0, 0.0, theirs.rate, theirs.size, theirs.sound)
    found = list(films.mix_films(own, long, half(), seconds=1.4))
    assert torch.stack([p for _, p in found])[:, 2].float().mean((1, 2)).min() > 110


def half():
    return Plan(torch.tensor([0]), torch.tensor([0.5]).double())


def test_a_group_of_pictures_has_all_of_the_partners_that_it_meets(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "_GROUP", 4)
    make(tmp_path / "a.mp4", True, rate=10)
    av_video(tmp_path / "b.mp4", rate=50, flashes=(0.34, 0.74, 1.14), colour=BLUE)
    own, theirs = films.Film.open(tmp_path / "a.mp4"), films.Film.open(tmp_path / "b.mp4")
    found = list(films.mix_films(own, theirs, half(), seconds=own.seconds))
    # at the middles of ours: 0.35, 0.75 and 1.15
    blue = [round(t, 3) for t, p in found if p[2].float().mean() > 100]
    assert blue == [0.3, 0.7, 1.1]


@pytest.mark.skipif(not GRID.exists(), reason=f"no GRID clips at {GRID}")
def test_real_clips(tmp_path, mix):
    a, b = sorted(GRID.glob("*.mpg"))[:2]
    said = mix(a, b, tmp_path / "out.mp4", "--seed", "1")
    with av.open(str(tmp_path / "out.mp4")) as container:  # as any player would
        assert sum(1 for _ in container.decode(video=0)) == 75
    made, own, theirs = (read_video(p) for p in (tmp_path / "out.mp4", a, b))
    weight = said["label"][a.stem]
    expected = weight * own.frames.float() + (1 - weight) * theirs.frames.float()
    assert 10 * torch.log10(255**2 / (made.frames.float() - expected).pow(2).mean()) > 38
    sound = weight * own.sound.samples + (1 - weight) * theirs.sound.samples
    sound = io.fit_length(sound * 10 ** (said["limiter_gain_db"] / 20), 3 * 44100)
    assert made.sound.samples.shape == (2, 3 * 44100)
    assert 10 * torch.log10(sound.pow(2).mean() / (made.sound.samples - sound).pow(2).mean()) > 20


@pytest.mark.parametrize("mixer", ["av", "mixup"])
def test_sound_alone_comes_of_videos_too(mixer, tmp_path, mix):
    make(tmp_path / "a.mp4", True)
    make(tmp_path / "b.mp4", False)
    said = mix(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "out.flac", mixer=mixer)
    a, b = io.read(tmp_path / "a.mp4").samples, io.read(tmp_path / "b.mp4").samples
    gains = [10 ** (g / 20) for g in said["plan"]["gain_db"]["float64"][0]]
    made = io.read(tmp_path / "out.flac").samples
    assert (made - gains[0] * a - gains[1] * b).abs().max() < 1e-4
    assert "pictures" not in said


@pytest.mark.parametrize(
    ("a", "b", "out", "words", "code", "message"),
    [
        ("a.mp4", "b.mp4", "x.mp4", ["--mixer", "mixup"], 2, "for mixup, got 'mp4': --mixer av mixes videos"),
        ("a.mp4", "b.mp4", "x.gif", [], 2, "the suffix of out must be one of flac, wav, ogg, mp4, m4v, mov, mkv"),
        ("a.mp4", "silent.mp4", "x.mp4", [], 2, "silent.mp4: no sound track"),
        ("silent.mp4", "b.mp4", "x.flac", [], 2, "silent.mp4: no sound track"),
        ("a.mp4", "deaf.mp4", "x.mp4", [], 2, "deaf.mp4: no pictures"),
        ("a.mp4", "c.wav", "x.mp4", [], 2, "c.wav: no pictures; it holds sound"),
        ("a.mp4", "nope.mp4", "x.mp4", [], 2, "nope.mp4: no such file"),
        ("a.mp4", "text.mp4", "x.mp4", [], 2, "text.mp4: not readable as video"),
        ("a.mp4", "b.mp4", "a.mp4", [], 2, "it would overwrite its own source"),
        ("a.mp4", "b.mp4", "no/x.mp4", [], 2, "no such folder"),
        ("a.mp4", "b.mp4", "x.mp4", ["--rate", "20000"], 2, "resample it to 22050"),
        ("a.mp4", "b.mp4", "x.mp4", ["--channels", "3"], 2, "of 1, 2 or 6 channels, got 3"),
        ("a.mp4", "b.mp4", "x.mp4", ["--picture-size", "0", "4"], 2, "picture_size"),
        ("a.mp4", "b.mp4", "x.flac", ["--picture-size", "20", "40"], 2, "left out where no pictures are written"),
    ],
)
def test_what_goes_wrong_is_said(a, b, out, words, code, message, tmp_path, mix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.mp4", True, seconds=0.6)
    make(tmp_path / "b.mp4", False, seconds=0.6)
    av_video(tmp_path / "silent.mp4", sound=False, seconds=0.6)
    av_video(tmp_path / "deaf.mp4", pictures=False, seconds=0.6)
    soundfile.write(tmp_path / "c.wav", (0.1 * noise(8000)).numpy(), RATE)
    (tmp_path / "text.mp4").write_bytes(b"not a video at all")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    mixer, words = (words[1], words[2:]) if words[:1] == ["--mixer"] else ("av", words)
    said = " ".join(mix(a, b, out, *words, mixer=mixer, code=code).replace("│", " ").split())
    assert message in said
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
