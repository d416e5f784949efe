"""Files cut short, files that lie about themselves, and files that are something else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from upload_corpus.base import Sample, animated, bases, drawing, encoded, payloads, sample
from upload_corpus.parts import (
    blocks,
    gif_frame,
    gif_pixels,
    into_gif,
    into_jpeg,
    into_png,
    into_webp,
    png,
    png_chunks,
    segment,
    vp8x,
    webp,
    webp_chunks,
)


def truncated() -> Iterator[Sample]:
    for base, (extension, data) in bases().items():
        size = len(data)
        cuts = {f"{share}%": size * share // 100 for share in (1, 5, 10, 25, 40, 50, 60, 75, 90, 95, 99)}
        cuts |= {f"last-{count}": size - count for count in (1, 2, 3, 4, 8, 12, 16)}
        for title, at in cuts.items():
            yield sample(f"truncated:{base}-{title}", data[: max(at, 1)], extension)
    for base in ("jpeg", "grey-jpeg"):
        data = bases()[base][1]
        for share in (60, 75, 90):
            yield sample(
                f"mended:{base}-{share}%",
                data[: len(data) * share // 100].rstrip(b"\xff") + b"\xff\xd9",
                "jpg",
            )
    data = bases()["progressive"][1]
    for share in (30, 60, 75, 90):
        yield sample(
            f"mended:progressive-{share}%",
            data[: len(data) * share // 100].rstrip(b"\xff") + b"\xff\xd9",
            "jpg",
        )
    moving = webp_chunks(bases()["moving-webp"][1])
    for share in (40, 80):
        cut = [
            (n, b[: 24 + (len(b) - 24) * share // 100 & ~1]) if n == b"ANMF" else (n, b) for n, b in moving
        ]
        cut = [
            (n, b[:20] + struct.pack("<I", len(b) - 24) + b[24:]) if n == b"ANMF" else (n, b) for n, b in cut
        ]
        yield sample(f"mended:moving-webp-{share}%", webp(cut), "webp")
    for base in ("webp", "lossless-webp", "alpha-webp"):
        data = bases()[base][1]
        for share in (30, 60, 90):
            cut = data[: len(data) * share // 100 & ~1]
            yield sample(
                f"mended:{base}-riff-size-{share}%",
                cut[:4] + struct.pack("<I", len(cut) - 8) + cut[8:],
                "webp",
            )
            chunks = webp_chunks(data)
            name, body = chunks[-1]
            yield sample(
                f"mended:{base}-chunk-{share}%",
                webp([*chunks[:-1], (name, body[: len(body) * share // 100])]),
                "webp",
            )
    for base in ("png", "palette-png", "alpha-png"):
        chunks = png_chunks(bases()[base][1])
        for share in (50, 90, 99):
            cut = [
                (name, body[: len(body) * share // 100] if name == b"IDAT" else body) for name, body in chunks
            ]
            yield sample(f"mended:{base}-idat-{share}%", png(cut), "png")
            raw = zlib.decompress(dict(chunks)[b"IDAT"])
            less = zlib.compress(raw[: len(raw) * share // 100])
            yield sample(
                f"mended:{base}-rows-{share}%",
                png([(n, less if n == b"IDAT" else b) for n, b in chunks]),
                "png",
            )
    gif = bases()["gif"][1]
    for share in (40, 70, 95):
        at = gif_pixels(gif, gif_frame(gif))
        body = b"".join(part for part in _sub_blocks(gif, at + 1))
        yield sample(
            f"mended:gif-{share}%", gif[: at + 1] + blocks(body[: len(body) * share // 100]) + b";", "gif"
        )
    moving = bases()["apng"][1]
    chunks = png_chunks(moving)
    yield sample("mended:apng-frame-missing", png([each for each in chunks if each[0] != b"fdAT"]), "png")


def _sub_blocks(data: bytes, pos: int) -> Iterator[bytes]:
    while data[pos]:
        yield data[pos + 1 : pos + 1 + data[pos]]
        pos += 1 + data[pos]


def lying() -> Iterator[Sample]:
    """Structures that contradict themselves."""
    rgb = bases()["png"][1]
    chunks = png_chunks(rgb)
    flipped = bytearray(rgb)
    flipped[-20] ^= 0x55
    yield sample("lying:png-checksum", bytes(flipped), "png")
    yield sample("lying:png-no-idat", png([each for each in chunks if each[0] != b"IDAT"]), "png")
    yield sample("lying:png-idat-first", png([chunks[1], chunks[0], chunks[-1]]), "png")
    yield sample("lying:png-two-headers", png([chunks[0], *chunks]), "png")
    yield sample("lying:png-critical-chunk", into_png(rgb, (b"EVIL", b"x")), "png")
    yield sample(
        "lying:png-palette-missing",
        png([(n, b) for n, b in png_chunks(bases()["palette-png"][1]) if n != b"PLTE"]),
        "png",
    )
    yield sample(
        "lying:png-split-idat", png([*chunks[:-1], (b"tEXt", b"a\0b"), (b"IDAT", b"xx"), chunks[-1]]), "png"
    )
    yield sample("lying:png-iend-body", png([*chunks[:-1], (b"IEND", b"more")]), "png")
    head = dict(chunks)[b"IHDR"]
    for title, width, height in (
        ("zero-width", 0, 64),
        ("zero-height", 96, 0),
        ("huge", 2**31 - 1, 2**31 - 1),
        ("other", 90, 64),
        ("taller", 96, 128),
    ):
        changed = struct.pack(">II", width, height) + head[8:]
        yield sample(
            f"lying:png-{title}", png([(n, changed if n == b"IHDR" else b) for n, b in chunks]), "png"
        )
    for title, tail in (
        ("depth-3", b"\x03\x02\0\0\0"),
        ("colour-5", b"\x08\x05\0\0\0"),
        ("compression-1", b"\x08\x02\x01\0\0"),
        ("interlace-7", b"\x08\x02\0\0\x07"),
    ):
        yield sample(
            f"lying:png-{title}", png([(n, head[:8] + tail if n == b"IHDR" else b) for n, b in chunks]), "png"
        )
    jpeg = bases()["jpeg"][1]
    frame = jpeg.find(b"\xff\xc0")
    yield sample("lying:jpeg-zero-height", jpeg[: frame + 5] + b"\0\0" + jpeg[frame + 7 :], "jpg")
    yield sample("lying:jpeg-zero-width", jpeg[: frame + 7] + b"\0\0" + jpeg[frame + 9 :], "jpg")
    yield sample("lying:jpeg-taller", jpeg[: frame + 5] + b"\x04\0" + jpeg[frame + 7 :], "jpg")
    yield sample("lying:jpeg-12-bit", jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :], "jpg")
    yield sample("lying:jpeg-lossless", jpeg[: frame + 1] + b"\xc3" + jpeg[frame + 2 :], "jpg")
    end = frame + 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    yield sample("lying:jpeg-two-frames", jpeg[:end] + jpeg[frame:end] + jpeg[end:], "jpg")
    yield sample("lying:jpeg-no-scan", jpeg[: jpeg.find(b"\xff\xda")] + b"\xff\xd9", "jpg")
    yield sample("lying:jpeg-no-tables", jpeg[:20] + jpeg[frame:], "jpg")
    yield sample(
        "lying:jpeg-header-only", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9", "jpg"
    )
    yield sample("lying:jpeg-segment-length", into_jpeg(jpeg, b"\xff\xfe\xff\xff"), "jpg")
    yield sample("lying:jpeg-segment-length-1", into_jpeg(jpeg, b"\xff\xfe\0\x01"), "jpg")
    yield sample("lying:jpeg-junk-between", into_jpeg(jpeg, b"junk"), "jpg")
    yield sample(
        "lying:jpeg-javascript-length",
        b"\xff\xd8\xff\xe0/*" + b"\0" * 12074 + b"*/=alert(1);/*" + jpeg[20:],
        "jpg",
    )
    gif = bases()["gif"][1]
    yield sample("lying:gif-no-frame", gif[: gif_frame(gif)] + b";", "gif")
    yield sample("lying:gif-zero-size", gif[:6] + b"\0\0\0\0" + gif[10:], "gif")
    yield sample(
        "lying:gif-javascript-size",
        b"GIF89a/*" + gif[8:-1] + b"\x21\xfe" + blocks(b"*/=1;alert(1)//") + b";",
        "gif",
    )
    yield sample("lying:gif-unknown-block", into_gif(gif, b"\x99"), "gif")
    yield sample("lying:gif-frame-huge", _framed(gif, struct.pack("<HHHH", 0, 0, 60_000, 60_000)), "gif")
    yield sample("lying:gif-frame-empty", _framed(gif, struct.pack("<HHHH", 0, 0, 0, 5)), "gif")
    yield sample("lying:gif-version", b"GIF90a" + gif[6:], "gif")
    webps = bases()["webp"][1]
    yield sample("lying:webp-canvas", webp([vp8x(100, 100), *webp_chunks(webps)]), "webp")
    yield sample(
        "lying:webp-canvas-over-wide",
        webp([vp8x(100, 100), *webp_chunks(encoded("WEBP", drawing(2000, 16)))]),
        "webp",
    )
    yield sample(
        "lying:webp-two-pictures", webp([vp8x(96, 64), *webp_chunks(webps), *webp_chunks(webps)]), "webp"
    )
    yield sample("lying:webp-no-picture", webp([vp8x(96, 64), (b"EXIF", b"x" * 30)]), "webp")
    yield sample("lying:webp-animation-flag", webp([vp8x(96, 64, 2), *webp_chunks(webps)]), "webp")
    yield sample("lying:webp-size", webps[:4] + struct.pack("<I", 2**32 - 10) + webps[8:], "webp")
    yield sample("lying:webp-audio", b"RIFF" + webps[4:8] + b"WAVE" + webps[12:], "webp")
    yield sample("lying:webp-exif-without-flag", into_webp(webps, (b"EXIF", b"II*\0" + bytes(20))), "webp")
    yield sample("lying:webp-flag-without-exif", into_webp(webps, flags=8), "webp")
    yield sample("lying:webp-reserved-bits", into_webp(webps, flags=0xC0), "webp")
    yield sample("lying:webp-padding", into_webp(webps, (b"XMP ", b"x"), flags=4)[:-1] + b"!", "webp")
    moving = webp_chunks(bases()["moving-webp"][1])
    outside = [(n, b"\xff\xff\0" + b[3:] if n == b"ANMF" else b) for n, b in moving]
    yield sample("lying:webp-frame-outside", webp(outside), "webp")
    apng = png_chunks(bases()["apng"][1])
    yield sample(
        "lying:apng-count",
        png([(n, struct.pack(">II", 9, 0) if n == b"acTL" else b) for n, b in apng]),
        "png",
    )
    yield sample(
        "lying:apng-order", png([(n, b"\0\0\0\x63" + b[4:] if n == b"fdAT" else b) for n, b in apng]), "png"
    )
    outside = [(n, b[:12] + b"\0\0\xff\xff" + b[16:] if n == b"fcTL" else b) for n, b in apng]
    yield sample("lying:apng-frame-outside", png(outside), "png")


def _framed(gif: bytes, place: bytes) -> bytes:
    at = gif_frame(gif)
    return gif[: at + 1] + place + gif[at + 9 :]


def disguised() -> Iterator[Sample]:
    """Something else under the name of a picture."""
    drawn = drawing(40, 40)
    others = {
        **payloads(),
        "empty": b"",
        "one-byte": b"\xff",
        "zeros": b"\0" * 4096,
        "ones": b"\xff" * 4096,
        "text": b"this is a picture, honestly\n" * 20,
        "json": b'{"image": "data:image/png;base64,iVBORw0KGgo="}',
        "xml": b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        "bmp": encoded("BMP", drawn),
        "tiff": encoded("TIFF", drawn),
        "ico": encoded("ICO", drawn),
        "ppm": encoded("PPM", drawn),
        "tga": encoded("TGA", drawn),
        "jpeg2000": encoded("JPEG2000", drawn),
        "eps": encoded("EPS", drawn),
        "pdf-image": encoded("PDF", drawn),
        "avif": encoded("AVIF", drawn),
        "pcx": encoded("PCX", drawn),
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"x" * 50,
        "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08free",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40,
        "jpeg-magic": b"\xff\xd8\xff",
        "jpeg-magic-exe": b"\xff\xd8\xff" + payloads()["exe"],
        "jpeg-magic-php": b"\xff\xd8\xff\xe0" + payloads()["php"],
        "png-magic": b"\x89PNG\r\n\x1a\n",
        "png-magic-php": b"\x89PNG\r\n\x1a\n" + payloads()["php"],
        "gif-magic": b"GIF89a",
        "gif-magic-php": b"GIF89a;" + payloads()["php"],
        "gif-magic-html": b"GIF89a" + payloads()["html"],
        "gif-magic-zip": b"GIF89a" + payloads()["zip"],
        "gif-magic-js": b"GIF89a=1;alert(document.cookie);//",
        "webp-magic": b"RIFF\x10\0\0\0WEBPVP8 ",
        "webp-magic-php": b"RIFF\x80\0\0\0WEBP" + payloads()["php"].ljust(124, b" "),
    }
    for title, body in others.items():
        for extension in ("jpg", "png", "gif", "webp"):
            yield sample(f"disguised:{title}-as-{extension}", body, extension)


def bombs() -> Iterator[Sample]:
    noise = drawing(2048, 2048)
    jpeg = encoded("JPEG", noise, quality=30, progressive=True)
    at = jpeg.rfind(b"\xff\xda")
    scan = b"\xff\xda\0\x08\x01\x01\0\x01\x01\0" + b"\x00"
    for count in (100, 500, 4_000, 100_000):
        yield sample(f"bomb:scans-{count}", jpeg[:at] + scan * count + b"\xff\xd9", "jpg")
    base = bases()["jpeg"][1]
    first = base.find(b"\xff\xda")
    yield sample("bomb:baseline-scans", base[:-2] + base[first:-2] * 300 + b"\xff\xd9", "jpg")
    yield sample("bomb:jpeg-comments", into_jpeg(base, segment(0xFE, b"x") * 300_000), "jpg")
    yield sample("bomb:jpeg-metadata", into_jpeg(base, segment(0xE5, b"x" * 65_000) * 78), "jpg")
    for title, width, height in (
        ("wide", 60_000, 1),
        ("square", 30_000, 30_000),
        ("just-over", 2049, 10),
        ("tall", 10, 2049),
    ):
        flat = bases()["png"][1]
        packed = zlib.compress(b"\0" * 10_000)
        yield sample(
            f"bomb:png-pixels-{title}",
            png(
                [
                    (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
                    (b"IDAT", packed),
                    (b"IEND", b""),
                ]
            ),
            "png",
        )
        frame = base.find(b"\xff\xc0")
        yield sample(
            f"bomb:jpeg-pixels-{title}",
            base[: frame + 5] + struct.pack(">HH", height, width) + base[frame + 9 :],
            "jpg",
        )
        gif = bases()["gif"][1]
        yield sample(
            f"bomb:gif-pixels-{title}", gif[:6] + struct.pack("<HH", width, height) + gif[10:], "gif"
        )
        assert flat
    yield sample("bomb:png-honest-but-large", encoded("PNG", drawing(2100, 2100)), "png")
    yield sample("bomb:jpeg-honest-but-large", encoded("JPEG", drawing(2049, 2048)), "jpg")
    yield sample("bomb:webp-honest-but-large", encoded("WEBP", drawing(2200, 100)), "webp")
    yield sample("bomb:gif-honest-but-large", encoded("GIF", drawing(2100, 40, "P")), "gif")
    small = png_chunks(encoded("PNG", drawing(100, 100)))
    inflating = zlib.compress(b"\0" * 200_000_000, 9)
    yield sample("bomb:idat-200-mb", png([(n, inflating if n == b"IDAT" else b) for n, b in small]), "png")
    text = zlib.compress(b"a" * 60_000_000, 9)
    photo = bases()["png"][1]
    yield sample("bomb:ztxt", into_png(photo, (b"zTXt", b"a\0\0" + text)), "png")
    yield sample("bomb:itxt", into_png(photo, (b"iTXt", b"a\0\x01\0\0\0" + text)), "png")
    yield sample("bomb:iccp", into_png(photo, (b"iCCP", b"a\0\0" + text)), "png")
    part = zlib.compress(b"a" * 1_000_000, 9)
    yield sample("bomb:ztxt-many", into_png(photo, *[(b"zTXt", b"a\0\0" + part)] * 80), "png")
    yield sample("bomb:text-60000", into_png(photo, *[(b"tEXt", b"a\0b")] * 60_000), "png")
    yield sample(
        "bomb:apng-frames-announced", into_png(photo, (b"acTL", struct.pack(">II", 2**31 - 1, 0))), "png"
    )
    gif_frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    yield sample(
        "bomb:gif-50000-frames",
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + gif_frame * 50_000 + b";",
        "gif",
    )
    large = encoded("GIF", drawing(2048, 2048, "L").point(lambda _: 0))
    body = large[13 + 3 * 2 ** ((large[10] & 7) + 1) : -1]
    yield sample("bomb:gif-1000-large-frames", large[: len(large) - 1 - len(body)] + body * 200 + b";", "gif")
    yield sample(
        "bomb:gif-growing-canvas",
        _framed(bases()["gif"][1], struct.pack("<HHHH", 65_000, 65_000, 96, 64)),
        "gif",
    )
    moving = webp_chunks(animated("WEBP", 2))
    frame = next(b for n, b in moving if n == b"ANMF")
    head = [(n, b) for n, b in moving if n in (b"VP8X", b"ANIM")]
    yield sample("bomb:webp-2000-frames", webp([*head, *[(b"ANMF", frame)] * 2_000]), "webp")
    yield sample(
        "bomb:webp-metadata", into_webp(bases()["webp"][1], *[(b"XMP ", b"x")] * 50_000, flags=4), "webp"
    )
    yield sample("bomb:too-large", bases()["jpeg"][1] + b"\0" * (5 * 2**20), "jpg")
    yield sample(
        "bomb:webp-canvas-huge",
        webp([vp8x(16_000, 16_000, 2), (b"ANIM", b"\0" * 6), (b"ANMF", frame)]),
        "webp",
    )


def cross_named() -> Iterator[Sample]:
    """Honest pictures of one allowed type under the name of another, or under a declared type that is another's."""
    for base in ("jpeg", "png", "gif", "webp", "apng", "moving-gif"):
        extension, data = bases()[base]
        for other, declared in (
            ("jpg", "image/jpeg"),
            ("png", "image/png"),
            ("gif", "image/gif"),
            ("webp", "image/webp"),
        ):
            if other != extension:
                yield sample(f"named:{base}-as-{other}", data, other, declared=declared)
                yield sample(f"declared:{base}-as-{other}", data, extension, declared=declared)
