"""The command that sends a finished run to a service."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.cli_options import Service


def push(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    to: Annotated[Service, typer.Option(help="Where to.")],
) -> None:
    """Send a run to a service; what it has already is not sent again."""
    from chajong.tracking.send import push as send

    print(send(run, to))
