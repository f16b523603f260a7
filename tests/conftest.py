"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory that holds MNIST and Fashion-MNIST as published: ``mnist/*.gz`` and ``fashion-mnist/*.gz``.

    ``ZOO_DATA`` names it; else it is looked for beside the checkout.
    """
    candidates = [Path(os.environ.get("ZOO_DATA") or "data"), Path(__file__).parents[2] / "shared" / "data"]
    for directory in candidates:
        if all((directory / name / "train-images-idx3-ubyte.gz").is_file() for name in ("mnist", "fashion-mnist")):
            return directory.resolve()
    pytest.skip("neither ZOO_DATA nor ../shared/data holds mnist/ and fashion-mnist/")
