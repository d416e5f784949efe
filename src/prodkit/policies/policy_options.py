"""Options of named pipelines as plain data: parsed from settings, checked, and applied to policies."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeAlias

from prodkit.core.runtime import Runtime
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.base import Policy
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.budget import RetryBudget
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import Chaos
from prodkit.policies.circuit import Rules
from prodkit.policies.fallback import Fallback
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.hedge import Hedge
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout

__all__ = ["ORDER", "Settings", "apply", "build", "given_options", "kinds_of", "parse"]

Settings: TypeAlias = dict[str, dict[str, Any]]
"""By pipeline and policy: a mapping of options, or None for no such policy."""

ORDER: Final[Mapping[str, tuple[type[Policy], str]]] = {
    "fallback": (Fallback, "instead"),
    "total_timeout": (Timeout, "seconds"),
    "retry": (Retry, "attempts"),
    "hedge": (Hedge, "after"),
    "breaker": (CircuitBreaker, "failures"),
    "gate": (RetryAfterGate, "queue_timeout"),
    "limit": (AdaptiveLimit, "initial"),
    "bulkhead": (Bulkhead, "limit"),
    "timeout": (Timeout, "seconds"),
    "chaos": (Chaos, "rate"),
}
"""The policies in the recommended order, with the option that a bare value means."""

_OFF: Final = frozenset({"off", "none", "null", ""})
_RULES: Final = frozenset(field.name for field in fields(Rules))


def kinds_of(policies: Sequence[Policy]) -> dict[str, Policy]:
    """Return the policies by the names that settings use; of two timeouts the outer one is ``total_timeout``."""
    found: dict[str, Policy] = {}
    timeouts = [each for each in policies if isinstance(each, Timeout)]
    for policy in policies:
        if isinstance(policy, Timeout):
            first = policy is timeouts[0] and (len(timeouts) > 1 or _before_a_retry(policy, policies))
            found["total_timeout" if first else "timeout"] = policy
            continue
        for kind, (cls, _) in ORDER.items():
            if isinstance(policy, cls):
                found[kind] = policy
    return found


def _before_a_retry(policy: Policy, policies: Sequence[Policy]) -> bool:
    return any(isinstance(each, Retry) for each in policies[list(policies).index(policy) + 1 :])


def parse(
    given: object, problems: list[str], *, known: Mapping[str, Sequence[Policy]] | None = None
) -> Settings:
    """Return `given`, nested or flat, as settings; unknown pipelines and policies are added to `problems`.

    Args:
        given: overrides or the plain data of a pipeline.
        problems: receives every problem.
        known: pipelines that may be named; None for any.
    """
    parsed: Settings = {}
    if not isinstance(given, Mapping):
        problems.append(f"settings must be a mapping of pipelines to policies, got {given!r}")
        return parsed
    for path, value in _leaves(given):
        name = _match(path[0], known) if known is not None else path[0]
        if name is None:
            problems.append(f"{'.'.join(path)}: no pipeline {path[0]!r}{_hint(path[0], known or ())}")
            continue
        if len(path) == 1:
            if value:
                problems.append(f"{name}: must be a mapping of policies to options, got {value!r}")
            parsed.setdefault(name, {})
            continue
        kind = path[1].lower()
        if kind not in ORDER:
            problems.append(f"{name}.{path[1]}: no policy of that name{_hint(kind, ORDER)}")
            continue
        parsed.setdefault(name, {})
        if len(path) == 2:
            parsed[name][kind] = _whole(kind, _plain(value))
        else:
            option = "_".join(path[2:]).lower()
            if option == "runtime":
                problems.append(f"{name}.{kind}.runtime: is no setting: all policies use the set's own")
                continue
            if not isinstance(parsed[name].get(kind), dict):
                parsed[name][kind] = {}
            parsed[name][kind][option] = _plain(value)
    return parsed


def _leaves(given: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in given.items():
        text = str(key)
        parts = text.split("__") if "__" in text else text.split(".") if len(path) < 2 else [text]
        here = (*path, *parts)
        if isinstance(value, Mapping) and (value or len(here) < 2) and len(here) < 3:
            found += _leaves(value, here) or [(here, value)]
        elif isinstance(value, Mapping) and not value and len(here) == 2:
            found.append((here, True))
        else:
            found.append((here, value))
    return found


def _whole(kind: str, value: Any) -> dict[str, Any] | None:
    """Return the options that a bare `value` in place of a mapping means."""
    if value is None or value is False:
        return None
    return {} if value is True else {ORDER[kind][1]: value}


def _match(name: str, known: Mapping[str, Any] | None) -> str | None:
    by_lower = {each.lower().replace("-", "_"): each for each in known or ()}
    return by_lower.get(name.lower().replace("-", "_"))


def _plain(value: Any) -> Any:
    """Return a text from the environment as the number, boolean or None that it spells."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text in _OFF:
        return None
    if text in ("true", "on", "yes"):
        return True
    if text in ("false", "no"):
        return False
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return value.strip()


