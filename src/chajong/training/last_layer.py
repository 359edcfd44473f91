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
    heads = head_modules(network)
    own = {id(parameter) for head in heads for parameter in head.parameters()}
    return [(name, p) for name, p in network.named_parameters() if id(p) in own]


def head_modules(network: nn.Module) -> tuple[nn.Module, ...]:
    """Find the last layer, of a distilled network both.

    Args:
        network: A network of `build_network`.

    Returns:
        The layers; none if a network that is not timm's has no linear one.
    """
    get = getattr(network, "get_classifier", None)
    if get is None:
        return tuple([each for each in network.modules() if isinstance(each, nn.Linear)][-1:])
    found = get()
    return found if isinstance(found, tuple) else (found,)


def head_module(network: nn.Module) -> nn.Module:
    """Find the last layer; of a distilled network, the first of the two.

    Args:
        network: A network of `build_network`.

    Returns:
        The layer.
    """
    return head_modules(network)[0]


def last_linear(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """Find the last layer where it is one linear layer.

    Args:
        network: A network of `build_network`.

    Returns:
        Its name and the layer; none if the network ends otherwise.
    """
    heads = head_modules(network)
    for name, module in network.named_modules():
        if heads == (module,) and isinstance(module, nn.Linear):
            return name, module
    return None


def replace_layer(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put another layer in the place of one.

    Args:
        network: Changed in place.
        name: The layer's name, as `named_modules` has it.
        module: What takes its place.
    """
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


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
