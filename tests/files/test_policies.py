from __future__ import annotations

import pytest

from prodkit import files


def test_all_bad_arguments_are_in_one_error() -> None:
    with pytest.raises(ValueError, match="max_bytes") as caught:
        files.ImagePolicy(max_bytes=0, formats=frozenset(("bmp",)), trailers="keep", quality=0)  # type: ignore[arg-type]
    for name in ("bmp", "trailers", "quality"):
        assert name in str(caught.value)


def test_kinds_are_the_formats() -> None:
    assert files.PdfPolicy().kinds == {"pdf"}
    assert files.TextPolicy(formats=frozenset(("csv",))).kinds == {"csv"}
    assert files.OfficePolicy().kinds == {"docx", "xlsx", "pptx", "odt", "ods", "odp"}


def test_one_large_picture_always_fits_the_pixels_of_an_animation() -> None:
    policy = files.ImagePolicy(max_width=20_000, max_height=10_000)
    assert policy.limits.max_total_pixels == 200_000_000
    assert policy.budget.pixels == 200_000_000


def test_any_of_refuses_an_overlap() -> None:
    both = files.AnyOf(files.ImagePolicy(), files.PdfPolicy())
    assert [type(each).__name__ for each in both.policies] == ["ImagePolicy", "PdfPolicy"]
    assert repr(both).startswith("AnyOf(ImagePolicy(")
    with pytest.raises(ValueError, match="pdf allowed by two policies"):
        files.AnyOf(files.PdfPolicy(), files.PdfPolicy())
    with pytest.raises(ValueError, match="at least one"):
        files.AnyOf()
