"""Options of pipelines as plain data: every spelling, every problem, the order, what keeps its state."""

from typing import Any

import pytest

import prodkit as pk
from prodkit.policies import Fallback, RetryAfterGate, RetryBudget
from prodkit.policies.policy_options import ORDER, apply, build, given_options, kinds_of, parse

RUNTIME = pk.Runtime()


def parsed(given: dict[str, Any], known: Any = None) -> tuple[Any, list[str]]:
    problems: list[str] = []
    return parse(given, problems, known=known), problems


def built(settings: dict[str, Any]) -> tuple[list[Any], list[str]]:
    problems: list[str] = []
    return build("shop", parsed({"shop": settings})[0]["shop"], RUNTIME, problems), problems


def applied(
    policies: list[Any], settings: dict[str, Any], *, keep_state: bool = True
) -> tuple[Any, list[str]]:
    problems: list[str] = []
    options = parsed({"shop": settings})[0]["shop"]
    return apply("shop", policies, options, RUNTIME, problems, keep_state=keep_state), problems


@pytest.mark.parametrize(
    "given",
    [
        {"shop": {"breaker": {"open_for": 60}}},
        {"shop": {"breaker.open_for": 60}},
        {"shop.breaker.open_for": 60},
        {"shop.breaker": {"open_for": 60}},
        {"shop__breaker__open_for": "60"},
        {"shop": {"BREAKER": {"OPEN_FOR": " 60 "}}},
        {"shop.BREAKER.open_for": 60},
    ],
)
def test_every_spelling_means_the_same(given: dict[str, Any]) -> None:
    assert parsed(given) == ({"shop": {"breaker": {"open_for": 60}}}, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("-7", -7), ("0.5", 0.5), ("1e3", 1000.0), ("true", True), ("ON", True), ("yes", True),
        ("false", False), ("No", False), ("off", None), ("none", None), ("NULL", None), ("", None), (" lifo ", "lifo"),
        (None, None), (3, 3), (True, True), ([1], [1]),
    ],
)  # fmt: skip
def test_texts_are_read(text: object, value: object) -> None:
    found, problems = parsed({"shop.bulkhead.limit": text})
    assert (found, problems) == ({"shop": {"bulkhead": {"limit": value}}}, [])
    assert type(found["shop"]["bulkhead"]["limit"]) is type(value)


@pytest.mark.parametrize(
    ("bare", "options"),
    [
        (5, {"failures": 5}),
        ("5", {"failures": 5}),
        (True, {}),
        ("on", {}),
        (None, None),
        (False, None),
        ("off", None),
        ({}, {}),
    ],
)
def test_a_bare_value_is_the_obvious_option(bare: object, options: object) -> None:
    assert parsed({"shop": {"breaker": bare}}) == ({"shop": {"breaker": options}}, [])


def test_an_option_after_the_policy_was_removed_brings_it_back() -> None:
    found, _ = parsed({"shop.breaker": "off", "shop.breaker.failures": 2})
    assert found == {"shop": {"breaker": {"failures": 2}}}


def test_what_stands_below_an_option_belongs_to_it() -> None:
    found = {"shop": {"bulkhead": {"limit": {"a": 1}, "open.for": 2}}}
    assert parsed(found) == (found, [])
    assert parsed({"shop.bulkhead": {"open.for": 2}}) == ({"shop": {"bulkhead": {"open.for": 2}}}, [])


def test_names_are_found_in_any_case_and_with_dashes() -> None:
    known = {"my-Shop": [pk.Timeout(1)]}
    assert parsed({"MY_SHOP__TIMEOUT": "2"}, known) == ({"my-Shop": {"timeout": {"seconds": 2}}}, [])
    assert parsed({"my-shop": {}}, known) == ({"my-Shop": {}}, [])


def test_what_is_unknown_is_named_with_what_may_be_meant() -> None:
    known = {"shop": [], "search": []}
    found, problems = parsed({"shopp.retry": 1, "shop.brekker": 1, "xyz": {"retry": 1}, "shop": 3}, known)
    assert problems == [
        "shopp.retry: no pipeline 'shopp', did you mean 'shop'?",
        "shop.brekker: no policy of that name, did you mean 'breaker'?",
        "xyz.retry: no pipeline 'xyz'",
        "shop: must be a mapping of policies to options, got 3",
    ]
    assert found == {"shop": {}}


def test_policies_are_built_in_the_recommended_order() -> None:
    policies, problems = built(
        {
            kind: True if kind not in ("chaos", "hedge") else 0.1
            for kind in ORDER
            if "timeout" not in kind and kind not in ("fallback", "bulkhead")
        }
        | {"bulkhead": 3, "timeout": 2, "total_timeout": 9}
    )
    assert problems == []
    assert list(kinds_of(policies)) == [
        "total_timeout",
        "retry",
        "hedge",
        "breaker",
        "gate",
        "limit",
        "bulkhead",
        "timeout",
        "chaos",
    ]
    assert all(policy.runtime is RUNTIME for policy in policies)
    assert {policy.name for policy in policies if hasattr(policy, "name")} == {"shop"}
    assert built({"breaker": "off", "timeout": 1})[0][0].seconds == 1
    assert len(built({"breaker": None, "timeout": 1})[0]) == 1


