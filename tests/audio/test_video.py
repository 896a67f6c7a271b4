"""Videos in and out, judged from the pixels and samples of files that PyAV alone has made."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from made_video import FLASHES, RATE, av_video, click_times, errors, flash_times, sound_of
from sounds import DATA, noise

from audiomix.audio import io, video
from audiomix.audio.video import Video, VideoError, read_video, write_video

pytest.importorskip("av", reason="needs PyAV: pip install 'audiomix[video]'")
GRID = DATA / "grid" / "video"
# Edit lists that count samples; by default they count milliseconds
FINE = {"movie_timescale": "16000"}
CASES = {
    "plain": {},
    "sound later": {"sound_start": 0.12},
    "sound a little later": {"sound_start": 0.01},
    "first picture missing": {"picture_start": 0.04},
    "both late": {"picture_start": 0.4, "sound_start": 0.3},
    "ntsc": {"rate": 30000 / 1001},
    "variable rate": {"times": [0.0, 0.05, 0.11, 0.3, 0.51, 0.52, 0.9, 1.31, 1.4, 1.9]},
    "odd count": {"seconds": 1.88},
}
CONTAINERS = {
    "mov": ("libx264", "pcm_s16le", RATE),
    "mkv": ("libx264", "aac", RATE),
    "ts": ("libx264", "aac", RATE),
    "mpg": ("mpeg1video", "mp2", 44100),
    "avi": ("mpeg4", "pcm_s16le", RATE),
    "webm": ("libvpx", "libopus", 48000),
}


def check_law(path, shown, tmp_path, zero=0.0):
    """Flash and click are together, at the time that the file was made for; and so in what is written of it."""
    read = read_video(path)
    shown = [t - zero for t in shown]
    for made, found in zip(shown, flash_times(read, shown)):
        assert found == pytest.approx(made, abs=0.001)
    assert max(errors(read, shown)) < 0.0025
    assert min(float(read.times[0]), read.sound_start) == pytest.approx(0, abs=1e-3)
    for again in (tmp_path / "again.mp4", tmp_path / "again.mkv"):
        back = read_video(write_video(again, read))
        assert len(back.times) == len(read.times)
        assert max(errors(back, shown)) < 0.0035
        assert (back.times - read.times).abs().max() < 0.025  # AAC starts 23 ms earlier, and the clock with it
    return read


@pytest.mark.parametrize("case", CASES)
def test_flash_and_click_coincide_in_mp4(case, tmp_path):
    options = CASES[case]
    shown = av_video(tmp_path / "a.mp4", options=FINE, **options)
    zero = 0.3 - 1024 / RATE if case == "both late" else 0.0  # AAC's first packet is before the sound's start
    read = check_law(tmp_path / "a.mp4", shown, tmp_path, zero)
    assert len(read.times) == len(options.get("times", read.times))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_flash_and_click_coincide_in_every_container(suffix, tmp_path):
    *codecs, rate = CONTAINERS[suffix]
    for k, case in enumerate(["plain"] if suffix in ("mpg", "avi") else ["plain", "sound later"]):
        shown = av_video(tmp_path / f"{k}.{suffix}", codecs=codecs, sound_rate=rate, **CASES[case])
        # these cannot say that the encoder's priming is to be left out: the file starts with it
        zero = {"ts": -1024 / RATE, "mpg": -481 / 44100}.get(suffix, 0.0) if case == "plain" else 0.0
        check_law(tmp_path / f"{k}.{suffix}", shown, tmp_path, zero)


@pytest.mark.parametrize("first", [0, 0.12])
def test_the_samples_of_a_lossless_track_are_exact(tmp_path, first):
    codecs = ("libx264", "pcm_s16le")
    shown = av_video(tmp_path / "a.mov", codecs=codecs, channels=2, sound_start=first, options=FINE)
    made = torch.from_numpy(np.round(sound_of(shown, 2.0, 2) * 32767)).float() / 32768
    read = read_video(tmp_path / "a.mov")
    assert read.sound_start == pytest.approx(first, abs=1e-6)
    assert torch.equal(read.sound.samples, made[:, round(first * RATE) :])
    piece = read_video(tmp_path / "a.mov", start=0.5, seconds=0.31)
    assert piece.sound_start == pytest.approx(0.5)
    assert torch.equal(piece.sound.samples, made[:, 8000 : 8000 + 4960])
    assert torch.equal(io.read(tmp_path / "a.mov").samples, read.sound.samples)
    part = io.read(tmp_path / "a.mov", start=0.5, seconds=0.25)  # from the sound's own first sample
    assert torch.equal(part.samples, read.sound.samples[:, 8000:12000])


def test_aac_has_neither_priming_nor_padding(tmp_path):
    clip = io.Clip(0.2 * noise(1, 16111), RATE)
    frames, times = torch.zeros(5, 3, 48, 64, dtype=torch.uint8), torch.arange(5).double() / 25
    back = read_video(write_video(tmp_path / "a.mp4", Video(frames, times, 25, clip)))
    assert back.sound.samples.shape == (1, 16111)
    t = torch.arange(16000) / RATE
    tone = io.Clip(0.5 * torch.sin(2 * torch.pi * 440 * t + 20 * t**2)[None], RATE)
    back = read_video(write_video(tmp_path / "b.mp4", Video(frames, times, 25, tone))).sound
    assert (back.samples - tone.samples)[:, 2000:-2000].abs().max() < 0.02


def test_a_gap_in_the_sound_becomes_silence(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for first, size in ((0, 8000), (16000, 8000)):
            frame = av.AudioFrame.from_ndarray(np.full((1, size), 9000, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, first
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    samples = io.read(tmp_path / "a.mkv").samples[0]
    assert samples.shape == (24000,)
    assert ((samples != 0).nonzero().flatten() == torch.cat([torch.arange(8000), torch.arange(16000, 24000)])).all()


def test_pictures_have_their_colours_sizes_and_places(tmp_path):
    av_video(tmp_path / "a.mp4", dark=(200, 40, 90), colour=(200, 40, 90), right=(30, 60, 220), seconds=0.4)
    whole = read_video(tmp_path / "a.mp4")
    assert whole.frames.shape == (10, 3, 48, 64)
    assert whole.frames.dtype == torch.uint8
    for frames in (whole.frames, read_video(tmp_path / "a.mp4", size=(20, 30)).frames):
        width = frames.shape[3]
        for colour, part in (((200, 40, 90), frames[..., : width // 3]), ((30, 60, 220), frames[..., -width // 3 :])):
            assert (part.float().mean((0, 2, 3)) - torch.tensor(colour)).abs().max() < 4
    assert frames.shape == (10, 3, 20, 30)
    gray = read_video(tmp_path / "a.mp4", gray=True, size=(20, 30)).frames
    assert gray.shape == (10, 1, 20, 30)
    light = 0.299 * 200 + 0.587 * 40 + 0.114 * 90
    assert abs(float(gray[..., :10].float().mean()) - light) < 18  # limited range counts as brightness


def test_a_phones_pictures_stand_upright(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_rotation(90)  # counterclockwise, when it is shown
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, 32:] = 255  # on the right as stored: on top as shown
        for k in range(4):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = k
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    frames = read_video(tmp_path / "a.mp4").frames.float()
    assert frames.shape == (4, 3, 64, 48)
    assert frames[:, :, :30].mean() > 240
    assert frames[:, :, 34:].mean() < 15
    assert read_video(tmp_path / "a.mp4", size=(20, 10)).frames.shape == (4, 3, 20, 10)


def test_a_piece_holds_what_appears_in_it(tmp_path):
    av_video(tmp_path / "a.mp4", channels=2)
    piece = read_video(tmp_path / "a.mp4", start=0.48, seconds=0.2, rate=8000, channels=1)
    assert piece.times.tolist() == pytest.approx([0.48, 0.52, 0.56, 0.6, 0.64])
    assert piece.sound.samples.shape == (1, 1600)
    assert piece.sound.rate == 8000
    assert torch.equal(piece.frames, read_video(tmp_path / "a.mp4").frames[12:17])
    alone = read_video(tmp_path / "a.mp4", pictures=False)
    assert (alone.frames.shape, len(alone.times), alone.sound.samples.shape) == ((0, 3, 0, 0), 0, (2, 32000))
    assert read_video(tmp_path / "a.mp4", sound=False).sound is None
    with pytest.raises(VideoError, match=r"a.mp4: no pictures from 7 s on"):
        read_video(tmp_path / "a.mp4", start=7)


def test_what_the_header_says(tmp_path):
    av_video(tmp_path / "a.mp4", sound_start=0.128, channels=2, rate=30000 / 1001, options=FINE)
    found = video.info(tmp_path / "a.mp4")
    assert found.streams == ("pictures (h264)", "sound (aac)")
    assert found.size == (48, 64)
    assert found.rate == pytest.approx(30000 / 1001)
    assert found.picture_start == 0
    assert found.sound_start == pytest.approx(0.128 - 1024 / RATE)
    assert (found.sound.rate, found.sound.channels) == (RATE, 2)
    assert io.info(tmp_path / "a.mp4") == found.sound
    times, end = video.picture_times(tmp_path / "a.mp4")
    assert torch.allclose(times, read_video(tmp_path / "a.mp4").times, atol=1e-9, rtol=0)
    assert end == pytest.approx(len(times) * 1001 / 30000, abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".m4v"])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_videos_keep_times_levels_and_odd_sizes(tmp_path, suffix, channels):
    frames = (torch.arange(7)[:, None, None, None] * 30 + torch.zeros(7, 3, 47, 63)).byte()
    frames[:, 0] = 128
    times = torch.tensor([0.0, 0.04, 0.1, 0.25, 0.3, 0.31, 0.7]).double() + 3
    t = torch.arange(16000) / RATE
    sound = torch.stack([0.5 * torch.sin(2 * torch.pi * 500 * (c + 1) * t) / (c + 1) for c in range(channels)])
    back = read_video(write_video(tmp_path / f"a{suffix}", Video(frames, times, 10, io.Clip(sound, RATE), 3.0)))
    assert back.frames.shape == (7, 3, 48, 64)
    assert (back.times - (times - 3)).abs().max() < (6e-4 if suffix == ".mkv" else 2e-5)
    assert (back.frames[:, :, :47, :63].float() - frames.float()).abs().mean() < 3
    assert (back.frames[:, :, -1].float() - back.frames[:, :, -2].float()).abs().mean() < 3
    for c in range(channels):
        level = back.sound.samples[c, 2000:14000].pow(2).mean().sqrt()
        assert level == pytest.approx(0.5 / (c + 1) / 2**0.5, rel=0.02)


def test_grey_pictures_whole_numbers_one_picture_and_one_stream(tmp_path):
    grey = torch.full((1, 1, 48, 64), 90, dtype=torch.uint8)
    at = torch.zeros(1).double()
    whole = io.Clip(io.quantise(torch.full((1, 8000), 0.25)), RATE)
    back = read_video(write_video(tmp_path / "a.mp4", Video(grey, at, 25, whole)))
    assert (back.frames.float() - 90).abs().max() < 4
    assert back.frames.shape == (1, 3, 48, 64)
    assert back.sound.samples[0, 2000:6000].mean() == pytest.approx(0.25, abs=0.01)
    silent = read_video(write_video(tmp_path / "b.mp4", Video(grey, at, 25)))
    assert silent.sound is None
    deaf = Video(torch.zeros(0, 3, 0, 0, dtype=torch.uint8), torch.zeros(0).double(), 25, whole)
    assert read_video(write_video(tmp_path / "c.mp4", deaf), pictures=False).sound.samples.shape == (1, 8000)
    assert video.encoder() in ("libx264", "mpeg4")


def test_mpeg4_is_written_where_there_is_no_h264(tmp_path, monkeypatch):
    from audiomix.audio.video import writing

    monkeypatch.setattr(writing, "encoder", lambda: "mpeg4")
    frames = (torch.arange(6)[:, None, None, None] * 40 + torch.zeros(6, 3, 48, 64)).byte()
    times = torch.arange(6).double() / 25
    back = read_video(write_video(tmp_path / "a.mp4", Video(frames, times, 25, io.Clip(0.1 * noise(1, 4000), RATE))))
    assert video.info(tmp_path / "a.mp4").streams[0] == "pictures (mpeg4)"
    assert (back.frames.float() - frames.float()).abs().mean() < 3
    assert (back.times - times).abs().max() < 2e-5


def good(**changes):
    parts = {"frames": torch.zeros(3, 3, 8, 16, dtype=torch.uint8), "times": torch.arange(3).double() / 25, "rate": 25}
    return Video(**{**parts, "sound": io.Clip(torch.zeros(1, 400), RATE), **changes})


@pytest.mark.parametrize(
    ("name", "made", "error", "message"),
    [
        ("a.gif", good(), ValueError, r"suffix of path must be one of .mp4, .m4v, .mov, .mkv"),
        ("no/a.mp4", good(), VideoError, "no such folder"),
        ("a.mp4", good(frames=torch.rand(3, 3, 8, 16)), ValueError, r"pictures in \[0, 1\]"),
        ("a.mp4", good(frames=torch.zeros(3, 8, 16, 3, dtype=torch.uint8)), ValueError, r"of shape \(N, 3, H, W\)"),
        ("a.mp4", good(times=torch.tensor([0, 0.2, 0.1]).double()), ValueError, "times must be rising"),
        ("a.mp4", good(times=torch.zeros(2).double()), ValueError, r"video.times must be finite, of shape \(3,\)"),
        ("a.mp4", good(sound=io.Clip(torch.full((1, 9), torch.nan), RATE)), VideoError, "NaN or infinite"),
        ("a.mp4", good(sound=io.Clip(torch.zeros(1, 400), 44000)), ValueError, "resample it to 44100"),
        ("a.mp4", good(sound=io.Clip(torch.zeros(3, 400), RATE)), ValueError, "mix down to mono first"),
        ("a.mp4", good(frames=torch.zeros(0, 3, 8, 16, dtype=torch.uint8), times=torch.zeros(0), sound=None),
         VideoError, "neither pictures nor sound"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(tmp_path, name, made, error, message):
    with pytest.raises(error, match=message):
        write_video(tmp_path / name, made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda name, *a, **k: real("/dev/full" if ".tmp-" in str(name) else name, *a, **k)
    )
    with pytest.raises(VideoError, match="no space left on device"):
        write_video(tmp_path / "a.mp4", good(frames=torch.randint(0, 255, (3, 3, 480, 640)).byte()))
    assert not (tmp_path / "a.mp4").exists()


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    put_one = torch.zeros(3, 8, 16, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="stop"), video.writer(tmp_path / "a.mp4", (8, 16), 25) as put:  # noqa: PT012
        put(put_one, 0.0)
        raise RuntimeError("stop")
    with (
        pytest.raises(ValueError, match=r"picture must be uint8 of height and width \(8, 16\)"),
        video.writer(tmp_path / "a.mp4", (8, 16), 25) as put,
    ):
        put(put_one[:, 1:], 0.0)
    with pytest.raises(ValueError, match="at least one picture"), video.writer(tmp_path / "a.mp4", (8, 16), 25):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("look", [io.read, io.info, video.info, read_video, io.read_video])
def test_files_that_are_no_videos_say_so(tmp_path, look):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"not a video at all")
    (tmp_path / "folder.mp4").mkdir()
    for name, message in [("nope", "no such file"), ("empty", "empty file"), ("text", "not readable as video"),
                          ("folder", "is a folder")]:  # fmt: skip
        with pytest.raises(io.AudioError, match=rf"{name}.mp4: {message}"):
            look(tmp_path / f"{name}.mp4")


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {}), ("mp4", {"movflags": "faststart"}), ("mkv", {})])
@pytest.mark.parametrize("left", [0.9, 0.5])
def test_a_truncated_video_is_not_taken_for_a_short_one(tmp_path, suffix, options, left):
    path = tmp_path / f"a.{suffix}"
    av_video(path, options=options, seconds=4, size=(96, 128))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(VideoError, match=r"a\.\w+: (truncated: its|.*cut off)"):
        read_video(path)
    with pytest.raises(VideoError, match=r"a\.\w+: (truncated: its|.*cut off)"):
        io.read(path)


@pytest.mark.skipif(not GRID.exists(), reason=f"no GRID clips at {GRID}")
def test_damage_is_named_with_its_time(tmp_path):
    data = bytearray(sorted(GRID.glob("*.mpg"))[0].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(range(200))  # libavcodec alone would paint over it
    (tmp_path / "a.mpg").write_bytes(data)
    with pytest.raises(VideoError, match=r"a.mpg: pictures damaged, or cut off, at 1\.\d\d s"):
        read_video(tmp_path / "a.mpg")


def test_streams_that_are_not_there(tmp_path):
    av_video(tmp_path / "silent.mp4", sound=False)
    av_video(tmp_path / "deaf.mp4", pictures=False)
    assert read_video(tmp_path / "silent.mp4").sound is None
    for look in (io.read, io.info, video.read_sound):
        with pytest.raises(VideoError, match=r"silent.mp4: no sound track; it holds pictures \(h264\)"):
            look(tmp_path / "silent.mp4")
    for look in (read_video, video.picture_times, lambda p: next(video.pictures(p))):
        with pytest.raises(VideoError, match=r"deaf.mp4: no pictures; it holds sound \(aac\)"):
            look(tmp_path / "deaf.mp4")
    assert io.read(tmp_path / "deaf.mp4").samples.shape == (1, 32000)


def test_too_many_pictures_are_refused_before_memory_is_full(tmp_path, monkeypatch):
    from audiomix.audio.video import reading

    av_video(tmp_path / "a.mp4")
    monkeypatch.setattr(reading, "MOST_BYTES", 20 * 3 * 48 * 64)
    with pytest.raises(VideoError, match=r"a.mp4: more than .* GiB of pictures .*seconds= or a smaller size="):
        read_video(tmp_path / "a.mp4")
    assert len(read_video(tmp_path / "a.mp4", seconds=0.8).frames) == 20
    assert len(list(video.pictures(tmp_path / "a.mp4"))) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 48}, r"size must be \(height, width\)"),
        ({"size": (0, 4)}, "the height in size"),
        ({"start": -1}, "start must be"),
        ({"seconds": float("nan")}, "seconds must be"),
        ({"rate": 44.1}, "did you mean 44100"),
    ],
)
def test_wrong_arguments(tmp_path, options, message):
    av_video(tmp_path / "a.mp4", seconds=0.2, flashes=())
    with pytest.raises((ValueError, TypeError), match=message):
        read_video(tmp_path / "a.mp4", **options)


def test_without_pyav_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (io.read, io.info, io.read_video, lambda p: io.write_video(p, good())):
        with pytest.raises(io.AudioError, match=r"pip install 'audiomix\[video\]'"):
            call(tmp_path / "a.mp4")


def test_pyav_is_imported_when_it_is_needed_only():
    code = "import sys, audiomix, audiomix.audio.io, audiomix.cli; print('av' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]


@pytest.mark.skipif(not GRID.exists(), reason=f"no GRID clips at {GRID}")
def test_real_clips_are_read_whole_and_written_well(tmp_path):
    import av

    files = sorted(GRID.glob("*.mpg"))[:1]
    for path in files:
        clip = io.read_video(path)
        assert clip.frames.shape == (75, 3, 288, 360)
        assert torch.allclose(clip.times, torch.arange(75).double() / 25)
        assert clip.rate == 25
        with av.open(str(path)) as container:
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert clip.sound.samples.shape == (2, samples)
        assert io.read(path.with_suffix(".mpg")).samples.shape == (2, samples)
    back = read_video(io.write_video(tmp_path / "a.mp4", clip))
    noise_power = (back.frames.float() - clip.frames.float()).pow(2).mean()
    assert 10 * torch.log10(255**2 / noise_power) > 38
    assert torch.allclose(back.times, clip.times, atol=2e-5)
    difference = (back.sound.samples - clip.sound.samples).pow(2).mean()
    assert 10 * torch.log10(clip.sound.samples.pow(2).mean() / difference) > 25


def test_the_measure_itself_sees_an_offset(tmp_path):
    shown = av_video(tmp_path / "a.mp4")
    read = read_video(tmp_path / "a.mp4")
    late = Video(read.frames, read.times + 0.04, 25, read.sound, read.sound_start)
    assert min(errors(late, shown)) == pytest.approx(0.04, abs=0.001)
    assert shown == [t for t in shown if t >= FLASHES[0]]
    assert click_times(read, shown) == pytest.approx(shown, abs=0.001)
