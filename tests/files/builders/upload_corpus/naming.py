"""Awkward names: what a client may call a file."""

from __future__ import annotations

from collections.abc import Iterator

INVISIBLE = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2066\u2067\u2068\u2069\ufeff\u00ad\u061c\u180e\u2028\u2029"
)
LOOK_ALIKES = (
    "\uff0f\uff3c\u2044\u2215\u29f8\uff0e\u2024\u2025\u2026\uff1a\uff1c\uff1e\uff02\ufe68\u037e\uff1b\u2100"
)
_REASONS = (
    "../../etc/passwd.jpg",
    "..\\..\\boot.jpg",
    "photo.php",
    "photo.jpg.php",
    "photo.php.jpg",
    "photo.phtml.jpg",
    "photo.asp;.jpg",
    "photo.aspx.jpg",
    "photo.jsp.jpg",
    "photo.exe.jpg",
    "photo.sh.jpg",
    "photo.php\0.jpg",
    "photo.php%00.jpg",
    "photo.jpg\0.php",
    "photo\n.jpg",
    "photo\x1b[31m.jpg",
    "photo\u202egpj.exe",
    "photo\u202egnp.jpg",
    "photo.exe",
    "photo.svg",
    "photo.html",
    "photo.txt",
    "photo.jpg.exe",
    "photo",
    "photo.",
    "photo.jpg::$DATA",
    "photo.php::$DATA.jpg",
    ".htaccess",
    "photo.jpg/",
    "..%2f..%2fphoto.jpg",
    "photo.pHp5.jpg",
    "photo.php .jpg",
    "photo.php..jpg",
    "photo.phar.jpg",
    "photo.cgi.jpg",
    "photo.shtml.jpg",
    "photo.jpg\r\nContent-Type: text/html",
    "photo.\uff4a\uff50\uff47",
    "photo.bmp",
    "photo.zip",
)


def hostile_names() -> Iterator[str]:
    yield from _REASONS


def awkward_names() -> list[str]:
    """At least 201 names that break one file system, shell, page or log each."""
    names = list(_REASONS)
    for reserved in (
        "CON",
        "con",
        "PRN",
        "AUX",
        "NUL",
        "nul",
        "COM1",
        "com9",
        "LPT1",
        "lpt9",
        "COM¹",
        "LPT³",
        "CONIN$",
        "CONOUT$",
        "CON ",
        "aux.tar",
    ):
        names += [f"{reserved}.jpg", reserved]
    for char in "/\\:*?\"<>|;$&`'%#{}^~[]!=@+,()\t\n\r\x00\x01\x1f\x7f\x80\x85\x9f\xa0":
        names += [f"a{char}b.jpg", f"{char}photo.jpg", f"photo{char}.jpg"]
    for char in INVISIBLE:
        names.append(f"ph{char}oto{char}.jpg")
    for char in LOOK_ALIKES:
        names += [f"a{char}b.jpg", f"{char}{char}/x.jpg"]
    names += [
        "фото.jpg",
        "写真.png",
        "صورة.jpg",
        "תמונה.gif",
        "e\u0301te\u0301.jpg",
        "\u212bngstrom.jpg",
        "ﬁle.jpg",
        "①.jpg",
        "हिन्दी.webp",
        "ไทย.jpg",
        "👩\u200d🚀.jpg",
        "🏳️\u200d🌈.png",
    ]
    names += [
        "a" * 300 + ".jpg",
        "é" * 300 + ".jpg",
        "写" * 200 + ".png",
        "👩" * 100 + ".jpeg",
        "a." + "b" * 300,
        "x" * 254 + ".jpg",
        "." * 300,
        "a" * 5000,
    ]
    names += [
        "",
        ".",
        "..",
        "...",
        " ",
        "   ",
        ".jpg",
        "..jpg",
        "-.jpg",
        "--help",
        "-rf.jpg",
        "~.jpg",
        "~root",
        "/",
        "//",
        "\\",
        "a/",
        "a/b/",
        "C:\\",
        "C:photo.jpg",
    ]
    names += [
        "\ud800.jpg",
        "ph\udcffoto.jpg",
        "\ud83d.jpg",
        "\ue000.jpg",
        "\U000f0000.jpg",
        "\u0378.jpg",
        "\ufffe.jpg",
        "\U000e0001.jpg",
        "\u0301.jpg",
        "a" + "\u0301" * 300 + ".jpg",
    ]
    names += [
        "photo.jpg ",
        " photo.jpg",
        "photo .jpg",
        "photo. jpg",
        "photo.jpg.",
        "photo.jpg...",
        "photo..jpg",
        "photo.JPG",
        "photo.tar.gz",
        "a.b.c.d.jpg",
        "php.jpg",
        "x.php.php.jpg",
        "x.PHP.jpg",
    ]
    names += [
        "/etc/passwd",
        "file:///etc/passwd",
        "http://x/y.jpg",
        "\\\\server\\share\\x.jpg",
        "data:image/png;base64,AAAA",
        "<script>alert(1)</script>.jpg",
        "'; drop table x;--.jpg",
    ]
    names += [
        "$(reboot).jpg",
        "`id`.jpg",
        "a|b.jpg",
        "a&&b.jpg",
        "%2e%2e%2fx.jpg",
        "%00.jpg",
        "x%0d%0ay.jpg",
        '"quoted".jpg',
        "=cmd|' /C calc'!A0.jpg",
        "desktop.ini",
        "Thumbs.db",
        "web.config",
    ]
    return names
