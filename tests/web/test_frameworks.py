"""FastAPI and Litestar: errors, documents, handlers of the app's own."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from prodkit import DatabaseError, web


def fastapi_app(**options: Any) -> Any:
    from fastapi import FastAPI, Query
    from pydantic import BaseModel, Field, field_validator

    class Order(BaseModel):
        email: str = Field(pattern=".+@.+")
        count: int = Field(ge=1, le=9)
        tags: list[str] = []

        @field_validator("tags")
        @classmethod
        def no_secret(cls, tags: list[str]) -> list[str]:
            if tags:
                raise ValueError(f"bad {tags}")
            return tags

    app = FastAPI(**options)
    web.install(app)

    async def order(order: Order, page: Annotated[int, Query(le=5)] = 1) -> Order:
        return order

    async def expired() -> None:
        raise HTTPException(401, detail={"code": "expired", "detail": "Token is old", "status": 200})  # type: ignore[arg-type]

    async def several() -> None:
        raise HTTPException(400, detail=["a", {"b": 1}])  # type: ignore[arg-type]

    order.__annotations__ = {"order": Order, "page": Annotated[int, Query(le=5)], "return": Order}
    app.post("/orders")(order)
    app.get("/expired")(expired)
    app.get("/several")(several)
    return app


def test_validation_errors_point_to_the_fault_in_the_visitors_language_without_the_input() -> None:
    client = TestClient(fastapi_app())
    body = {"email": "hunter2-secret", "count": 12, "tags": ["canary-in-message"]}
    response = client.post("/orders?page=9", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    found = {each["pointer"]: each for each in response.json()["errors"]}
    assert found["#/email"]["code"] == "string_pattern_mismatch"
    assert found["#/count"]["detail"] == "The value must be at most 9."
    assert (found["#/page"]["in"], found["#/count"]["in"]) == ("query", "body")
    assert "hunter2" not in response.text
    assert "canary" not in response.text
    portuguese = client.post("/orders", json={"email": "a@b"}, headers={"accept-language": "pt"}).json()
    assert portuguese["errors"][0]["detail"] == "Este campo é obrigatório."
    assert client.post("/orders", content=b"{", headers={"content-type": "application/json"}).json()[
        "errors"
    ] == [{"in": "body", "pointer": "#", "code": "json_invalid", "detail": "The body is not valid JSON."}]


def test_details_that_are_no_text_stay_json() -> None:
    client = TestClient(fastapi_app())
    body = client.get("/expired").json()
    assert (body["status"], body["code"], body["detail"]) == (401, "expired", "Token is old")
    assert client.get("/several").json()["errors"] == ["a", {"b": 1}]


def test_the_openapi_document_describes_problems_and_the_docs_have_a_policy_that_lets_them_work() -> None:
    client = TestClient(fastapi_app())
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/orders"]["post"]["responses"]
    assert responses["422"]["content"] == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert "default" in responses
    assert "HTTPValidationError" not in client.get("/openapi.json").text
    for page in ("/docs", "/redoc"):
        response = client.get(page)
        policy = response.headers["content-security-policy"]
        assert "https://cdn.jsdelivr.net" in policy
        assert "'unsafe-inline'" in policy
        assert "nonce" not in policy
    assert "jsdelivr" not in client.get("/expired").headers["content-security-policy"]


def test_handlers_of_the_app_stay() -> None:
    async def fail(request: Request) -> Response:
        if request.query_params.get("kit"):
            raise DatabaseError("away")
        raise RuntimeError("bug") if not request.query_params.get("http") else HTTPException(418, "pot")

    async def own(request: Request, error: Exception) -> Response:
        return JSONResponse({"mine": type(error).__name__}, 500)

    def own_http(request: Request, error: Exception) -> Response:
        return PlainTextResponse("mine", 418)

    for kind in (Exception, 500):
        app = Starlette(routes=[Route("/", fail)], exception_handlers={kind: own, HTTPException: own_http})
        web.install(app)
        client = TestClient(app, raise_server_exceptions=False)
        response = client.get("/")
        assert response.json() == {"mine": "RuntimeError"}
        assert "content-security-policy" in response.headers
        assert client.get("/?http=1").text == "mine"
        assert client.get("/?kit=1").status_code == 503
    app = Starlette(routes=[Route("/", fail)], debug=True)
    web.install(app)
    response = TestClient(app, raise_server_exceptions=False).get("/", headers={"accept": "text/html"})
    assert "Traceback" in response.text
    with pytest.raises(RuntimeError, match="bug"):
        TestClient(app).get("/")


def test_another_app_is_refused_with_a_sentence() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(TypeError, match="needs a Starlette, FastAPI or Litestar app, got function"):
        web.install(plain)
    with pytest.raises(ValueError, match=r"csrf must be one of .*; max_body must"):
        web.install(Starlette(), csrf="of course", max_body=-1)  # type: ignore[arg-type]
