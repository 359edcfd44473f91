"""The command that serves a bundle."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chajong.cli_options import PrecisionOption, RuntimeOption

if TYPE_CHECKING:
    from chajong.serving.service.settings import Limits


def serve(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8000,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    risk: Annotated[
        float | None,
        typer.Option(help="The share of wrong answers that is accepted, such as 0.02."),
    ] = None,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Photos that may wait; more are answered 503.")
    ] = 128,
    max_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of one photo's file; more are answered 413.")
    ] = 20,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, max=120, help="Of one photo; more are answered 422.")
    ] = 50,
    deadline: Annotated[
        float, typer.Option(min=0.001, help="Seconds for an answer; later ones are answered 504.")
    ] = 10,
    slow: Annotated[
        float, typer.Option(min=0.1, help="Seconds to send a photo; more while it keeps coming.")
    ] = 30,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Keys that are let in, one a line; also the variable CHAJONG_API_KEY."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A web site whose pages may ask; can be repeated."),
    ] = None,
) -> None:
    """Serve a bundle over HTTP, with a page at /, until Ctrl-C or SIGTERM."""
    from chajong.serving.service.settings import Settings, read_keys

    limits = _limits(max_queue, max_mb, max_megapixels, deadline, slow)
    keys, origins = read_keys(key_file), tuple(cors or ())
    settings = Settings(bundle, runtime, precision, risk, host, port, keys, origins, limits=limits)

    from chajong.serving.service.server import serve as serve_bundle

    serve_bundle(settings)


def _limits(
    max_queue: int, max_mb: float, max_megapixels: float, deadline: float, slow: float
) -> "Limits":
    from chajong.errors import DataError
    from chajong.serving.service.settings import Limits

    if not 0 < max_mb < math.inf:
        raise DataError(f"--max-mb must be greater than 0, and finite. Got {max_mb:g}.")
    return Limits(
        max_bytes=round(max_mb * 1e6),
        max_body_bytes=round(3 * max_mb * 1e6),
        max_held_bytes=max(Limits.max_held_bytes, round(4 * max_mb * 1e6)),
        max_megapixels=max_megapixels,
        max_photos=min(Limits.max_photos, max_queue),
        max_queue=max_queue,
        deadline_s=deadline,
        head_s=min(Limits.head_s, slow),
        body_s=slow,
    )
