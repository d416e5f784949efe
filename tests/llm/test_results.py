import pytest

from prodkit import InvalidError
from prodkit.llm.results import Answer, Attempt, Usage, message_of, stored_text


def answer(stop_reason: str = "end_turn", **more: object) -> Answer:
    blocks = [
        {"type": "text", "text": "sim"},
        {"type": "tool_use", "id": "t1", "name": "a", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "b", "input": {}},
    ]
    options = {"model": "m", "requested_model": "m", **more}
    return Answer(
        text="a secret text",
        usage=Usage(3, 1),
        stop_reason=stop_reason,
        message={"content": blocks},
        **options,
    )  # type: ignore[arg-type]


def test_usage_reads_the_apis_spelling_where_anything_may_be_missing() -> None:
    assert Usage.of(None) == Usage.of({}) == Usage()
    assert Usage.of({"input_tokens": 3, "output_tokens": None, "new_field": 9}) == Usage(3)
    counts = Usage(1, 2, 3, 4).counts()
    assert Usage.of(counts) == Usage(1, 2, 3, 4)
    assert Usage.of(None, estimated=True).estimated


def test_usage_knows_the_hour_of_the_prompt_cache_and_searches() -> None:
    counts = {
        "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        "server_tool_use": {"web_search_requests": 4},
    }
    usage = Usage.of(counts)
    assert (usage.cache_creation_1h_input_tokens, usage.web_search_requests) == (3, 4)
    twice = usage + usage
    assert (twice.cache_creation_1h_input_tokens, twice.web_search_requests) == (6, 8)
    assert Usage.of({"cache_creation": None, "server_tool_use": 3}) == Usage()


def test_usage_adds_up_and_stays_estimated() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40, True) == Usage(11, 22, 33, 44, True)


def test_a_tool_call_that_was_cut_is_left_out() -> None:
    assert [call["id"] for call in answer().tool_calls] == ["t1", "t2"]
    assert [call["id"] for call in answer("max_tokens").tool_calls] == ["t1"]
    assert answer("max_tokens").truncated
    assert not answer("stop_sequence").truncated


def test_an_answer_says_if_another_model_gave_it() -> None:
    assert not answer().fell_back
    assert answer(model="other").fell_back


def test_a_repr_shows_sizes_and_no_text() -> None:
    assert "secret" not in repr(answer())
    assert "characters=13" in repr(answer())


def test_only_a_completed_request_is_ok() -> None:
    assert Attempt(number=1, model="m", outcome="ok").ok
    assert not Attempt(number=1, model="m", outcome="cancelled").ok


@pytest.mark.parametrize(
    "stored",
    [
        "half a \n",
        {"content": "half a  "},
        {
            "content": [
                {"type": "text", "text": "half "},
                {"type": "thinking"},
                {"type": "text", "text": "a "},
            ]
        },
    ],
)
def test_a_stored_answer_is_read_in_every_form_it_may_have(stored: object) -> None:
    assert stored_text(stored) == "half a"  # type: ignore[arg-type]


def test_a_stored_answer_without_content_is_refused() -> None:
    assert stored_text(answer()) == "a secret text"
    with pytest.raises(InvalidError, match="resume must be"):
        stored_text({"role": "assistant"})
    with pytest.raises(InvalidError, match="resume must be"):
        stored_text(5)  # type: ignore[arg-type]
    assert (
        stored_text({"content": [3, {"type": "text", "text": "half"}, {"type": "text", "text": None}]})
        == "half"
    )


def test_a_body_is_a_message_when_it_has_a_list_of_blocks() -> None:
    body = {"content": [{"type": "text"}]}
    assert message_of(body) is body
    assert message_of({"content": []}) == {"content": []}
    for other in ({}, {"content": "text"}, {"content": ["text"]}, {"content": [{}]}):
        assert message_of(other) is None  # type: ignore[arg-type]
