import json
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from chajong.errors import WeightsError
from chajong.recipe_model import Model
from chajong.training import weights
from chajong.training.last_layer import head_parameters
from chajong.training.weights import (
    build_network,
    empty_network,
    hub_is_reachable,
    load_weights,
    save_weights,
)

MODEL = Model(backbone="test_resnet", weights="none")


def file_of(network: nn.Module, folder: Path, facts: object = None) -> Path:
    path = folder / "some.imagenet.safetensors"
    save_weights(path, network.state_dict())
    if facts is not None:
        path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    return path


def imagenet(folder: Path, facts: object = None, backbone: str = "test_resnet") -> Path:
    torch.manual_seed(3)
    return file_of(empty_network(Model(backbone=backbone), 1000), folder, facts)


def model_from(path: Path, backbone: str = "test_resnet") -> Model:
    return Model(backbone=backbone, weights=str(path))


def body(network: nn.Module) -> dict[str, Tensor]:
    head = {name for name, _ in head_parameters(network)}
    return {n: value for n, value in network.state_dict().items() if n not in head}


def test_a_file_gives_the_body_and_drops_its_head(tmp_path: Path) -> None:
    path = imagenet(tmp_path)
    torch.manual_seed(4)
    network, source = build_network(model_from(path), 5)
    theirs = safetensors.torch.load_file(path)
    assert all(torch.equal(value, theirs[name]) for name, value in body(network).items())
    assert {p.shape[0] for _, p in head_parameters(network)} == {5}
    assert str(path) in source.name
    assert source.licence == "not stated"


def test_a_file_of_the_same_classes_loses_its_head_too(tmp_path: Path) -> None:
    torch.manual_seed(3)
    path = file_of(empty_network(MODEL, 5), tmp_path)
    torch.manual_seed(4)
    network, _ = build_network(model_from(path), 5)
    head = dict(head_parameters(network))["fc.weight"]
    assert not torch.equal(head, safetensors.torch.load_file(path)["fc.weight"])


def test_files_without_step_counters_or_head_and_in_half_precision_fit(tmp_path: Path) -> None:
    path = imagenet(tmp_path)
    tensors = safetensors.torch.load_file(path)
    kept = {
        name: value.half()
        for name, value in tensors.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    safetensors.torch.save_file(kept, path)
    network, _ = build_network(model_from(path), 5)
    assert network.state_dict()["conv1.0.weight"].dtype == torch.float32
    assert torch.equal(network.state_dict()["conv1.0.weight"], kept["conv1.0.weight"].float())


def test_the_json_beside_says_mean_std_and_licence(tmp_path: Path) -> None:
    facts = {"mean": [0.5, 0, 1], "std": [0.1, 0.2, 1], "license": "apache-2.0"}
    _, source = build_network(model_from(imagenet(tmp_path, facts)), 5)
    assert source.mean == (0.5, 0.0, 1.0)
    assert source.std == (0.1, 0.2, 1.0)
    assert source.licence == "apache-2.0"


def test_without_json_mean_and_std_are_what_the_backbone_expects(tmp_path: Path) -> None:
    path = imagenet(tmp_path, backbone="test_vit")
    network, source = build_network(model_from(path, "test_vit"), 5)
    assert source.mean == tuple(network.pretrained_cfg["mean"])  # type: ignore[index]
    assert source.std == tuple(network.pretrained_cfg["std"])  # type: ignore[index]
    assert source.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"mean": [0.5, 0.5]}, r"'mean' in .*\.json must be three numbers in \[0, 1\]"),
        ({"mean": [124, 116, 104]}, r"'mean' .* in \[0, 1\]. Got \[124, 116, 104\]"),
        ({"mean": "0.5"}, "'mean' .* three numbers"),
        ({"std": [0.2, 0, 0.2]}, r"'std' .* in \(0, 1\]"),
        ({"std": [0.2, None, 0.2]}, "'std' .* three numbers"),
        ({"std": [0.2, float("nan"), 0.2]}, "'std' .* three numbers"),
        ([0.5, 0.5, 0.5], "must be a mapping"),
    ],
)
def test_wrong_facts_beside_the_weights_are_refused(
    facts: object, said: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=said):
        build_network(model_from(imagenet(tmp_path, facts)), 5)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"mean = 1"])
