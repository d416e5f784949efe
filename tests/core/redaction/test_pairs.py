from __future__ import annotations

import base64

import pytest

from prodkit.core.redaction import pairs
from prodkit.core.redaction.pairs import (
    mask_comparisons,
    mask_flags,
    mask_pairs,
    mask_phrases,
    mask_schemes,
)
from prodkit.core.redaction.scrub import scrub


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter22", "password=***"),
        ("user=ana&password=hunter22&page=2", "user=ana&password=***&page=2"),
        ('{"api_key": "hunter22", "page": 2}', '{"api_key": "***", "page": 2}'),
        ("{'password': 'hun\\'ter22'}", "{'password': '***'}"),
        ("Authorization: Bearer hunter22", "Authorization: ***"),
        ("<password>hunter22</password>", "<password>***</password>"),
        ('set("password", "hunter22")', 'set("password", "***")'),
        ("password%3Dhunter22%26page%3D2", "password%3D***%26page%3D2"),
        ('db_password := "hunter22"', 'db_password := "***"'),
    ],
)
def test_the_value_of_a_sensitive_name_is_masked_and_the_rest_stays(text: str, shown: str) -> None:
    assert mask_pairs(text, "***") == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "a=b",
        "password=",
        "password=None",
        "password=***",
        "password: required",
        "password=${PASSWORD}",
        "token_count=12",
        "password=settings.password",
        "token: please sign in again",
    ],
)
def test_a_name_without_a_secret_stays(text: str) -> None:
    assert mask_pairs(text, "***") == text


def test_a_literal_compared_with_a_sensitive_name_is_masked() -> None:
    assert mask_comparisons('if "hunter22" == password:', "***") == 'if "***" == password:'
    assert mask_comparisons('if "hunter22" == colour:', "***") == 'if "hunter22" == colour:'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run --password hunter22 --page 2", "run --password *** --page 2"),
        ("['run', '--api-key', 'hunter22']", "['run', '--api-key', '***']"),
        ("run --password --verbose", "run --password --verbose"),
        ("run --page 22222222", "run --page 22222222"),
    ],
)
def test_the_values_of_flags_are_masked(text: str, shown: str) -> None:
    assert mask_flags(text, "***") == shown


def test_credentials_after_a_scheme_are_masked() -> None:
    basic = base64.b64encode(b"ana:hunter22").decode()
    assert mask_schemes(f"sent Basic {basic} there", "***") == "sent Basic *** there"
    assert mask_schemes("sent Bearer kq2vS1nGdJ0m4T8yRwZc", "***") == "sent Bearer ***"
    assert mask_schemes("Basic knowledge of the bearer", "***") == "Basic knowledge of the bearer"


def test_equal_matches_of_a_long_text_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def looks_random(value: str) -> bool:
        judged.append(value)
        return value.startswith("kq2v")

    monkeypatch.setattr(pairs, "looks_random", looks_random)
    text = "sent token kq2vS1nGdJ0m4T8yRwZc, token unremarkable-word\n" * 500
    shown = "sent token ***, token unremarkable-word\n" * 500
    assert mask_schemes(text, "***") == shown
    assert mask_phrases(text, "***") == shown
    assert len(judged) == 4, "two different matches for each of two rules"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CREATE ROLE ana IDENTIFIED BY 'hunter22'", "CREATE ROLE ana IDENTIFIED BY '***'"),
        ("the password is hunter22.", "the password is ***."),
        ("the password is required", "the password is required"),
    ],
)
def test_secrets_in_sentences_are_masked(text: str, shown: str) -> None:
    assert mask_phrases(text, "***") == shown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("API key=HsuJVmlrVXnMRDIdXEoV", "HsuJVmlrVXnMRDIdXEoV"),
        ("secret key: lbUfmcuIJrVTyvGZfJIE", "lbUfmcuIJrVTyvGZfJIE"),
        ("login with key=RPbkL4fhPzohBAgrAur8Ed9NCnYmmVS2 failed", "RPbkL4fhPzohBAgrAur8Ed9NCnYmmVS2"),
        ("error: invalid key: 7r8Uf3UctnUczEWAkSPK7Q2GQz4Vh38q", "7r8Uf3UctnUczEWAkSPK7Q2GQz4Vh38q"),
        ("error: invalid code: XpOduczyltqhfPaHFkho", "XpOduczyltqhfPaHFkho"),
    ],
)
def test_words_before_a_name_do_not_save_a_value_that_looks_random(text: str, secret: str) -> None:
    assert secret not in scrub(text)
    assert scrub("cache key: 7r8Uf3UctnUczEWAkSPK") == "cache key: 7r8Uf3UctnUczEWAkSPK"
    assert scrub("senha do banco: alterada") == "senha do banco: alterada"
