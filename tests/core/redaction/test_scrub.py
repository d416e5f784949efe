from __future__ import annotations

import pytest

from prodkit.core.redaction.scrub import KINDS, scrub
from prodkit.core.secrets import SecretRegistry

KEY = "sk-ant-api03-" + "Zq8vT1mK4pX7sB2nR9wY3cF6hJ0dL5gA" * 2  # made up
SAMPLES = {
    "keys": f"used {KEY} once",
    "named": "password=hunter22",
    "addresses": "redis://:horse@cache/0",
    "cards": "paid with 4242 4242 4242 4242",
    "cpf": "cliente 529.982.247-25",
    "cnpj": "loja 11.222.333/0001-81",
    "emails": "ana@loja.example",
    "phones": "+55 11 91234-5678",
}


def test_there_is_a_sample_of_each_kind() -> None:
    assert set(SAMPLES) == KINDS


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_each_kind_is_masked_by_itself_and_stays_when_it_is_left_out(kind: str) -> None:
    text = SAMPLES[kind]
    assert "***" in scrub(text)
    assert "***" in scrub(text, frozenset({kind}))
    assert scrub(text, KINDS - {kind}) == text


def test_all_of_them_in_one_text() -> None:
    masked = scrub("\n".join(SAMPLES.values()))
    for secret in (KEY, "hunter22", "horse", "4242", "529.982", "11.222", "ana@", "91234"):
        assert secret not in masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "id=7 at /v1?a=b",
        "GET /orders/123 200 in 0.012 s",
        "olá, usuário 7: 3 itens",
        "2026-11-24T18:00:00Z",
    ],
)
def test_ordinary_lines_stay(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("kinds", [KINDS, frozenset[str]()])
def test_a_private_key_is_always_masked_even_without_its_end(kinds: frozenset[str]) -> None:
    begin = "-----BEGIN " + "RSA PRIVATE KEY-----"
    end = "-----END " + "RSA PRIVATE KEY-----"
    assert scrub(f"a {begin}\nMIIE\n{end} b", kinds) == "a *** b"
    assert scrub(f"a {begin}\nMIIE", kinds) == "a ***"
    public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"
    assert scrub(public, kinds) == public


def test_scrubbing_twice_changes_nothing() -> None:
    once = scrub("\n".join(SAMPLES.values()))
    assert scrub(once) == once


def test_a_text_of_known_words_is_judged_as_one_of_new_words_is() -> None:
    for text in ("order token=Zq8vT1kPw3LmX9cR done", "order done", "Order Token: Zq8vT1kPw3LmX9cR"):
        first = scrub(text)
        assert scrub("order done with a status") == "order done with a status"
        assert scrub(text) == first
    assert "Zq8v" not in scrub("order token=Zq8vT1kPw3LmX9cR done")


@pytest.mark.parametrize("text", ["00f067aa0ba902b7", "3f2b8c1e-1234-4abc-9def-1234567890ab", "7c197b6"])
def test_hashes_and_uuids_stay(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("text", ["4111111111111111", "4111-1111-1111-1111", "52998224725"])
def test_numbers_of_the_same_signs_do_not(text: str) -> None:
    assert scrub(text) == "***"


def test_words_of_a_long_text_are_searched_for_without_being_judged() -> None:
    text = " ".join(f"w{number:x}x" for number in range(2_000))
    assert scrub(f"{text} password=hunter22 {text}").count("***") == 1
    assert scrub(text) == text


@pytest.mark.parametrize(
    "secret", ["correct-horse-battery", "correct horse battery", "horseradish", "hunter22", "a" * 14]
)
def test_registered_values_are_replaced_however_plain_the_text_is(secret: str) -> None:
    registry = SecretRegistry()
    registry.add(secret)
    assert scrub("order done", KINDS, registry) == "order done"
    for text in (f"order {secret} done", secret, f"x={secret}"):
        assert secret not in scrub(text, KINDS, registry)
        assert secret not in scrub(text, KINDS, registry)  # also when every word is known
