"""How far flash and click are apart in what is read, and in what is written and read again.

    python tests/bench/video.py

Wanted: 5 ms in the mean, 10 ms at most. Every file is made with flash and click at the same instant.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_video import av_video, errors

from audiomix.audio import video

CASES = {
    "plain": {},
    "sound starts 120 ms later": {"sound_start": 0.12},
    "sound starts 10 ms later": {"sound_start": 0.01},
    "first picture missing": {"picture_start": 0.04},
    "three pictures missing": {"picture_start": 0.12},
    "29.97 pictures per second": {"rate": 30000 / 1001},
    "variable rate": {"times": [0.0, 0.05, 0.11, 0.3, 0.51, 0.52, 0.9, 1.31, 1.4, 1.9]},
}
FORMATS = {
    "mp4": ("libx264", "aac"), "mov": ("libx264", "pcm_s16le"), "mkv": ("libx264", "aac"),
    "avi": ("mpeg4", "pcm_s16le"), "mpg": ("mpeg1video", "mp2"), "ts": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
}  # fmt: skip


def main() -> None:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codecs in FORMATS.items():
            for name, options in CASES.items():
                if suffix in ("mpg", "avi") and name != "plain":
                    continue  # PyAV cannot make them so
                path, again = Path(folder) / f"a.{suffix}", Path(folder) / "again.mp4"
                rate = {"mpg": 44100, "webm": 48000}.get(suffix, 16000)
                shown = av_video(path, codecs=codecs, sound_rate=rate, **options)
                read = video.read_video(path)
                video.write_video(again, read)
                once, twice = errors(read, shown), errors(video.read_video(again), shown)
                found += once + twice
                worst = [1000 * max(e) for e in (once, twice)]
                print(f"{suffix:5} {name:28} read {worst[0]:5.2f} ms   written again {worst[1]:5.2f} ms")
    print(f"mean {1000 * sum(found) / len(found):.2f} ms, largest {1000 * max(found):.2f} ms, of {len(found)}")


if __name__ == "__main__":
    main()
