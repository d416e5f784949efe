"""The tool loop: call the model, execute its tool calls, call it again, until it answers.

The state of a run can be stored as JSON after every step: a run that was cut is resumed from it, and a tool call that
has finished is never executed again.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from prodkit.core.deadline import Deadline
from prodkit.core.validate import Arguments
from prodkit.errors import BudgetExceededError, InvalidError, LlmError
from prodkit.llm.errors import LlmDeadlineError
from prodkit.llm.results import Answer, Attempt, Usage

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Tool", "ToolRun", "run_tools"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call.

    Args:
        name: as the model calls it.
        description: what it does and when to use it, for the model.
        input_schema: the JSON schema of its input.
        run: executes a call with the input's fields as keyword arguments; asynchronous, or synchronous and then in a
            thread. It returns a text, content blocks, or anything that JSON knows.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    run: Callable[..., Any]

    def __post_init__(self) -> None:
        check = Arguments("Tool")
        check.text("name", self.name)
        check.function("run", self.run)
        check.done()

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Tool:
        """Return the tool of a function: its name, its docstring, and a schema of its annotated parameters.

        The function receives its parameters as they are annotated; an input that does not match goes back to the model
        as an error.

        Args:
            fn: the function; every parameter is annotated.
        """
        from pydantic import TypeAdapter

        adapter = TypeAdapter[Any](cast("Any", fn))
        schema = adapter.json_schema()
        properties = schema.get("properties", {})
        allowed = {
            "type": "object",
            "properties": properties,
            "required": schema.get("required", []),
            "additionalProperties": False,
        }
        if "$defs" in schema:
            allowed["$defs"] = schema["$defs"]
        return cls(fn.__name__, inspect.getdoc(fn) or fn.__name__, allowed, _validated(fn, adapter))

    def definition(self) -> dict[str, Any]:
        """Return the tool in the API's spelling."""
        return {"name": self.name, "description": self.description, "input_schema": dict(self.input_schema)}


