"""What threads that wait cost: ONNX Runtime with and without spinning, beside busy loops.

    python benchmarks/waiting.py [--rounds N] [--json PATH]

Each figure is a process of its own that runs the bundled network on a photo of 352 x 480; processes
with and without spinning take turns, with no, one and two busy loops on the same cores.
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime

from _timing import Times, arguments, milliseconds, ratio, show, write
from upscore.kernels.threads import thread_count
from upscore.models import read_checkpoint

CALLS = 60
BUSY = "while True: pass"


def seconds(spinning: bool) -> float:
    """The median time of a call in this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    session = onnxruntime.InferenceSession(
        str(read_checkpoint().graph), options, providers=["CPUExecutionProvider"]
    )
    photo = np.zeros((1, 352, 480, 3), np.uint8)
    times = []
    for _ in range(CALLS + 5):
        start = perf_counter()
        session.run(None, {"photos": photo})
        times.append(perf_counter() - start)
    return median(times[5:])


def main() -> None:
    """Print the table."""
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rows = []
    for busy in (0, 1, 2):
        loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        times: Times = {"passive": [], "spinning": []}
        try:
            for _ in range(options.rounds):
                for name, found in times.items():
                    found.append(float(subprocess.check_output([sys.executable, __file__, name])))
        finally:
            for loop in loops:
                loop.kill()
        gain = {"spinning / passive": ratio(times, "spinning", "passive")}
        rows.append({"busy loops": busy, **milliseconds(times), **gain})
    show("One photo, milliseconds", rows)
    if options.json:
        write(options.json, waiting=rows)


if __name__ == "__main__":
    if sys.argv[1:] in (["passive"], ["spinning"]):
        print(seconds(sys.argv[1] == "spinning"))
    else:
        main()
