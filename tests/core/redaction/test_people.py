from __future__ import annotations

import pytest

from prodkit.core.redaction.people import (
    is_phone,
    mask_emails,
    mask_numbers,
    mask_phones,
    names_phone,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ana@loja.example", "***"),
        ("from ana.maria+x@loja.com.br, to b@c.org.", "from ***, to ***."),
        ("<ana@loja.com>", "<***>"),
        ("to: ana@loja.com", "to: ***"),
        ("sent to=ana@loja.com in 3 ms", "sent to=*** in 3 ms"),
        ("https://api.loja.com/users/ana@loja.com/edit", "https://api.loja.com/users/***/edit"),
        ("GET https://h/u?email=ana@loja.com&x=1", "GET https://h/u?email=***&x=1"),
        ("GET /u?email=ana%40loja.com&x=1", "GET /u?email=***&x=1"),
        ("q=email%3Dana%2Bx%40loja.com%26y", "q=email%3D***%26y"),
        ("id|ana@loja.com|ok", "id|***|ok"),
        ("bounces+ana=loja.com@mailer.example", "***"),
        ("Return-Path=ana@loja.com", "Return-Path=***"),
    ],
)
def test_email_addresses_are_masked(text: str, shown: str) -> None:
    assert mask_emails(text, "***") == shown


@pytest.mark.parametrize(
    "text", ["", "@", "50 @ 3", "git@github.com:a/b.git", "@decorator", "a@b", "@scope/pkg@1.2.3"]
)
def test_other_uses_of_the_at_sign_stay(text: str) -> None:
    assert mask_emails(text, "***") == text


@pytest.mark.parametrize(
    ("text", "named", "shown"),
    [
        ("+55 11 91234-5678", False, "***"),
        ("ligue (11) 91234-5678 hoje", False, "ligue *** hoje"),
        ("telefone: 11912345678", True, "telefone: ***"),
        ("+12", False, "+12"),
        ("+1 2 3", False, "+1 2 3"),
        ("id 11912345678", False, "id 11912345678"),
        ("2026-11-24", True, "2026-11-24"),
    ],
)
def test_phones_are_masked_where_their_form_or_a_word_beside_them_says_so(
    text: str, named: bool, shown: str
) -> None:
    assert mask_phones(text, named, "***") == shown


TEXT = "4242 4242 4242 4242, 529.982.247-25, 11.222.333/0001-81"


def test_each_kind_of_number_is_masked_only_when_it_is_asked_for() -> None:
    assert mask_numbers(TEXT, "***", cards=True, cpf=True, cnpj=True) == "***, ***, ***"
    assert mask_numbers(TEXT, "***", cards=True, cpf=False, cnpj=False).endswith("-25, 11.222.333/0001-81")
    assert mask_numbers(TEXT, "***", cards=False, cpf=True, cnpj=False) == TEXT.replace(
        "529.982.247-25", "***"
    )
    assert mask_numbers(TEXT, "***", cards=False, cpf=False, cnpj=False) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "529.982.247-26",
        "1-4242424242424242",
        "v4242424242424242",
        "2026 11 24 18 00 00 01",
        "took 4242424242424241 ns",
    ],
)
def test_numbers_that_do_not_prove_themselves_or_are_part_of_others_stay(text: str) -> None:
    assert mask_numbers(text, "***", cards=True, cpf=True, cnpj=True) == text


@pytest.mark.parametrize("name", ["phone", "phone_number", "telefoneCelular", "user.whatsapp", "mobile"])
def test_names_of_telephone_numbers(name: str) -> None:
    assert names_phone(name)


@pytest.mark.parametrize("name", ["", "microphone", "phone_model_name", "hotel", "telemetry", "number"])
def test_other_names(name: str) -> None:
    assert not names_phone(name)


def test_a_telephone_number_has_eight_to_fifteen_digits_and_nothing_else() -> None:
    assert is_phone("(11) 91234-5678")
    assert is_phone(11912345678)
    for other in ("iPhone 15", "", "1234567", "1" * 16, None, 3.5, 12345, True):
        assert not is_phone(other)
