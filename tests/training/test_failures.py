"""What torch reports in words of its own is said in ours."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from chajong.errors import ResourceError, TrainingError
from chajong.recipe_train import Train
from chajong.training.failures import explained
from chajong.training.infer import Eye
from chajong.training.train import Options, train
from chajong.training.world import join_world
from tests.training.tiny import make_fit, make_recipe, write_photos


def test_too_little_memory_says_what_to_do() -> None:
    asked = Train(batch_size=64)
    with (
        pytest.raises(ResourceError, match=r"steps of 64 photos.*batch_size=32 and twice"),
        explained(asked),
    ):
        torch.empty(1 << 50)
    with pytest.raises(ResourceError, match="CUDA out of memory"), explained(asked):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")
    said = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    with pytest.raises(ResourceError, match="too little memory"), explained(asked):
        raise RuntimeError(said)


def test_too_little_memory_is_told_wherever_a_training_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        torch.empty(1 << 50)

    monkeypatch.setattr("chajong.training.model.Fit", full)  # as it moves the network to its device
    photos = write_photos(tmp_path / "photos", per_class=8, side_px=24)
    recipe = make_recipe(train_epochs=1)
    with pytest.raises(ResourceError, match="too little memory"):
        train(photos, recipe, Options(out=tmp_path / "run", cache_folder=tmp_path / "cache"))


def test_too_little_memory_to_look_at_photos_is_told() -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.empty(len(x) << 50)

    eye = Eye(Greedy(), torch.device("cpu"), "fp32", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    photos = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    for _ in range(2):  # a context serves once only
        with pytest.raises(ResourceError, match=r"to look at photos.*CUDA_VISIBLE_DEVICES="):
            eye.look(photos, ["plain"])


def test_what_is_not_known_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="must match"), explained(Train(compile=True)):
        torch.zeros(2) + torch.zeros(3)


def test_without_a_compiler_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (str(tmp_path / "none"),))
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # no processes of its own
    fit = make_fit(tmp_path, make_recipe(train_epochs=1, train_compile=True))
    with pytest.raises(TrainingError, match=r"cannot compile the network here.*compile=false"):
        fit.run()


def test_a_training_that_is_over_holds_nothing(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()  # as good as it is on a network that has come to the oldest generation
    try:
        fit = make_fit(tmp_path, make_recipe(train_epochs=1))
        fit.run()
        network = weakref.ref(fit.network)
        del fit
        assert network() is None
    finally:
        gc.enable()


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with (
        pytest.raises(TrainingError, match=r"for GPU 1 of this machine, which has 1\. Ask"),
        join_world(torch.device("cuda", 1)),
    ):
        pass
