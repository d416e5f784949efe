from __future__ import annotations

from collections.abc import Iterator

import pytest

from prodkit.logs.redaction import forget_secrets


@pytest.fixture(autouse=True)
def _no_registered_secrets() -> Iterator[None]:
    yield
    forget_secrets()
