"""Batch norm whose statistics count the photos of all processes, on a CPU too."""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn


class GlobalBatchNorm(nn.Module):
    """Replaces a batch norm in training: PyTorch's own synchronised one needs a GPU.

    Args:
        norm: The batch norm to replace; its parameters and buffers are shared, by name.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        parts: Any = norm
        self.weight: nn.Parameter = parts.weight
        self.bias: nn.Parameter = parts.bias
        self.eps: float = parts.eps
        self.momentum: float = parts.momentum
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        # timm's BatchNormAct2d carries its activation along.
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the mean and variance over all processes.

        Args:
            x: Activations `(n, c, ...)`.

        Returns:
            The same shape and type.
        """
        if not self.training:
            mean, var = self.running_mean, self.running_var
        else:
            # Sums of half-precision numbers lose their digits.
            mean, var = self._statistics(x.float())
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        normal = x * _along_channels(scale, x) + _along_channels(shift, x)
        out: Tensor = self.act(self.drop(normal.to(x.dtype)))
        return out

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Two passes, as the variance of small numbers around a large mean loses its digits.
        others = [axis for axis in range(x.dim()) if axis != 1]
        count = torch.tensor([x.numel() / x.shape[1]])
        dist.all_reduce(count)
        mean = _sum_over_all(x.sum(others)) / count
        var = _sum_over_all((x - _along_channels(mean, x)).square().sum(others)) / count
        with torch.no_grad():
            unbiased = var * (count / (count - 1))
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, var


def _along_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (x.dim() - 2))


class _SumOverAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004 PyTorch gives it
        return _all_reduced(x)

    # Every process's loss depends on every process's numbers.
    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _all_reduced(gradient)


def _sum_over_all(x: Tensor) -> Tensor:
    total: Tensor = _SumOverAll.apply(x)
    return total


def _all_reduced(x: Tensor) -> Tensor:
    total = x.clone()
    dist.all_reduce(total)
    return total


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch norm by one that counts the photos of all processes.

    Names of parameters and buffers stay as they are.

    Args:
        network: The network, changed in place.
        device: Where it computes.

    Returns:
        The network.
    """
    if device.type == "cuda":
        synchronised: nn.Module = convert_sync_batchnorm(network)
        return synchronised
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                norm: Any = GlobalBatchNorm(child)
                setattr(parent, name, norm)
    return network