def test_a_budget_of_its_own_and_a_name_of_its_own() -> None:
    (retry,), _ = built({"retry": {"attempts": 4, "budget": True}})
    assert isinstance(retry.budget, RetryBudget)
    assert built({"retry": {"budget": None}})[0][0].budget is None
    data = {"retry": {"attempts": 4, "budget": True}}
    build("shop", data, RUNTIME, [])
    apply("shop", [pk.Retry(2)], data, RUNTIME, [], keep_state=True)
    assert data == {"retry": {"attempts": 4, "budget": True}}
    (breaker,), _ = built({"breaker": {"name": "mine"}})
    assert breaker.name == "mine"


def test_every_problem_of_a_pipeline_is_listed() -> None:
    policies, problems = built(
        {"breaker": {"failures": 0, "failurs": 3}, "timeout": {"seconds": "x"}, "bulkhead": True}
    )
    assert policies == []
    assert problems[0] == "shop.breaker.failurs: no option of that name, did you mean 'failures'?"
    assert problems[1].startswith("shop.breaker: failures must be an integer")
    assert problems[2].startswith("shop.bulkhead: ")
    assert problems[3].startswith("shop.timeout: seconds must be")
    assert len(problems) == 4


def test_of_two_timeouts_the_outer_one_is_the_total() -> None:
    outer, inner, retry = pk.Timeout(9), pk.Timeout(1), pk.Retry(2)
    assert kinds_of([outer, retry, inner]) == {"total_timeout": outer, "retry": retry, "timeout": inner}
    assert kinds_of([outer, retry]) == {"total_timeout": outer, "retry": retry}
    assert kinds_of([retry, inner]) == {"retry": retry, "timeout": inner}
    assert kinds_of([inner]) == {"timeout": inner}
    assert kinds_of([outer, inner]) == {"total_timeout": outer, "timeout": inner}


def test_an_added_policy_takes_its_place() -> None:
    retry, inner = pk.Retry(2), pk.Timeout(1)
    for kind, value, names in (
        ("breaker", True, ["Retry", "CircuitBreaker", "Timeout"]),
        ("total_timeout", 9, ["Timeout", "Retry", "Timeout"]),
        ("chaos", 0.1, ["Retry", "Timeout", "Chaos"]),
    ):
        policies, problems = applied([retry, inner], {kind: value})
        assert ([type(each).__name__ for each in policies], problems) == (names, [])
    policies, problems = applied([retry], {"bulkhead": True})
    assert (policies, len(problems)) == ([retry], 1)


def test_a_removed_policy_is_gone_and_a_missing_one_stays_so() -> None:
    retry, breaker = pk.Retry(2), pk.CircuitBreaker("b")
    assert applied([retry, breaker], {"breaker": "off"}) == ([retry], [])
    assert applied([retry], {"breaker": "off"}) == ([retry], [])


def test_breakers_and_bulkheads_keep_their_state() -> None:
    breaker, bulkhead = pk.CircuitBreaker("b", failures=5), pk.Bulkhead(2, name="n")
    policies, problems = applied([breaker, bulkhead], {"breaker": {"failures": 7}, "bulkhead": 9})
    assert (policies, problems) == ([breaker, bulkhead], [])
    assert (breaker.rules.failures, bulkhead.limit) == (7, 9)
    assert given_options(breaker) == {"name": "b", "failures": 7}
    assert given_options(bulkhead) == {"limit": 9, "name": "n"}


def test_other_options_make_a_new_policy() -> None:
    breaker, bulkhead = pk.CircuitBreaker("b", failures=5), pk.Bulkhead(2, name="n")
    policies, problems = applied(
        [breaker, bulkhead], {"breaker": {"mode": "shadow"}, "bulkhead": {"max_queue": 3}}
    )
    assert problems == []
    assert policies[0] is not breaker
    assert policies[1] is not bulkhead
    assert (policies[0].mode, policies[0].rules.failures, policies[1].limit) == ("shadow", 5, 2)
    rehearsed, _ = applied([breaker, bulkhead], {"breaker": {"failures": 7}, "bulkhead": 9}, keep_state=False)
    assert rehearsed[0] is not breaker
    assert (breaker.rules.failures, bulkhead.limit) == (5, 2)


def test_a_change_that_fails_leaves_the_policy() -> None:
    retry = pk.Retry(2)
    policies, problems = applied([retry], {"retry": {"attempts": 0, "waitt": 1}})
    assert policies == [retry]
    assert problems[0] == "shop.retry.waitt: no option of that name, did you mean 'wait'?"
    assert problems[1].startswith("shop.retry: attempts must be")
    changed, problems = applied([retry], {"retry": {"attempts": 4, "budget": True}})
    assert (problems, changed[0].attempts, type(changed[0].budget)) == ([], 4, RetryBudget)
    assert applied([retry], {"retry": {"attempts": 4, "budget": False}})[1] != []


def test_gates_and_fallbacks_have_kinds_too() -> None:
    gate, fallback = RetryAfterGate("g"), Fallback(None, on=KeyError)
    assert kinds_of([fallback, gate]) == {"fallback": fallback, "gate": gate}
