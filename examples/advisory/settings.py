"""The app's environment. Imported before anything heavy, so that a bad variable is reported at once."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from prodkit import env
from prodkit.core.secrets import RuleError

__all__ = ["BackupSettings", "Settings"]


class BackupSettings(env.Settings):
    """The part of the environment that `python -m advisory backup` and the backup service need."""

    all_or_none: ClassVar[tuple[tuple[str, ...], ...]] = (("aws_access_key_id", "aws_secret_access_key"),)

    database_url: env.PostgresUrl = Field(description="PostgreSQL 14 or newer")
    backup_directory: Path = Field(default=Path("/backups"), description="where backups are kept")
    backup_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        default=3, description="hour of the daily backup, UTC"
    )
    backup_bucket: str | None = Field(
        default=None,
        pattern=r"^s3://[^/?@\s]+(/[^?\s]*)?$",
        description="s3://bucket or s3://bucket/folder, where each backup is stored too; without it only the directory",
    )
    aws_endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address of an S3-compatible service for that bucket; without it AWS",
    )
    aws_region: str | None = Field(default=None, description="region of the bucket")
    aws_access_key_id: env.Secret | None = Field(
        default=None, description="name of the bucket's key; without it the machine's own credentials"
    )
    aws_secret_access_key: env.Secret | None = Field(default=None, description="the bucket's key")


class Settings(BackupSettings):
    """The environment of `python -m advisory serve`, and the source of a deployment's `ENV_VARIABLES.md`."""

    environment: env.Environment = Field(
        default="production", description="where it runs; production asks for https"
    )
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
    perplexity_api_key: env.Secret | None = Field(
        default=None,
        description="web search of personas and clones; without it that source is not configured",
    )
    perplexity_base_url: str = Field(
        default="https://api.perplexity.ai",
        pattern=r"^https?://",
        description="another address of Perplexity",
    )
    youtube_api_key: env.Secret | None = Field(
        default=None, description="videos of personas and clones; without it that source is not configured"
    )
    youtube_base_url: str = Field(
        default="https://www.googleapis.com",
        pattern=r"^https?://",
        description="another address of YouTube's API",
    )
    unsplash_access_key: env.Secret | None = Field(
        default=None, description="photos of personas and clones; without it that source is not configured"
    )
    unsplash_base_url: str = Field(
        default="https://api.unsplash.com",
        pattern=r"^https?://",
        description="another address of Unsplash",
    )
    chat_context_tokens: Annotated[int, Field(ge=2_000, le=900_000)] = Field(
        default=60_000,
        description="input tokens of one answer in a conversation; older messages beyond them are left out",
    )
    model_prices: dict[str, tuple[float, float]] = Field(
        default={"claude-sonnet-5-5": (3.0, 15.0), "claude-haiku-5-5": (1.0, 5.0)},
        description="US dollars a million tokens read and written, by model; a council shows its cost by them",
    )
    session_secret: env.Secret = env.secret(min_length=32, description="signs session cookies")
    mail_url: env.Secret | None = Field(
        default=None,
        description="smtps://user:password@host:465, smtp://…:587 (STARTTLS) or file:///directory; needs PUBLIC_URL. "
        "Without it there is no password recovery",
    )
    public_url: str | None = Field(
        default=None,
        validate_default=True,
        pattern=r"^https?://[^/\s]+$",
        description="address of the app, for the links in mails",
    )
    mail_from: str = Field(
        default="O Conselho <nao-responda@localhost>",
        pattern=r"^[^\r\n]*[^@\s]+@[^@\s]+$",
        description="sender of mails",
    )
    operator_token: env.Secret | None = env.secret(
        min_length=24,
        default=None,
        description="Bearer token of /api/health for pools, breakers and reasons",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8000, description="port to listen on")
    worker: bool = Field(
        default=True, description="run councils in this process too; false with `advisory worker`"
    )
    migrate: bool = Field(
        default=False,
        description="bring the database up to date before serving; for one container without a step before",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="networks of the proxies whose X-Forwarded-For is believed; needed behind a proxy",
    )
    backup_max_hours: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="hours after which the last verified backup is too old in /api/health; without it backups are not "
        "part of the report",
    )
    breaker_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=300.0, description="seconds for which a model that keeps failing is left alone"
    )
    graceful_seconds: Annotated[int, Field(ge=1, le=60)] = Field(
        default=4, description="wait for requests at shutdown"
    )

    drain_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0.0, description="go on serving after SIGTERM until the balancer has seen readiness 503"
    )

    @field_validator("mail_url")
    @classmethod
    def _mail(cls, value: env.Secret | None) -> env.Secret | None:
        if value is not None:
            try:
                parts = urlsplit(value.reveal())
                usable = bool(parts.path if parts.scheme == "file" else parts.hostname) and parts.port != 0
            except ValueError:
                raise RuleError("url_malformed") from None
            if not usable or parts.scheme not in ("smtp", "smtps", "file"):
                raise RuleError("url_scheme", schemes="smtps://, smtp://, file://")
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None, info: ValidationInfo) -> str | None:
        """A link in a mail must not be made from a request's Host, which the visitor chooses."""
        if value is None and info.data.get("mail_url") is not None:
            raise ValueError("falta: com MAIL_URL, os links dos e-mails precisam do endereço do app")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, value: str) -> str:
        """Believing everybody ("*") would let each visitor choose the address that limits count."""
        for each in value.split(","):
            try:
                ip_network(each.strip())
            except ValueError:
                raise ValueError(
                    "escreva endereços ou redes, como 10.0.0.0/8, separados por vírgulas"
                ) from None
        return value
