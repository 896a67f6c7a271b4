"""The picture of any mix: what is heard of original and partner, and that the picture shows it where it is."""

import json

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from sounds import ROOT, noise

from audiomix import CutMix, MixUp, Plan, SpanPlan, cli, mixers
from audiomix.audio.io import Clip
from audiomix.part import ORIGINAL, Part
from audiomix.parts import place
from audiomix.report.figures import COLOURS
from audiomix.report.mix_figure import mix_picture
from audiomix.report.mix_scene import MixScene, gains, log_mel, mix_features, mix_stems, pieces, shows_both, split_stems

RATE = 8000
SOUNDS = ROOT / "assets" / "sounds"


def clips():
    return [Clip(0.3 * noise(1, RATE * seconds, seed=seconds), RATE) for seconds in (2, 3)]


def span_plan(start, stop):
    plan = SpanPlan(torch.tensor([0]), torch.tensor([1 - (stop - start)], dtype=torch.float64),
                    span=torch.tensor([[start, stop]], dtype=torch.float64),
                    band=torch.tensor([[0.0, 1.0]], dtype=torch.float64))  # fmt: skip
    assert plan.parts(0)
    return plan


class Parts(Plan):
    """A plan of parts that are given."""

    def parts(self, index):
        return self.given


def scene_of(*parts, size=100, partner_size=100):
    plan = Parts(torch.tensor([0]), torch.tensor([0.5], dtype=torch.float64))
    plan.__dict__["given"] = list(parts)
    waves = [torch.ones(1, n) for n in (size, partner_size, size)]
    return MixScene("wave", plan, *waves, rate=100.0)


def test_what_is_heard_of_a_cut_is_the_partner_inside_of_the_span_and_the_original_elsewhere():
    own, partner = clips()
    scene = MixScene("wave", span_plan(0.25, 0.5), own.samples, partner.samples, own.samples, RATE)
    first, second = gains(scene)
    inside = (torch.arange(2 * RATE) >= RATE / 2) & (torch.arange(2 * RATE) < RATE)
    assert torch.equal(second[0], inside.float())
    assert torch.equal(first[0], 1 - inside.float())
    assert pieces(scene, "partner") == [pytest.approx((0.5 / 3, 1 / 3))]  # of its own, longer axis


def test_a_part_that_comes_from_another_place_is_heard_where_it_is_put():
    scene = scene_of(Part(ORIGINAL, stop=0.4), Part(0, 0.5, start=0.4, piece=(0.1, 0.3)), partner_size=200)
    own, partner = gains(scene)
    assert own[0].tolist() == [1.0] * 40 + [0.0] * 60
    assert torch.equal(partner, place(scene.plan.parts(0)[1], torch.ones(1, 200), 100))  # a fifth of 200 samples
    assert partner[0, 40:80].tolist() == [0.5] * 40
    assert partner.sum() == 20
    assert pieces(scene, "partner") == [(0.1, 0.3)]


def test_warped_looped_and_faded_parts_are_heard_over_all_their_length():
    knots = torch.tensor([[0.2, 0.0], [0.8, 0.5]], dtype=torch.float64)
    warped = Part(0, 0.7, start=0.2, piece=(0.0, 0.5), warp=knots, stretch="pitch", seconds=(1.0, 2.0))
    looped = Part(0, 0.2, loop=True, piece=(0.9, 1.0))
    faded = Part(ORIGINAL, fade_in=0.1)
    own, partner = gains(scene_of(faded, warped, looped))
    assert own[0, 10:].tolist() == [1.0] * 90
    assert 0 < own[0, 0] < own[0, 5] < 1
    torch.testing.assert_close(partner[0], torch.tensor([0.2] * 20 + [0.9] * 60 + [0.2] * 20))
    assert pieces(scene_of(warped), "partner") == [(0.0, 0.5)]


def test_bands_are_heard_in_their_rows():
    own, partner = clips()
    scene = mix_features(CutMix("freq"), own, partner, "spectrogram", seed=1)
    low, high = (round(edge * 64) for edge in scene.plan.band[0].tolist())
    assert 0 <= low < high <= 64
    _, second = gains(scene)
    assert (second.sum(1) > 0).nonzero().flatten().tolist() == list(range(low, high))
    changed = (scene.mixed != scene.own).any(1).nonzero().flatten().tolist()
    assert changed == list(range(low, high))


