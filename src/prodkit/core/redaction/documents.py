"""Numbers that prove themselves by check digits: cards, CPF and CNPJ. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["is_card", "is_cnpj", "is_cpf"]


# Issuer ranges (first and last prefix) with the lengths in use, from the issuers' public tables.
_ISSUERS: Final = tuple(
    (len(first), first, last, frozenset(lengths))
    for first, last, lengths in (
        ("1", "1", (15,)),  # UATP
        ("4", "4", (13, 16, 19)),  # Visa, some of Elo
        ("51", "55", (16,)),  # Mastercard
        ("2221", "2720", (16,)),  # Mastercard
        ("34", "34", (15,)),  # American Express
        ("37", "37", (15,)),
        ("300", "305", (14, 16)),  # Diners Club
        ("36", "36", (14, 16)),
        ("38", "39", (14, 16)),  # Diners Club, Hipercard
        ("6011", "6011", (16, 19)),  # Discover
        ("644", "649", (16, 19)),
        ("65", "65", (16, 19)),  # Discover, Elo, RuPay
        ("3528", "3589", (16, 19)),  # JCB
        ("62", "62", (16, 17, 18, 19)),  # UnionPay
        ("5018", "5018", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
        ("5020", "5020", (13, 14, 15, 16, 17, 18, 19)),
        ("5038", "5038", (13, 14, 15, 16, 17, 18, 19)),
        ("5893", "5893", (13, 14, 15, 16, 17, 18, 19)),
        ("6304", "6304", (13, 14, 15, 16, 17, 18, 19)),
        ("6759", "6763", (13, 14, 15, 16, 17, 18, 19)),
        ("5019", "5019", (16,)),  # Dankort
        ("5041", "5041", (16,)),  # Elo
        ("5066", "5067", (16,)),
        ("5090", "5090", (16,)),
        ("6277", "6277", (16,)),
        ("6362", "6363", (16,)),
        ("606282", "606282", (13, 16, 19)),  # Hipercard
        ("2200", "2204", (16, 17, 18, 19)),  # Mir
    )
)


def is_card(digits: str) -> bool:
    """Return True when `digits` are a payment card: an issuer's prefix and length, and Luhn's sum (ISO/IEC 7812)."""
    size = len(digits)
    if not any(
        first <= digits[:length] <= last and size in lengths for length, first, last, lengths in _ISSUERS
    ):
        return False
    if len(set(digits)) <= 2 and digits.count("0") > size - 3:
        return False  # 4000000000000000 and its like are placeholders
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if place % 2:
            value *= 2
            if value > 9:
                value -= 9
        total += value
    return total % 10 == 0


def is_cpf(digits: str) -> bool:
    """Return True when 11 `digits` are a CPF, by its two check digits."""
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    values = [ord(digit) - 48 for digit in digits]
    for size in (9, 10):
        total = sum(value * weight for value, weight in zip(values, range(size + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != values[size]:
            return False
    return True


_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def is_cnpj(text: str) -> bool:
    """Return True when 14 capitals and digits are a CNPJ; a character counts as its ASCII code - 48.

    The alphanumeric form is in use since July 2026 (IN RFB 2.229/2024).
    """
    if len(text) != 14 or len(set(text)) == 1 or not text[12:].isdigit():
        return False
    values = [ord(char) - 48 for char in text]
    for size in (12, 13):
        total = sum(value * weight for value, weight in zip(values, _CNPJ_WEIGHTS[13 - size :], strict=False))
        rest = total % 11
        if values[size] != (0 if rest < 2 else 11 - rest):
            return False
    return True
