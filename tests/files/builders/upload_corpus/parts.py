"""Putting containers together: segments, chunks and blocks, placed where the caller wants them."""

from __future__ import annotations

import struct
import zlib


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def into_jpeg(data: bytes, *parts: bytes) -> bytes:
    """After the JFIF segment."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + b"".join(parts) + data[at:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, pos = [], 8
    while pos < len(data):
        length = int.from_bytes(data[pos : pos + 4], "big")
        found.append((data[pos + 4 : pos + 8], data[pos + 8 : pos + 8 + length]))
        pos += 12 + length
    return found


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def into_png(data: bytes, *extra: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    chunks = png_chunks(data)
    at = [name for name, _ in chunks].index(before)
    return png(chunks[:at] + list(extra) + chunks[at:])


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def blocks(body: bytes) -> bytes:
    return (
        b"".join(bytes([len(body[at : at + 255])]) + body[at : at + 255] for at in range(0, len(body), 255))
        + b"\0"
    )


def into_gif(data: bytes, *extensions: bytes) -> bytes:
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return b"GIF89a" + data[6:at] + b"".join(extensions) + data[at:]


def gif_frame(data: bytes) -> int:
    """The position of the first image descriptor."""
    pos = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[pos] == 0x21:
        pos += 2
        while data[pos]:
            pos += 1 + data[pos]
        pos += 1
    return pos


def gif_pixels(data: bytes, pos: int) -> int:
    """The position of the LZW code size of the frame at `pos`."""
    return pos + 10 + (3 * 2 ** ((data[pos + 9] & 7) + 1) if data[pos + 9] & 0x80 else 0)


def riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, pos = [], 12
    while pos < len(data):
        length = int.from_bytes(data[pos + 4 : pos + 8], "little")
        found.append((data[pos : pos + 4], data[pos + 8 : pos + 8 + length]))
        pos += 8 + length + (length & 1)
    return found


def webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return riff(b"RIFF", b"WEBP" + b"".join(riff(name, body) for name, body in chunks))


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
        3, "little"
    )


def into_webp(
    data: bytes, *extra: tuple[bytes, bytes], size: tuple[int, int] = (96, 64), flags: int = 0
) -> bytes:
    chunks = webp_chunks(data)
    if chunks[0][0] != b"VP8X":
        chunks = [vp8x(*size), *chunks]
    head = bytearray(chunks[0][1])
    head[0] |= flags
    chunks[0] = (b"VP8X", bytes(head))
    return webp(chunks + list(extra))


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def video(body: bytes = b"") -> bytes:
    return (
        box(b"ftyp", b"mp42\0\0\0\0isommp42")
        + box(b"mdat", body or bytes(range(256)) * 8)
        + box(b"moov", box(b"mvhd", b"\0" * 100))
    )


def samsung(*entries: tuple[int, bytes, bytes]) -> bytes:
    """A SEF trailer: blocks, then the directory that points back at them."""
    body, places = b"", []
    for kind, name, content in entries:
        block = struct.pack("<HHI", 0, kind, len(name)) + name + content
        places.append((kind, len(body), len(block)))
        body += block
    directory = b"SEFH" + struct.pack("<II", 106, len(places))
    for kind, start, size in places:
        directory += struct.pack("<HHII", 0, kind, len(body) - start, size)
    return body + directory + struct.pack("<I", len(directory)) + b"SEFT"


def xmp(inner: str) -> bytes:
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {inner}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    return packet.encode()
