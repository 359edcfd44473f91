import pytest

from chajong.run import Run
from tests.reporting.reviewing import made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with label suspects."""
    return made_run(tmp_path_factory.mktemp("review"))
