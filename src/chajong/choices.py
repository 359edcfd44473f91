"""Choices that commands, Python and files have in common; nothing here takes long to import."""

from typing import Literal

Layout = Literal["dacon", "imagefolder", "csv", "metadata"]
"""How photos lie in a folder."""

Service = Literal["wandb", "mlflow", "tensorboard"]
"""Who may be told of a training."""

Runtime = Literal["onnxruntime", "openvino"]
"""What computes a bundle."""

Precision = Literal["fp32", "bf16", "int8"]
"""In which numbers it does."""

MAX_NEAREST = 50
"""How many of the nearest training photos are named in a table at most."""

IfUnreadable = Literal["refuse", "uniform", "skip"]
"""What becomes of photos that have no prediction, when a table is scored."""

FillUnreadable = Literal["refuse", "uniform"]
"""The same in a submission, which may leave none out."""
