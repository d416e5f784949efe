"""The app's environment. Imported before anything heavy, so that a bad variable is told at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prodkit import env

__all__ = ["Settings"]


class Settings(env.Settings):
    """What `python -m advisory serve` needs; `ENV_VARIABLES.md` of a deployment is made from this class."""

    environment: env.Environment = Field(
        default="production", description="where it runs; production asks for https"
    )
    database_url: env.PostgresUrl = Field(description="PostgreSQL 14 or newer")
    redis_url: env.RedisUrl | None = Field(
        default=None, description="shares limits between processes; may be absent"
    )
    anthropic_api_key: env.Secret = Field(description="key of the Messages API")
    anthropic_base_url: str | None = Field(
        default=None, pattern=r"^https?://", description="another Messages API, such as the simulator"
    )
    models: list[str] = Field(
        default=["claude-sonnet-5-5", "claude-haiku-5-5"],
        min_length=1,
        description="first choice, then fallbacks",
    )
    session_secret: env.Secret = env.secret(min_length=32, description="signs session cookies")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8000, description="port to listen on")
    worker: bool = Field(
        default=True, description="run councils in this process too; false with `advisory worker`"
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="proxies whose X-Forwarded-For is believed"
    )
    graceful_seconds: Annotated[int, Field(ge=1, le=60)] = Field(
        default=4, description="wait for requests at shutdown"
    )
