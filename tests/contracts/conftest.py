"""One thread: tiny networks are quicker so, and give the same numbers on every machine."""

import torch

torch.set_num_threads(1)
