"""The documents that are made from a settings class."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from prodkit import env
from prodkit.env.reference import env_example, markdown, variables


class Tls(BaseModel):
    ca: Path
    verify: bool = True


class Database(BaseModel):
    host: str
    password: env.Secret
    port: int = 5432
    tls: Tls | None = None


class Service(env.Settings):
    model_config = {"env_nested_delimiter": "__"}  # noqa: RUF012
    db: Database
    hosts: list[str] = []  # noqa: RUF012
    ratio: float = 0.5
    debug: bool = False
    redis_url: env.RedisUrl | None = None


def test_nested_variables_are_listed() -> None:
    found = {each.name: each for each in variables(Service)}
    assert list(found)[:7] == [
        "DB", "DB__HOST", "DB__PASSWORD", "DB__PORT", "DB__TLS", "DB__TLS__CA", "DB__TLS__VERIFY",
    ]  # fmt: skip
    assert {name for name, each in found.items() if each.required} == {"DB__HOST", "DB__PASSWORD"}
    assert found["DB__PASSWORD"].secret
    assert found["DB__PORT"].default == "5432"
    assert found["DB"].kind == "JSON object"
    text = env_example(Service)
    assert "\nDB__HOST=\n" in text
    assert "\n# DB=\n" in text


def test_without_a_delimiter_only_the_whole_is_listed() -> None:
    class Whole(env.Settings):
        db: Database

    assert [(each.name, each.required, each.kind) for each in variables(Whole)] == [
        ("DB", True, "JSON object")
    ]


def test_types_are_named_in_portuguese() -> None:
    kinds = {each.name: each.kind for each in variables(Service, language="pt-BR")}
    assert kinds["DB"] == "objeto JSON"
    assert kinds["DB__HOST"] == "texto"
    assert kinds["DB__PASSWORD"] == "segredo"
    assert kinds["DB__PORT"] == "número inteiro"
    assert kinds["DB__TLS__CA"] == "caminho"
    assert kinds["HOSTS"] == "lista de texto"
    assert kinds["RATIO"] == "número"
    assert kinds["DEBUG"] == "true ou false"
    assert kinds["REDIS_URL"] == "URL do Redis"
    assert "whole number" not in markdown(Service, language="pt-BR")


def test_what_is_documented_can_be_loaded() -> None:
    found = Service.load(
        {"DB__HOST": "db", "DB__PASSWORD": "made-up-but-long-enough-7x", "DB__TLS__CA": "/ca.pem"}, dotenv=()
    )
    assert found.db.tls is not None
    assert (found.db.host, found.db.tls.ca) == ("db", Path("/ca.pem"))


def test_the_example_writes_every_default_as_it_is_read(tmp_path: Path) -> None:
    class Defaults(env.Settings):
        text: str = 'it\'s "so" #1'
        lines: str = "a\nb"
        limits: dict[str, int] = {"x": 1}  # noqa: RUF012
        wait: timedelta = timedelta(minutes=90)
        names: list[str] = ["a,b", "c"]  # noqa: RUF012
        sizes: list[Annotated[int, Field(gt=0)]] = [1, 2]  # noqa: RUF012

    file = tmp_path / ".env"
    file.write_text(env_example(Defaults).replace("# TEXT", "TEXT"), encoding="utf-8")
    lines = [line.removeprefix("# ") for line in file.read_text(encoding="utf-8").splitlines() if "=" in line]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert Defaults.load({}, file) == Defaults()
    assert {each.name: each.kind for each in variables(Defaults)}["SIZES"] == "list of whole number"