def build(name: str, settings: Mapping[str, Any], runtime: Runtime, problems: list[str]) -> list[Policy]:
    """Return the policies of one pipeline from plain data, in the recommended order.

    Args:
        name: of the pipeline.
        settings: options by policy.
        runtime: of the policies.
        problems: receives every problem.
    """
    made: list[Policy] = []
    for kind in ORDER:
        options = settings.get(kind)
        if options is not None and (policy := _make(name, kind, options, runtime, problems)) is not None:
            made.append(policy)
    return made


def apply(
    name: str,
    policies: list[Policy],
    settings: Mapping[str, Any],
    runtime: Runtime,
    problems: list[str],
    *,
    keep_state: bool,
) -> list[Policy]:
    """Return the policies of one pipeline under changed `settings`.

    Args:
        name: of the pipeline.
        policies: as they are.
        settings: changed options by policy; None removes it.
        runtime: of new policies.
        problems: receives every problem.
        keep_state: change breakers and bulkheads in place where that is possible.
    """
    for kind, options in settings.items():
        present = kinds_of(policies).get(kind)
        if options is None:
            policies = [each for each in policies if each is not present]
        elif present is None:
            new = _make(name, kind, options, runtime, problems)
            policies = policies if new is None else _inserted(policies, kind, new)
        else:
            changed = _change(name, kind, present, options, problems, keep_state=keep_state)
            policies = [changed if each is present else each for each in policies]
    return policies


def _inserted(policies: list[Policy], kind: str, new: Policy) -> list[Policy]:
    order = list(ORDER)
    later = set(order[order.index(kind) + 1 :])
    for number, policy in enumerate(policies):
        if next((each for each, found in kinds_of(policies).items() if found is policy), "") in later:
            return [*policies[:number], new, *policies[number:]]
    return [*policies, new]


def _make(
    name: str, kind: str, options: Mapping[str, Any], runtime: Runtime, problems: list[str]
) -> Policy | None:
    cls, _ = ORDER[kind]
    options = dict(options)
    parameters = inspect.signature(cls).parameters
    if "name" in parameters:
        options.setdefault("name", name)
    if kind == "retry" and options.get("budget") is True:
        options["budget"] = RetryBudget(runtime=runtime)
    return _attempt(name, kind, cls, {**options, "runtime": runtime}, problems, lambda given: cls(**given))


def _change(
    name: str, kind: str, policy: Policy, options: Mapping[str, Any], problems: list[str], *, keep_state: bool
) -> Policy:
    options = dict(options)
    if kind == "retry" and options.get("budget") is True:
        options["budget"] = RetryBudget(runtime=policy.runtime)
    if keep_state and isinstance(policy, CircuitBreaker) and options.keys() <= _RULES:
        policy.configure(**options)
        policy.given = policy.given[0], {**policy.given[1], **options}
        return policy
    if keep_state and isinstance(policy, Bulkhead) and options.keys() <= {"limit"}:
        policy.limit = options["limit"]
        policy.given = (), {**given_options(policy), **options}
        return policy
    made = _attempt(name, kind, type(policy), options, problems, lambda given: policy.with_options(**given))
    return policy if made is None else made


def given_options(policy: Policy) -> dict[str, Any]:
    """Return the arguments that `policy` was made with, by name."""
    args, kwargs = policy.given
    return dict(inspect.signature(type(policy)).bind(*args, **kwargs).arguments)


def _attempt(
    name: str,
    kind: str,
    cls: type[Policy],
    options: dict[str, Any],
    problems: list[str],
    make: Callable[[dict[str, Any]], Policy],
) -> Policy | None:
    """Make a policy; its problems, and options that it does not have, are added to `problems`."""
    parameters = inspect.signature(cls).parameters
    unknown = [each for each in options if each not in parameters]
    problems += [f"{name}.{kind}.{each}: no option of that name{_hint(each, parameters)}" for each in unknown]
    try:
        return make({each: value for each, value in options.items() if each in parameters})
    except (TypeError, ValueError) as error:
        problems.append(f"{name}.{kind}: {str(error).removeprefix(f'{cls.__name__}: ')}")
        return None


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(each) for each in known], n=1)
    return f", did you mean {close[0]!r}?" if close else ""
