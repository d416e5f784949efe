"""The providers of the Messages API: Anthropic, Amazon Bedrock, Google Vertex, Microsoft Foundry, and gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from prodkit.core.secrets import Revealable, reveal
from prodkit.llm.event_stream import EventStreamDecoder
from prodkit.llm.transport import SdkProvider, SdkReply, http_client

__all__ = ["Anthropic", "Bedrock", "Foundry", "Gateway", "Vertex"]


class Anthropic(SdkProvider):
    """Anthropic's own API, under another key or address than the client's.

    Args:
        api_key: the API key.
        base_url: another address of the API.
        connections: the size of the connection pool.
        name: the provider's name in records and labels.
    """

    def __init__(
        self,
        api_key: str | Revealable,
        *,
        base_url: str | None = None,
        connections: int = 50,
        name: str = "anthropic",
    ) -> None:
        key = reveal(api_key)

        def make() -> Any:
            client, timeout = http_client(connections)
            import anthropic

            return anthropic.AsyncAnthropic(
                api_key=key, base_url=base_url, max_retries=0, timeout=timeout, http_client=client
            )

        super().__init__(make, name=name)


class Gateway(SdkProvider):
    """Any gateway that speaks the Messages API.

    Args:
        base_url: its address.
        api_key: sent as a Bearer token.
        headers: further headers of each request.
        connections: the size of the connection pool.
        name: the provider's name in records and labels.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | Revealable,
        *,
        headers: Mapping[str, str] | None = None,
        connections: int = 50,
        name: str = "gateway",
    ) -> None:
        key = reveal(api_key)

        def make() -> Any:
            client, timeout = http_client(connections)
            import anthropic

            return anthropic.AsyncAnthropic(
                api_key=key,
                base_url=base_url,
                default_headers=dict(headers or {}),
                max_retries=0,
                timeout=timeout,
                http_client=client,
            )

        super().__init__(make, name=name)


class Vertex(SdkProvider):
    """Google Vertex AI. Without `access_token` it needs ``pip install 'anthropic[vertex]'``.

    Args:
        region: of the endpoint, such as ``"europe-west1"`` or ``"global"``; by default from ``CLOUD_ML_REGION``.
        project_id: the Google Cloud project; by default from the credentials.
        access_token: a token; by default from `credentials` or the environment.
        credentials: an object of google-auth.
        base_url: another address.
        connections: the size of the connection pool.
        name: the provider's name in records and labels.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        project_id: str | None = None,
        access_token: str | Revealable | None = None,
        credentials: Any = None,
        base_url: str | None = None,
        connections: int = 50,
        name: str = "vertex",
    ) -> None:
        token = None if access_token is None else reveal(access_token)
        given: dict[str, Any] = {"region": region, "project_id": project_id}

        def make() -> Any:
            client, timeout = http_client(connections)
            from anthropic.lib.vertex import AsyncAnthropicVertex

            return AsyncAnthropicVertex(
                **{name: value for name, value in given.items() if value is not None},
                access_token=token,
                credentials=credentials,
                base_url=base_url,
                max_retries=0,
                timeout=timeout,
                http_client=client,
            )

        super().__init__(make, name=name)


class Foundry(SdkProvider):
    """Microsoft Foundry.

    Args:
        resource: the name of the Foundry resource; not with `base_url`.
        api_key: the key; not with `token_provider`.
        token_provider: returns a Microsoft Entra token; asynchronous or not.
        base_url: another address.
        connections: the size of the connection pool.
        name: the provider's name in records and labels.
    """

    def __init__(
        self,
        *,
        resource: str | None = None,
        api_key: str | Revealable | None = None,
        token_provider: Any = None,
        base_url: str | None = None,
        connections: int = 50,
        name: str = "foundry",
    ) -> None:
        given: dict[str, Any] = {
            "resource": resource,
            "api_key": None if api_key is None else reveal(api_key),
            "azure_ad_token_provider": token_provider,
            "base_url": base_url,
        }

        def make() -> Any:
            client, timeout = http_client(connections)
            from anthropic import AsyncAnthropicFoundry

            options = {name: value for name, value in given.items() if value is not None}
            return AsyncAnthropicFoundry(**options, max_retries=0, timeout=timeout, http_client=client)

        super().__init__(make, name=name)


class Bedrock(SdkProvider):
    """Amazon Bedrock. Without `api_key` it needs ``pip install 'anthropic[bedrock]'`` to sign requests.

    Args:
        region: the AWS region; by default that of the profile or environment.
        api_key: a Bedrock API key; not with AWS credentials.
        access_key: the AWS access key; by default from the environment or `profile`.
        secret_key: the AWS secret key.
        session_token: the AWS session token.
        profile: the AWS profile.
        base_url: another address.
        connections: the size of the connection pool.
        name: the provider's name in records and labels.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        api_key: str | Revealable | None = None,
        access_key: str | Revealable | None = None,
        secret_key: str | Revealable | None = None,
        session_token: str | Revealable | None = None,
        profile: str | None = None,
        base_url: str | None = None,
        connections: int = 50,
        name: str = "bedrock",
    ) -> None:
        secrets = {
            "api_key": api_key,
            "aws_access_key": access_key,
            "aws_secret_key": secret_key,
            "aws_session_token": session_token,
        }
        given: dict[str, Any] = {name: reveal(value) for name, value in secrets.items() if value is not None}

        def make() -> Any:
            client, timeout = http_client(connections)
            from anthropic.lib.bedrock import AsyncAnthropicBedrock

            return AsyncAnthropicBedrock(
                **given,
                aws_region=region,
                aws_profile=profile,
                base_url=base_url,
                max_retries=0,
                timeout=timeout,
                http_client=client,
            )

        super().__init__(make, name=name, reply=_BedrockReply)


class _BedrockReply(SdkReply):
    """A response of Bedrock: its event stream is decoded to Server-Sent Events."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        self._binary = "amazon.eventstream" in self.headers.get("content-type", "")
        if self._binary:
            self.headers: Mapping[str, str] = {**self.headers, "content-type": "text/event-stream"}

    def chunks(self) -> AsyncIterator[bytes]:
        return self._decoded() if self._binary else super().chunks()

    async def _decoded(self) -> AsyncIterator[bytes]:
        decoder = EventStreamDecoder()
        async for data in super().chunks():
            if events := decoder.feed(data):
                yield events
