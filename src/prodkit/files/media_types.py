"""Media types declared by clients: never evidence for a file, sometimes evidence against it."""

from __future__ import annotations

from typing import Final

__all__ = ["names_another"]

_ACTIVE_TYPES: Final = frozenset(
    (
        "text/html",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "application/x-php",
        "application/x-httpd-php",
        "text/x-php",
        "application/x-sh",
        "text/x-shellscript",
        "application/x-msdownload",
        "application/x-msdos-program",
        "application/vnd.microsoft.portable-executable",
        "application/x-dosexec",
        "application/x-executable",
        "application/java-archive",
        "application/x-shockwave-flash",
        "application/hta",
        "text/x-python",
        "text/x-perl",
    )
)
_OTHER_PICTURES: Final = frozenset(
    f"image/{name}"
    for name in """
        bmp tiff x-icon vnd.microsoft.icon jp2 jpx jxl x-tga x-pcx qoi x-ms-bmp
        vnd.adobe.photoshop x-photoshop x-xcf x-eps vnd.djvu emf wmf x-portable-pixmap x-xpixmap
    """.split()  # noqa: SIM905
)
_OTHER_FAMILIES: Final = ("video/", "audio/", "font/", "model/", "message/", "chemical/")
_OTHERS: Final = frozenset(
    ("application/json", "text/css", "application/msword", "application/rtf", "text/rtf")
)


# Office documents are archives; a browser on a machine without an office suite says so.
_ARCHIVES: Final = frozenset(("application/zip", "application/x-zip-compressed", "application/x-zip"))


def names_another(declared: str, *, archive: bool = False) -> bool:
    """Return True when `declared` names a type that no policy accepts; "image/*" and the like name none.

    Args:
        declared: the media type, with or without parameters.
        archive: the file is a ZIP archive, so that the types of archives are right, too.
    """
    media_type = declared.partition(";")[0].strip().lower()
    if media_type in _ARCHIVES:
        return not archive
    return media_type in _ACTIVE_TYPES | _OTHER_PICTURES | _OTHERS or media_type.startswith(_OTHER_FAMILIES)
