from __future__ import annotations

import pytest

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.pdf_actions import OpeningActions

URI = b"<< /Type /Action /S /URI /URI (https://x.example) >>"


def check(*pieces: bytes, packed: bytes | None = None, dictionary: bytes = b"") -> None:
    actions = OpeningActions()
    for piece in pieces:
        actions.add(piece)
    if packed is not None:
        actions.add(packed, dictionary)
    actions.check()


@pytest.mark.parametrize(
    "text",
    [
        b"<< /OpenAction [3 0 R /Fit] >>",
        b"<< /OpenAction 3 0 R >> 3 0 obj [5 0 R /XYZ 0 0 0] endobj 5 0 obj << /Annots [<< /A "
        + URI
        + b" >>] >> endobj",
        b"<< /OpenAction << /S /GoTo /D [3 0 R /Fit] >> >>",
        b"<< /OpenAction << /S /Named /N /FirstPage >> >>",
        b"<< /Annots [<< /Subtype /Link /A " + URI + b" >>] >>",
        b"<< /AA << >> /Annots [<< /A " + URI + b" >>] >>",
        b"<< /OpenAction 99 0 R >>",
        b"<< /AA << /O 4 0 R >> >> 4 0 obj << /S /GoTo /Next 4 0 R >> endobj",
    ],
)
def test_places_and_links_pass(text: bytes) -> None:
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        b"<< /OpenAction " + URI + b" >>",
        b"<< /Open#41ction <</S/U#52I>> >>",
        b"<< /OpenAction %x\n" + URI + b" >>",
        b"<< /OpenAction 4 0 R >> 4 0 obj " + URI + b" endobj",
        b"<< /AA << /O " + URI + b" >> >>",
        b"<< /AA 4 0 R >> 4 0 obj << /C 5 0 R >> endobj 5 0 obj << /S /GoToR /F (\\\\\\\\x\\\\a) >> endobj",
        b"<< /OpenAction << /S /GoTo /Next 5 0 R >> >> 5 0 obj" + URI,
        b"4 0 obj << /S /GoTo >> endobj 4 0 obj " + URI + b" endobj << /OpenAction 4 0 R >>",  # any revision
    ],
)
def test_what_starts_by_itself_and_leaves_the_document_is_refused(text: bytes) -> None:
    with pytest.raises(RefusedError, match="active_content"):
        check(text)


def test_objects_inside_object_streams_are_followed() -> None:
    packed = b"4 0 7 13 " + b"[1 0 R /Fit] " + URI
    check(b"<< /OpenAction 4 0 R >>", packed=packed, dictionary=b"/Type /ObjStm /N 2 /First 9")
    with pytest.raises(RefusedError, match="active_content"):
        check(b"<< /OpenAction 7 0 R >>", packed=packed, dictionary=b"/Type /ObjStm /N 2 /First 9")


def test_work_is_bounded() -> None:
    chain = b"".join(b"%d 0 obj << /Next %d 0 R >> endobj " % (each, each + 1) for each in range(1, 400))
    with pytest.raises(RefusedError, match="a maze of actions"):
        check(b"<< /OpenAction 1 0 R >> " + chain)
    with pytest.raises(RefusedError, match="inflates_too_much"):
        check(bytes(33 * 2**20), bytes(33 * 2**20))


def test_a_million_dictionaries_that_never_end_are_refused() -> None:
    with pytest.raises(RefusedError, match="a maze of actions"):
        check(b"/AA <<" * 20_000)
