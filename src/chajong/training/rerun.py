"""Training a run again, to see whether the same comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from chajong.corrections import Corrections
from chajong.environment import code_fingerprint
from chajong.errors import RunError
from chajong.experiments.again import beside
from chajong.experiments.sameness import Sameness, sameness
from chajong.photos.audit import audit
from chajong.progress import say
from chajong.run import Run
from chajong.training.distil import fingerprint_of, load_teacher
from chajong.training.train import Options, train
from chajong.training.weights import build_network
from chajong.training.world import join_world


def rerun(run: Run, data: Path | None, options: Options) -> Sameness | None:
    """Train the models of a run again in another folder, and compare bit by bit.

    Args:
        run: The run, at least one of its models trained.
        data: The photos; where they lay then, if none.
        options: Where and how to train; what decides the result is the run's, and so are layout,
            corrections and teacher unless they are said.

    Returns:
        How alike both are; none on the processes that only help the first.

    Raises:
        RunError: If nothing is trained yet, or data or first weights are not those of the run.
    """
    data = data or Path(run.record.data)
    options = _completed(run, options)
    _check(run, data, options)
    out = options.out or beside(run.folder)
    if out.resolve() == run.folder.resolve():
        raise RunError(f"{run.folder} cannot be trained again in itself: choose another --out.")
    _check_again(out)
    again = None
    with join_world(options.device):  # once: torchrun's processes cannot meet again after they part
        for fold in run.done:
            with _as_many_threads_as(run, fold):
                again = train(data, run.recipe, replace(options, out=out, fold=fold))
    return sameness(run, again) if again is not None else None


def _check_again(out: Path) -> None:
    # A rerun by other code would be compared as if this code had done it.
    if not Run.is_in(out):
        return
    again = Run.load(out)
    if again.record.environment.get("code") != code_fingerprint():
        raise RunError(
            f"{out} holds a rerun by another version of this program. Put it away (chajong runs rm "
            "RUN), or choose another folder with --out."
        )
    if again.done:
        say(f"{out}: {len(again.done)} model(s) were trained before by this version, and are kept")


@contextmanager
def _as_many_threads_as(run: Run, fold: str) -> Iterator[None]:
    # Sums are rounded otherwise by other numbers of threads.
    before = torch.get_num_threads()
    torch.set_num_threads(run.facts(fold).get("threads", before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _completed(run: Run, options: Options) -> Options:
    record = run.record
    corrections, teacher = (
        None if path is None else Path(path) for path in (record.corrections_file, record.teacher)
    )
    return replace(
        options,
        layout=options.layout or record.layout,
        corrections=options.corrections or corrections,
        teacher=options.teacher or teacher,
        allow_noncommercial=True,  # accepted for this run
    )


def _check(run: Run, data: Path, options: Options) -> None:
    # Before any work is done.
    if not run.done:
        raise RunError(f"{run.folder} has no trained model to compare with. Train it first.")
    if not data.exists():
        raise RunError(f"{run.folder} was trained on {data}, which is not there: say --data.")
    manifest = audit(data, options.layout, options.cache_folder)
    if options.corrections is not None:
        manifest = Corrections.load(options.corrections).apply(manifest)
    if manifest.fingerprint != run.record.data_fingerprint:
        corrected = run.record.corrected
        then = f" and corrections ({corrected})" if corrected else ""
        raise RunError(
            f"{run.folder} was trained on other data: {run.record.num_photos:,} photos{then} "
            f"then, {manifest.trainable().height:,} of {data} now, or their labels, contents or "
            "groups differ. Give the data of then with --data, --layout and --corrections."
        )
    weights = build_network(run.recipe.model, 2, allow_noncommercial=True)[1].name
    if weights != run.record.weights:
        raise RunError(
            f"{run.folder} started from {run.record.weights}; now there is {weights}. Restore them."
        )
    if options.teacher is not None:
        teacher = fingerprint_of(load_teacher(options.teacher))
        if teacher != run.record.teacher_fingerprint:
            raise RunError(
                f"{run.folder} learned from the teacher {run.record.teacher_fingerprint}; now "
                f"{options.teacher} holds {teacher}. Restore it."
            )
    if code_fingerprint() != run.record.environment.get("code"):
        say("the code is not the one that trained this run; what comes out may differ")
