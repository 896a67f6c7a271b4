"""Draw the ratio of every curriculum over a simulated training: ``python assets/curricula.py [OUT.png]``.

The course that the two adaptive curricula follow is simulated and no measurement: the entropy on pure video falls as
``0.05 + 0.9 exp(-4 t)``, the loss as ``0.5 + 2.5 exp(-16 t) + 0.8 r`` at the share r of the picture, with a
ripple of 0.04 and 0.03. Nothing is drawn at random, so that one release of matplotlib gives the same bytes.
"""

import argparse
import math
from pathlib import Path

from PIL import Image

from audiomix.report.curriculum_figure import curriculum_picture

CURRICULA = (
    "linear:0:1",
    "cosine:0:1",
    "exp_approach:0:1",
    "steps:0:0.5@0.3:1@0.7",
    "uncertainty:low=0.1,high=1",
    "plateau:step=0.1,patience=40",
)


def entropy(progress: float, ratio: float) -> float:
    """Return the simulated normalised entropy on pure video."""
    return min(1.0, 0.05 + 0.9 * math.exp(-4 * progress) + 0.04 * math.sin(90 * progress))


def loss(progress: float, ratio: float) -> float:
    """Return the simulated loss; more of the picture is harder."""
    return 0.5 + 2.5 * math.exp(-16 * progress) + 0.8 * ratio + 0.03 * math.sin(90 * progress)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw the bundled picture of the curricula.")
    default = Path(__file__).parent / "pictures" / "curricula.png"
    parser.add_argument("out", nargs="?", type=Path, default=default, help="file to write")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    note = "a simulated course of entropy and loss: assets/curricula.py"
    curriculum_picture(out, {text: text for text in CURRICULA}, entropy=entropy, loss=loss, note=note)
    with Image.open(out) as drawn:
        image = drawn.convert("RGB").quantize(64, dither=Image.Dither.NONE)  # a quarter of the size
    image.save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
