"""One guarded HTTP client a source: breaker, retries, Retry-After, a time limit, and a bound on what is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

import prodkit as pk
from advisory.sources.errors import SourceError
from prodkit.errors import CallTimeoutError
from prodkit.http import HostPolicies, ResilientTransport, default_policies, says_ill
from prodkit.policies.budget import RetryBudget
from prodkit.policies.gate import RetryAfterGate
from prodkit.redis import SharedBreakers

__all__ = ["Guarded", "Judge", "number"]

MAX_JSON: Final = 2 * 2**20
LONGEST_PAUSE: Final = 10.0
"""Seconds of a Retry-After that a call waits out; a longer one is said to the user instead."""
Judge = Callable[[httpx.Response, bytes], SourceError]


class Guarded:
    """The calls to one source.

    Args:
        name: of the breaker, such as "youtube".
        base_url: of the API.
        headers: sent with every call to the API, and to no other host.
        attempt_timeout: seconds for one attempt.
        judge: makes the error of a response that is no success.
        open_for: seconds that the breaker stays open.
        shared: shares the breaker with other processes.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        headers: Mapping[str, str],
        attempt_timeout: float,
        judge: Judge,
        open_for: float,
        shared: SharedBreakers | None,
        runtime: pk.Runtime,
    ) -> None:
        self.breaker = pk.CircuitBreaker(
            name, failures=5, open_for=open_for, on=says_ill, shared=shared, runtime=runtime
        )
        self._base = httpx.URL(base_url)
        self._headers = dict(headers)
        self._judge = judge
        gate = RetryAfterGate(name, queue_timeout=LONGEST_PAUSE, runtime=runtime)
        budget = RetryBudget(runtime=runtime)
        api = f"{self._base.host}:{self._base.port or (443 if self._base.scheme == 'https' else 80)}"

        def policies(host: str, runtime: pk.Runtime) -> HostPolicies:
            if host != api:  # where a source keeps its photos
                return default_policies(host, runtime)
            return HostPolicies(
                breaker=self.breaker, gate=gate, budget=budget, attempt_timeout=attempt_timeout
            )

        transport: Any = ResilientTransport(
            httpx.AsyncHTTPTransport(), policies=policies, propagate=False, runtime=runtime
        )
        self._client = httpx.AsyncClient(transport=transport, timeout=attempt_timeout)
        # The transport repeats what HTTP calls idempotent. A search by POST changes nothing either.
        self._again = pk.Retry(3, on=_may_pass, budget=budget, runtime=runtime)
        self._runtime = runtime

    def is_ours(self, url: str, *hosts: str) -> bool:
        """True for an address of the API itself or of one of `hosts`: answers do not choose whom we call."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            return False
        if (parsed.scheme, parsed.host, parsed.port) == (self._base.scheme, self._base.host, self._base.port):
            return True
        return parsed.scheme == "https" and parsed.port is None and parsed.host in hosts

    async def search(self, path: str, body: dict[str, Any], *, within: float) -> dict[str, Any]:
        """The JSON object that a search by POST returns, repeated like a GET."""

        async def attempts() -> dict[str, Any]:
            return await self._again.run(self.json, "POST", path, within=within, json=body)

        return await pk.Timeout(within, runtime=self._runtime).run(attempts)

    async def json(self, method: str, path: str, *, within: float, **options: Any) -> dict[str, Any]:
        """The JSON object of a successful call, which takes at most `within` seconds, the body included."""
        content, _ = await self.content(method, str(self._base.join(path)), within=within, **options)
        try:
            found = json.loads(content)
        except ValueError:
            raise SourceError("shape") from None
        if not isinstance(found, dict):
            raise SourceError("shape")
        return found

    async def content(
        self, method: str, url: str, *, within: float, most: int = MAX_JSON, **options: Any
    ) -> tuple[bytes, str]:
        """The body and the media type of a successful call. Raises SourceError, or an error of the kit."""
        headers = self._headers if self.is_ours(url) else {}

        async def call() -> tuple[bytes, str]:
            async with self._client.stream(method, url, headers=headers, **options) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > most:
                        raise SourceError("shape")
                if not response.is_success:
                    raise self._judge(response, bytes(body))
                return bytes(body), response.headers.get("content-type", "").partition(";")[0].strip()

        try:
            return await pk.Timeout(within, runtime=self._runtime).run(call)
        except httpx.TimeoutException as error:
            raise CallTimeoutError("the source took too long", timeout=within) from error
        except httpx.HTTPError as error:
            raise SourceError("down") from error

    async def aclose(self) -> None:
        await self._client.aclose()


def _may_pass(error: BaseException) -> bool:
    """True for a source that was away, or that asked for a short moment."""
    return isinstance(error, SourceError) and error.code == "down"


def number(text: str | None) -> float | None:
    """The seconds of a Retry-After header in whole seconds; None for any other form."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 8 else None