@pytest.mark.parametrize(("domain", "shape"), [("spectrogram", (64, 201)), ("embedding", (64,))])
def test_features_of_both_sounds_are_mixed_by_the_drawn_weight(domain, shape):
    own, partner = clips()
    scene = mix_features(MixUp(weight=0.25), own, partner, domain)
    assert scene.own.shape == scene.partner.shape == scene.mixed.shape == shape
    torch.testing.assert_close(scene.mixed, 0.25 * scene.own + 0.75 * scene.partner)
    assert scene.target.tolist() == [0.25, 0.75]
    assert torch.equal(mix_features(MixUp(weight=0.25), own, partner, domain).mixed, scene.mixed)


def test_a_mixer_of_another_domain_is_refused_by_name():
    with pytest.raises(ValueError, match="domain must be one that mixes wave for BetweenClass, got 'spectrogram'"):
        mix_features(mixers.make("between_class", rate=RATE), *clips(), "spectrogram")


def test_silence_lies_at_minus_80_db_and_a_tone_in_its_band():
    assert torch.equal(log_mel(Clip(torch.zeros(1, RATE), RATE)), torch.full((64, 101), -80.0))
    time = torch.arange(RATE) / RATE
    tone = log_mel(Clip(torch.sin(2 * torch.pi * 1000 * time)[None], RATE))
    mel = 2595 * np.log10(1 + np.array([1000, RATE / 2]) / 700)
    assert abs(int(tone[:, 50].argmax()) - 64 * mel[0] / mel[1]) < 1.5


def read(path):
    return matplotlib.image.imread(path)[..., :3]


def is_colour(pixels, colour):
    wanted = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return (np.abs(pixels - wanted) < 0.06).all(-1)


