"""The last layer of a network, whatever its backbone calls it: what it is, and what it gets."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def head_parameters(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """List the parameters of the last layer.

    Args:
        network: A network of `build_network`.

    Returns:
        Names and parameters.
    """
    heads = _heads(network)
    own = {id(parameter) for head in heads for parameter in head.parameters()}
    return [(name, p) for name, p in network.named_parameters() if id(p) in own]


def head_module(network: nn.Module) -> nn.Module:
    """Find the last layer; of a distilled network, the first of the two.

    Args:
        network: A network of `build_network`.

    Returns:
        The layer.
    """
    return _heads(network)[0]


@contextmanager
def head_inputs(network: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what the last layer gets while the network looks at photos.

    Args:
        network: A network of `build_network`.

    Yields:
        A list that grows by a float tensor `(n, d)` each time the network looks.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].float().flatten(1))  # some heads are convolutions on a 1 x 1 map

    hook = head_module(network).register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _heads(network: nn.Module) -> tuple[nn.Module, ...]:
    get = getattr(network, "get_classifier", None)
    if get is None:
        return ([module for module in network.modules() if isinstance(module, nn.Linear)][-1],)
    found = get()
    # Distilled networks have two.
    return found if isinstance(found, tuple) else (found,)
