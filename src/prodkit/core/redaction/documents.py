"""Numbers that prove themselves by check digits: cards, CPF and CNPJ. Pure."""

from __future__ import annotations

__all__ = ["is_card", "is_cnpj", "is_cpf"]


def is_card(digits: str) -> bool:
    """Return True when 13 to 19 `digits` are a payment card: an issuer's first digit and Luhn's sum (ISO/IEC 7812)."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456" or len(set(digits)) == 1:
        return False
    if len(digits) > 16 and not digits.startswith(("50", "56", "57", "58", "6")):
        return False  # only Maestro and UnionPay are that long; database ids are too
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
