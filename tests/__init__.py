"""Tests, in processes that share two cores: none takes both for the sums of one test."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded, which read it
