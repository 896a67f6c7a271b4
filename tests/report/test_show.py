"""What ``audiomix show`` draws: lanes sum to the mix, bars lie where the sound says, charts count, pages stay small."""

import base64
import io as streams
import json
import re

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise, seeded

from audiomix import cli, mixers
from audiomix.audio.io import Clip
from audiomix.audit.rows import read_rows
from audiomix.part import ORIGINAL, Part
from audiomix.plan import Plan
from audiomix.report import lanes
from audiomix.report.charts import bar_list, forest, histogram, line_chart
from audiomix.report.page import Page
from audiomix.report.show import path as module
from audiomix.report.show.distributions import distributions
from audiomix.report.show.mixes import draw_mix
from audiomix.report.show.plan_bars import Axis, bars_of, curves_of, partner_spans

RATE = 8000


def sine(hz, size, rate):
    return torch.sin(2 * torch.pi * hz * torch.arange(size) / rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with cuts of two tones, so that it can be told at each place who is heard."""
    root = tmp_path_factory.mktemp("show")
    for name, hz in (("low", 300), ("high", 2000)):
        (root / "in" / name).mkdir(parents=True)
        for i in range(2):
            wave = 0.4 * sine(hz + 40 * i, 8000, RATE)
            soundfile.write(root / "in" / name / f"{name}{i}.wav", wave.numpy(), RATE)
    words = ["--mixer", "cutmix", "--pairing", "different_class", "--quiet", "--seed", "1"]
    assert cli.main(["augment", str(root / "in"), str(root / "out"), *words]) == 0
    return root


def decode(address):
    data, rate = soundfile.read(streams.BytesIO(base64.b64decode(address.partition(",")[2])))
    return data, rate


def is_high(wave, rate):
    """Return for each tenth of a second whether the higher tone is louder."""
    frames = wave[: len(wave) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1])))
    middle = round(1000 / (rate / 2) * (spectrum.shape[1] - 1))
    return spectrum[:, middle:].sum(1) > spectrum[:, :middle].sum(1)


def test_bars_of_a_cut_lie_where_the_other_tone_is_heard(folder):
    for number, row in enumerate(read_rows(folder / "out")):
        shown = draw_mix(row, number, 12.0)
        mix, rate = soundfile.read(row.path)
        heard = is_high(mix, rate)
        own_is_high = "high" in row.sources[0].name
        told = np.full(len(heard), own_is_high)
        (bar,) = [bar for bar in shown.bars if bar["role"] == "partner"]
        start, stop = bar["left"] / 100, (bar["left"] + bar["width"]) / 100
        at = (np.arange(len(heard)) + 0.5) / len(heard)
        inside = (at >= start) & (at <= stop)
        told[inside] = not own_is_high
        clear = np.minimum(np.abs(at - start), np.abs(at - stop)) > 0.06  # a frame that holds an edge holds both
        assert (told == heard)[clear].all()


def test_what_is_played_of_the_sources_sums_to_the_mix(folder):
    shown = draw_mix(read_rows(folder / "out")[0], 0, 12.0)
    *sources, mix = (decode(lane.sound)[0] for lane in shown.lanes)
    assert len(sources) == 2
    rest = mix - sum(sources)
    assert np.sqrt((rest**2).mean()) < 0.03 * np.sqrt((mix**2).mean())  # MP3


def test_a_longer_mix_is_cut_to_where_its_partner_enters(tmp_path):
    own, partner = noise(12 * RATE, seed=1), sine(440, RATE, RATE)
    mix = own * 0.1
    mix[9 * RATE : 10 * RATE] += 0.3 * partner
    for name, wave in {"own": own, "partner": partner, "mix": mix}.items():
        soundfile.write(tmp_path / f"{name}.wav", wave.numpy(), RATE, subtype="FLOAT")
    row = {"mix": "mix.wav", "sources": ["own.wav", "partner.wav"], "gain_db": [-20, -10.46], "offset_s": [0, 9]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    shown = draw_mix(read_rows(tmp_path / "t.jsonl")[0], 0, 4.0)
    assert shown.seconds == 4.0
    assert [tick["text"] for tick in shown.ticks] == ["8", "9", "10", "11", "12 s"]
    heard, rate = decode(shown.lanes[1].sound)  # the partner: silent, then a second of its tone, then silent
    levels = [np.abs(piece).max() for piece in np.split(heard[: 4 * rate], 4)]
    assert levels[1] > 0.2
    assert max(levels[0], levels[2], levels[3]) < 0.2 * levels[1]


@pytest.mark.parametrize(
    ("part", "span"),
    [
        (Part(ORIGINAL), (0.0, 4.0)),
        (Part(0, start=0.5), (2.0, 4.0)),  # the partner lasts 3 s, the mix ends before
        (Part(0, start=0.25, piece=(0.5, 1.0)), (1.0, 2.5)),
        (Part(0, start=0.25, piece=(0.5, 1.0), fitted=True), (1.0, 3.0)),
        (Part(0, loop=True), (0.0, 4.0)),
        (Part(0, loop=True, stop=0.5), (0.0, 2.0)),
        (Part(0, warp=torch.tensor([[0.1, 0.0], [0.6, 1.0]]).double(), seconds=(4.0, 3.0)), (0.4, 2.4)),
    ],
)
def test_from_when_to_when_a_part_is_heard(part, span):
    assert Axis(4.0, 3.0, 0.0, 0.0, 4.0).span(part) == pytest.approx(span)


@pytest.mark.parametrize("name", ["cutmix", "fmix", "grid_mix", "patch_mix", "resize_mix", "smooth_mix"])
def test_spans_of_a_partner_lie_where_it_is_louder_in_the_sound(name):
    """For every mixer that replaces: the original is 1, its partner -1, so that the sign says who is heard."""
    x = torch.ones(1, 1, 4 * RATE)
    mixed = mixers.make(name, rate=RATE, num_classes=2)(
        x, torch.tensor([0]), other=-x, other_target=torch.tensor([1]), generator=seeded(5)
    )
    said = torch.zeros(4 * RATE)
    for start, stop in partner_spans(mixed.plans[0], 0, Axis(4.0, 4.0, 0.0, 0.0, 4.0)):
        said[round(start * RATE) : round(stop * RATE)] = 1
    heard = (mixed.x[0, 0] < 0).float()
    assert 0 < heard.mean() < 1
    assert (said - heard).abs().mean() < 0.03


def test_words_of_a_part_that_is_resized_or_laid_on_beats():
    knots = torch.tensor([[0.25, 0.0], [0.75, 1.0]], dtype=torch.float64)

    class Resized(Plan):
        def parts(self, index):
            beats = torch.cat([knots[:1], torch.tensor([[0.5, 0.5]]).double(), knots[1:]])
            warped = Part(0, warp=beats, stretch="pitch", seconds=(4.0, 4.0), semitones=2)
            return [Part(0, warp=knots, stretch="resample"), warped, Part(0, 0.0)]

    plan = Resized(torch.tensor([0]), torch.tensor([0.5], dtype=torch.float64))
    told = [bar["text"] for bar in bars_of(plan, 0, Axis(4.0, 3.0, 0.0, 0.0, 4.0), {ORIGINAL: "a", 0: "b"})]
    heard = "heard from 1.00 to 3.00 s"
    assert told == [
        f"b: 0 dB, 0.00 to 3.00 s of it, at 1.5 of its speed, {heard}",
        f"b: 0 dB, 0.00 to 4.00 s of it, on 3 knots, at 2 of its speed, at its own pitch, {heard}, +2 semitones",
        "b: left out",
    ]


def test_bars_and_curves_of_what_comes_out_of_the_middle():
    class Middle(Plan):
        def parts(self, index):
            return [Part(ORIGINAL, 0.5), Part(0, 0.25, start=0.5, fade_in=0.125)]

    plan = Middle(torch.tensor([0]), torch.tensor([0.5], dtype=torch.float64))
    axis = Axis(8.0, 8.0, first=2.0, start=0.0, stop=4.0)  # 2 to 6 s of the original's 8
    own, partner = bars_of(plan, 0, axis, {ORIGINAL: "a", 0: "b"})
    assert (own["left"], own["width"]) == (0, 100)
    assert (partner["left"], partner["width"]) == (50, 50)
    assert partner["text"] == "b: −12.0 dB, heard from 2.00 to 4.00 s"
    assert partner["shape"].startswith("0,10 50,0")  # a fade of one of its two seconds
    curves = [c.path for c in curves_of(plan, 0, axis, {ORIGINAL: "a", 0: "b"})]
    ends = [[tuple(map(float, p.split(","))) for p in path[1:].split("L")] for path in curves]
    assert {y for _, y in ends[0]} == {4.0}  # the larger gain is at the top
    assert ends[1][0][1] == 96.0
    assert ends[1][-1][1] == pytest.approx(50, abs=0.5)


def test_sounds_and_pictures_are_no_larger_than_the_budget_counts_with(tmp_path):
    """White noise is the worst for both."""
    clip = Clip(0.3 * noise(2, 6 * 24000, seed=0), 24000)
    lane = lanes.make_lane("n" * 80, clip, 6.0)
    assert len(lane.wave) + len(lane.image) < module._DRAWN
    assert len(lanes.encode(clip)) < 6.0 * 2 * module._SECOND
    lanes_of_50 = 50 * 3
    most = (module.BUDGET - module._REST - lanes_of_50 * module._DRAWN) / (lanes_of_50 * module._SECOND)
    assert most > 10  # seconds of one channel that are left for each of 50 mixes of two


def test_sounds_are_cut_so_that_the_page_stays_small(folder, monkeypatch):
    monkeypatch.setattr(module, "BUDGET", 1_000_000)
    page, _ = module.make_page(folder / "out", seconds=60.0)
    assert "s are drawn and played, so that the page stays small" in page.markdown()
    assert len(page.html()) < 1_000_000


def test_the_sample_is_seeded_and_the_charts_count_every_mix(folder):
    titles = []
    for seed in (0, 0, 1):
        page, facts = module.make_page(folder / "out", items=2, seed=seed)
        html = page.html()
        titles.append(re.findall(r"<h3>(.*?)</h3>", html))
        assert facts == {"kind": "mixes", "mixes": 4, "shown": 2, "not_made": 0}
        assert "4 mixes. Below are 2 of them" in html
    assert titles[0] == titles[1] != titles[2]


def test_distributions_of_a_data_set(folder):
    rows = read_rows(folder / "out")
    rows[0].row["why"] = "tempi do not fit: 90 and 120"
    errors = [{"reason": "a/b.wav: broken"}, {"reason": "c.wav: broken"}]
    charts = {chart.title.partition(":")[0]: chart for chart in distributions(rows, errors, [-20.0])}
    told = {box["title"] for box in charts["Labels"].boxes}
    assert {"low: 2", "high: 2"} <= told
    shares = [float(title.partition(": ")[2]) for title in (box["title"] for box in charts["Labels"].boxes)]
    assert sum(shares) == pytest.approx(4 + 4, abs=1e-2)  # originals, and the shares of four mixes
    weights = [row.row["label"][row.sources[0].entry["label"]] for row in rows]
    assert f"from {min(weights):.4g} to {max(weights):.4g}" in charts["Weight"].alt
    refused = charts["Refused, or mixed otherwise than asked, and why"]
    assert {box["title"] for box in refused.boxes} == {"broken: 2", "tempi do not fit: 1"}


def test_a_mix_without_its_sources_or_its_file_is_shown_with_the_reason(folder, tmp_path):
    import shutil

    shutil.copytree(folder / "out", tmp_path / "out")
    (table,) = (tmp_path / "out").glob("**/metadata.jsonl")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:
        row["sources"] = [{**source, "root": "/nowhere"} for source in row["sources"]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (table.parent / rows[0]["file_name"]).unlink()
    page, facts = module.make_page(tmp_path / "out")
    html = page.html()
    assert facts["shown"] == 4
    assert html.count("no such file at") >= 4
    assert html.count("<audio") == 3


def test_a_run_that_could_mix_nothing_is_shown_with_its_reasons(tmp_path):
    (tmp_path / "errors.jsonl").write_text('{"file": "a.wav", "reason": "a.wav: no partner"}\n' * 3)
    page, facts = module.make_page(tmp_path)
    assert facts == {"kind": "mixes", "mixes": 0, "shown": 0, "not_made": 3}
    assert "<p>0 mixes, 3 could not be made.</p>" in page.html()
    assert "no partner: 3" in page.html()


def test_a_name_that_is_no_text_does_not_break_the_page(tmp_path):
    page = Page("name \udcff")
    assert "<h1>name ?</h1>" in page.write(tmp_path / "p.html").read_text()


def test_show_takes_what_mix_printed_and_the_mix_beside_it(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [str(folder / "in" / name / f"{name}0.wav") for name in ("low", "high")]
    assert cli.main(["mix", *files, "-o", "m.flac", "--labels", "a", "b"]) == 0
    (tmp_path / "m.json").write_text(capsys.readouterr().out)
    for name in ("m.json", "m.flac", "."):
        assert cli.main(["show", name, "-o", "p.html", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["shown"] == 1
        assert "<h1>Mix" in (tmp_path / "p.html").read_text()
        assert (tmp_path / "p.html").read_text().count("<audio") == 3
    assert cli.main(["audit", "m.json"]) == 0  # one reader for both


def test_show_of_beats_with_and_without_their_sound(tmp_path, capsys):
    soundfile.write(tmp_path / "s.wav", 0.1 * noise(3 * RATE, seed=0).numpy(), RATE)
    for name, says in (("s.wav", "No beats lie beside it"), ("s.wav", "8 beats"), ("alone.beats", "clicks alone")):
        assert cli.main(["show", str(tmp_path / name), "-o", str(tmp_path / "p.html")]) == 0
        html = (tmp_path / "p.html").read_text()
        assert says in html or "<dd>6</dd>" in html
        text = "".join(f"{0.5 * i:.6f}\t{i % 4 + 1}\n" for i in range(6))
        (tmp_path / "s.beats").write_text(text)
        (tmp_path / "alone.beats").write_text(text)
    assert html.count('<line class="beat first') == 2


def test_show_of_a_run_draws_the_mean_and_the_range(tmp_path):
    for i, values in enumerate(([90, 40], [80, 60])):
        run = tmp_path / f"fold{i}-seed0"
        run.mkdir()
        rows = "".join(f"{step},{value}\n" for step, value in zip((10, 20), values))
        (run / "metrics.csv").write_text("step,error\n" + rows)
    (tmp_path / "fold0-seed0" / "result.json").write_text('{"method": "mixup", "error_last": 40.0, "measures": {}}')
    page, facts = module.make_page(tmp_path)
    html = page.html()
    assert facts == {"kind": "run", "runs": 2}
    assert "Not finished: fold1-seed0" in html
    assert "error: 20, 50" in html  # the mean of 40 and 60
    assert html.count('<path class="area') == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "PATH must be a file or folder, got 'nowhere'"),
        (["."], "metadata.jsonl"),
        ([".", "--items", "0"], "items"),
    ],
)
def test_what_cannot_be_shown_is_refused(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_charts_hold_what_they_are_given():
    chart = histogram("x", [1.0, 2.0, 2.0, float("nan")], "s")
    assert sum(int(box["title"].rpartition(" ")[2]) for box in chart.boxes) == 3
    assert "3 values from 1 to 2, median 2 s" in chart.alt
    assert histogram("x", []).boxes == []
    assert histogram("x", [5.0, 5.0]).boxes[0]["title"].endswith(": 2")
    many = bar_list("x", {f"n{i}": i for i in range(20)}, most=3)
    assert [box["title"] for box in many.boxes] == ["n19: 19", "n18: 18", "n17: 17"]
    assert many.texts[-1]["text"] == "and 17 more"
    line = line_chart("x", {"a": [(0, 0.0), (10, 100.0)]}).lines[0]["path"]
    (x0, y0), (x1, y1) = (tuple(map(float, p.split(","))) for p in line[1:].split("L"))
    assert x0 < x1
    assert y0 > y1  # larger is higher
    rows = [("better", 2.0, 1.0, 3.0), ("worse", -2.0, -3.0, -1.0), ("open", 0.5, -1.0, 2.0)]
    dots = forest("x", rows, x="points").dots
    assert [dot["colour"] for dot in dots] == [2, 1, 5]
    assert dots[1]["x"] < dots[2]["x"] < dots[0]["x"]
