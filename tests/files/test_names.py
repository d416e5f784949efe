"""safe_filename keeps every property at once, over awkward names and over whatever Hypothesis finds."""

import re
import unicodedata

import pytest
from hypothesis import given, settings, strategies as st
from upload_corpus.base import bases
from upload_corpus.naming import INVISIBLE, awkward_names

from prodkit import files
from prodkit.files.names import DANGEROUS, dangerous_inner_extension, extension_of, safe_filename, suspicious

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|\s*$)")
NAMES = awkward_names()


def violations(raw: str) -> list[str]:
    safe = safe_filename(raw)
    stem, _, extension = safe.rpartition(".")
    plain = unicodedata.normalize("NFKC", safe)
    wanted = extension_of(raw)
    rules = {
        "empty": bool(safe),
        "empty stem": bool(stem.strip(" .") or "." not in safe),
        "not NFC": unicodedata.is_normalized("NFC", safe),
        "not UTF-8": not any("\ud800" <= char <= "\udfff" for char in safe),
        "separator": not set(safe + plain) & set("/\\"),
        "control or invisible": not any(
            unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in safe
        ),
        "bidi": not set(safe) & set(INVISIBLE),
        "shell or markup": not set(safe) & set("<>:\"|?*;$&`'%#{}^~!\\"),
        "leading dot, dash or space": safe[0] not in ".- ",
        "trailing dot or space": safe[-1] not in ". ",
        "two dots": ".." not in plain,
        "reserved": not RESERVED.match(safe),
        "second extension": not dangerous_inner_extension(safe),
        "dangerous extension": extension.lower() not in DANGEROUS or "." not in safe,
        "too long": len(safe.encode()) <= 200,
        "not idempotent": safe_filename(safe) == safe,
        "suspicious": not suspicious(safe),
        "extension lost": wanted not in ("jpg", "jpeg", "png", "gif", "webp") or extension.lower() == wanted,
    }
    return [rule for rule, kept in rules.items() if not kept]


def test_there_are_as_many_awkward_names_as_promised() -> None:
    assert len(set(NAMES)) >= 201


@pytest.mark.parametrize("raw", sorted(set(NAMES)), ids=ascii)
def test_awkward_names_keep_every_property(raw: str) -> None:
    assert violations(raw) == []


@settings(max_examples=400, deadline=None)
@given(
    st.text(alphabet=st.characters(), max_size=80) | st.lists(st.sampled_from(NAMES), max_size=3).map("".join)
)
def test_any_text_keeps_every_property(raw: str) -> None:
    assert [rule for rule in violations(raw) if rule != "extension lost"] == []


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("férias na praia.jpg", "férias na praia.jpg"),
        ("фото.jpg", "фото.jpg"),
        ("写真.JPG", "写真.JPG"),
        ("conference.jpg", "conference.jpg"),
        ("CON.jpg", "_CON.jpg"),
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("shell.php.jpg", "shell_php.jpg"),
        (".jpg", "file.jpg"),
        ("", "file"),
        ("photo.jpg ", "photo.jpg"),
        ("e\u0301.jpg", "é.jpg"),
    ],
)
def test_examples(raw: str, safe: str) -> None:
    assert safe_filename(raw) == safe


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    safe = safe_filename("写" * 200 + ".jpeg")
    assert safe.endswith("写.jpeg")
    assert 190 <= len(safe.encode()) <= 200


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("chart.svg.png", "chart_svg.png"),
        ("setup.py.png", "setup_py.png"),
        ("app.js.png", "app_js.png"),
        ("page.html.png", "page_html.png"),
    ],
)
async def test_the_name_of_a_source_inside_a_name_is_cleaned_and_reported(name: str, stored: str) -> None:
    png = bases()["png"][1]
    clean = await files.Validator(files.ImagePolicy()).check(png, filename=name, declared_type=None)
    assert clean.filename == stored
    assert clean.repairs == ("name",)
    assert clean.content == png


def test_cleaning_twice_changes_nothing_however_deep_the_name_is() -> None:
    raw = "g.s" + "._" * 40 + ".___So.pns0pg.jpg"
    assert safe_filename(safe_filename(raw)) == safe_filename(raw)
    assert not dangerous_inner_extension(safe_filename(raw))


async def test_an_ordinary_name_is_not_reported() -> None:
    validator = files.Validator(files.ImagePolicy())
    for name in (
        "C:\\fotos\\férias.PNG",
        "a/b/c.png",
        "foto 1.png",
        "foto do bat man.png",
        " foto.png ",
        None,
        "blob",
    ):
        clean = await validator.check(bases()["png"][1], filename=name, declared_type=None)
        assert clean.repairs == (), name
