"""PolicySet: named pipelines with defaults in code and overrides from settings, checked whole, changed while running.

::

    policies = PolicySet(
        {"perplexity": {"retry": 3, "breaker": {"failures": 5, "open_for": 300}, "timeout": 5}},
        overrides={"perplexity": {"breaker": {"open_for": 60}}},
    )
    await policies["perplexity"].run(research, topic)

    overrides -> flattened "pipeline.policy.option" -> every problem in one error -> policies built in the usual order
    change()  -> checked whole first -> breakers and bulkheads keep their state, others are replaced -> policy.changed
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import InvalidError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.block import Block, Scope
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.events import PolicyChanged
from prodkit.policies.picture import mermaid, svg
from prodkit.policies.pipeline import Pipeline
from prodkit.policies.policy_options import Settings, apply, build, kinds_of, parse
from prodkit.policies.snapshot import PolicySnapshot, snapshot

__all__ = ["NamedPolicy", "PolicySet"]


class NamedPolicy(Policy):
    """A named pipeline of a :class:`PolicySet`: a policy whose settings may change between two calls.

    Args:
        name: of the pipeline.
        pipeline: its policies now.
    """

    name: str
    runtime: Runtime
    pipeline: Pipeline
    """The policies now; replaced by a change."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.pipeline = pipeline
        self.runtime = pipeline.runtime

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        built, guarded = self.pipeline, self.pipeline.wrap(fn)

        async def named(*args: Any, **kwargs: Any) -> Any:
            nonlocal built, guarded
            if built is not self.pipeline:
                built, guarded = self.pipeline, self.pipeline.wrap(fn)
            return await guarded(*args, **kwargs)

        return named

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        built, guarded = self.pipeline, self.pipeline.wrap_sync(fn)

        def named(*args: Any, **kwargs: Any) -> Any:
            nonlocal built, guarded
            if built is not self.pipeline:
                built, guarded = self.pipeline, self.pipeline.wrap_sync(fn)
            return guarded(*args, **kwargs)

        return named

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        self.pipeline.wrap_stream(fn)  # refused now, if it is

        async def named(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async for item in self.pipeline.wrap_stream(fn)(*args, **kwargs):
                yield item

        return named

    def calling(self) -> Block:
        """Return a guard for one block."""
        return self.pipeline.calling()

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return self.pipeline.scope()

    def __iter__(self) -> Iterator[Any]:
        """Repeat a block: ``for attempt in policies["name"]: with attempt: …``."""
        return iter(self.pipeline)

    def __aiter__(self) -> AsyncIterator[Any]:
        """Repeat a block: ``async for attempt in policies["name"]: async with attempt: …``."""
        return aiter(self.pipeline)

    def describe(self) -> str:
        """Return the policies, one a line, outermost first."""
        return self.pipeline.describe()

    def __repr__(self) -> str:
        return f"NamedPolicy({self.name!r}, {self.pipeline!r})"


class PolicySet(Mapping[str, NamedPolicy]):
    """Named pipelines, made from defaults in code and overrides from settings.

    A pipeline is given as a :class:`Pipeline`, as a sequence of policies, or as plain data: a mapping of policy to
    options, which is built in the recommended order. The policies are called ``total_timeout``, ``retry``, ``hedge``,
    ``breaker``, ``gate``, ``limit``, ``bulkhead``, ``timeout`` and ``chaos``; a bare number is the obvious option
    (attempts, failures, seconds, calls). ``retry: {budget: true}`` gives it a budget of its own.

    An override names pipeline, policy and option, nested or flat (``"perplexity.breaker.open_for"``, or
    ``PERPLEXITY__BREAKER__OPEN_FOR`` as environment variables have it); texts are read as numbers. None or ``"off"``
    removes a policy.

    Args:
        defaults: pipelines by name.
        overrides: settings that replace options of the defaults, from ``env`` or a TOML file.
        runtime: clock, randomness and events of all policies.

    Raises:
        InvalidError: every unknown name and every bad value, in one error.
    """

    runtime: Runtime

    def __init__(
        self,
        defaults: Mapping[str, Pipeline | Sequence[Policy] | Mapping[str, Any]],
        overrides: Mapping[str, Any] | None = None,
        *,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if not isinstance(runtime, Runtime):
            raise InvalidError(f"PolicySet: runtime must be a Runtime, got {runtime!r}")
        self.runtime = runtime
        problems: list[str] = []
        made: dict[str, list[Policy]] = {}
        if not isinstance(defaults, Mapping):
            raise InvalidError(
                f"PolicySet: defaults must be a mapping of names to pipelines, got {defaults!r}"
            )
        for name, given in defaults.items():
            if (problem := _misnamed(name, given)) is not None:
                problems.append(problem)
            elif isinstance(given, Pipeline):
                made[name] = list(given.policies)
            elif isinstance(given, Mapping):
                made[name] = build(name, parse({name: given}, problems).get(name, {}), runtime, problems)
            else:
                made[name] = list(given)
        settings = parse(overrides or {}, problems, known=made)
        made = self._applied(made, settings, problems, keep_state=False)
        _raise(problems)
        self._named = {
            name: NamedPolicy(name, Pipeline(*each, runtime=runtime)) for name, each in made.items()
        }

    def _applied(
        self,
        before: Mapping[str, Sequence[Policy]],
        settings: Settings,
        problems: list[str],
        *,
        keep_state: bool,
    ) -> dict[str, list[Policy]]:
        return {
            name: apply(
                name, list(policies), settings.get(name, {}), self.runtime, problems, keep_state=keep_state
            )
            for name, policies in before.items()
        }

    def change(self, overrides: Mapping[str, Any]) -> None:
        """Change options while running. Breakers and bulkheads keep their state; calls in flight end as they began.

        Args:
            overrides: as for the constructor. Everything is checked before anything changes.

        Raises:
            InvalidError: every unknown name and every bad value, in one error; nothing has changed.
        """
        problems: list[str] = []
        before = {name: list(each.pipeline.policies) for name, each in self._named.items()}
        settings = parse(overrides, problems, known=before)
        self._applied(before, settings, problems, keep_state=False)  # a rehearsal on copies
        _raise(problems)
        for name, options in settings.items():
            after = apply(name, before[name], options, self.runtime, problems, keep_state=True)
            self._named[name].pipeline = Pipeline(*after, runtime=self.runtime)
            if (events := self.runtime.events).listened(PolicyChanged):
                text = ", ".join(
                    f"{kind} off" if values is None else f"{kind}.{option}={value!r}"
                    for kind, values in options.items()
                    for option, value in (values or {"": None}).items()
                )
                events.emit(PolicyChanged(policy=name, settings=text))

    def describe(self, form: str = "text") -> str:
        """Return the pipelines with their settings and states.

        Args:
            form: ``"text"`` for logs, ``"mermaid"`` for documents, ``"svg"`` for a page.
        """
        named = {name: each.pipeline._flat() for name, each in self._named.items()}
        if form == "mermaid":
            return mermaid(named)
        if form == "svg":
            return svg(named)
        if form != "text":
            raise ValueError(f'form must be "text", "mermaid" or "svg", got {form!r}')
        return "\n".join(
            f"{name}\n" + "\n".join(f"  {line}" for line in each.describe().splitlines())
            for name, each in self._named.items()
        )

    def snapshot(self) -> dict[str, tuple[PolicySnapshot, ...]]:
        """Return settings, state and figures of every policy by pipeline, outermost first; JSON takes all of it.

        Nothing is called and nothing waits: an endpoint may ask it every second.
        """
        return {name: snapshot(each.pipeline._flat()) for name, each in self._named.items()}

    def settings(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the options in force by pipeline, policy and option, as far as they were given."""
        return {
            name: {
                kind: {option: value for option, value in policy.given[1].items() if option != "runtime"}
                for kind, policy in kinds_of(each.pipeline.policies).items()
            }
            for name, each in self._named.items()
        }

    async def check(self) -> CheckResult:
        """Return ``degraded`` while a breaker refuses calls."""
        states = {
            name: policy.state
            for name, each in self._named.items()
            for policy in each.pipeline._flat()
            if isinstance(policy, CircuitBreaker)
        }
        refusing = {name: state for name, state in states.items() if state not in ("closed", "disabled")}
        if not refusing:
            return CheckResult("up", details={"pipelines": len(self._named)})
        return CheckResult("degraded", f"{len(refusing)} of {len(states)} circuits refuse calls", refusing)

    @property
    def name(self) -> str:
        """The name in health reports."""
        return "policies"

    def __getitem__(self, name: str) -> NamedPolicy:
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __repr__(self) -> str:
        return f"PolicySet({', '.join(self._named)})"


def _misnamed(name: object, given: object) -> str | None:
    """Return the problem of a pipeline that is none, or that no setting could name."""
    if not isinstance(name, str) or not name:
        return f"{name!r}: the name of a pipeline must be a text"
    if isinstance(given, Mapping):
        separated = "." in name or "__" in name
        return (
            f"{name}: a name must not contain '.' or '__', which separate it from a policy"
            if separated
            else None
        )
    listed = isinstance(given, Sequence) and all(isinstance(each, Policy) for each in given)
    if listed or isinstance(given, Pipeline):
        return None
    return f"{name}: must be a Pipeline, policies, or a mapping of policies to options, got {given!r}"


def _raise(problems: list[str]) -> None:
    if problems:
        raise InvalidError("PolicySet: " + "; ".join(problems))