def test_a_malformed_json_beside_the_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    path = imagenet(tmp_path)
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"some\.imagenet\.json beside the weights is no JSON"):
        build_network(model_from(path), 5)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = imagenet(tmp_path, {"architecture": "test_vit"}, backbone="test_vit")
    with pytest.raises(WeightsError, match=r"another architecture: \d+ of \d+ .*\('test_vit'\)"):
        build_network(model_from(path), 5)


def test_one_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = imagenet(tmp_path)
    tensors = safetensors.torch.load_file(path)
    tensors["conv1.0.weight"] = tensors["conv1.0.weight"][:, :, :2].contiguous()
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"1 of \d+ tensors .* such as 'conv1\.0\.weight'"):
        build_network(model_from(path), 5)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def text(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\n" * 3, encoding="utf-8")


@pytest.mark.parametrize("damage", [truncated, emptied, pickled, text])
def test_what_is_no_safetensors_file_is_refused(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    path = imagenet(tmp_path)
    damage(path)
    with pytest.raises(WeightsError, match="is no safetensors file"):
        build_network(model_from(path), 5)
    with pytest.raises(WeightsError, match="is no safetensors file"):
        load_weights(empty_network(MODEL, 5), path)


@pytest.mark.parametrize("name", ["missing.safetensors", "", "pretraind"])
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There is no file"):
        build_network(model_from(tmp_path / name), 5)


def test_noncommercial_weights_need_a_yes_before_the_network_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Asking would end in another error: nothing listens there.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    model = Model(backbone="convnextv2_atto.fcmae_ft_in1k", weights="pretrained")
    with pytest.raises(WeightsError, match=r"cc-by-nc-4\.0: not for commercial use.*--allow-nonc"):
        build_network(model, 5)


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", "CC-BY-NC", "Non-Commercial research only"])
def test_a_noncommercial_file_needs_a_yes(licence: str, tmp_path: Path) -> None:
    path = imagenet(tmp_path, {"license": licence})
    with pytest.raises(WeightsError, match="not for commercial use"):
        build_network(model_from(path), 5)
    _, source = build_network(model_from(path), 5, allow_noncommercial=True)
    assert source.licence == licence


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that refuses connections, and nothing downloaded yet."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.mark.usefixtures("no_hub")
def test_an_unreachable_hub_gives_one_clear_error_quickly() -> None:
    assert not hub_is_reachable()
    begin = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        build_network(Model(backbone="test_resnet.r160_in1k", weights="pretrained"), 5)
    assert time.perf_counter() - begin < 10
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be downloaded" in message
    assert "--set model.weights=FILE.safetensors" in message
    assert "--set model.weights=none" in message
    assert not huggingface_hub.constants.HF_HUB_OFFLINE  # only for as long as it was asked


@pytest.mark.usefixtures("no_hub")
def test_torchvisions_weights_that_cannot_be_had_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    model = Model(backbone="torchvision/shufflenet_v2_x0_5", weights="pretrained")
    with pytest.raises(WeightsError, match=r"cannot be downloaded.*Ways out"):
        build_network(model, 5)


def test_a_backbone_without_pretrained_weights_says_so() -> None:
    model = Model(backbone="convnext_atto_rms", weights="pretrained")
    with pytest.raises(
        WeightsError, match="There are no pretrained weights of 'convnext_atto_rms'"
    ):
        build_network(model, 5)


def test_saved_weights_replace_the_old_file_whole(tmp_path: Path) -> None:
    path = file_of(empty_network(MODEL, 5), tmp_path)
    before = path.read_bytes()
    save_weights(path, empty_network(MODEL, 5).state_dict())
    assert path.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["vit_h_14", "regnet_y_128gf"])
def test_torchvisions_noncommercial_weights_are_refused(name: str) -> None:
    source = weights._of_torchvision(name, "weights")
    assert source.is_noncommercial
    with pytest.raises(WeightsError, match="CC-BY-NC"):
        weights._check_licence(source, False)


def test_torchvision_says_what_its_weights_expect() -> None:
    usual = weights._of_torchvision("resnet50", "weights")
    assert (usual.mean, usual.is_noncommercial) == ((0.485, 0.456, 0.406), False)
    assert weights._of_torchvision("efficientnet_v2_l", "weights").mean == (0.5, 0.5, 0.5)
