"""Runs made without training, and what services have of them, read back without their own help."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from chajong.files import write_json
from chajong.labels import Labels
from chajong.predictions import Predictions
from chajong.run import Run, finish_model
from chajong.score import score
from chajong.steps import FILE as STEPS
from tests.runs import started

NUM_EPOCHS = 3


def history(fold: int, num_epochs: int = NUM_EPOCHS) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": 1.0 / epoch + fold, "lr": 0.01}
        for epoch in range(1, num_epochs + 1)
    ]


def steps(fold: int) -> list[dict[str, Any]]:
    return [
        {"step": step, "time_s": 1e9 + step, "loss": 2.0 / step + fold, "lr": 0.01}
        for step in (1, 8)
    ]


def out_of_fold(labels: Labels, truth: dict[str, str]) -> Predictions:
    """Right but for two of the photos."""
    places = labels.indices(list(truth.values()))
    places[:2] = 1 - places[:2]
    probs = np.where(np.arange(len(labels.names)) == places[:, None], 0.8, 0.2)
    return Predictions(
        ids=tuple(truth),
        statuses=("ok",) * len(truth),
        classes=labels.names,
        views=("plain",),
        log_probs=np.log(probs)[:, None].astype(np.float32),
        kind="oof",
        run="",
        labels=tuple(truth.values()),
    )


def made(folder: Path, num_done: int = 2) -> Run:
    """A run of two folds, as training leaves it."""
    run = started(folder)
    for fold in range(num_done):
        model = run.model_folder(str(fold))
        finish_model(model, {"seconds": 60.0}, history(fold))
        (model / STEPS).write_text("".join(f"{json.dumps(each)}\n" for each in steps(fold)))
    if num_done == 2:
        rows = run.manifest().table
        table = out_of_fold(run.labels, dict(zip(rows["id"], rows["label"], strict=True)))
        table.save(run.predictions_path)
        write_json(run.score_path, score(table, table.truth(), run.labels.equal).as_dict())
    return run


# Weights & Biases


def wandb_records(run: Path) -> Iterator[Record]:
    """All records of the offline files, the oldest file first.

    Source: the log format of LevelDB, after a head of 7 bytes; records are protocol buffers.
    """
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        content, place, whole = path.read_bytes(), 7, b""
        assert content[:4] == b":W&B"
        while place + 7 <= len(content):
            if (left := 32768 - place % 32768) < 7:
                place += left
                continue
            length, kind = struct.unpack("<4xHB", content[place : place + 7])
            whole += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record = Record()
                record.ParseFromString(whole)
                whole = b""
                yield record


def wandb_history(run: Path) -> list[dict[str, Any]]:
    """What was logged, in order, pictures too."""
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
        for items in (record.history.item for record in wandb_records(run))
        if items
    ]


# TensorBoard


def tensorboard_values(run: Path) -> list[tuple[str, str, int, Any]]:
    """Folder, tag, step and value of all that was written."""
    root = run / "tensorboard"
    return [
        (path.parent.relative_to(root).as_posix(), value.tag, event.step, value)
        for path in sorted(root.rglob("events*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]


def tensorboard_scalars(run: Path) -> list[tuple[str, int, float]]:
    """Full name, step and value of all numbers, each as often as it was written."""
    return [
        (f"{folder}/{tag}".removeprefix("./"), step, value.tensor.float_val[0])
        for folder, tag, step, value in tensorboard_values(run)
        if value.tensor.float_val
    ]
