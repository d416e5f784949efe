"""All samples of the conformance set."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from prodkit.testing.uploads.sample import (
    UploadSample,
    box,
    chunk,
    drawing,
    encoded,
    exif,
    into_jpeg,
    riff,
    segment,
)

__all__ = ["samples"]


def samples() -> Iterator[UploadSample]:
    """Yield every sample. Needs Pillow (the extra ``files``)."""
    yield from _phones()
    yield from _cameras()
    yield from _screens()
    yield from _messengers()
    yield from _damaged()
    yield from _hostile()


def _jpg(name: str, origin: str, data: bytes, **more: object) -> UploadSample:
    return UploadSample(name, origin, data, f"{name}.jpg", "image/jpeg", **more)  # type: ignore[arg-type]


# --- phones ---


def _phones() -> Iterator[UploadSample]:
    photo = encoded("JPEG", quality=85)
    gain = encoded("JPEG", drawing(48, 32).convert("L"))
    jfif = photo[:4] + struct.pack(">H", 20) + photo[6:20] + b"AMPF" + photo[20:]
    yield _jpg(
        "iphone-hdr",
        "iPhone, HDR: AMPF after the JFIF header, a second picture with the gain map (MPF index)",
        _with_mpf(into_jpeg(jfif[:4] + jfif[4:], exif(make="Apple", model="iPhone 13 mini")), gain),
    )
    yield _jpg(
        "iphone-portrait",
        "iPhone, portrait mode: Exif orientation 6, two further pictures (depth, matte)",
        _with_mpf(into_jpeg(photo, exif(6, "Apple", "iPhone 15")), gain, gain),
    )
    gain_xmp = (
        b"http://ns.adobe.com/xap/1.0/\0"
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/></rdf:RDF></x:xmpmeta>'
        b'<?xpacket end="w"?>'
    )
    yield _jpg(
        "ultra-hdr",
        "Android Ultra HDR: gain map as a second JPEG, named in XMP and in the MPF index",
        _with_mpf(into_jpeg(photo, segment(0xE1, gain_xmp)), gain),
    )
    yield _jpg(
        "galaxy-sef",
        "Samsung Galaxy: SEF blocks and their directory after the picture",
        into_jpeg(photo, exif(6, "samsung", "SM-G998B"))
        + _samsung((0x0A01, b"Image_UTC_Data", b"1732480000000")),
    )
    yield _jpg(
        "pixel-motion",
        "Google Pixel motion photo: an MP4 video after the picture",
        into_jpeg(photo, exif(1, "Google", "Pixel 8")) + _video(),
    )
    yield _jpg(
        "htc-depth",
        "HTC One M8: a depth table without a known structure after the picture",
        photo + b"\x01\x04DEPTHMAP\0" + bytes((n * 7) & 0x7F for n in range(4096)),
        refuse="trailing_data",
        repairs=("tail",),
    )


def _with_mpf(photo: bytes, *pictures: bytes) -> bytes:
    """Append `pictures` under an MPF index (CIPA DC-007): APP2 with a TIFF header and one entry a picture."""
    count = 1 + len(pictures)
    size = 4 + 4 + 8 + 2 + 3 * 12 + 4 + 16 * count
    total = len(photo) + 4 + size
    entries, offset = struct.pack(">IIIHH", 0x20030000, total, 0, 0, 0), total
    begin = 4 + int.from_bytes(photo[4:6], "big")  # the index stands behind the JFIF segment
    for picture in pictures:
        entries += struct.pack(">IIIHH", 0, len(picture), offset - begin - 8, 0, 0)
        offset += len(picture)
    fields = (
        struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
        + struct.pack(">HHII", 0xB001, 4, 1, count)
        + struct.pack(">HHII", 0xB002, 7, 16 * count, 50)
    )
    body = b"MPF\0MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 3) + fields + b"\0\0\0\0" + entries
    return into_jpeg(photo, segment(0xE2, body)) + b"".join(pictures)


def _samsung(*entries: tuple[int, bytes, bytes]) -> bytes:
    body, directory = b"", b"SEFH" + struct.pack("<II", 106, len(entries))
    places = list[tuple[int, int, int]]()
    for kind, name, content in entries:
        block = struct.pack("<HHI", 0, kind, len(name)) + name + content
        places.append((kind, len(body), len(block)))
        body += block
    for kind, start, size in places:
        directory += struct.pack("<HHII", 0, kind, len(body) - start, size)
    return body + directory + struct.pack("<I", len(directory)) + b"SEFT"


def _video() -> bytes:
    return (
        box(b"ftyp", b"mp42\0\0\0\0isommp42")
        + box(b"mdat", bytes(range(256)) * 8)
        + box(b"moov", box(b"mvhd", b"\0" * 100))
    )


# --- cameras and scanners ---


def _cameras() -> Iterator[UploadSample]:
    photo = encoded("JPEG", quality=92)
    preview = encoded("JPEG", drawing(48, 32))
    yield _jpg(
        "sony-mpo",
        "Sony: a large preview as a second picture, zeros between the two",
        into_jpeg(photo, exif(8, "SONY", "ILCE-7M3")) + bytes(512) + preview,
    )
    yield _jpg(
        "minolta-preview",
        "Minolta DiMAGE: a preview whose first byte the camera overwrites",
        into_jpeg(photo, exif(1, "Minolta Co., Ltd.", "DiMAGE 7")) + b"\x02" + preview[1:],
    )
    block = b"IPTC " + bytes(64)
    yield _jpg(
        "fotostation",
        "FotoStation: IPTC blocks behind the picture, each with a footer that gives its size",
        photo + block + struct.pack(">HII", 1, len(block) + 10, 0xA1B2C3D4),
    )
    yield _jpg(
        "memory-card-rest",
        "Old cameras: the rest of the last cluster of the memory card, from a file that stood there before",
        photo + hashlib.shake_128(b"an old file").digest(8192).replace(b"\xff", b"\x7f"),
        refuse="trailing_data",
        repairs=("tail",),
    )
    yield _jpg(
        "scanner-grey",
        "Flatbed scanner: grey, 300 dpi in the JFIF header, padding to an even length",
        encoded("JPEG", drawing().convert("L"), dpi=(300, 300)) + b"\0",
    )
    yield _jpg(
        "camera-progressive",
        "Image editor: progressive, 4:4:4",
        encoded("JPEG", progressive=True, subsampling=0),
    )
    yield _jpg(
        "camera-cmyk", "Print shop: CMYK as Adobe writes it", encoded("JPEG", drawing().convert("CMYK"))
    )


# --- screenshots and screen recordings ---


def _screens() -> Iterator[UploadSample]:
    yield UploadSample(
        "android-screenshot",
        "Android: PNG with sBIT, sRGB and a software text",
        _png_with(
            chunk(b"sBIT", b"\x08\x08\x08") + chunk(b"sRGB", b"\0") + chunk(b"tEXt", b"Software\0Android")
        ),
        "Screenshot_20261124-184359.png",
        "image/png",
    )
    yield UploadSample(
        "macos-screenshot",
        "macOS: PNG with Exif, iTXt and pHYs",
        _png_with(
            chunk(b"pHYs", struct.pack(">IIB", 5669, 5669, 1))
            + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
        ),
        "Bildschirmfoto 2026-11-24 um 18.43.59.png",
        "image/png",
    )
    frames = [drawing(200, 120, seed).quantize(64) for seed in range(24)]
    yield UploadSample(
        "screen-recording",
        "Screen recorder: GIF with a local palette a frame",
        encoded(
            "GIF", frames[0], save_all=True, append_images=frames[1:], duration=40, loop=0, optimize=False
        ),
        "recording.gif",
        "image/gif",
        size=(200, 120),
        frames=24,
    )
    yield UploadSample(
        "chart-svg-png",
        "Converters: the name of the source stays inside the name of the picture",
        encoded("PNG"),
        "chart.svg.png",
        "image/png",
        repairs=("name",),
    )


def _png_with(chunks: bytes) -> bytes:
    data = encoded("PNG")
    return data[:33] + chunks + data[33:]


# --- messengers ---


def _messengers() -> Iterator[UploadSample]:
    webp = encoded("WEBP", quality=80)
    yield UploadSample("messenger-webp", "Messengers: lossy WebP", webp, "IMG-1.webp", "image/webp")
    yield UploadSample(
        "riff-text-webp",
        "RIFF tools: text chunks behind the bitstream of a simple WebP, which RFC 9649 lets readers ignore",
        _riff_file(webp[12:] + riff(b"IART", b"Somebody") + riff(b"ICMT", b"a comment")),
        "art.webp",
        "image/webp",
    )
    frames = [drawing(seed=seed) for seed in range(12)]
    yield UploadSample(
        "animated-sticker",
        "Messengers: animated WebP",
        encoded("WEBP", frames[0], save_all=True, append_images=frames[1:], duration=80, loop=0),
        "sticker.webp",
        "image/webp",
        frames=12,
    )
    yield _jpg(
        "messenger-jpeg",
        "Messengers: JPEG without JFIF, progressive, no metadata",
        _without_jfif(encoded("JPEG", progressive=True, quality=70)),
    )


def _riff_file(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _without_jfif(data: bytes) -> bytes:
    return data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]


# --- damage that a rewrite repairs ---


def _damaged() -> Iterator[UploadSample]:
    photo, png, gif = encoded("JPEG"), encoded("PNG"), encoded("GIF")
    yield _jpg(
        "stray-bytes",
        "Old editors: bytes between two segments",
        into_jpeg(photo, b"\0\0\0"),
        refuse="malformed",
        repairs=("foreign_bytes",),
    )
    yield UploadSample(
        "bad-crc",
        "Metadata editors: a text chunk changed without its checksum",
        _png_with(chunk(b"tEXt", b"Title\0x", checksum=1)),
        "edited.png",
        "image/png",
        refuse="malformed",
        repairs=("bad_crc",),
    )
    yield UploadSample(
        "no-iend",
        "Cut downloads: only the end mark is missing",
        png[:-12],
        "a.png",
        "image/png",
        refuse="truncated",
        repairs=("missing_end",),
    )
    yield UploadSample(
        "no-gif-trailer",
        "Old encoders: no trailer byte",
        gif[:-1],
        "a.gif",
        "image/gif",
        refuse="truncated",
        repairs=("missing_end",),
    )
    extended = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\x08\0\0\0"
        + (95).to_bytes(3, "little")
        + (63).to_bytes(3, "little")
    )
    yield UploadSample(
        "webp-flag",
        "Metadata removers: the flag of an Exif block that is gone",
        _riff_file(extended + encoded("WEBP")[12:]),
        "a.webp",
        "image/webp",
        refuse="malformed",
        repairs=("structure",),
    )


# --- refused by every policy ---


def _hostile() -> Iterator[UploadSample]:
    photo = encoded("JPEG", quality=85)
    both = {"refuse": "trailing_data", "rewrite": "trailing_data"}
    yield _jpg("zip-behind", "An archive behind the picture", photo + _archive(), **both)
    yield _jpg("program-behind", "A program behind the picture", photo + b"MZ\x90\0\x03" + bytes(200), **both)
    yield _jpg(
        "script-behind", "A script behind the picture", photo + b"<?php system($_GET['c']); ?>", **both
    )
    active = {"refuse": "active_content", "rewrite": "active_content"}
    yield _jpg(
        "script-in-comment",
        "A script in a comment",
        into_jpeg(photo, segment(0xFE, b"<?php system($_GET['c']); ?>")),
        **active,
    )
    cut = {"refuse": "truncated", "rewrite": "truncated"}
    yield _jpg("cut-in-half", "An upload that broke off", photo[: len(photo) // 2], **cut)
    yield UploadSample(
        "svg",
        "A page with scripts",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "a.png",
        "image/png",
        refuse="unknown_type",
        rewrite="unknown_type",
    )


def _archive() -> bytes:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.txt", "an archive")
    return out.getvalue()
