from __future__ import annotations

import pytest

from prodkit.files.media_types import names_another


@pytest.mark.parametrize(
    "declared", ["text/html", "Image/SVG+XML; charset=utf-8", "video/mp4", "image/bmp", "text/css"]
)
def test_types_that_no_policy_accepts(declared: str) -> None:
    assert names_another(declared)


@pytest.mark.parametrize(
    "declared", ["", "image/*", "application/octet-stream", "image/jpeg", "x/y", "nonsense"]
)
def test_a_type_that_says_nothing_is_no_evidence(declared: str) -> None:
    assert not names_another(declared)


def test_an_office_document_is_an_archive() -> None:
    for declared in ("application/zip", "application/x-zip-compressed"):
        assert names_another(declared)
        assert not names_another(declared, archive=True)
