"""What ``import audiomix`` costs beyond ``import torch``, in fresh processes: ``python tests/bench/import_time.py``."""

import statistics
import subprocess
import sys

CODE = "import time, torch; s = time.perf_counter(); import audiomix; print(time.perf_counter() - s)"

if __name__ == "__main__":
    seconds = [float(subprocess.check_output([sys.executable, "-c", CODE])) for _ in range(9)]
    print(f"import audiomix, beyond torch: {1000 * statistics.median(seconds):.1f} ms (DESIGN.md: under 100 ms)")
