"""The main job from end to end, on drawn photos."""

from collections.abc import Iterator
from pathlib import Path

from chajong.errors import RunError
from chajong.photos.audit import audit
from chajong.photos.demo import render_demo
from chajong.photos.layout import find_unlabelled
from chajong.predictions import Predictions
from chajong.recipes import named_recipe
from chajong.reporting.predictions_sheet import predictions_sheet
from chajong.reporting.sheet import contact_sheet
from chajong.run import Run
from chajong.score import read_truth, score
from chajong.submission import (
    make_submission,
    read_submission,
    validate_submission,
    write_submission,
)

# As much as a network can learn from scratch in two minutes on two cores.
_NUM_MODELS, _PER_MODEL = 8, 140


def run_demo(out: Path) -> Iterator[str]:
    """Draw photos, then audit, split, train, score, predict and submit; what is there is reused.

    Args:
        out: Folder for the photos and all results.

    Yields:
        Lines of a summary: where each result lies, the score, a picture, the next command.

    Raises:
        ChajongError: If the folder cannot be used.
    """  # noqa: DOC502 raised by what it calls
    photos, truth = out / "photos", out / "photos" / "test_labels.csv"
    render_demo(photos, _NUM_MODELS, _PER_MODEL)
    manifest = audit(photos)
    manifest.save(out / "audit")
    issues = contact_sheet(manifest, out / "audit" / "issues.jpg")
    run = _train(photos, out / "run")
    predictions = _predict(run, photos, out / "predictions.parquet")
    submission = out / "submission.csv"
    sample = photos / "sample_submission.csv"
    write_submission(make_submission(predictions, sample), submission)
    validate_submission(submission, sample)
    found = score(read_submission(submission), read_truth(truth))
    paths = {ref.id: ref.path for ref in find_unlabelled(photos)}
    picture = predictions_sheet(predictions, paths, read_truth(truth), out / "predictions.jpg")
    oof = run.score()
    yield "The whole chain ran on drawn photos."
    yield f"  photos         {photos} ({len(manifest.table):,} of {len(run.labels.names)} models)"
    yield f"  audit          {out / 'audit'} ({len(manifest.issues):,} issues, shown in {issues})"
    yield f"  run            {run.folder}"
    if oof is not None:
        figures = f"log loss {oof.log_loss.value:.3f}, top-1 {oof.top1.value:.3f}"
        yield f"  out of fold    {run.predictions_path} ({figures})"
    figures = f"log loss {found.log_loss.value:.3f}, top-1 {found.top1.value:.3f}"
    yield f"  test photos    {out / 'predictions.parquet'} ({figures})"
    yield f"  submission     {submission} (checked against {sample.name})"
    yield f"  open this      {picture}"
    yield "Next, with photos of your own (a folder a model will do):"
    yield "  .venv/bin/chajong doctor"
    yield "  .venv/bin/chajong train PHOTOS --recipe cars-fast"


def _train(photos: Path, folder: Path) -> Run:
    from chajong.training.train import Options, train

    try:
        train(photos, named_recipe("demo"), Options(out=folder))
    except RunError as error:
        raise RunError(f"{error} Here without --out: chajong demo FOLDER.") from error
    return Run.load(folder)


def _predict(run: Run, photos: Path, path: Path) -> Predictions:
    if path.exists():
        made = Predictions.load(path)
        if made.run == run.fingerprint:
            return made
    from chajong.training.predict import predict

    made = predict(run, photos)
    made.save(path)
    return made
