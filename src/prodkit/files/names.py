"""Make file names from clients safe to store, to log and to show. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from prodkit.files.sniff import kind_of_extension

__all__ = [
    "DANGEROUS",
    "cleaned",
    "dangerous_inner_extension",
    "executed_inner_extension",
    "extension_of",
    "safe_filename",
    "suspicious",
]

MAX_BYTES: Final = 200  # of the 255 that file systems allow: room for a prefix or a suffix of the caller's
_MAX_EXTENSION: Final = 16
_FALLBACK: Final = "file"

# Extensions that some web server, shell or browser runs, wherever in a name (Apache reads every extension).
DANGEROUS: Final = frozenset(
    """
    php php2 php3 php4 php5 php6 php7 php8 phps pht phtm phtml phar pgif inc hphp ctp module asp aspx asa
    asax ascx ashx asmx cer cdx cshtml vbhtml soap jsp jspx jspf jsw jsv jhtml jar war ear class do action
    cfm cfml cfc dbm cgi fcgi pl pm py pyc pyw rb rhtml erb sh bash zsh ksh csh fish exe dll sys drv scr
    pif cpl msi msp mst bat cmd hta vb vbs vbe wsf wsh wsc sct ps1 psm1 psd1 js jse mjs reg lnk url scf
    inf application gadget html htm xhtml xht shtml shtm stm mhtml mht svg svgz xml xsl xslt swf htaccess
    htpasswd config so dylib elf apk ipa app deb rpm dmg iso img vhd docm xlsm pptm dotm xltm xlam ppam
    sldm chm hlp ocx jnlp terminal workflow desktop action cjs wasm
    """.split()  # noqa: SIM905
)
# Dangerous as the extension of a file, but honest inside a name: a picture of chart.svg is called chart.svg.png.
# Servers do not run these for their place in the middle; `safe_filename` defuses them.
_HONEST_INSIDE: Final = frozenset(
    """
    svg svgz html htm xhtml xml xsl xslt js mjs cjs py rb class do action application app config inf module so
    img iso dmg deb rpm
    """.split()  # noqa: SIM905
)
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$?|conout\$?|clock\$?)\s*", re.IGNORECASE
)
_ASCII: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.(),+@")
_SEPARATORS: Final = re.compile(r"[/\\]+")
_OVERRIDES: Final = frozenset("\u202d\u202e")


def safe_filename(raw: str) -> str:
    """Return `raw` as a name that every file system, shell, header and page can take.

    Letters of all languages stay (NFC); the path, controls, invisible and bidirectional characters,
    separators and their look-alikes go; no leading dot or dash, no name that Windows reserves, no second
    dangerous extension, at most 200 bytes of UTF-8 with the extension kept. Never empty, and
    ``safe_filename(safe_filename(x))`` changes nothing::

        >>> safe_filename("../../férias 2024.php.jpg")
        'férias 2024_php.jpg'
    """
    name = raw
    for _ in range(8):
        again = _once(name)
        if again == name:
            break
        name = again
    return name


def _once(raw: str) -> str:
    name = unicodedata.normalize(
        "NFC", _basename(raw[:4096] if len(raw) <= 4096 else raw[:2048] + raw[-2048:])
    )
    name = "".join(map(_character, name))
    name = re.sub(r"\.{2,}", ".", re.sub(r" {2,}", " ", name))
    name = re.sub(r"\s*\.\s*", ".", name)
    only_extension = name.startswith(".") and kind_of_extension(name.strip(" .-")) is not None
    name = name.lstrip(" .-").rstrip(" .")
    if only_extension:
        name = f"{_FALLBACK}.{name}"
    stem, extension = _split(name)
    stem = _defused(stem).strip(" .").lstrip("-. ")
    if extension.lower() in DANGEROUS:
        stem, extension = (f"{stem}_{extension}" if stem else extension), ""
    if not stem.strip("_-. "):
        stem = _FALLBACK
    if _RESERVED.fullmatch(unicodedata.normalize("NFKC", stem).split(".")[0]):
        stem = f"_{stem}"
    tail = f".{extension}" if extension else ""
    stem = _cut(stem, MAX_BYTES - len(tail.encode())).rstrip(" .") or _FALLBACK
    return unicodedata.normalize("NFC", stem + tail)


def _basename(raw: str) -> str:
    parts = [part for part in _SEPARATORS.split(raw) if part.strip(" .")]
    return parts[-1] if parts else ""


def _character(char: str) -> str:
    if char in _ASCII:
        return char
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if (
        category[0] in "CZ"
    ):  # controls, format and bidi characters, surrogates, private use, unassigned, lines
        return ""
    if char.isascii():
        return "_"
    plain = unicodedata.normalize("NFKC", char)
    if plain != char and any(each.isascii() and not each.isalnum() for each in plain):
        return "_"  # a look-alike of a separator, a dot, a quote …
    return "_" if char in "\u2215\u2044\u29f8\u29f9\u2216\u2571\u2572\u00b7\u2024\ua789\u02d0" else char


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not dot or not extension or len(extension) > _MAX_EXTENSION or not extension.isalnum():
        return name, ""
    return stem, extension if extension.isascii() else unicodedata.normalize("NFC", extension)


def _defused(stem: str) -> str:
    """Join dangerous inner extensions to what precedes them, from the right: a merged part may be dangerous again.

    ``a._.so`` becomes ``a._`` + ``_so``, which reads as "so" too, and so ``a___so``.
    """
    *before, current = stem.split(".")
    kept = ""
    for part in reversed(before):
        if _plain(current) in DANGEROUS:
            current = f"{part}_{current}"
        else:
            kept, current = f".{current}{kept}", part
    return current + kept


def _plain(part: str) -> str:
    """Return `part` as seen by a server that maps full-width letters to ASCII, as some code pages do."""
    return unicodedata.normalize("NFKC", part).strip(" _").lower()


def _cut(text: str, size: int) -> str:
    return text if len(text.encode()) <= size else text.encode()[:size].decode(errors="ignore")


def extension_of(raw: str) -> str:
    """Return the extension that a file system sees, lower case without the dot; "" for none."""
    name = _SEPARATORS.split(raw)[-1].rstrip(" .\t")
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot else ""


def dangerous_inner_extension(raw: str) -> bool:
    """Return True when a server that reads every extension would run this file: ``a.php.jpg``, ``a.asp;.jpg``."""
    return any(part in DANGEROUS for part in _inner(raw))


def executed_inner_extension(raw: str) -> bool:
    """Return True when an inner extension belongs to a program or a server's script: ``shell.php.jpg``."""
    return any(part in DANGEROUS and part not in _HONEST_INSIDE for part in _inner(raw))


def _inner(raw: str) -> list[str]:
    """Return the inner extensions; a word between blanks is none: ``foto do bar.jpg``."""
    parts = re.split(r"[.;%]+", _SEPARATORS.split(raw)[-1].lower())
    return [part.strip() for part in parts[1:-1]]


def cleaned(raw: str | None, safe: str) -> bool:
    """Return True when `safe` differs from the client's name by more than its folder and its extension."""
    if raw is None:
        return False
    before = unicodedata.normalize("NFC", _SEPARATORS.split(raw)[-1].strip(" .\t\r\n"))
    return before not in (safe, safe.rpartition(".")[0])


def suspicious(raw: str) -> bool:
    """Return True for names that no honest client sends: controls, overrides of direction, parent folders."""
    if any(
        unicodedata.category(char) in ("Cc", "Cs") or char in _OVERRIDES for char in raw.rstrip(" \t\r\n")
    ):
        return True
    lowered = raw.lower()
    return (
        ".." in _SEPARATORS.split(raw)
        or "%00" in lowered
        or "%2e%2e" in lowered
        or "..%2f" in lowered
        or "..%5c" in lowered
        or ":$" in lowered
        or "::" in lowered
    )
