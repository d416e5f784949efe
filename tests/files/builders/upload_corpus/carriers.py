"""Pictures that decode, and carry something else beside their pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from upload_corpus.base import MARKER, Sample, animated, bases, drawing, encoded, payloads, sample
from upload_corpus.parts import (
    blocks,
    chunk,
    into_gif,
    into_jpeg,
    into_png,
    into_webp,
    png,
    png_chunks,
    segment,
    webp,
    webp_chunks,
)


def places(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Every place of every format where `body` can hide from a decoder: name, extension, file."""
    jpeg, progressive = bases()["jpeg"][1], bases()["progressive"][1]
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0"
        + struct.pack("<II", len(body) + 1, 26)
        + b"\0\0\0\0"
        + body
        + b"\0"
    )
    for name, part in {
        "com": segment(0xFE, body),
        "app1-exif": segment(0xE1, exif),
        "app1-xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + body),
        "app13-iptc": segment(0xED, b"Photoshop 3.0\0" + body),
        "app2-icc": segment(0xE2, b"ICC_PROFILE\0\x01\x01" + body),
        "app15": segment(0xEF, body),
        "app0": segment(0xE0, b"ABCD\0" + body),
    }.items():
        yield f"jpeg-{name}", "jpg", into_jpeg(jpeg, part)
    yield "jpeg-before-eoi", "jpg", jpeg[:-2] + segment(0xFE, body) + jpeg[-2:]
    scan = progressive.rfind(b"\xff\xda")
    yield "jpeg-between-scans", "jpg", progressive[:scan] + segment(0xFE, body) + progressive[scan:]
    for base in ("png", "palette-png", "apng"):
        data = bases()[base][1]
        yield f"{base}-text", "png", into_png(data, (b"tEXt", b"Comment\0" + body))
        yield f"{base}-ztxt", "png", into_png(data, (b"zTXt", b"Comment\0\0" + zlib.compress(body)))
        yield (
            f"{base}-itxt",
            "png",
            into_png(data, (b"iTXt", b"Comment\0\x01\0en\0C\0" + zlib.compress(body))),
        )
        yield f"{base}-itxt-plain", "png", into_png(data, (b"iTXt", b"Comment\0\0\0en\0C\0" + body))
        yield f"{base}-private", "png", into_png(data, (b"evIl", body))
        yield f"{base}-exif", "png", into_png(data, (b"eXIf", exif[6:]))
        yield f"{base}-before-iend", "png", into_png(data, (b"tEXt", b"Comment\0" + body), before=b"IEND")
        yield (
            f"{base}-profile",
            "png",
            into_png(
                data,
                (b"iCCP", b"p\0\0" + zlib.compress(body)),
                before=b"IDAT" if base != "palette-png" else b"PLTE",
            ),
        )
    for base in ("gif", "moving-gif"):
        data = bases()[base][1]
        yield f"{base}-comment", "gif", into_gif(data, b"\x21\xfe" + blocks(body))
        yield f"{base}-comment-last", "gif", data[:-1] + b"\x21\xfe" + blocks(body) + b";"
        yield f"{base}-application", "gif", into_gif(data, b"\x21\xff\x0bXMP DataXMP" + blocks(body))
        yield f"{base}-plain-text", "gif", into_gif(data, b"\x21\x01\x0c" + b"\0" * 12 + blocks(body))
        yield f"{base}-unknown", "gif", into_gif(data, b"\x21\x77" + blocks(body))
    for base in ("webp", "lossless-webp", "alpha-webp", "moving-webp"):
        data = bases()[base][1]
        yield f"{base}-exif", "webp", into_webp(data, (b"EXIF", exif), flags=8)
        yield f"{base}-xmp", "webp", into_webp(data, (b"XMP ", body), flags=4)
        yield f"{base}-unknown", "webp", into_webp(data, (b"EVIL", body))
    yield (
        "webp-profile",
        "webp",
        webp([(b"VP8X", b" \0\0\0\x5f\0\0\x3f\0\0"), (b"ICCP", body), *webp_chunks(bases()["webp"][1])]),
    )


