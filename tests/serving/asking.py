"""How photos are asked about, whoever answers."""

from pathlib import Path

from chajong.photos.sources import open_source
from chajong.predictions import Predictions
from chajong.serving.engine import Engine
from chajong.serving.predict import predict


def asked(engine: Engine, where: str | Path, out: Path) -> Predictions:
    predict(engine, open_source(str(where)), out)
    return Predictions.load(out)