def test_the_picture_shows_gains_over_the_mix_where_the_partner_is(tmp_path):
    own, partner = clips()
    scene = MixScene("wave", span_plan(0.25, 0.5), own.samples, partner.samples, own.samples, RATE)
    pixels = read(mix_picture(tmp_path / "p.png", [scene]))
    top = pixels[: pixels.shape[0] // 2, pixels.shape[1] * 2 // 3 :]
    red = is_colour(top, COLOURS[1])
    line = np.flatnonzero(red.sum(1) > 10)  # rows in which the red line runs: at gain 1, and at gain 0
    upper = np.flatnonzero(red[line[0]])
    frame = np.flatnonzero(red[line[-1]])
    width = frame[-1] - frame[0]
    assert (upper[0] - frame[0]) / width == pytest.approx(0.25, abs=0.02)
    assert (upper[-1] - frame[0]) / width == pytest.approx(0.5, abs=0.02)


def test_a_line_runs_around_a_box_and_none_over_an_even_mix(tmp_path):
    own, partner = clips()
    found = {}
    for name, mixer in {"box": CutMix("box"), "even": MixUp(weight=0.5)}.items():
        scene = mix_features(mixer, own, partner, "spectrogram", seed=4)
        pixels = read(mix_picture(tmp_path / f"{name}.png", [scene]))
        panel = pixels[40:-40, pixels.shape[1] * 2 // 3 + 12 : -14]
        inside = is_colour(panel, "#ffffff").sum()
        found[name] = int(inside)
    assert found["box"] > found["even"] + 100


def test_the_same_scene_gives_the_same_bytes(tmp_path):
    own, partner = clips()
    scene = mix_features(CutMix("box"), own, partner, "spectrogram")
    first, second = (mix_picture(tmp_path / f"{i}.png", [scene, scene], title="CutMix") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


A, B = SOUNDS / "dog_bark.flac", SOUNDS / "rain.flac"


@pytest.mark.parametrize(
    ("words", "mixed"),
    [
        (["--mixer", "cutmix", "--kind", "box"], "log-mel spectrograms"),
        (["--mixer", "mixup", "--on", "spectrogram", "--domain", "power"], "log-mel spectrograms"),
        (["--mixer", "mixup", "--on", "embedding"], "mean log-mel frames"),
        (["--mixer", "stream", "--mode", "replace"], "log-mel frames"),
    ],
)
def test_the_command_draws_what_is_no_sound_and_says_that_no_file_can_be_written(words, mixed, tmp_path, capsys):
    path = tmp_path / "p.png"
    assert cli.main(["mix", str(A), str(B), "--picture", str(path), *words]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["mixed"] == mixed
    assert "no sound file can be written" in err
    assert len(Plan.from_json(json.dumps(said["plan"]))) == 1
    assert sum(said["label"].values()) == pytest.approx(1)
    assert read(path).std() > 0.05
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("mixer", [name for name in mixers.for_files() if name != "beat"])
def test_the_command_draws_every_mixer_of_files_with_and_without_a_file(mixer, tmp_path, capsys):
    seed = "0"
    for out in ([], ["--out", str(tmp_path / "mix.wav")]):
        path = tmp_path / f"{len(out)}.png"
        command = ["mix", str(A), str(B), "--mixer", mixer, "--picture", str(path), "--seed", seed, *out]
        assert cli.main(command) == 0
        said = json.loads(capsys.readouterr().out)
        seed = str(said["seed"])  # another one, where only one of the two was in the mix
        assert ("file" in said) == bool(out)
        assert said["picture"] == str(path)
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert soundfile.info(tmp_path / "mix.wav").frames > 0


def test_both_songs_are_in_a_mix_of_stems_that_is_drawn():
    own, partner = (split_stems(clip) for clip in clips())
    drawn = [mix_stems(mixers.make("stem_remix"), own, partner, seed=seed) for seed in range(8)]
    found = {shows_both(scenes) for scenes in drawn}
    assert found == {True, False}  # the command takes the next seed
    for scenes in drawn:
        for scene in scenes:
            here, there = gains(scene)
            alike = [torch.equal(scene.mixed, sound) for sound in (scene.own, scene.partner)]
            assert sorted(alike) == [False, True]
            assert torch.equal(scene.mixed, here * scene.own + there * scene.partner)


def test_a_mix_shows_both_where_it_is_neither_of_them_alone():
    own, partner = clips()
    scenes = [mix_features(MixUp(weight=w), own, partner, "spectrogram") for w in (0.0, 0.5, 1.0)]
    assert [shows_both([scene]) for scene in scenes] == [False, True, False]
    assert shows_both([scenes[0], scenes[2]])  # two stems


@pytest.mark.parametrize("words", [["stem_remix"], ["cutmix", "--alpha", "0.01"]], ids=" ".join)
def test_another_seed_is_drawn_where_one_sound_alone_is_in_the_mix(words, tmp_path, capsys):
    found = set()
    for seed in (0, 1, 2):
        command = ["mix", str(A), str(B), "--picture", str(tmp_path / "p.png"), "--seed", str(seed), "--mixer", *words]
        assert cli.main(command) == 0
        out, err = capsys.readouterr()
        said = json.loads(out)
        other = said["seed"] != seed
        assert (f"alone is in the mix: seed {said['seed']} is drawn" in err) == other
        found.add(other)
    assert True in found


def test_a_mixer_that_mixes_some_clips_mixes_the_two_that_are_given(tmp_path, capsys):
    for seed in ("0", "1", "2", "3"):  # p is 0.5 by default
        command = ["mix", str(A), str(B), "--picture", str(tmp_path / "p.png"), "--mixer", "mix_style", "--seed", seed]
        assert cli.main(command) == 0
        said = json.loads(capsys.readouterr().out)
        assert "why" not in said["plan"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--out must be given, or --picture where a picture is enough"),
        (["--mixer", "cutmix", "--kind", "box", "--out", "x.wav"], "got CutMix(kind='box'"),
        (["--mixer", "spec_mix", "--out", "x.wav"], "--picture mix.png without --out draws their mix"),
        (["--on", "spectrogram", "--picture", "x.png", "--out", "x.wav"], "on must be wave where a file is written"),
        (["--mixer", "between_class", "--on", "spectrogram", "--picture", "x.png"], "one that mixes wave"),
        (["--picture", "x.jpg"], "pictures are .png files"),
    ],
)
def test_what_cannot_be_drawn_or_written_is_refused_by_name(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["mix", str(A), str(B), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
