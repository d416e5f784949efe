from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest

from prodkit import files

sys.path.insert(0, str(Path(__file__).parent / "builders"))  # upload_corpus, shared with the benchmark


@pytest.fixture
def avatars() -> files.Validator:
    """The policy of the reference app: jpeg, png, webp, gif, at most 5 MiB and 2048x2048."""
    return files.Validator(files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048))


def _corpus() -> Path | None:
    named = os.environ.get("PRODKIT_CORPUS")
    beside = Path(__file__).parents[2].parent / "shared" / "corpus"
    return next(
        (path for path in (named and Path(named), beside) if path and (path / "manifest.csv").exists()), None
    )


@pytest.fixture(scope="session")
def corpus() -> list[tuple[dict[str, str], bytes]]:
    """Real images of cameras, phones and image software: manifest row and bytes."""
    home = _corpus()
    if home is None:
        pytest.skip("the corpus of real images is not here: set PRODKIT_CORPUS to its directory")
    with (home / "manifest.csv").open(newline="") as manifest:
        rows = list(csv.DictReader(manifest))
    return [(row, (home / "images" / row["file"]).read_bytes()) for row in rows]
