"""Models as files for programs without upscore, and the comparison each has to pass."""
