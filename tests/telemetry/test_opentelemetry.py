from __future__ import annotations

from types import SimpleNamespace

from prodkit.llm.events import LlmAttempt, LlmFinished
from prodkit.llm.results import Attempt, Usage

from .conftest import CANARY, Sink, Worked


def test_events_feed_instruments_and_notes_on_the_current_span() -> None:
    sink = Sink()
    with sink.tracers.get_tracer("test").start_as_current_span("request"):
        sink.runtime.events.emit(Worked(what=f"import {CANARY}", seconds=0.2, size=3))
    assert sink.runtime.events.failures == 0
    points = sink.points()
    assert points["prodkit_test_works"][0].value == 1
    assert points["prodkit_test_work_seconds"][0].sum == 0.2
    assert points["prodkit_test_size"][0].value == 3
    (span,) = sink.spans.get_finished_spans()
    assert [event.name for event in span.events] == ["test.worked"]
    assert CANARY not in repr(points) + str(span.to_json())
    sink.exporter.close()
    sink.runtime.events.emit(Worked(what="later"))
    assert len(sink.points().get("prodkit_test_works", [])) <= 1


def test_a_model_call_follows_the_genai_conventions() -> None:
    sink = Sink()
    names = {
        "call_id": "c1", "operation": "create", "outcome": "ok", "model": "claude-haiku-5-5",
        "requested_model": "claude-sonnet-5-5", "attempts": 2, "duration": 1.5, "first_content": None,
        "usage": SimpleNamespace(input_tokens=100, output_tokens=20), "cost": 0.01, "stop_reason": "end_turn",
        "streamed": False, "cached": False,
    }  # fmt: skip
    import dataclasses

    fields = {each.name for each in dataclasses.fields(LlmFinished)}
    sink.runtime.events.emit(LlmFinished(**{key: value for key, value in names.items() if key in fields}))
    assert sink.runtime.events.failures == 0
    (span,) = sink.spans.get_finished_spans()
    assert span.name == "chat claude-sonnet-5-5"
    assert span.attributes is not None
    assert span.attributes["gen_ai.response.model"] == "claude-haiku-5-5"
    assert span.end_time is not None
    assert span.start_time is not None
    assert abs((span.end_time - span.start_time) / 1e9 - 1.5) < 0.01
    points = sink.points()
    assert points["gen_ai.client.operation.duration"][0].sum == 1.5
    kinds = {
        point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]
    }
    assert kinds == {"input": 100, "output": 20}
    sink.exporter.close()


def attempted(call: str, number: int, outcome: str = "ok") -> LlmAttempt:
    attempt = Attempt(model="claude-sonnet-5-5", number=number, outcome=outcome, duration=0.5)
    return LlmAttempt(
        call_id=call, attempt=attempt, model=attempt.model, outcome=outcome, duration=0.5, fallback_from="",
        alert=False,
    )  # fmt: skip


def finished(call: str) -> LlmFinished:
    return LlmFinished(
        call_id=call, operation="create", outcome="ok", model="claude-sonnet-5-5",
        requested_model="claude-sonnet-5-5", attempts=2, duration=1.5, first_content=None, usage=Usage(), cost=None,
        stop_reason="end_turn", streamed=False, cached=False,
    )  # fmt: skip


def test_attempts_are_children_of_their_call_also_those_that_outlive_it() -> None:
    sink = Sink()
    emit = sink.runtime.events.emit
    with sink.tracers.get_tracer("test").start_as_current_span("request") as request:
        emit(attempted("a", 1, "overloaded"))
        emit(attempted("b", 1))
        emit(attempted("a", 2))
        assert sink.spans.get_finished_spans() == ()
        emit(finished("a"))
        emit(finished("b"))
        emit(attempted("a", 3, "cancelled"))  # a hedge that was cancelled when the other request answered
    assert sink.runtime.events.failures == 0
    spans = [each for each in sink.spans.get_finished_spans() if each.name != "request"]
    calls = {
        (each.attributes or {})["prodkit.call_id"]: each
        for each in spans
        if "prodkit.attempts" in (each.attributes or {})
    }
    assert {each.parent.span_id for each in calls.values() if each.parent} == {
        request.get_span_context().span_id
    }
    attempts = [each for each in spans if each not in calls.values()]
    assert len(attempts) == 4
    for each in attempts:
        call = calls[str((each.attributes or {})["prodkit.call_id"])]
        assert each.parent is not None
        assert call.context is not None
        assert each.parent.span_id == call.context.span_id
        assert each.end_time is not None
        assert each.start_time is not None
        assert each.end_time - each.start_time == 500_000_000
    sink.exporter.close()


def test_attempts_of_calls_that_never_end_are_neither_lost_nor_kept_for_ever() -> None:
    sink = Sink()
    for number in range(1_100):
        sink.runtime.events.emit(attempted(f"c{number}", 1))
    assert len(sink.spans.get_finished_spans()) == 100
    sink.exporter.close()
    assert len(sink.spans.get_finished_spans()) == 1_100
