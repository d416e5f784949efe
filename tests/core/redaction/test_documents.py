from __future__ import annotations

import pytest

from prodkit.core.redaction.documents import is_card, is_cnpj, is_cpf


@pytest.mark.parametrize(
    "digits",
    [
        "4242424242424242",
        "5555555555554444",
        "378282246310005",
        "30569309025904",
        "6011111111111117",
        "4222222222222",
    ],
)
def test_published_test_cards_are_cards(digits: str) -> None:
    assert is_card(digits)
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert not is_card(wrong), "the check digit is wrong"
    assert not is_card(digits + "0"), "the length is wrong"


@pytest.mark.parametrize("digits", ["", "0000000000000000", "4000000000000000", "9999999999999995", "42"])
def test_placeholders_and_foreign_prefixes_are_no_cards(digits: str) -> None:
    assert not is_card(digits)


def test_a_cpf_needs_both_check_digits() -> None:
    assert is_cpf("52998224725")
    assert not is_cpf("52998224735")
    assert not is_cpf("52998224726")
    assert not is_cpf("5299822472")
    assert not is_cpf("")


def test_eleven_equal_digits_are_no_cpf_though_their_sum_is_right() -> None:
    assert not any(is_cpf(str(digit) * 11) for digit in range(10))


def test_a_cnpj_may_hold_capitals_before_its_check_digits() -> None:
    assert is_cnpj("11222333000181")
    assert is_cnpj("12ABC34501DE35")  # the example of the Receita Federal
    assert not is_cnpj("11222333000182")
    assert not is_cnpj("12ABC34501DE3X")
    assert not is_cnpj("00000000000000")
    assert not is_cnpj("1122233300018")