@dataclass(slots=True)
class ToolRun:
    """A run of the tool loop.

    Args:
        messages: the conversation, with the model's tool calls and their results.
        results: the results of finished tool calls by their id, in the API's spelling.
        steps: requests for an answer so far.
        usage: token counts, summed over all steps.
        cost: US dollars, summed over all steps; None where a price is not known.
        attempts: one record per HTTP request.
        answer: the last answer; None before the run has ended.
    """

    messages: list[dict[str, Any]]
    results: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    attempts: tuple[Attempt, ...] = ()
    answer: Answer | None = None

    def state(self) -> dict[str, Any]:
        """Return what is needed to resume the run, as a JSON object."""
        state = {"messages": self.messages, "results": self.results, "steps": self.steps, "cost": self.cost}
        found: dict[str, Any] = json.loads(json.dumps(state))
        return found

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> ToolRun:
        """Return the run that :meth:`state` described; `state` is that object."""
        try:
            return cls(
                messages=list(state["messages"]),
                results=dict(state["results"]),
                steps=int(state["steps"]),
                cost=state["cost"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidError(f"this is no state of a tool run: {error!r}") from None


def _validated(fn: Callable[..., Any], adapter: TypeAdapter[Any]) -> Callable[..., Any]:
    """Return `fn` behind its `adapter`, which converts and validates the arguments and then calls it."""
    from pydantic_core import ArgsKwargs

    if inspect.iscoroutinefunction(fn):

        async def run(**given: Any) -> Any:
            return await adapter.validate_python(ArgsKwargs((), given))

        return run
    return lambda **given: adapter.validate_python(ArgsKwargs((), given))


async def run_tools(
    create: Callable[..., Awaitable[Answer]],
    tools: Sequence[Tool | Callable[..., Any]],
    params: dict[str, Any],
    *,
    resume: Mapping[str, Any] | None,
    max_steps: int,
    timeout: float | None,
    on_step: Callable[[ToolRun], Any] | None,
) -> ToolRun:
    """Run the loop; see ``Client.run_tools`` for the parameters. `create` makes one answer, `params` is its request."""
    known = {
        tool.name: tool for tool in (each if isinstance(each, Tool) else Tool.of(each) for each in tools)
    }
    if len(known) != len(tools):
        raise InvalidError("tools must have different names")
    run = ToolRun(list(params.pop("messages", ()))) if resume is None else ToolRun.of(resume)
    params.pop("messages", None)
    params["tools"] = [*(params.get("tools") or ()), *(tool.definition() for tool in known.values())]

    async def saved() -> None:
        if on_step is not None:
            done = on_step(run)
            if inspect.isawaitable(done):
                await done

    with Deadline.after(timeout) if timeout is not None else nullcontext():
        while run.answer is None:
            if calls := _open_calls(run.messages):
                await _execute(run, calls, known, saved)
            elif run.steps >= max_steps:
                raise LlmError(
                    f"the tool loop has not ended after {max_steps} steps",
                    code="max_steps",
                    attempts=run.attempts,
                    partial=run.state(),
                )
            else:
                await _step(run, create, params)
            await saved()
    return run


async def _step(run: ToolRun, create: Callable[..., Awaitable[Answer]], params: Mapping[str, Any]) -> None:
    """Ask for the next answer and append it to the conversation."""
    try:
        answer = await create(messages=run.messages, **params)
    except LlmError as error:
        error.attempts = (*run.attempts, *error.attempts)
        error.partial = run.state()
        raise
    except BudgetExceededError as error:
        error.partial = run.state()
        raise
    run.steps += 1
    run.usage += answer.usage
    run.cost = None if run.cost is None or answer.cost is None else run.cost + answer.cost
    run.attempts = (*run.attempts, *answer.attempts)
    run.messages.append({"role": "assistant", "content": _resendable(answer)})
    if answer.stop_reason != "pause_turn" and (answer.truncated or not answer.tool_calls):
        run.answer = replace(answer, usage=run.usage, cost=run.cost, attempts=run.attempts)


def _resendable(answer: Answer) -> list[dict[str, Any]]:
    """Return the blocks of an answer that may be sent back: without empty texts and tool calls that were cut."""
    complete = {id(call) for call in answer.tool_calls}
    kept = [
        block
        for block in answer.content
        if not (block["type"] == "text" and not (block.get("text") or "").strip())
        and not (block["type"] == "tool_use" and id(block) not in complete)
    ]
    return kept or [{"type": "text", "text": "…"}]


def _open_calls(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the tool calls at the end of the conversation that have no result yet."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "assistant" or not isinstance(content, list):
        return []
    return [block for block in content if block.get("type") == "tool_use"]


async def _execute(
    run: ToolRun,
    calls: Sequence[Mapping[str, Any]],
    known: Mapping[str, Tool],
    saved: Callable[[], Awaitable[None]],
) -> None:
    """Execute the calls that have no result, at once, and append the results to the conversation."""

    async def one(call: Mapping[str, Any]) -> None:
        if call["id"] not in run.results:
            run.results[call["id"]] = await _result(call, known.get(call["name"]))
            await saved()

    instant = Deadline.instant()
    try:
        async with asyncio.timeout_at(None if instant == math.inf else instant), asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(one(call))
    except TimeoutError:
        raise LlmDeadlineError(
            "the Deadline passed while a tool was running",
            code="deadline",
            attempts=run.attempts,
            partial=run.state(),
        ) from None
    except BaseExceptionGroup as errors:  # of on_step: a tool's own errors go to the model
        raise errors.exceptions[0] from None
    run.messages.append({"role": "user", "content": [run.results[call["id"]] for call in calls]})


async def _result(call: Mapping[str, Any], tool: Tool | None) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call["id"]}
    if tool is None:
        return {**result, "is_error": True, "content": f"there is no tool {call['name']!r}"}
    try:
        if inspect.iscoroutinefunction(tool.run):
            value = await tool.run(**call.get("input", {}))
        else:
            value = await asyncio.to_thread(tool.run, **call.get("input", {}))
    except Exception as error:  # noqa: BLE001 - the model decides what to do about it
        return {**result, "is_error": True, "content": f"{type(error).__name__}: {error}"}
    blocks = isinstance(value, list) and all(isinstance(each, dict) and "type" in each for each in value)
    content = (
        value if isinstance(value, str) or blocks else json.dumps(value, ensure_ascii=False, default=str)
    )
    return {**result, "content": content}
