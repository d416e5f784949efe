from __future__ import annotations

import io

import pytest

from prodkit.files.decoding.decode import Undecodable
from prodkit.files.decoding.documents import rewrite_pdf
from prodkit.files.formats.pdf import walk_pdf

pikepdf = pytest.importorskip("pikepdf")


def paper(*, password: str = "") -> bytes:
    with io.BytesIO() as out, pikepdf.new() as document:
        document.add_blank_page()
        document.add_blank_page()
        document.save(out, encryption=pikepdf.Encryption(owner=password, user="") if password else None)
        return out.getvalue()


def test_a_lost_index_is_found_again() -> None:
    whole = paper()
    written = rewrite_pdf(whole[: whole.rindex(b"xref\n")])
    assert walk_pdf(written, max_unpacked_bytes=10**6, max_objects=100) == ()
    with pikepdf.open(io.BytesIO(written)) as document:
        assert len(document.pages) == 2
    assert rewrite_pdf(whole) == rewrite_pdf(whole)


@pytest.mark.parametrize(
    "data", [b"", b"%PDF-1.7\n", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF"]
)
def test_a_document_without_pages_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable):
        rewrite_pdf(data)


def test_an_encrypted_one_is_refused() -> None:
    with pytest.raises(Undecodable, match="encrypted"):
        rewrite_pdf(paper(password="segredo"))
