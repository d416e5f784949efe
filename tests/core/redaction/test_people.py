from __future__ import annotations

import pytest

from prodkit.core.redaction.people import mask_emails, mask_numbers, mask_phones


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ana@loja.example", "***"),
        ("from ana.maria+x@loja.com.br, to b@c.org.", "from ***, to ***."),
        ("<ana@loja.com>", "<***>"),
        ("to: ana@loja.com", "to: ***"),
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
