import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from chajong.errors import DataError, RunError, WeightsError
from chajong.photos.preprocess import Preprocess
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.training.infer import Eye, infer_rows
from chajong.training.predict import predict
from chajong.training.weights import empty_network, load_weights
from tests.training.tiny import CPU, make_examples, write_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six good photos, and files in between that are none."""
    folder = write_photos(tmp_path / "photos", per_class=2)
    for path in list(folder.rglob("*.jpg")):
        path.rename(folder / path.name)
    (folder / "001b.jpg").write_bytes((folder / "001.jpg").read_bytes()[:-300])
    (folder / "002b.jpg").write_bytes(b"")
    (folder / "003b.jpg").write_text("no photo", encoding="utf-8")
    return folder


def eye_of(run: Run, fold: str) -> Eye:
    network = empty_network(run.recipe.model, len(run.labels.names))
    load_weights(network, run.model_folder(fold) / "weights.ema.safetensors")
    return Eye(network, CPU, "fp32", run.record.mean, run.record.std)


def test_every_file_gets_its_own_row_and_a_truthful_status(finished: Run, photos: Path) -> None:
    found = predict(finished, photos, CPU)
    names = [Path(name).name for name in found.ids]
    assert names == sorted(path.name for path in photos.iterdir() if path.is_file())
    for name, status, row in zip(names, found.statuses, found.log_probs, strict=True):
        if name.endswith("b.jpg"):
            assert status.startswith("unreadable: ")
            assert np.isnan(row).all()
        else:
            assert status == "ok"
            # The answer is about this photo: alone it gets the same.
            alone = predict(finished, photos / name, CPU)
            np.testing.assert_allclose(alone.log_probs[0], row, atol=1e-4)
    assert found.kind == "test"
    assert found.run == finished.fingerprint
    assert found.classes == finished.labels.names


def test_the_answer_is_the_geometric_mean_of_the_folds_view_by_view(
    finished: Run, photos: Path
) -> None:
    found = predict(finished, photos / "004.jpg", CPU)
    assert found.views == ("plain", "flip")
    pixels = Preprocess(32, "squash")((photos / "004.jpg").read_bytes())
    for view, log_probs in zip((pixels, pixels[:, ::-1].copy()), found.log_probs[0], strict=True):
        batch = torch.from_numpy(view[None])
        each = [np.exp(eye_of(finished, fold).look(batch, ("plain",))[0, 0]) for fold in "01"]
        mean = np.sqrt(each[0] * each[1])
        np.testing.assert_allclose(np.exp(log_probs), mean / mean.sum(), atol=1e-5)


def test_out_of_fold_answers_are_what_its_model_predicts(finished: Run) -> None:
    table = Predictions.load(finished.predictions_path)
    assert table.folds is not None
    manifest = finished.manifest().table
    paths = dict(zip(manifest["id"], manifest["path"], strict=True))
    for i in (0, 13, 35):
        data = finished.manifest().path_of(paths[table.ids[i]]).read_bytes()
        batch = torch.from_numpy(Preprocess(32, "squash")(data)[None])
        answer = eye_of(finished, str(table.folds[i])).look(batch, ("plain", "flip"))
        np.testing.assert_allclose(answer[0], table.log_probs[i], atol=1e-4)


def test_a_run_without_a_model_says_so(finished: Run, photos: Path, tmp_path: Path) -> None:
    young = tmp_path / "young"
    shutil.copytree(finished.folder, young, ignore=shutil.ignore_patterns("fold-*"))
    with pytest.raises(RunError, match="No model of"):
        predict(Run.load(young), photos, CPU)


def test_a_run_with_damaged_weights_says_so(finished: Run, photos: Path, tmp_path: Path) -> None:
    damaged = Run.load(shutil.copytree(finished.folder, tmp_path / "damaged"))
    path = damaged.model_folder("1") / "weights.ema.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"weights\.ema\.safetensors is no safetensors file"):
        predict(damaged, photos, CPU)
    path.unlink()
    with pytest.raises(WeightsError, match="There is no file"):
        predict(damaged, photos, CPU)


def test_no_photos_at_all(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        predict(finished, tmp_path / "empty", CPU)


def test_rows_are_looked_at_in_their_order_whatever_the_batches(finished: Run) -> None:
    examples, eye = make_examples(150), eye_of(finished, "0")
    rows = np.random.default_rng(0).permutation(150)
    found = infer_rows(eye, examples.pixels, rows, ("plain", "flip"))
    assert found.shape == (150, 2, 3)
    for i in (0, 63, 64, 149):
        alone = eye.look(torch.from_numpy(examples.pixels[rows[i : i + 1]]), ("plain", "flip"))
        np.testing.assert_allclose(found[i], alone[0], atol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, rtol=1e-5)
    assert not eye.network.training
