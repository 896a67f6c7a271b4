"""``audiomix mix`` and ``audiomix list``; what a wrong command line gets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from cyclopts import App, CoercionError
from sounds import ROOT, noise

import recipes.cli
from audiomix import Plan, cli, mixers
from audiomix.audio import io
from audiomix.commands._mixers import _SPECTRAL
from audiomix.commands._options import whole_numbers
from audiomix.options import options_of
from audiomix.parts import mix_of_parts


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "dog.wav", tmp_path / "rain fall.wav"
    for i, (path, rate, seconds) in enumerate(zip(paths, (16000, 44100), (2.0, 3.0))):
        soundfile.write(path, (0.2 * noise(int(rate * seconds), seed=i)).numpy(), rate, subtype="PCM_24")
    return paths


@pytest.mark.parametrize("mixer", mixers.for_files())
def test_mix_writes_what_its_plan_says(mixer, files, tmp_path, capsys):
    a, b = files
    out = tmp_path / "mixed.wav"
    options = ["--crop", "start"]
    if mixer == "beat":  # noise has no beats: it is mixed plainly, and says so
        options += ["--policy", "plain", "--tracker", "beat_track", "--min-bars", "50"]
    if mixer == "caption":  # both from their starts on, as long as the original
        options += ["--placement", "together", "--keep", "original", "--words", "none"]
    code = cli.main(["mix", str(a), str(b), "-o", str(out), "--mixer", mixer, "--seed", "3", *options])
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert code == (1 if mixer == "beat" else 0)
    assert ("mixed otherwise than asked: " in printed.err) == (mixer == "beat")
    mixed, own = io.read(out), io.read(a)
    assert mixed.rate == 16000
    is_free = mixer == "speaker_mix"  # a conversation is as long as it is
    assert is_free or mixed.samples.shape == own.samples.shape
    partner = io.read(b, rate=16000).samples
    if mixers.make(mixer, rate=16000).needs.partner == "fitted":
        partner = partner[:, : own.samples.shape[-1]]
    plan = Plan.from_json(json.dumps(said["plan"]))
    expected = mix_of_parts(plan, 0, own.samples, partner[None]) * 10 ** (said["limiter_gain_db"] / 20)
    torch.testing.assert_close(mixed.samples, expected, atol=1e-4, rtol=0)
    if is_free:
        assert mixed.samples.shape[-1] >= partner.shape[-1]
        return
    assert (mixed.samples - own.samples).abs().max() > 0.05
    if plan.share_of == "area":
        kept = ((mixed.samples - own.samples).abs() < 1e-3).double().mean().item()
        assert kept == pytest.approx(said["label"].get("dog", 0), abs=0.01)
    elif "gain_db" in said["plan"] and mixer != "speech_noise":  # which repeats a piece of the noise
        sources = torch.stack([own.samples[0], partner[0, : own.samples.shape[-1]]], 1).double()
        gains = torch.linalg.lstsq(sources, mixed.samples[0].double()[:, None]).solution[:, 0]
        gain_db = torch.tensor(said["plan"]["gain_db"]["float64"][0]).double() + said["limiter_gain_db"]
        torch.testing.assert_close(gains, 10 ** (gain_db / 20), atol=1e-3, rtol=0)
    assert sum(said["label"].values()) == pytest.approx(1)
    assert mixer != "beat" or (said["aligned"] is False and said["why"])


def test_a_pair_that_cannot_be_aligned_is_told_and_ends_with_another_code(files, tmp_path, capsys):
    a, b = (str(f) for f in files)
    line = ["mix", a, b, "-o", str(tmp_path / "x.wav"), "--mixer", "beat", "--tracker", "librosa", "--min-bars", "50"]
    assert cli.main([*line, "--json"]) == 1
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said["exit_code"] == 1
    assert f"left unmixed: {said['why']}" in printed.err
    torch.testing.assert_close(io.read(said["file"]).samples, io.read(a).samples, atol=1e-4, rtol=0)
    # a weight of 1 was asked for
    assert cli.main(["mix", a, b, "-o", str(tmp_path / "y.wav"), "--mixer", "mixup", "--weight", "1"]) == 0


def test_mix_takes_the_mixers_options(files, tmp_path, capsys):
    a, b = (str(f) for f in files)
    args = ["mix", a, b, "-o", str(tmp_path / "x.flac"), "--mixer", "snr_mix", "--snr-db", "6", "6", "--label", "keep"]
    assert cli.main(args) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["snr_db"]["float64"] == [6.0]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["mix", "A", "B", "-o", "x.flac", "--mixer", "mixupp"], 2, "did you mean 'mixup'"),
        (["mix", "A", "B", "-o", "x.flac", "--mixer", "stream"], 2, "where a file is written, got StreamMix("),
        (["mix", "A", "B", "-o", "x.mp4"], 2, "the suffix of out must be one of flac, wav, ogg"),
        (["mix", "A", "B", "-o", "x.flac", "--alpha", "-1"], 2, "alpha must be"),
        (["mix", "A", "B", "-o", "x.flac", "--gain-law", "loud"], 2, "amplitude"),
        (["mix", "A", "B", "-o", "x.flac", "--alhpa", "1"], 2, "Did you mean --alpha"),
        (["mix", "A", "B", "-o", "x.flac", "--rate", "0"], 2, "rate must be"),
        (["mix", "A", "B", "-o", "x.flac", "--rate", "44.1"], 2, "did you mean 44100"),
        (["mix", "A", "B", "-o", "x.flac", "--seed", "1.5"], 2, "--seed: a whole number is expected, got 1.5"),
        (["mix", "A", "B", "-o", "x.flac", "--mixer", "beat", "--bars", "2.5"], 2, "--bars: a whole number"),
        (["mix", "A", "B", "-o", "x.mp4", "--mixer", "av", "--picture-size", "64", "48.5"], 2, "got 48.5"),
        (["augment", "EMPTYFOLDER", "OUT", "--copies", "1.5"], 2, "--copies: a whole number is expected, got 1.5"),
        (["augment", "EMPTYFOLDER", "OUT", "--workers=0.5"], 2, "--workers: a whole number is expected, got 0.5"),
        (["audit", "EMPTYFOLDER", "--worst", "2.5"], 2, "--worst: a whole number is expected, got 2.5"),
        (["beats", "EMPTYFOLDER", "--workers", "1.5"], 2, "--workers: a whole number is expected, got 1.5"),
        (["mix", "A", "B", "-o", "A"], 2, "it would overwrite its own source"),
        (["mix", "A", "nope.wav", "-o", "x.flac"], 2, "no such file"),
        (["mix", "A", "EMPTY", "-o", "x.flac"], 2, r"empty file"),
        (["mix", "A", "NAN", "-o", "x.flac"], 2, "NaN"),
        (["mix", "A", "B", "-o", "no/folder/x.flac"], 2, "no such folder"),
        (["mix", "A", "B"], 2, "--out"),
        (["agument", "A", "B"], 2, "augment"),
        (["augment", "EMPTYFOLDER", "OUT"], 2, "EMPTYFOLDER"),
    ],
)
def test_bad_input_gets_a_clear_sentence_and_a_code(words, code, message, files, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").write_bytes(b"")
    (tmp_path / "EMPTYFOLDER").mkdir()
    soundfile.write(tmp_path / "NAN.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    named = {"A": str(files[0]), "B": str(files[1]), "NAN": "NAN.wav"}
    before = sorted(p.name for p in tmp_path.iterdir())
    assert cli.main([named.get(w, w) if words[0] == "mix" else w for w in words]) == code
    captured = capfd.readouterr()
    said = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert message in said
    assert "Traceback" not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("text", "seed"), [("2.0", 2), ("0x10", 16), ("-3", -3), ("1_0.0", 10), ("2e1", None)])
def test_a_whole_number_may_be_written_in_any_way(text, seed, files, tmp_path, capsys):
    a, b = (str(f) for f in files)
    assert cli.main(["mix", a, b, "-o", str(tmp_path / "x.wav"), "--seed", text]) == (2 if seed is None else 0)
    assert seed is None or json.loads(capsys.readouterr().out)["seed"] == seed


@pytest.mark.parametrize("text", ["1.5", "-0.5", ".5", "1.5e0", "1.0e400", "9007199254740993.0", "[1.5]", "[1, 2.5]"])
def test_no_number_is_rounded(text):
    app = App(config=whole_numbers, result_action="return_value")

    @app.default
    def _(*, one: int = 0, several: tuple[int, ...] = (), maybe: int | None = None, size: float | None = None) -> dict:
        return locals()

    number = re.escape(text.strip("[]").split(", ")[-1])
    for option in ("--several",) if "[" in text else ("--one", "--several", "--maybe"):
        with pytest.raises(CoercionError, match=f"{option}: a whole number is expected, got {number}$"):
            app([f"{option}={text}"], exit_on_error=False, print_error=False)
    if "[" not in text:
        assert app([f"--size={text}"])["size"] == float(text)
    whole = app(["--maybe", "none", "--several", "[1, 2.0]"])
    assert (whole["maybe"], whole["several"]) == (None, (1, 2))


def test_two_files_are_no_mix_of_three(files, tmp_path, capsys):
    """Of fewer than the fewest sources that were asked for the plan has no reason, so nothing would say so."""
    command = ["mix", *map(str, files), "-o", str(tmp_path / "out.wav"), "--mixer", "mixup", "--sources"]
    assert cli.main([*command, "3"]) == 2
    assert "mixer must be one of two sounds, got MixUp(sources=3" in capsys.readouterr().err
    assert cli.main([*command, "2", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["partners"]["int64"][0][0] == 0


def test_an_option_of_several_values_takes_them_as_the_help_shows_it(files, tmp_path, capsys):
    command = ["mix", *map(str, files), "-o", str(tmp_path / "out.wav"), "--mixer", "mixup", "--weight", "0.4"]
    assert cli.main([*command, "--class-counts", "900", "100", "--label-weight", "remix"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == {"rain fall": 1.0}  # it is nine times rarer


@pytest.mark.parametrize("command", ["mix", "augment"])
@pytest.mark.parametrize("mixer", mixers.for_files())
def test_help_lists_the_options_of_the_mixer(command, mixer, capsys):
    assert cli.main([command, "--mixer", mixer, "--help"]) == 0
    text = capsys.readouterr().out
    for option in options_of(mixers.get(mixer), skip=("num_classes", "rate", "p", "pairing", *_SPECTRAL)):
        assert "--" + option.name.replace("_", "-") in text


@pytest.mark.parametrize("package", ["audiomix", "recipes"])
def test_help_and_version_load_no_torch(package):
    code = f"import sys; from {package}.cli import main; main(['--help']); main(['--version'])"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("module", [cli, recipes.cli], ids=lambda module: module.__name__)
def test_the_first_page_of_the_help_says_of_each_command_what_its_own_says(module, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert module.main(["--help"]) == 0
    page = capsys.readouterr().out
    for name, summary in module.COMMANDS.items():
        assert summary in page
        assert module.main([name, "--help"]) == 0
        assert summary in capsys.readouterr().out


def test_a_commands_file_has_its_name():
    for module in (cli, recipes.cli):
        folder = Path(module.__file__).parent / "commands"
        assert sorted(path.stem for path in folder.glob("[a-z]*.py")) == sorted(module.COMMANDS)
