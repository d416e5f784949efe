from __future__ import annotations

import pytest

from prodkit.env.typos import Index, typos

KNOWN = ("DATABASE_URL", "REDIS_HOST", "REDIS_URL", "API_KEY", "PORT", "DB")


def found(
    *names: str, taken: tuple[str, ...] = (), prefix: str = "", nested: str = ""
) -> dict[str, str | None]:
    return dict(typos(names, Index([prefix + each for each in KNOWN]), taken, prefix, nested))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DATABSE_URL", "DATABASE_URL"),  # a letter is missing
        ("DATABASE_ULR", "DATABASE_URL"),  # neighbours swapped
        ("DATABASEURL", "DATABASE_URL"),
        ("DATABASE_URLS", "DATABASE_URL"),
        ("API_KYE", "API_KEY"),
        ("API_KEY_FIEL", "API_KEY_FILE"),
        ("APY_KEY_FILE", "API_KEY_FILE"),
    ],
)
def test_a_near_miss_names_what_was_meant(name: str, meant: str) -> None:
    assert found(name) == {name: meant}


@pytest.mark.parametrize(
    "name",
    [
        *KNOWN,
        "API_KEY_FILE",
        "REDIS_PORT",  # another word, not a misspelt one
        "PATH",
        "PORTS",  # too short to tell
        "PGPORT",
        "REDIS_SERVICE_HOST",  # Kubernetes
        "",
    ],
)
def test_known_names_and_those_of_other_programs_are_none(name: str) -> None:
    assert found(name) == {}


def test_a_near_miss_of_a_variable_that_is_set_belongs_to_another_program() -> None:
    assert found("REDIS_URLS", taken=("REDIS_URL",)) == {}


def test_behind_the_prefix_every_unknown_name_counts() -> None:
    assert found("SHOP_COLOUR", "OTHER_COLOUR", "SHOP_API_KEI", prefix="SHOP_") == {
        "SHOP_COLOUR": None,
        "SHOP_API_KEI": "SHOP_API_KEY",
    }


def test_nested_names_of_a_known_variable_are_known() -> None:
    assert found("SHOP_DB__HOST", prefix="SHOP_", nested="__") == {}
    assert found("SHOP_DB__HOST", prefix="SHOP_") == {"SHOP_DB__HOST": None}


def test_of_two_candidates_the_nearer_one_is_meant() -> None:
    index = Index(["SESSION_KEYS", "SESSION_KEY"])
    assert index.nearest("SESSION_KEYZ", ()) in ("SESSION_KEY", "SESSION_KEYS")
    assert index.nearest("SESSION_KEYSS", ()) == "SESSION_KEYS"
    assert index.nearest("SESSION_KEYSS", ("SESSION_KEYS",)) == "SESSION_KEY"
    assert index.nearest("COLOUR", ()) is None
    assert index.nearest_pointer("SESSION_KEY_FILES", ()) == "SESSION_KEY_FILE"
    assert index.nearest_pointer("SESSION_KEY_PATH", ()) is None
