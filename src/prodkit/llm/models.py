"""The models that the API knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prodkit.llm.service import Service

__all__ = ["ModelInfo", "Models"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the API knows.

    Args:
        id: its name in requests.
        line: such as "sonnet"; never to be read from the id.
        lifecycle: such as "active" or "deprecated".
        retires_at: when it stops answering, "" where that is not decided.
        max_tokens: its upper limit of ``max_tokens``, None where the API does not say.
        raw: the API's object.
    """

    id: str
    line: str = ""
    lifecycle: str = ""
    retires_at: str = ""
    max_tokens: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Models:
    """The models that the API knows. Made by ``Client.models`` for its `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _raw(self) -> Any:
        return self._service.provider.sdk.models.with_raw_response

    async def list(self) -> list[ModelInfo]:
        """Return all models."""
        service = self._service
        found: list[ModelInfo] = []
        after: dict[str, str] = {}
        while True:
            page = await service.run(
                "models.list",
                lambda after=after: service.provider.raw(self._raw.list, limit=100, **after),  # type: ignore[misc]
                lambda body: body if isinstance(body.get("data"), list) else None,
            )
            found += [_model_of(each) for each in page["data"]]
            if not page.get("has_more") or not page.get("last_id"):
                return found
            after = {"after_id": page["last_id"]}

    async def get(self, model_id: str) -> ModelInfo:
        """Return the model `model_id`, which may be an alias."""
        service = self._service
        return await service.run(
            "models.get",
            lambda: service.provider.raw(self._raw.retrieve, model_id),
            lambda body: _model_of(body) if isinstance(body.get("id"), str) else None,
        )


def _model_of(body: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        str(body.get("id", "")),
        str(body.get("line") or ""),
        str(body.get("lifecycle") or ""),
        str(body.get("retires_at") or ""),
        body.get("max_tokens"),
        body,
    )
