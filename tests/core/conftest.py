from __future__ import annotations

from collections.abc import Iterator

import pytest

from prodkit.core.secrets import REGISTRY


@pytest.fixture(autouse=True)
def _no_registered_secrets() -> Iterator[None]:
    yield
    REGISTRY.clear()
