"""`augment` takes every mixer of waves, and one's own: stems sum to the mix, and the audit finds what the plan says."""

import json
import math

import pytest
import soundfile
from sounds import noise

from audiomix import mixers
from audiomix.cli import main
from audiomix.options import options_of

# of these mixes of four short noises cannot be made: they need beats, captions, or more voices; they have their tests
OF_THEIR_OWN = ("beat", "caption", "speaker_mix")
MIXERS = [[name] for name in mixers.for_files() if name not in OF_THEIR_OWN]
MIXERS += [["cutmix", "--offset", "free"], ["fmix", "--fade", "0.005"], ["saliency_mix", "--saliency", "spectral_flux"]]

# three pieces of the partner, each in another place than its own, with fades, a gain and a frame of the original
# between them
OWN = '''
from dataclasses import dataclass
import torch
from audiomix import Mixer, Needs, Part, Plan
from audiomix.parts import mix_of_parts

@dataclass(frozen=True, eq=False)
class CrumbPlan(Plan):
    def parts(self, index):
        partner = int(self.partner[index])
        if self.weight[index] == 1:
            return [Part(-1)]
        crumbs = [Part(partner, 0.5, start=k / 4, piece=((3 - k) / 4, (3 - k) / 4 + 0.1), fitted=True, fade_in=0.01,
                       fade_out=0.01) for k in range(3)]
        return [Part(-1, 0.7), *crumbs]

class CrumbMix(Mixer):
    """Mix crumbs of the partner into each clip, in reverse order.

    Source: ours, 2026.
    Label: the original has three quarters.
    """

    plan_type = CrumbPlan

    @property
    def needs(self):
        return Needs(domain=frozenset({"wave"}))

    def draw(self, own, source, *, progress=None, generator=None):
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        return CrumbPlan(partner, torch.where(mixed, 0.75, 1.0).double())

    def render(self, own, source, plan):
        return torch.stack([mix_of_parts(plan, i, own.x[i], source.x) for i in range(len(own))])
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo")
    for number, (seconds, rate) in enumerate([(1.0, 8000), (0.6, 16000), (0.8, 8000), (1.2, 22050)]):
        place = path / "in" / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{number}.wav", 0.1 * noise(round(seconds * rate), seed=number).numpy(), rate)
    (path / "mine.py").write_text(OWN)
    return path


@pytest.mark.parametrize("words", [*MIXERS, ["mine.py:CrumbMix"]], ids=" ".join)
def test_augment_and_audit_take_it(words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    out = tmp_path / "out"
    assert main(["augment", "in", str(out), "--mixer", *words, "--stems", "--quiet"]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        mix, *stems = (soundfile.read(out / name, dtype="int16")[0] for name in [row["file_name"], *row["stems"]])
        assert (mix.astype(int) == sum(stem.astype(int) for stem in stems)).all()
        assert sum(row["label"].values()) == pytest.approx(1)
    assert sum(bool(row.get("why")) for row in rows) <= 2  # of random noise nothing, or nothing salient, stands out
    capsys.readouterr()
    own = ["--mixer", words[0]] if ":" in words[0] else []
    assert main(["audit", str(out), "--quiet", *own]) == 0
    text = capsys.readouterr().out
    assert "4 mixes: 0 wrong, 0 of them unreadable" in text
    assert "the plan is not read" not in text


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["speaker_mix", "--speakers", "2", "5", "--turns", "3"], "SpeakerMix(speakers=(2, 5), turns=3"),
        (["speaker_mix:turns=20"], "SpeakerMix(turns=20"),
        (["mixup", "--sources", "13"], "MixUp(sources=13"),
    ],
)
def test_too_many_sounds_are_refused_in_the_words_of_the_user(words, shown, folder, tmp_path, capsys):
    assert main(["augment", str(folder / "in"), str(tmp_path / "out"), "--mixer", *words, "--dry-run"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"mixer must be one of at most 12 sounds for files, got {shown}" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in mixers.available() if name not in ("latent_beat", "stream")])
def test_an_error_names_the_option_that_was_given(name):
    """Of numbers that are too small or too large, pairs and words; whatever else a mixer makes of its options."""
    refused, others = 0, []
    for option in options_of(mixers.get(name), ("rate", "templates")):
        for value in (-3, 0, 1e6, math.nan, "x", (3, 1), (0, 0)):
            try:
                mixers.make(name, rate=16000, **{option.name: value})
            except (ValueError, TypeError) as error:
                refused += 1
                others += [(option.name, value, str(error))] if option.name not in str(error) else []
    assert not others
    assert refused > 5


def test_a_mixer_of_spectrograms_alone_is_refused_by_name(folder, tmp_path, capsys):
    command = ["augment", str(folder / "in"), str(tmp_path / "out"), "--mixer"]
    assert main([*command, "cutmix", "--kind", "box"]) == 2
    assert "mixer must be one that mixes waveforms, got CutMix(kind='box'" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "spec_mix"]) == 2
    assert "one that mixes waveforms, got spec_mix for spectrogram" in " ".join(capsys.readouterr().err.split())
