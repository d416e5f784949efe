"""Write a damaged PDF again. Runs inside the sandbox; its results are walked afterwards like any other upload."""

from __future__ import annotations

import io
from typing import Any, Final

from prodkit.errors import MissingExtraError
from prodkit.files.decoding.decode import Undecodable

__all__ = ["load_library", "rewrite_pdf"]

_MAX_PAGES: Final = 5_000


def load_library() -> Any:
    """Return pikepdf, whose qpdf finds the objects of a document without its index."""
    try:
        import pikepdf  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError.named("pikepdf", "pdf") from error
    return pikepdf


def rewrite_pdf(data: bytes) -> bytes:
    """Return the document with everything that its pages reach, in plain objects and with a new index.

    Args:
        data: a PDF whose end or index is missing or wrong.

    Raises:
        Undecodable: no page was found, or it is encrypted.
    """
    pikepdf = load_library()
    with io.BytesIO(data) as source, io.BytesIO() as out:
        try:
            with pikepdf.open(source, attempt_recovery=True) as document:
                problem = _problem(document)
                if not problem:
                    plain = pikepdf.ObjectStreamMode.disable
                    document.save(out, object_stream_mode=plain, static_id=True)
        except Exception as error:  # the library maps the faults of a document to many classes
            raise Undecodable(type(error).__name__) from error
        if problem:
            raise Undecodable(problem)
        return out.getvalue()


def _problem(document: Any) -> str:
    if document.is_encrypted:
        return "encrypted"
    pages = len(document.pages)
    return "" if 1 <= pages <= _MAX_PAGES else f"{pages} pages"
