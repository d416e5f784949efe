from __future__ import annotations

from typing import ClassVar

import pydantic
import pytest

from prodkit import env
from prodkit.core.secrets import REGISTRY


class Shop(env.Settings):
    all_or_none: ClassVar = (("smtp_host", "smtp_user", "smtp_password"),)

    environment: env.Environment = "production"
    database_url: env.PostgresUrl
    session_secret: env.Secret = env.secret(min_length=32)
    signing_secret: env.Secret = env.secret(min_length=32)
    debug: bool = False
    cors_origins: list[str] = []  # noqa: RUF012
    public_url: str = "https://shop.example"
    api_url: str = "http://billing:8080"
    smtp_host: str | None = None
    smtp_user: str | None = None
    smtp_password: env.Secret | None = None


GOOD = {
    "DATABASE_URL": "postgresql://ana:correct%40horse@db.example/shop",
    "SESSION_SECRET": "0b5f1c2e9d7a48f3b6c1d0e9f8a7b6c5",
    "SIGNING_SECRET": "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9",
}
BAD = {
    "DATABASE_URL": "postgresql://ana:hunter2@localhost/shop",
    "SIGNING_SECRET": GOOD["SESSION_SECRET"],
    "DEBUG": "true",
    "CORS_ORIGINS": "https://a.example,*",
    "PUBLIC_URL": "http://shop.example",
}


def problems(environ: dict[str, str], settings: type[env.Settings] = Shop) -> dict[str, str]:
    with pytest.raises(env.EnvError) as caught:
        settings.load({**GOOD, **environ})
    assert "hunter2" not in str(caught.value)
    return {problem.variable: problem.rule for problem in caught.value.problems}


def test_what_must_not_run_in_production() -> None:
    assert problems(BAD) == {
        "DATABASE_URL": "production_localhost",
        "SIGNING_SECRET": "equal_secrets",
        "DEBUG": "production_debug",
        "CORS_ORIGINS": "production_wildcard",
        "PUBLIC_URL": "production_https",
    }
    assert Shop.load(GOOD).api_url == "http://billing:8080"


def test_development_may_and_a_class_may_relax_a_rule() -> None:
    Shop.load({**GOOD, **BAD, "ENVIRONMENT": "development"})

    class Beside(Shop):
        relaxed: ClassVar = ("production_localhost",)

    assert "DATABASE_URL" not in problems(BAD, Beside)


def test_groups_are_set_together() -> None:
    assert problems({"SMTP_HOST": "mail.example"}) == {"SMTP_USER": "group", "SMTP_PASSWORD": "group"}
    Shop.load({**GOOD, "SMTP_HOST": "mail.example", "SMTP_USER": "ana", "SMTP_PASSWORD": "hunter2-hunter2"})


@pytest.mark.parametrize("wrap", ['"{}"', "'{}'", " {}", "{}\n", "{}\r\n", '"{}"\r\n', "\t{} "])
def test_quotes_and_blanks_around_a_secret_are_removed_with_a_notice(
    wrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Shop.load({**GOOD, "SESSION_SECRET": wrap.format(GOOD["SESSION_SECRET"])})
    assert settings.session_secret.reveal() == GOOD["SESSION_SECRET"]
    (notice,) = settings.notices()
    assert notice.variable == "SESSION_SECRET"
    assert notice.rule in ("cleaned_quotes", "cleaned_blanks")
    assert "SESSION_SECRET" in caplog.text
    assert GOOD["SESSION_SECRET"] not in caplog.text
    assert not Shop.load(GOOD).notices()


def test_provenance_names_sources_and_no_value(tmp_path: object) -> None:
    settings = Shop.load({**GOOD, "DEBUG": "false"})
    assert settings.provenance()["DATABASE_URL"] == "environment"
    assert settings.provenance()["CORS_ORIGINS"] == "default"
    assert settings == Shop.load({**GOOD})


def test_loading_registers_the_secrets() -> None:
    Shop.load(GOOD)
    assert GOOD["SESSION_SECRET"] in REGISTRY
    assert "correct@horse" in REGISTRY
    REGISTRY.clear()


def test_nested_variables_and_their_files(tmp_path: object) -> None:
    import pathlib

    import pydantic

    class Database(pydantic.BaseModel):
        host: str = "h"
        pw: env.Secret | None = None

    class Nested(env.Settings):
        model_config = {"env_nested_delimiter": "__"}  # noqa: RUF012
        db: Database = Database()

    file = pathlib.Path(str(tmp_path)) / "pw"
    file.write_text("from-a-file\n")
    settings = Nested.load({"DB__PW_FILE": str(file)})
    assert settings.db.pw is not None
    assert settings.db.pw.reveal() == "from-a-file"
    assert settings.provenance()["DB__PW"] == "DB__PW_FILE"
    with pytest.raises(env.EnvError) as caught:
        Nested.load({"DB__PW": "changeme"})
    assert [(each.variable, each.rule) for each in caught.value.problems] == [("DB__PW", "placeholder")]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ana:hunter2@127.0.1.1/shop",
        "postgresql://ana:hunter2@LOCALHOST./shop",
        "postgresql://ana:hunter2@[::1]/shop",
        "postgresql://ana:hunter2@db.example,localhost/shop",
        "postgresql://ana:hunter2@db.example/shop?host=localhost",
        "postgresql://ana:hunter2@db.localhost/shop",
    ],
)
def test_a_database_on_this_machine_is_found_however_it_is_written(address: str) -> None:
    assert problems({"DATABASE_URL": address}) == {"DATABASE_URL": "production_localhost"}


class Loose(env.Settings):
    """Fields of plain and of pydantic's types."""

    environment: env.Environment = "production"
    redis_url: env.RedisUrl | None = None
    broker: str = ""
    app_debug: str = ""
    api: pydantic.AnyHttpUrl | None = None
    callbacks: list[pydantic.HttpUrl] = []  # noqa: RUF012
    session_secret: env.Secret | None = None
    token: pydantic.SecretStr | None = None


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("REDIS_URL", "redis://localhost/0", "production_localhost"),
        ("BROKER", "amqp://guest:guest@127.0.0.1//", "production_localhost"),
        ("APP_DEBUG", "true", "production_debug"),
        ("API", "HTTP://shop.example/x", "production_https"),
        ("CALLBACKS", '["http://shop.example/x"]', "production_https"),
    ],
)
def test_the_rules_hold_for_every_type_of_field(name: str, value: str, rule: str) -> None:
    with pytest.raises(env.EnvError) as caught:
        Loose.load({name: value})
    assert [(each.variable, each.rule) for each in caught.value.problems] == [(name, rule)]


def test_a_secret_that_is_the_password_of_a_server_or_of_pydantics_type_is_found() -> None:
    secret = GOOD["SESSION_SECRET"]
    for other in ({"REDIS_URL": f"redis://u:{secret}@cache/0"}, {"TOKEN": secret}):
        with pytest.raises(env.EnvError) as caught:
            Loose.load({"SESSION_SECRET": secret, **other})
        assert [each.rule for each in caught.value.problems] == ["equal_secrets"]


def test_an_unreadable_file_is_not_also_a_missing_part_of_its_group() -> None:
    assert problems({"SMTP_HOST": "h", "SMTP_USER": "u", "SMTP_PASSWORD_FILE": "/nowhere/at/all"}) == {
        "SMTP_PASSWORD_FILE": "file_unreadable"
    }