def palettes(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Text in the colours that a palette does not use."""
    text = body[:240].ljust(240, b" ")
    indexed = drawing(mode="P").quantize(16)
    png_data = encoded("PNG", indexed, bits=8)
    parts = dict(png_chunks(png_data))
    yield (
        "png-palette",
        "png",
        png(
            [
                (name, (parts[b"PLTE"][:48] + text) if name == b"PLTE" else part)
                for name, part in png_chunks(png_data)
            ]
        ),
    )
    gif = encoded("GIF", indexed, optimize=False)
    size = 3 * 2 ** ((gif[10] & 7) + 1)
    table = (gif[13:61] + text).ljust(768, b"\0")
    yield "gif-palette", "gif", gif[:10] + bytes([gif[10] | 7]) + gif[11:13] + table + gif[13 + size :]
    yield "png-plte-suggestion", "png", into_png(encoded("PNG"), (b"PLTE", text))


def active() -> Iterator[Sample]:
    """Scripts, pages, programs and archives in the metadata: refused."""
    for title, body in payloads().items():
        for place, extension, data in places(body):
            yield sample(f"carrier:{title}-in-{place}", data, extension)
    for title in ("php", "html", "script"):
        for place, extension, data in palettes(payloads()[title]):
            yield sample(f"carrier:{title}-in-{place}", data, extension)


def inert() -> Iterator[Sample]:
    """A marker that means nothing: it may pass, and must be gone after sanitising."""
    for title, body in (("marker", MARKER), ("long-marker", b"A" * 300 + MARKER + bytes(300))):
        for place, extension, data in [*places(body), *palettes(body)]:
            yield sample(f"{title}:{place}", data, extension)
    spelled = drawing(24, 1, "L")
    spelled.frombytes(MARKER.ljust(24, b"."))
    yield sample("marker:pixels-png", encoded("PNG", spelled, compress_level=0), "png")
    yield sample(
        "marker:gif-comment-in-animation", into_gif(animated("GIF"), b"\x21\xfe" + blocks(MARKER)), "gif"
    )
    tables = encoded("JPEG", qtables=[list((MARKER * 4)[:64]), list((MARKER * 4)[:64])])
    yield sample("marker:quantisation-table", tables, "jpg")


def appended() -> Iterator[Sample]:
    """Anything after the end that is neither padding nor a phone's trailer, and anything before the start."""
    more = {
        **payloads(),
        "text": b"just some words, " + MARKER,
        "random": bytes(range(7, 200)),
        "png": bases()["png"][1],
        "gif": bases()["gif"][1],
        "bmp": b"BM" + bytes(60),
        "zeros-then-text": b"\0" * 64 + MARKER,
        "newline-then-text": b"\n\n" + MARKER,
        "base64": b"PD9waHAgc3lzdGVtKCRfR0VUWydjJ10pOyA/Pg==",
        "half-jpeg": bases()["jpeg"][1][: len(bases()["jpeg"][1]) // 2],
        "ftyp-only": b"\0\0\0\x14ftypmp42\0\0\0\0mp42",
        "ftyp-then-zip": b"\0\0\0\x14ftypmp42\0\0\0\0mp42" + payloads()["zip"],
        "seft-only": MARKER + b"SEFT",
        "fake-sef": MARKER * 20
        + b"SEFH"
        + struct.pack("<III", 106, 1, 0)
        + struct.pack("<II", 12, 24)
        + b"SEFT",
    }
    for base, (extension, data) in bases().items():
        for title, body in more.items():
            if base != "jpeg" and title == "half-jpeg" and extension == "jpg":
                continue
            yield sample(f"appended:{title}-to-{base}", data + body, extension)
    for title, body in payloads().items():
        for base in ("jpeg", "png", "gif", "webp"):
            extension, data = bases()[base]
            yield sample(f"prepended:{title}-to-{base}", body + data, extension)
    for title, body in payloads().items():
        if title in ("short-php", "svg", "jsp", "asp", "class"):
            continue  # too short, or too like pixels, to be distinguished from them
        for base in ("jpeg", "progressive"):
            data = bases()[base][1]
            yield sample(
                f"inserted:{title}-before-eoi-of-{base}",
                data[:-2] + body.replace(b"\xff", b"") + data[-2:],
                "jpg",
            )
        chunks = webp_chunks(bases()["lossless-webp"][1])
        yield sample(f"inserted:{title}-in-vp8l", webp([(chunks[0][0], chunks[0][1] + body)]), "webp")
        gif = bases()["gif"][1]
        yield sample(f"inserted:{title}-after-lzw", gif[:-2] + blocks(body) + b";", "gif")
    for base in ("webp", "moving-webp"):
        data = bases()[base][1]
        grown = data[:4] + struct.pack("<I", len(data) - 8 + 24) + data[8:] + MARKER.ljust(24, b".")
        yield sample(f"appended:inside-riff-{base}", grown, "webp")
    stuffed = [
        (name, body + MARKER if name == b"IDAT" else body) for name, body in png_chunks(bases()["png"][1])
    ]
    yield sample("appended:after-zlib-in-idat", png(stuffed), "png")
    data = bases()["png"][1]
    yield sample(
        "appended:second-iend", data + chunk(b"tEXt", b"Comment\0" + MARKER) + chunk(b"IEND", b""), "png"
    )
