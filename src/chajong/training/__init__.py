"""From a recipe and photos to a trained run, and from a run to predictions."""

import os

# Threads that wait for each other should sleep: by default they spin, and where another process
# takes one of the cores, each of a step's hundreds of parallel loops waits for a thread that does
# not run: five times slower than need be. Read by OpenMP when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
