"""What honest people send: every variant that a camera, a phone, an editor or a browser makes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image, ImageCms

from upload_corpus.base import Sample, animated, bases, drawing, encoded, sample
from upload_corpus.parts import (
    blocks,
    box,
    into_gif,
    into_jpeg,
    into_png,
    into_webp,
    png,
    png_chunks,
    samsung,
    segment,
    video,
    xmp,
)


def honest() -> Iterator[Sample]:
    yield from (sample(f"honest:{base}", data, extension) for base, (extension, data) in bases().items())
    yield from _modes()
    yield from _metadata()
    yield from _phones()
    yield from _names()
    yield from _sizes()
    yield from _animations()


def _modes() -> Iterator[Sample]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield sample(f"honest:png-{mode}", encoded("PNG", drawing(mode=mode)), "png")
    for mode in ("L", "RGB", "CMYK"):
        yield sample(f"honest:jpeg-{mode}", encoded("JPEG", drawing(mode=mode)), "jpg")
        yield sample(
            f"honest:jpeg-progressive-{mode}", encoded("JPEG", drawing(mode=mode), progressive=True), "jpg"
        )
    for sampling in (0, 1, 2):
        yield sample(
            f"honest:jpeg-sampling-{sampling}", encoded("JPEG", subsampling=sampling, optimize=True), "jpg"
        )
    yield sample("honest:jpeg-restarts", encoded("JPEG", restart_marker_rows=1), "jpg")
    yield sample("honest:jpeg-quality-1", encoded("JPEG", quality=1), "jpg")
    yield sample("honest:jpeg-quality-100", encoded("JPEG", quality=100), "jpg")
    for colour in ((128, 128, 128), (127, 127, 127), (0, 0, 0), (255, 255, 255)):
        flat = Image.new("RGB", (70, 50), colour)
        yield sample(f"honest:jpeg-flat-{colour[0]}", encoded("JPEG", flat), "jpg")
        yield sample(f"honest:png-flat-{colour[0]}", encoded("PNG", flat), "png")
        yield sample(f"honest:gif-flat-{colour[0]}", encoded("GIF", flat), "gif")
        yield sample(f"honest:webp-flat-{colour[0]}", encoded("WEBP", flat), "webp")
    see_through = drawing(mode="P").copy()
    yield sample(
        "honest:png-palette-transparency", encoded("PNG", see_through, transparency=bytes(range(256))), "png"
    )
    yield sample("honest:png-colour-transparency", encoded("PNG", transparency=(200, 30, 90)), "png")
    yield sample("honest:png-grey-transparency", encoded("PNG", drawing(mode="L"), transparency=7), "png")
    yield sample("honest:gif-transparency", encoded("GIF", drawing(mode="P"), transparency=3), "gif")
    yield sample("honest:gif-interlaced", encoded("GIF", drawing(mode="P"), interlace=True), "gif")
    yield sample("honest:gif-87a", b"GIF87a" + bases()["gif"][1][6:], "gif")
    for level in (0, 1, 9):
        yield sample(f"honest:png-level-{level}", encoded("PNG", compress_level=level), "png")
    for bits in (1, 2, 4):
        yield sample(f"honest:png-{bits}-bit", encoded("PNG", drawing().quantize(2**bits), bits=bits), "png")
    chunks = png_chunks(bases()["png"][1])
    pixels = dict(chunks)[b"IDAT"]
    small = [(b"IDAT", pixels[at : at + 100]) for at in range(0, len(pixels), 100)]
    yield sample("honest:png-many-idat", png([chunks[0], *small, chunks[-1]]), "png")
    yield sample(
        "honest:png-empty-idat",
        png([chunks[0], (b"IDAT", b""), *chunks[1:-1], (b"IDAT", b""), chunks[-1]]),
        "png",
    )


def _metadata() -> Iterator[Sample]:
    jpeg, photo = bases()["jpeg"][1], bases()["png"][1]
    for turn in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = turn
        tags[0x010F], tags[0x0110] = "Canon", "EOS <50D> & more"
        for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield sample(f"honest:orientation-{turn}-{extension}", encoded(kind, exif=tags), extension)
    where = Image.Exif()
    where.get_ifd(0x8825)[2] = (23.0, 32.0, 51.0)
    yield sample("honest:gps", encoded("JPEG", exif=where), "jpg")
    yield sample("honest:gps-webp", encoded("WEBP", exif=where), "webp")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield sample("honest:profile-jpeg", encoded("JPEG", icc_profile=profile), "jpg")
    yield sample("honest:profile-png", encoded("PNG", icc_profile=profile), "png")
    yield sample("honest:profile-webp", encoded("WEBP", icc_profile=profile), "webp")
    packet = xmp('xmp:CreatorTool="Adobe Photoshop 25.0 (Macintosh)" photoshop:Headline="a &lt;b&gt; c"')
    adobe = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet + b" " * 2_000)
    yield sample("honest:adobe-xmp-jpeg", into_jpeg(jpeg, adobe), "jpg")
    yield sample(
        "honest:adobe-xmp-png", into_png(photo, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)), "png"
    )
    yield sample("honest:adobe-xmp-webp", into_webp(bases()["webp"][1], (b"XMP ", packet), flags=4), "webp")
    yield sample(
        "honest:adobe-xmp-gif",
        into_gif(bases()["gif"][1], b"\x21\xff\x0bXMP DataXMP" + blocks(packet)),
        "gif",
    )
    resources = (
        b"Photoshop 3.0\x008BIM\x03\xea\0\0\0\0\0\x60"
        + b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN">'.ljust(
            96
        )
    )
    yield sample("honest:photoshop", into_jpeg(jpeg, segment(0xED, resources)), "jpg")
    yield sample("honest:adobe-app14", into_jpeg(jpeg, segment(0xEE, b"Adobe\0d\0\0\0\0\x01")), "jpg")
    yield sample("honest:comment-jpeg", encoded("JPEG", comment=b"Created with GIMP"), "jpg")
    yield sample("honest:comment-gif", encoded("GIF", comment=b"Created with GIMP"), "gif")
    for key, text in (
        ("Software", "Adobe ImageReady"),
        ("Comment", "a < b and b > c; 100 % (sure)"),
        ("Author", "Jos\xe9"),
    ):
        yield sample(
            f"honest:png-text-{key}",
            into_png(photo, (b"tEXt", key.encode() + b"\0" + text.encode("latin-1"))),
            "png",
        )
    known = (
        (b"gAMA", b"\0\0\xb1\x8f"),
        (b"sRGB", b"\0"),
        (b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\x01"),
        (b"tIME", b"\x07\xe8\1\1\0\0\0"),
        (b"bKGD", b"\0\xff\0\xff\0\xff"),
    )
    yield sample("honest:png-chunks", into_png(photo, *known), "png")
    yield sample("honest:jpeg-fill-bytes", into_jpeg(jpeg, b"\xff\xff\xff" + segment(0xFE, b"hello")), "jpg")


def _phones() -> Iterator[Sample]:
    jpeg, other = bases()["jpeg"][1], encoded("JPEG", drawing(48, 32, "L"))
    for title, tail in {
        "zeros": b"\0" * 3000,
        "ones": b"\xff" * 16,
        "newline": b"\n",
        "crlf": b"\r\n",
        "stray": b"\x14",
        "mpo": jpeg,
        "mpo-padded": b"\0" * 512 + jpeg + b"\0" * 100,
        "gain-map": other,
        "video-head": box(b"ftyp", b"mp42\0\0\0\0mp42isom") + b"\0" * 200,
        "samsung": samsung((0x0A01, b"Image_UTC_Data", b"1700000000000"), (0x0AA1, b"MCC_Data", b"724")),
        "samsung-motion": samsung((0x0A30, b"MotionPhoto_Data", video())),
        "motion-photo": video(),
        "gain-map-and-motion": other + video(),
    }.items():
        yield sample(f"honest:trailer-{title}", jpeg + tail, "jpg")
    two = encoded("MPO", drawing(), save_all=True, append_images=[drawing(seed=3)])
    yield sample("honest:multi-picture", two, "jpg")
    ultra = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp('hdrgm:Version="1.0"'))
    yield sample("honest:ultra-hdr", into_jpeg(jpeg, ultra) + other, "jpg")
    motion = segment(
        0xE1,
        b"http://ns.adobe.com/xap/1.0/\0" + xmp('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"'),
    )
    yield sample("honest:google-motion", into_jpeg(jpeg, motion) + video() + box(b"free", b"\0" * 8), "jpg")
    for base in ("png", "gif", "webp"):
        extension, data = bases()[base]
        yield sample(f"honest:zeros-after-{base}", data + b"\0" * 16, extension)
        yield sample(f"honest:newline-after-{base}", data + b"\n", extension)


def _names() -> Iterator[Sample]:
    jpeg = bases()["jpeg"][1]
    for name in (
        "photo.JPG",
        "photo.jpeg",
        "Photo.Jpg",
        "photo.jpg ",
        "foto de perfil.jpg",
        "férias na praia.jpg",
        "фото.jpg",
        "写真.jpg",
        "صورة.jpg",
        "IMG_20240101_120000.jpg",
        "2024.01.02.jpg",
        "photo (1).jpg",
        "C:\\Users\\me\\photo.jpg",
        "CON.jpg",
        "conference.jpg",
        "a" * 300 + ".jpg",
        "photo.jfif",
        "Screenshot 2024-01-01 at 10.00.00\u202fAM.jpg",
        "me & you.jpg",
        "v1.2-final.jpg",
        "blob",
        "👩‍🚀.jpg",
        "100%.jpg",
        "it's me.jpg",
        "logo.ai.jpg",
        "photo.png.jpg",
        "e\u0301te\u0301.jpg",
        "-photo.jpg",
        ".jpg",
    ):
        yield Sample(f"honest:name-{ascii(name)[:40]}", jpeg, name, "image/jpeg")
    for declared in (
        "image/jpg",
        "image/pjpeg",
        "",
        None,
        "application/octet-stream",
        "IMAGE/JPEG",
        "image/jpeg; charset=binary",
        "binary/octet-stream",
        "image/*",
        "text/plain",
        "multipart/form-data",
        "image/x-unknown",
    ):
        yield Sample(f"honest:declared-{declared}", jpeg, "photo.jpg", declared)
    yield Sample("honest:declared-x-png", bases()["png"][1], "photo.png", "image/x-png")


def _sizes() -> Iterator[Sample]:
    for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("GIF", "gif"), ("WEBP", "webp")):
        for width, height in ((1, 1), (1, 9), (2048, 1), (1, 2048), (2048, 2048), (17, 33)):
            yield sample(
                f"honest:{extension}-{width}x{height}", encoded(kind, drawing(width, height)), extension
            )
    jpeg = bases()["jpeg"][1]
    yield sample("honest:exactly-5-mib", jpeg + b"\0" * (5 * 2**20 - len(jpeg)), "jpg")
    yield sample(
        "honest:large-metadata",
        into_jpeg(jpeg, segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 60_000) * 40),
        "jpg",
    )


def _animations() -> Iterator[Sample]:
    for kind, extension in (("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")):
        for count in (2, 5, 60):
            yield sample(f"honest:{count}-frames-{extension}", animated(kind, count), extension, frames=count)
        yield sample(
            f"honest:transparent-animation-{extension}", animated(kind, 3, mode="RGBA"), extension, frames=3
        )
    mixed = [drawing(mode="RGBA"), drawing(seed=1).convert("RGBA"), drawing(mode="RGBA", seed=2)]
    clear = encoded("GIF", mixed[1], save_all=True, append_images=mixed, disposal=2)
    yield sample("honest:gif-opaque-then-clear", clear, "gif")
    poster = encoded(
        "PNG", drawing(), save_all=True, append_images=[drawing(seed=2), drawing(seed=3)], default_image=True
    )
    yield sample("honest:apng-poster", poster, "png", frames=3)
    same = [drawing()] * 3
    yield sample("honest:webp-lossless-animation", animated("WEBP", 3, lossless=True), "webp", frames=3)
    gif = encoded("GIF", same[0])
    frame = gif[13 + 3 * 2 ** ((gif[10] & 7) + 1) : -1]
    head = gif[: len(gif) - 1 - len(frame)]
    pause = b"\x21\xf9\x04\0" + struct.pack("<H", 7) + b"\0\0"
    yield sample("honest:gif-equal-frames", head + (pause + frame) * 3 + b";", "gif", frames=3)
