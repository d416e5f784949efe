from __future__ import annotations

from typing import Any

import pytest

from prodkit.core.secrets import RuleError
from prodkit.env.problems import Problems


def rules(
    *errors: dict[str, Any], values: tuple[str, ...] = (), hidden: tuple[str, ...] = ()
) -> list[tuple[str, str, str]]:
    problems = Problems("en")
    problems.add_validation(errors, {"port": "SHOP_PORT"}, values, hidden, nested="__")
    return [(each.variable, each.rule, each.hint) for each in problems.error().problems]


def error(kind: str, *loc: str | int, **ctx: object) -> dict[str, Any]:
    return {"type": kind, "loc": loc or ("port",), "ctx": ctx}


def test_nothing_found_is_false_and_each_rule_of_a_variable_counts_once() -> None:
    problems = Problems("en")
    assert not problems
    problems.add("PORT", "missing")
    problems.add("PORT", "missing")
    problems.add("PORT", "integer")
    problems.add("HOST", "missing")
    assert problems
    found = problems.error()
    assert [(each.variable, each.rule) for each in found.problems] == [
        ("PORT", "missing"), ("PORT", "integer"), ("HOST", "missing"),
    ]  # fmt: skip
    assert str(found).splitlines()[:2] == [
        "The environment has 3 problems:",
        "  PORT is required and is not set",
    ]


def test_the_error_speaks_the_language_that_was_asked_for() -> None:
    problems = Problems("pt-BR")
    problems.add("PORT", "missing")
    assert str(problems.error()).startswith("O ambiente tem 1 problema:\n  PORT é obrigatória")


@pytest.mark.parametrize(
    ("kind", "context", "rule", "hint"),
    [
        ("missing", {}, "missing", "is required"),
        ("int_parsing", {}, "integer", "whole number"),
        ("greater_than_equal", {"ge": 1}, "range", ">= 1"),
        ("less_than", {"lt": 5}, "range", "< 5"),
        ("string_too_short", {"min_length": 3}, "length", ">= 3"),
        ("literal_error", {"expected": "'a' or 'b'"}, "choice", "one of: a, b"),
        ("something_new", {}, "invalid", "is not valid"),
    ],
)
def test_pydantics_errors_become_rules(kind: str, context: dict[str, object], rule: str, hint: str) -> None:
    [(variable, found, text)] = rules(error(kind, **context))
    assert (variable, found) == ("SHOP_PORT", rule)
    assert hint in text


def test_a_rule_of_a_secret_keeps_its_facts() -> None:
    [(_, rule, hint)] = rules(error("value_error", error=RuleError("too_short", min_length=32)))
    assert rule == "too_short"
    assert "at least 32 characters" in hint


def test_a_validators_own_message_is_shown_unless_it_may_hold_a_value() -> None:
    wrong = error("value_error", error=ValueError("must be even, not 7"))
    assert rules(wrong)[0][2] == "must be even, not 7"
    assert rules(wrong, values=("7",))[0][1:] == ("invalid", "is not valid")
    assert rules(wrong, hidden=("SHOP_PORT",))[0][1] == "invalid"


def test_items_of_lists_are_counted_from_one_and_nested_fields_named_as_variables() -> None:
    assert rules(error("int_parsing", "port", 1))[0][2] == "item 2 must be a whole number"
    assert rules(error("missing", "port", "inner"))[0][0] == "SHOP_PORT__INNER"
    assert rules({"type": "missing", "loc": ()})[0][0] == "-"


def test_a_variable_that_is_known_to_be_wrong_is_named_once() -> None:
    problems = Problems("en")
    problems.add("PORT", "list")
    problems.spoilt.add("PORT")
    problems.add_validation([error("missing")], {"port": "PORT"}, (), ())
    assert [each.rule for each in problems.error().problems] == ["list"]
