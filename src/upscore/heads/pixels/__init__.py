"""How losses walk through scores of the target's own size on the CPU: block by block of pixels.

Nothing is interpolated there, so an image is a line of pixels, and what a block of them adds to the
gradient is all of it: each number of the gradient is written once, and never read. A task is a run
of blocks. No sum depends on the number of threads.
"""

RUN = 1 << 13  # pixels of a task
