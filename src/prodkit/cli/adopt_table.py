"""The replacements that ``prodkit adopt`` prints: one entry for each name of the other libraries.

An entry is found by ``library.name``; ``library.Class().method`` is a method of an object of that class, ``Class()@``
the object as a decorator. ``{option}`` in a replacement is the value of that argument in the code, or its default.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["LIBRARIES", "REPLACEMENTS", "Replacement"]

LIBRARIES: Final = frozenset(
    {
        "tenacity",
        "backoff",
        "stamina",
        "pybreaker",
        "aiobreaker",
        "circuitbreaker",
        "slowapi",
        "limits",
        "cashews",
    }
)


@dataclass(frozen=True, slots=True)
class Replacement:
    """One replacement.

    Args:
        template: the code to write; ``{name|default}`` takes an argument by name, ``{0|default}`` by position,
            ``{0:name|default}`` by either.
        change: behaviour that changes, with arguments in the same form.
    """

    template: str
    change: str = ""

    def write(self, node: ast.AST) -> tuple[str, str]:
        """Return the replacement and what changes, with the arguments of the call `node`."""
        call = node if isinstance(node, ast.Call) else None

        def value(match: re.Match[str]) -> str:
            position, name, default = match["position"], match["name"], match["default"]
            if call is not None:
                for keyword in call.keywords:
                    if name and keyword.arg == name:
                        return ast.unparse(keyword.value)
                if position is not None and int(position) < len(call.args):
                    return ast.unparse(call.args[int(position)])
            return default or "…"

        pattern = r"\{(?:(?P<position>\d+):?)?(?P<name>\w+)?(?:\|(?P<default>[^}]*))?\}"
        return re.sub(pattern, value, self.template), re.sub(pattern, value, self.change)


_RERAISED = "The last error itself is raised, with a note; RetryError stays with prodkit.compat.tenacity."
_TRIP = (
    "The error that opens the circuit reaches its caller unchanged; refusals are pk.CircuitOpenError. One probe at a "
    "time, a cancelled call counts nowhere, and async functions are guarded."
)
_LIMIT = "The count is exact in every window, on Redis too; the answer is a Decision, not an exception."

REPLACEMENTS: Final[Mapping[str, Replacement]] = {
    # tenacity
    "tenacity.import": Replacement(
        "from prodkit.compat import tenacity   # or: import prodkit as pk",
        "The facade keeps every name; waits respect the Deadline, and rejections are not retried by default.",
    ),
    "tenacity.retry": Replacement(
        "@pk.Retry(attempts=None, on={retry|Exception}, stop={stop|…}, wait={wait|0})",
        f"{_RERAISED} Without stop, tenacity retries for ever: give attempts=.",
    ),
    "tenacity.Retrying": Replacement(
        "pk.Retry(attempts=None, on={retry|Exception}, stop={stop|…}, wait={wait|0})", _RERAISED
    ),
    "tenacity.AsyncRetrying": Replacement(
        "pk.Retry(attempts=None, on={retry|Exception}, stop={stop|…}, wait={wait|0})", _RERAISED
    ),
    "tenacity.stop_after_attempt": Replacement("attempts={0:max_attempt_number}"),
    "tenacity.stop_after_delay": Replacement(
        "with pk.Deadline.after({0:max_delay}):",
        "The deadline also cancels the attempt that runs when it passes.",
    ),
    "tenacity.stop_before_delay": Replacement("with pk.Deadline.after({0:max_delay}):"),
    "tenacity.wait_fixed": Replacement("wait={0:wait}"),
    "tenacity.wait_none": Replacement("wait=0"),
    "tenacity.wait_exponential": Replacement(
        "wait=policies.exponential({multiplier|1}, factor={exp_base|2}, cap={max|60})"
    ),
    "tenacity.wait_random_exponential": Replacement(
        "wait=policies.full_jitter({multiplier|1}, factor={exp_base|2}, cap={max|60})"
    ),
    "tenacity.wait_exponential_jitter": Replacement("wait=policies.upward({multiplier|1}, cap={max|60})"),
    "tenacity.retry_if_exception_type": Replacement("on={0:exception_types|Exception}"),
    "tenacity.retry_if_exception": Replacement("on={0:predicate}"),
    "tenacity.retry_if_result": Replacement("result={0:predicate}"),
    "tenacity.RetryError": Replacement("except the call's own error", _RERAISED),
    # backoff
    "backoff.import": Replacement("import prodkit as pk"),
    "backoff.on_exception": Replacement(
        "@pk.Retry(attempts={max_tries|…}, on={1:exception}, wait=policies.full_jitter())",
        "max_time is pk.Deadline.after(seconds), which also cancels the running attempt; giveup is a predicate in on=.",
    ),
    "backoff.on_predicate": Replacement(
        "@pk.Retry(attempts={max_tries|…}, result={1:predicate|lambda value: not value}, wait=policies.full_jitter())",
        "backoff retries for ever without max_tries: give attempts=.",
    ),
    # stamina
    "stamina.import": Replacement("import prodkit as pk"),
    "stamina.retry": Replacement(
        "@pk.Retry(attempts={attempts|10}, on={on}, wait=policies.upward({wait_initial|0.1}, cap={wait_max|5.0}))",
        "timeout={timeout|45.0} is pk.Deadline.after(seconds), which also cancels the running attempt.",
    ),
    "stamina.retry_context": Replacement(
        "async for attempt in pk.Retry(attempts={attempts|10}, on={on}): / async with attempt:",
        "The timeout is pk.Deadline.after(seconds).",
    ),
    "stamina.set_testing": Replacement("with policies.off():"),
    "stamina.set_active": Replacement('pk.Runtime(policies="off")'),
    # pybreaker
    "pybreaker.import": Replacement(
        "from prodkit.compat import pybreaker   # or: import prodkit as pk", _TRIP
    ),
    "pybreaker.CircuitBreaker": Replacement(
        'pk.CircuitBreaker({name|"…"}, failures={0:fail_max|5}, open_for={1:reset_timeout|60}, '
        "ignore={exclude|()}, successes={success_threshold|1})",
        _TRIP,
    ),
    "pybreaker.CircuitBreakerError": Replacement("pk.CircuitOpenError"),
    "pybreaker.CircuitRedisStorage": Replacement(
        "shared=redis.SharedBreakers(link)", "Nothing is asked of Redis while a circuit is closed."
    ),
    "pybreaker.CircuitBreaker().call": Replacement("breaker.call(fn, …)"),
    "pybreaker.CircuitBreaker().call_async": Replacement(
        "await breaker.run(fn, …)", "asyncio instead of tornado."
    ),
    "pybreaker.CircuitBreaker().calling": Replacement("with breaker.calling():"),
    "pybreaker.CircuitBreaker()@": Replacement(
        "@breaker", "On async def pybreaker guards nothing; this guards the awaited call."
    ),
    # aiobreaker
    "aiobreaker.import": Replacement(
        "from prodkit.compat import aiobreaker   # or: import prodkit as pk", _TRIP
    ),
    "aiobreaker.CircuitBreaker": Replacement(
        'pk.CircuitBreaker({name|"…"}, failures={0:fail_max|5}, open_for={1:timeout_duration|60}, ignore={exclude|()})',
        f"Seconds instead of a timedelta. {_TRIP}",
    ),
    "aiobreaker.CircuitBreakerError": Replacement("pk.CircuitOpenError"),
    "aiobreaker.CircuitBreaker().call": Replacement("breaker.call(fn, …)"),
    "aiobreaker.CircuitBreaker().call_async": Replacement("await breaker.run(fn, …)"),
    "aiobreaker.CircuitBreaker()@": Replacement("@breaker"),
    # circuitbreaker
    "circuitbreaker.import": Replacement("import prodkit as pk", _TRIP),
    "circuitbreaker.circuit": Replacement(
        '@pk.CircuitBreaker({name|"…"}, failures={failure_threshold|5}, open_for={recovery_timeout|30}, '
        "on={expected_exception|Exception})",
        f"One breaker a dependency, shared by its functions. {_TRIP}",
    ),
    "circuitbreaker.CircuitBreaker": Replacement(
        'pk.CircuitBreaker({name|"…"}, failures={0:failure_threshold|5}, open_for={1:recovery_timeout|30}, '
        "on={2:expected_exception|Exception})",
        _TRIP,
    ),
    "circuitbreaker.CircuitBreakerError": Replacement("pk.CircuitOpenError"),
    "circuitbreaker.CircuitBreakerMonitor": Replacement("pk.Health(breaker, …)"),
    # slowapi
    "slowapi.import": Replacement("from prodkit import ratelimit, web"),
    "slowapi.Limiter": Replacement(
        "limiter = ratelimit.RateLimiter(redis, runtime=rt)",
        "The key is an argument of check(); behind a proxy give web.install(trusted_proxies=…).",
    ),
    "slowapi.Limiter().limit": Replacement(
        'decision = await limiter.check((ratelimit.Limit({0}, name="…"), key))', _LIMIT
    ),
    "slowapi.RateLimitExceeded": Replacement("web.install(app) answers 429 with Retry-After"),
    # limits
    "limits.import": Replacement("from prodkit import ratelimit"),
    "limits.parse": Replacement('ratelimit.Limit({0}, name="…")'),
    "limits.parse_many": Replacement(
        'one ratelimit.Limit({0}, name="…") each', "A check takes several limits at once."
    ),
    "limits.MovingWindowRateLimiter": Replacement("ratelimit.RateLimiter(redis, runtime=rt)", _LIMIT),
    "limits.FixedWindowRateLimiter": Replacement(
        "ratelimit.RateLimiter(redis, runtime=rt)", f"A fixed window lets twice the amount through. {_LIMIT}"
    ),
    "limits.SlidingWindowCounterRateLimiter": Replacement("ratelimit.RateLimiter(redis, runtime=rt)", _LIMIT),
    "limits.MovingWindowRateLimiter().hit": Replacement(
        "(await limiter.check((limit, key))).allowed", _LIMIT
    ),
    "limits.FixedWindowRateLimiter().hit": Replacement("(await limiter.check((limit, key))).allowed", _LIMIT),
    "limits.storage_from_string": Replacement("RedisLink({0})"),
    # cashews
    "cashews.import": Replacement("from prodkit import cache"),
    "cashews.Cache": Replacement('answers = cache.Cache(redis, namespace="…", runtime=rt)'),
    "cashews.cache": Replacement(
        "@answers.cached(ttl={ttl})", "The key is made of the function and its arguments."
    ),
    "cashews.cache.setup": Replacement(
        'answers = cache.Cache(RedisLink({0}), namespace="…", runtime=rt)',
        "A memory tier stands in front, and serves while Redis is down.",
    ),
    "cashews.setup": Replacement('answers = cache.Cache(RedisLink({0}), namespace="…", runtime=rt)'),
    "cashews.early": Replacement(
        "@answers.cached(ttl={ttl}, stale=…)", "Refreshed in the background, by one caller."
    ),
    "cashews.soft": Replacement("@answers.cached(ttl={ttl}, stale=…)"),
    "cashews.failover": Replacement("@answers.cached(ttl={ttl}, stale_on_error=…)"),
    "cashews.hit": Replacement("@answers.cached(ttl={ttl})"),
    "cashews.locked": Replacement('@answers.cached(ttl={ttl}, scope="cluster")', "One load a cluster."),
    "cashews.circuit_breaker": Replacement(
        '@pk.CircuitBreaker("…", failure_rate={errors_rate|60} / 100)', _TRIP
    ),
    "cashews.rate_limit": Replacement("ratelimit.RateLimiter(redis, runtime=rt)", _LIMIT),
    "cashews.slice_rate_limit": Replacement("ratelimit.RateLimiter(redis, runtime=rt)", _LIMIT),
    "cashews.bloom": Replacement("no replacement", "prodkit has no Bloom filter."),
}
