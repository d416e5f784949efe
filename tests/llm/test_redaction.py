"""Cleaning the API's sentences."""

from prodkit.llm.redaction import clean


def test_what_the_api_quotes_of_the_request_is_taken_out() -> None:
    params = {
        "system": "Segredo42",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Ana Lima"}]}],
    }
    detail = "messages.0: value 'Segredo42' by Lima for sk-key: max_tokens: Field required."
    assert (
        clean(detail, params, "sk-key-1") == "messages.0: value '…' by … for …: max_tokens: Field required."
    )
