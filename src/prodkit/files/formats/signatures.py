"""Signatures of the programs, archives and documents that attackers hide beside the pixels of a picture.

Pictures are large enough to spell four bytes by chance: a signature counts only where no pixel can be, and a short one
only with more of its format behind it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Final

__all__ = ["at_fixed_offset", "in_metadata", "in_tail"]

# Between the last pixel and the end mark of a picture decoders skip everything: long signatures only, because the end
# of the pixels themselves is searched as well.
#
# Every picture is searched for each of them. Literals are searched from the end: rfind skips by their length, which
# from six bytes on is faster than find or a pattern.
_IN_TAIL: Final = (
    b"MZ\x90\x00\x03\x00\x00\x00",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"\xca\xfe\xba\xbe\x00\x00\x00",
    b"\x00asm\x01\x00\x00\x00",
    b"__halt_compiler",
    b"__HALT_COMPILER",
    b"his program cannot be run",
)
_SHORT_IN_TAIL: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rb"PK\x03\x04[\x0a\x14\x2d\x3f]\x00",
        rb"\x7fELF[\x01\x02][\x01\x02]\x01",
        rb"\xcf\xfa\xed\xfe[\x07\x0c]\x00\x00\x01",
        rb"%[pP][dD][fF]-[12]",
        rb"#!/(?:bin|usr)/",
    )
)
_LITERALS: Final = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x7fELF",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"%PDF-",
    b"\xca\xfe\xba\xbe\x00",
    b"\xd0\xcf\x11\xe0\xa1\xb1",
    b"\xcf\xfa\xed\xfe",
    b"\x00asm\x01",
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b\x08\x08",
    b"BZh91AY&SY",
    b"\xfd7zXZ\x00",
    b"MSCF\x00\x00\x00\x00",
    b"**ACE**",
    b"!<arch>\n",
    b"xar!\x00\x1c",
    b"ITSF\x03\x00\x00\x00",
    b"L\x00\x00\x00\x01\x14\x02\x00",
    b"dex\n03",
    b"SQLite format 3\x00",
    b"%!PS-Adobe",
    b"{\\rtf1",
    b"AT&TFORM",
    b"ftypisom",
    b"ftypmp4",
    b"OggS\x00\x02\x00\x00",
    b"fLaC\x00\x00\x00\x22",
    b"FLV\x01\x05\x00\x00\x00",
    b"MThd\x00\x00\x00\x06",
    b"8BPS\x00\x01\x00\x00\x00\x00",
    b"\x89HDF\r\n\x1a\n",
    b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00",
    b"\xa1\xb2\xc3\xd4\x00\x02\x00\x04",
    b"0&\xb2\x75\x8e\x66\xcf\x11",
    b"WARC/1.",
    b"wOFF\x00\x01\x00\x00",
    b"CD001\x01",
    b"RE~^\x07",
    b"wOF2\x00",
    b"OTTO\x00",
    b"YUV4MPEG2",
    b"ftypheic",
    b"ftypmif1",
    b"ftypavif",
    b"ftypqt  ",
    b"ftypM4",
)
_PATTERNS: Final = (
    (b"RIFF", re.compile(rb"RIFF.{4}(?:WAVE|AVI |WEBP)", re.DOTALL)),
    (b"FORM", re.compile(rb"FORM.{4}(?:AIF[FC]|ILBM)", re.DOTALL)),
    (b"\x1aE\xdf\xa3", re.compile(rb"\x1aE\xdf\xa3.{0,40}(?:matroska|webm)", re.DOTALL)),
    (
        b"07070",
        re.compile(rb"\A.?07070[127][0-9a-fA-F]{32}", re.DOTALL),
    ),  # elsewhere: any dump in hexadecimal
    (
        b"bplist00",
        re.compile(rb"\A.?bplist00", re.DOTALL),
    ),  # elsewhere: iPhones keep them in their maker notes
    (b"-lh", re.compile(rb"-lh[0-7d]-.{8}", re.DOTALL)),
    (b"RIFX", re.compile(rb"RIFX.{4}WAVE", re.DOTALL)),
    (b"ID3", re.compile(rb"ID3[\x02-\x04]\x00[\x00-\xf0][\x00-\x7f]{4}")),
    (b"ustar", re.compile(rb"ustar(?:\x0000|  \x00)")),
)
# Formats whose readers look at one place of the file, wherever that is inside the picture.
_FIXED: Final = (
    (128, b"DICM", "a DICOM file"),
    (257, b"ustar", "a tar archive"),
    (0x8001, b"CD001", "an ISO 9660 image"),
    (0x8801, b"CD001", "an ISO 9660 image"),
    (0x9001, b"CD001", "an ISO 9660 image"),
    (0x8001, b"BEA01", "a UDF image"),
    (0x8001, b"NSR0", "a UDF image"),
    (0x10040, b"_BHRfS_M", "a btrfs image"),
)
_ARJ: Final = b"\x60\xea"
_WINDOWS: Final = b"MZ"


def at_fixed_offset(data: bytes) -> str:
    """Return the name of a file whose magic stands at its fixed place inside `data`, or ""."""
    for offset, magic, name in _FIXED:
        if data.startswith(magic, offset):
            return name
    return ""


def in_tail(data: bytes, start: int, end: int) -> bool:
    """Return True for a long signature in the stretch, which may hold pixels."""
    return any(data.rfind(literal, start, end) >= 0 for literal in _IN_TAIL) or any(
        pattern.search(data, start, end) for pattern in _SHORT_IN_TAIL
    )


def in_metadata(data: bytes, start: int, end: int) -> str:
    """Return the signature of a program, archive or document in a stretch without pixels, or ""."""
    if in_tail(data, start, end):
        return "archive, document or program"
    window = data[start:end]
    for literal in _LITERALS:
        if literal in window:
            return ascii(literal)[2:-1]
    for literal, pattern in _PATTERNS:
        if literal in window and pattern.search(window):
            return ascii(literal)[2:-1]
    if _any(window, _WINDOWS, _is_program):
        return "a Windows program"
    return "an ARJ archive" if _any(window, _ARJ, _is_arj) else ""


def _any(window: bytes, literal: bytes, check: Callable[[bytes, int], bool]) -> bool:
    at = window.find(literal)
    while at >= 0:
        if check(window, at):
            return True
        at = window.find(literal, at + 1)
    return False


def _is_program(window: bytes, at: int) -> bool:
    """Return True for the header of a program, not for two letters by chance.

    Offset 0x3C of a DOS header points to a Windows header::

        MZ .. .. .. | 0x3C: 80 00 00 00 | .. | 0x80: P E 00 00
    """
    if at <= 1 and window[at + 2 : at + 4] in (b"\x90\0", b"\x80\0", b"\x50\0", b"\x78\0", b"\0\0"):
        return True  # the stretch begins with it (a GIF comment after the length of its first block)
    new = at + int.from_bytes(window[at + 0x3C : at + 0x40], "little")
    return new > at and window[new : new + 4] in (b"PE\0\0", b"NE\5\1", b"LE\0\0", b"LX\0\0")


def _is_arj(window: bytes, at: int) -> bool:
    """Return True for an ARJ header: readers search for two bytes, then check its size and checksum."""
    size = int.from_bytes(window[at + 2 : at + 4], "little")
    end = at + 4 + size
    if not 30 <= size <= 2600 or end + 4 > len(window):
        return False
    return zlib.crc32(window[at + 4 : end]) == int.from_bytes(window[end : end + 4], "little")
