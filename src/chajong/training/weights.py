"""Where a network's first weights come from, and whether they may be used."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub.constants
import safetensors.torch
import timm
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn

from chajong.errors import RecipeError, WeightsError
from chajong.files import write_bytes
from chajong.recipe_model import Model
from chajong.record import forbids_commerce
from chajong.training.heads import with_head
from chajong.training.last_layer import head_parameters, last_linear, replace_layer
from chajong.wording import first_line

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WAYS_OUT = (
    "Ways out: give a local file (--set model.weights=FILE.safetensors; to an audit --weights "
    "FILE.safetensors), start from nothing (--set model.weights=none --set model.frozen_stages=0; "
    "an audit without --weights), or run the same command where the hub can be reached and copy "
    "its cache here."
)


@dataclass(frozen=True)
class Source:
    """What is known about a network's first weights.

    Args:
        name: Where they come from, for people.
        licence: As their publisher states it; empty where there are no weights.
        mean: Of the photos the weights were trained on, for each channel, in [0, 1].
        std: Likewise.
    """

    name: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def is_noncommercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return forbids_commerce(self.licence)


def build_network(
    model: Model, num_classes: int, allow_noncommercial: bool = False
) -> tuple[nn.Module, Source]:
    """Build a network with its first weights and a new head.

    Args:
        model: The recipe's model.
        num_classes: Outputs of the new head.
        allow_noncommercial: Whether weights that may not be used commercially are fine.

    Returns:
        The network on the CPU, and what is known about its weights.

    Raises:
        WeightsError: If the weights cannot be had, do not fit, or may not be used.
    """  # noqa: DOC502 raised by what it calls
    network = _create(model, num_classes, pretrained=False)
    if model.weights == "pretrained":
        network, source = _pretrained(model, num_classes, allow_noncommercial)
        return with_head(network, model), source
    if model.weights == "none":
        return with_head(network, model), Source("none", "", *_expected_input(network))
    source = _load_file(network, Path(model.weights))
    _check_licence(source, allow_noncommercial)
    return with_head(network, model), source


def located(model: Model) -> Model:
    """Say where the first weights lie so that it is found from every folder.

    Args:
        model: The recipe's model.

    Returns:
        The same, a file of weights by its absolute path.
    """
    if model.weights in ("pretrained", "none"):
        return model
    return model.model_copy(update={"weights": str(Path(model.weights).absolute())})


def empty_network(model: Model, num_classes: int) -> nn.Module:
    """Build a network with random weights.

    Args:
        model: The recipe's model.
        num_classes: Outputs of its head.

    Returns:
        The network on the CPU.

    Raises:
        RecipeError: If there is no such backbone or it does not know a setting.
    """  # noqa: DOC502 raised by _create
    return with_head(_create(model, num_classes, pretrained=False), model)


def _create(model: Model, num_classes: int, pretrained: bool) -> nn.Module:
    library, _, name = model.backbone.rpartition("/")
    if library == "torchvision":
        return _create_torchvision(model, name, num_classes, pretrained)
    if not _timm_knows(model.backbone):
        _refuse_backbone(model.backbone)
    options = {"drop_rate": model.dropout, "drop_path_rate": model.drop_path}
    chosen = {key: value for key, value in options.items() if value}
    try:
        network: nn.Module = timm.create_model(
            model.backbone, pretrained=pretrained, num_classes=num_classes, **chosen
        )
    except TypeError as error:
        raise RecipeError(
            f"model.backbone '{model.backbone}' does not know one of {', '.join(chosen)}: {error}. "
            "Set it to 0."
        ) from error
    return network


def _create_torchvision(model: Model, name: str, num_classes: int, pretrained: bool) -> nn.Module:
    if name not in torchvision.models.list_models(module=torchvision.models):
        _refuse_backbone(model.backbone)
    if model.dropout or model.drop_path:
        raise RecipeError(
            "model.dropout and model.drop_path are for timm backbones; set both to 0. "
            f"Got the backbone '{model.backbone}'."
        )
    network: nn.Module = torchvision.models.get_model(
        name, weights="DEFAULT" if pretrained else None
    )
    found = last_linear(network)
    if found is None or getattr(network, "aux_logits", False):
        raise RecipeError(
            f"model.backbone '{model.backbone}' does not end in one linear layer, so its head "
            "cannot be replaced. Choose another, or a timm backbone."
        )
    head_name, head = found
    replace_layer(network, head_name, nn.Linear(head.in_features, num_classes))
    return network


def _timm_knows(backbone: str) -> bool:
    if not timm.is_model(backbone):
        return False
    try:
        timm.get_pretrained_cfg(backbone)
    except RuntimeError:  # no such tag after the dot
        return False
    return True


def _refuse_backbone(backbone: str) -> None:
    word = backbone.rpartition("/")[2].split(".")[0].split("_")[0]
    near = (timm.list_pretrained(f"{word}*") or timm.list_models(f"*{word}*"))[:5]
    hint = f" Near it: {', '.join(near)}." if near else ""
    raise RecipeError(
        f"model.backbone must be a timm name or torchvision/NAME. Got '{backbone}'.{hint} "
        "See timm.list_models()."
    )


def _of_torchvision(name: str, where: str) -> Source:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    seen = weights.transforms()
    licence = weights.meta.get("license", "as torchvision states (BSD-3-Clause code, ImageNet)")
    if "SWAG" in licence:  # the address of a text that says so
        licence = f"CC-BY-NC-4.0 ({licence})"
    return Source(where, licence, tuple(seen.mean), tuple(seen.std))


def _pretrained(
    model: Model, num_classes: int, allow_noncommercial: bool
) -> tuple[nn.Module, Source]:
    where = f"pretrained weights of '{model.backbone}'"
    if model.backbone.startswith("torchvision/"):
        source = _of_torchvision(model.backbone.removeprefix("torchvision/"), where)
    else:
        config = timm.get_pretrained_cfg(model.backbone)
        if config is None or not config.has_weights:
            raise WeightsError(f"There are no {where} in timm. {_WAYS_OUT}")
        source = Source(where, config.license or "not stated", config.mean, config.std)
    # The licence first: it can be told without the hub.
    _check_licence(source, allow_noncommercial)
    try:
        with _quick_hub():
            return _create(model, num_classes, pretrained=True), source
    except RecipeError:
        raise
    except Exception as error:  # the hub's client has dozens of errors, and so has the network
        raise WeightsError(
            f"The {where} cannot be downloaded: {first_line(error)} ({type(error).__name__}). "
            f"{_WAYS_OUT}"
        ) from error


@contextmanager
def _quick_hub() -> Iterator[None]:
    # The hub's client retries for most of a minute where there is no network; its cache is enough.
    hub = huggingface_hub.constants
    asked = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = asked or not hub_is_reachable()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = asked


def hub_is_reachable() -> bool:
    """Tell whether pretrained weights can be downloaded.

    Returns:
        Whether the hub answers, or a proxy is set that may know it.
    """
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    parts = urlparse(huggingface_hub.constants.ENDPOINT)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError:
        return False
    return True


def _check_licence(source: Source, allow_noncommercial: bool) -> None:
    if source.is_noncommercial and not allow_noncommercial:
        raise WeightsError(
            f"The {source.name} are licensed {source.licence}: not for commercial use. "
            "Add --allow-noncommercial if that is fine for you (a competition, research), "
            "or choose another backbone."
        )


def _load_file(network: nn.Module, path: Path) -> Source:
    # The head of the file is for other classes, so it is dropped.
    tensors = _read_tensors(path)
    own = network.state_dict()
    head = {name for name, _ in head_parameters(network)}
    body = {name: value for name, value in own.items() if name not in head}
    fitting = {
        name: tensors[name].to(value.dtype)
        for name, value in body.items()
        if name in tensors and tensors[name].shape == value.shape
    }
    # Step counters of batch norm are no weights; some files leave them out.
    missing = [
        name for name in body if name not in fitting and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise WeightsError(
            f"model.weights {path} holds weights of another architecture: {len(missing)} of "
            f"{len(body)} tensors are missing or of another shape, such as '{missing[0]}'. "
            f"Choose the backbone that the file was made for{_said_architecture(path)}, or "
            "another file."
        )
    network.load_state_dict({**own, **fitting})
    return _describe_file(path, network)


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            f"model.weights must be 'pretrained', 'none' or a safetensors file. "
            f"There is no file {path}."
        )
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"model.weights {path} is no safetensors file: {error}.") from error
    return tensors


def _facts(path: Path) -> dict[str, object]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{beside} beside the weights is no JSON: {error}.") from error
    if not isinstance(facts, dict):
        raise WeightsError(
            f'{beside} beside the weights must be a mapping such as {{"mean": [0.5, 0.5, 0.5]}}. '
            f"Got {type(facts).__name__}."
        )
    return facts


def _said_architecture(path: Path) -> str:
    name = _facts(path).get("architecture")
    return f" ('{name}')" if name else ""


def _describe_file(path: Path, network: nn.Module) -> Source:
    facts = _facts(path)
    mean, std = _expected_input(network)
    licence = str(facts.get("license") or facts.get("licence") or facts.get("source") or "")
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Source(
        f"weights in {path} (sha256 {content})",
        licence or "not stated",
        _three(path, "mean", facts.get("mean"), mean),
        _three(path, "std", facts.get("std"), std),
    )


def _three(
    path: Path, name: str, value: object, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    if value is None:
        return default
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(isinstance(x, int | float) and 0 <= x <= 1 for x in value)
        or (name == "std" and 0 in value)
    ):
        allowed = "[0, 1]" if name == "mean" else "(0, 1]"
        raise WeightsError(
            f"'{name}' in {path.with_suffix('.json')} must be three numbers in {allowed}. "
            f"Got {value!r}."
        )
    return float(value[0]), float(value[1]), float(value[2])


def _expected_input(
    network: nn.Module,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    config = getattr(network, "pretrained_cfg", None) or {}
    mean, std = config.get("mean", _MEAN), config.get("std", _STD)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def save_weights(path: Path, network_state: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, atomically.

    Args:
        path: The file.
        network_state: Tensors by name.
    """
    flat = {name: value.detach().cpu().contiguous() for name, value in network_state.items()}
    write_bytes(path, safetensors.torch.save(flat))


def load_weights(network: nn.Module, path: Path) -> None:
    """Read a run's weights into its network.

    Args:
        network: The network, changed in place.
        path: The file that `save_weights` wrote.

    Raises:
        WeightsError: If the file is damaged or of another network.
    """
    tensors = _read_tensors(path)
    own = network.state_dict()
    unlike = [n for n in own if n not in tensors or tensors[n].shape != own[n].shape]
    if unlike or len(own) != len(tensors):
        raise WeightsError(
            f"{path} does not hold the weights of this run's network: {len(unlike)} tensors are "
            "missing or of another shape. Train the run again, or restore the file."
        )
    with torch.no_grad():
        network.load_state_dict(dict(tensors))
