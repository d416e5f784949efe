"""The few things in which Starlette, FastAPI and Litestar differ when the middleware is put around an app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from starlette.types import ASGIApp

from prodkit.errors import ProdkitError
from prodkit.web.errors import Problems
from prodkit.web.problem import of_detail, of_error
from prodkit.web.security_headers import DOCS_POLICY

__all__ = ["Adopted", "App", "adopt"]


class App(Protocol):
    """An ASGI app with middleware: Starlette, FastAPI or Litestar."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Adopted:
    """An app whose error handlers are in place.

    Args:
        app: the app.
        docs: policies of the paths of its documentation pages.
    """

    app: Any
    docs: Mapping[str, str] = field(default_factory=dict[str, str])

    def add(self, layer: type[Any], options: Mapping[str, Any]) -> None:
        """Put the middleware `layer` with `options` around everything added before."""
        if hasattr(self.app, "add_middleware"):
            self.app.add_middleware(layer, **options)
        else:
            self.app.asgi_handler = cast("ASGIApp", layer(self.app.asgi_handler, **options))


def adopt(app: Any, problems: Problems) -> Adopted:
    """Add our handlers where `app` has none of its own; `problems` turns the errors into responses.

    Raises:
        TypeError: the app has no way to add middleware.
    """
    if hasattr(app, "add_middleware"):
        existing = getattr(app, "exception_handlers", None) or {}
        for kind, handler in problems.handlers().items():
            if kind not in existing or _of_fastapi(existing[kind]):
                app.add_exception_handler(kind, handler)
        if hasattr(app, "openapi_url"):
            return Adopted(app, _fastapi(app, problems))
        return Adopted(app)
    if hasattr(app, "asgi_handler"):
        _litestar(app, problems)
        return Adopted(app)
    raise TypeError(f"install needs a Starlette, FastAPI or Litestar app, got {type(app).__name__}")


def _of_fastapi(handler: Any) -> bool:
    return getattr(handler, "__module__", "").startswith("fastapi.")


# --- FastAPI ------------------------------------------------------------------------------------------------------


def _fastapi(app: Any, problems: Problems) -> dict[str, str]:
    from fastapi.exceptions import RequestValidationError

    if _of_fastapi(app.exception_handlers.get(RequestValidationError, problems)):
        app.add_exception_handler(RequestValidationError, problems.invalid)
    document = app.openapi

    def openapi() -> dict[str, Any]:
        found: dict[str, Any] = document()
        return _with_problems(found)

    app.openapi = openapi
    pages = (app.docs_url, app.redoc_url, getattr(app, "swagger_ui_oauth2_redirect_url", None))
    return {page: DOCS_POLICY for page in pages if page}


_PROBLEM = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "retry_after": {"type": "integer", "description": "Seconds until a retry makes sense."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "in": {"type": "string"},
                    "pointer": {"type": "string"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Describe the problems in an OpenAPI document: 422 where FastAPI names its own, and ``default`` everywhere."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    if "Problem" in schemas:
        return document
    schemas["Problem"] = _PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    used = False
    for path in document.get("paths", {}).values():
        for method, operation in path.items():
            if method not in _METHODS:
                continue
            responses = operation.setdefault("responses", {})
            if "HTTPValidationError" in str(responses.get("422", "")):
                responses["422"] = {"description": "Invalid input", "content": content}
            used = used or "HTTPValidationError" in str(responses)
            responses.setdefault("default", {"description": "An error", "content": content})
    if not used:
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
    return document


# --- Litestar -----------------------------------------------------------------------------------------------------


def _litestar(app: Any, problems: Problems) -> None:
    from litestar import Response
    from litestar.exceptions import HTTPException

    def answer(request: Any, error: Exception) -> Any:
        language = problems.language_for(request.scope)
        if isinstance(error, HTTPException):
            detail = {"detail": error.detail, **(error.extra if isinstance(error.extra, dict) else {})}
            if isinstance(error.extra, list):
                detail["errors"] = error.extra
            problem = of_detail(error.status_code, language, detail)
            given = error.headers or {}
        else:
            problem, given = of_error(error, language), {}
        headers = {"cache-control": "no-store", "content-language": language, **problem.headers, **given}
        if problem.retry_after is not None:
            headers["retry-after"] = str(problem.retry_after)
        body = problem.body(request.scope.get("state", {}).get("request_id"))
        return Response(
            body, status_code=problem.status, headers=headers, media_type="application/problem+json"
        )

    for kind in (ProdkitError, HTTPException):
        app.exception_handlers.setdefault(kind, answer)
