"""From a recipe and photos to a trained run, and from a run to predictions."""

import os

# Threads that wait for each other spin for long by default: where another process takes one of the
# cores, each of a step's hundreds of parallel loops waits for a thread that does not run, and
# training takes several times as long. A short spin costs a quiet machine 4 % (docs/results.md).
# Read by OpenMP when torch is first imported; what the user has set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
