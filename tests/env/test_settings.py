from __future__ import annotations

import copy
import ipaddress
import pickle
import secrets
import traceback
import uuid
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pydantic
import pytest

from prodkit import env
from prodkit.errors import InvalidError


class Shop(env.Settings):
    environment: env.Environment = "development"
    database_url: env.PostgresUrl
    redis_url: env.RedisUrl | None = None
    api_key: env.Secret
    session_secret: env.Secret = env.secret(min_length=32)
    port: int = pydantic.Field(default=8000, ge=1, description="Where the service listens.")
    hosts: list[str] = []  # noqa: RUF012
    sizes: tuple[int, ...] = ()
    options: dict[str, int] = {}  # noqa: RUF012
    debug: bool = False


GOOD = {
    "DATABASE_URL": "postgresql://ana:correct%40horse@db.example:5433/shop",
    "API_KEY": "key-1234567890",
    "SESSION_SECRET": "0b5f1c2e9d7a48f3b6c1d0e9f8a7b6c5",
}


def problems(environ: dict[str, str], **options: Any) -> dict[str, str]:
    with pytest.raises(env.EnvError) as caught:
        Shop.load({**GOOD, **environ}, **options)
    return {problem.variable: problem.rule for problem in caught.value.problems}


def test_it_reads_types_from_the_environment() -> None:
    settings = Shop.load(
        {
            **GOOD,
            "HOSTS": "a.example, b.example",
            "SIZES": "[1, 2]",
            "OPTIONS": '{"x": 3}',
            "DEBUG": "yes",
            "PORT": "9",
        }
    )
    assert settings.hosts == ["a.example", "b.example"]
    assert settings.sizes == (1, 2)
    assert settings.options == {"x": 3}
    assert settings.debug is True
    assert settings.port == 9
    assert settings.database_url.reveal() == GOOD["DATABASE_URL"]
    assert (settings.database_url.host, settings.database_url.port) == ("db.example", 5433)
    assert settings.api_key.reveal() == "key-1234567890"
    with pytest.raises(pydantic.ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_every_problem_comes_at_once_without_any_value() -> None:
    bad = {
        "ENVIRONMENT": "hunter2-prod",
        "DATABASE_URL": "postgresql://ana:p@hunter2@db/shop",
        "REDIS_URL": "http://hunter2",
        "API_KEY": "   ",
        "SESSION_SECRET": "hunter2",
        "PORT": "hunter2",
        "HOSTS": "[hunter2",
        "SIZES": "1,hunter2",
        "OPTIONS": "{hunter2",
        "DEBUG": "hunter2",
    }
    with pytest.raises(env.EnvError) as caught:
        Shop.load(bad)
    error = caught.value
    assert {problem.variable: problem.rule for problem in error.problems} == {
        "ENVIRONMENT": "choice",
        "DATABASE_URL": "url_at",
        "REDIS_URL": "url_scheme",
        "API_KEY": "blank",
        "SESSION_SECRET": "too_short",
        "PORT": "integer",
        "HOSTS": "list",
        "SIZES": "integer",
        "OPTIONS": "json",
        "DEBUG": "boolean",
    }
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = [str(error), repr(error), repr(error.problems), repr(pickle.dumps(error))]
    # The frames of this test hold the values, so look only at those of the kit.
    shown += [repr(frame.locals) for frame in frames.stack if "prodkit/env" in frame.filename]
    assert not [text for text in shown if "hunter2" in text]
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_missing_variable_is_named_with_its_prefix() -> None:
    class Prefixed(env.Settings):
        model_config = {"env_prefix": "SHOP_"}  # noqa: RUF012
        token: env.Secret
        retries: int = 3

    with pytest.raises(env.EnvError) as caught:
        Prefixed.load({"SHOP_TOKN": "abcdef", "SHOP_COLOUR": "red", "OTHER": "x"})
    found = {problem.variable: (problem.rule, problem.hint) for problem in caught.value.problems}
    assert found["SHOP_TOKEN"][0] == "missing"
    assert found["SHOP_TOKN"][0] == "unknown"
    assert "SHOP_TOKEN" in found["SHOP_TOKN"][1]
    assert found["SHOP_COLOUR"][0] == "unknown_prefix"
    assert "OTHER" not in found


def test_a_near_miss_of_an_unset_name_is_a_typo_and_can_be_ignored() -> None:
    assert problems({"REDIS_URI": "redis://h"}) == {"REDIS_URI": "unknown"}
    assert Shop.load({**GOOD, "REDIS_URI": "redis://h"}, ignore=["REDIS_URI"]).redis_url is None
    assert Shop.load({**GOOD, "DATABASE_URLS": "x", "PGPORT": "1", "HOME": "/"}).port == 8000


@pytest.mark.parametrize(
    ("name", "typo"),
    [
        ("REDIS_HSOT", True),
        ("REDISHOST", True),
        ("REDI_HOST", True),
        ("REDIS_PORT", False),
        ("REDIS_MOST", True),
        ("REDIS_PORT_6379_TCP", False),
        ("RABBIT_HOST", False),
    ],
)
def test_a_word_that_became_another_is_no_typo(name: str, typo: bool) -> None:
    class Cached(env.Settings):
        redis_host: str = "localhost"

    if typo:
        with pytest.raises(env.EnvError, match="did you mean REDIS_HOST"):
            Cached.load({name: "x"})
    else:
        Cached.load({name: "x"})


def test_problems_are_told_in_portuguese() -> None:
    with pytest.raises(
        env.EnvError, match=r"(?s)O ambiente tem 2 problemas:.*PORT deve ser um número inteiro"
    ):
        Shop.load({**GOOD, "PORT": "x", "DEBUG": "fasle"}, language="pt-BR")
    with pytest.raises(ValueError, match="language must be one of 'en', 'pt-BR'"):
        Shop.load(GOOD, language="fr")  # type: ignore[arg-type]


def test_name_file_strips_one_line_break(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  two-lines\n\n")
    environ = {key: value for key, value in GOOD.items() if key != "API_KEY"}
    assert Shop.load({**environ, "API_KEY_FILE": str(file)}).api_key.reveal() == "  two-lines\n"
    file.write_bytes(b"crlf-ended\r\n")
    assert Shop.load({**environ, "API_KEY_FILE": str(file)}).api_key.reveal() == "crlf-ended"


def test_name_file_both_set_or_unreadable_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hunter2-hunter2")
    assert problems({"API_KEY_FILE": str(file)}) == {"API_KEY": "both_set"}
    for path in (tmp_path / "none", tmp_path):
        assert problems({"API_KEY": "", "API_KEY_FILE": str(path)}) == {"API_KEY_FILE": "file_unreadable"}
    file.write_bytes(b"\xff\xfe\x00hunter2")
    assert problems({"API_KEY": "", "API_KEY_FILE": str(file)}) == {"API_KEY_FILE": "file_unreadable"}


def test_dotenv_is_literal_and_loses_to_the_environment(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("API_KEY='p@ss${w}rd#1'\nPORT=1\nDEBUG=true # why\n")
    environ = {key: value for key, value in GOOD.items() if key != "API_KEY"}
    settings = Shop.load({**environ, "PORT": "2"}, dotenv=file)
    assert settings.api_key.reveal() == "p@ss${w}rd#1"
    assert settings.port == 2
    assert settings.debug is True
    assert Shop.load(GOOD, dotenv=tmp_path / "missing").port == 8000


def test_a_line_of_dotenv_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1\nPORT=2\nHOSTS='x'y\nDEBUG\n")
    with pytest.raises(env.EnvError) as caught:
        Shop.load(GOOD, dotenv=[file])
    found = {(problem.variable, problem.rule, problem.hint) for problem in caught.value.problems}
    assert (".env", "dotenv_duplicate", "sets PORT twice, again in line 2") in found
    assert (".env", "dotenv_line", "line 3 cannot be read") in found


def test_a_validators_message_is_shown_unless_it_holds_a_value() -> None:
    class Checked(env.Settings):
        colour: str
        shape: str

        @pydantic.field_validator("colour")
        @classmethod
        def _colour(cls, value: str) -> str:
            raise ValueError("pick red or blue")

        @pydantic.field_validator("shape")
        @classmethod
        def _shape(cls, value: str) -> str:
            raise ValueError(f"{value} is no shape")

    with pytest.raises(env.EnvError) as caught:
        Checked.load({"COLOUR": "mauve", "SHAPE": "blob"})
    assert "pick red or blue" in str(caught.value)
    assert "blob" not in str(caught.value)


def test_settings_from_values_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    settings = Shop(
        database_url="postgresql://u:hunter2@h/d", api_key="abcdefgh", session_secret=GOOD["SESSION_SECRET"]
    )
    assert settings.port == 8000
    with pytest.raises(env.EnvError) as caught:
        Shop(database_url="hunter2", prot=2)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_nothing_printed_or_dumped_shows_a_secret() -> None:
    class Loose(Shop):
        smtp_password: str = "x"

    settings = Loose.load({**GOOD, "SMTP_PASSWORD": "hunter2-smtp", "REDIS_URL": "redis://:hunter2%21@r/0"})
    texts = [
        repr(settings),
        str(settings),
        f"{settings}",
        settings.model_dump(mode="json"),
        repr(settings.api_key),
    ]
    texts += [f"{settings.database_url!s:>40}", f"{settings.model_dump()}".replace("hunter2-smtp", "")]
    texts = [str(text) for text in texts]
    texts[3] = texts[3].replace("hunter2-smtp", "")  # an unhidden field is a plain str to pydantic's dump
    for value in ("key-1234567890", "correct", "hunter2", GOOD["SESSION_SECRET"]):
        assert not [text for text in texts if value in text]
    found = settings.secret_values()
    assert {"correct%40horse", "correct@horse", "key-1234567890", "hunter2!", "hunter2-smtp"} <= set(found)
    assert list(found) == sorted(found, key=lambda text: (-len(text), text))


def test_hidden_values_compare_copy_and_refuse_to_pickle() -> None:
    secret = env.Secret("hunter2")
    assert secret == env.Secret("hunter2") != env.Secret("hunter3")
    assert secret != "hunter2"
    assert hash(secret) == hash(env.Secret("hunter2"))
    assert copy.deepcopy(secret) == secret
    assert len(secret) == 7
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="do not pickle"):
        pickle.dumps(Shop.load(GOOD))
    with pytest.raises(AttributeError):
        secret._value = "x"
    with pytest.raises(InvalidError) as caught:
        env.PostgresUrl("postgresql://u:hunter2@h:port/d")
    assert "hunter2" not in str(caught.value)


def test_the_reference_follows_the_class() -> None:
    example = env.env_example(Shop)
    assert "\nDATABASE_URL=\n" in example
    assert "# Where the service listens. · whole number\n# PORT=8000\n" in example
    table = env.markdown(Shop, language="pt-BR")
    assert "| `SESSION_SECRET` | segredo, ≥ 32 | sim |" in table
    schema = env.json_schema(Shop)
    assert schema["required"] == ["DATABASE_URL", "API_KEY", "SESSION_SECRET"]
    assert schema["properties"]["SESSION_SECRET"]["minLength"] == 32
    assert schema["properties"]["ENVIRONMENT"]["enum"] == ["development", "test", "staging", "production"]


def test_the_example_file_filled_in_loads(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    text = (
        env.env_example(Shop)
        .replace("# PORT", "PORT")
        .replace("# DEBUG", "DEBUG")
        .replace("# OPTIONS", "OPTIONS")
    )
    for name, value in GOOD.items():
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    file.write_text(text)
    assert Shop.load({}, dotenv=file) == Shop.load(GOOD)


def test_generated_secrets_pass() -> None:
    for _ in range(500):
        Shop.load({**GOOD, "SESSION_SECRET": secrets.token_hex(16)})


def test_types_say_what_they_want() -> None:
    class Typed(env.Settings):
        day: date
        moment: datetime
        wait: timedelta
        ident: uuid.UUID
        address: ipaddress.IPv4Address
        link: pydantic.AnyHttpUrl

    wrong = dict.fromkeys(("DAY", "MOMENT", "WAIT", "IDENT", "ADDRESS", "LINK"), "hunter2")
    with pytest.raises(env.EnvError) as caught:
        Typed.load(wrong)
    assert {each.variable: each.rule for each in caught.value.problems} == {
        "DAY": "date", "MOMENT": "datetime", "WAIT": "duration", "IDENT": "uuid", "ADDRESS": "ip", "LINK": "address",
    }  # fmt: skip
    assert "hunter2" not in str(caught.value)


def test_durations_and_quoted_commas_are_read() -> None:
    class Typed(env.Settings):
        wait: timedelta
        names: list[str]
        more: list[str] | None = ["x"]  # noqa: RUF012

    found = Typed.load({"WAIT": "1h30m", "NAMES": 'a, "b, c"', "MORE": "null"})
    assert found.wait == timedelta(hours=1, minutes=30)
    assert found.names == ["a", "b, c"]
    assert found.more is None


def test_a_validator_that_breaks_is_a_problem_without_the_value() -> None:
    class Broken(env.Settings):
        colour: str

        @pydantic.field_validator("colour")
        @classmethod
        def _colour(cls, value: str) -> str:
            raise KeyError(value)

    with pytest.raises(env.EnvError) as caught:
        Broken.load({"COLOUR": "hunter2"})
    assert [each.rule for each in caught.value.problems] == ["validator"]
    assert "KeyError (test_settings.py:" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_change_is_refused_without_showing_the_value() -> None:
    settings = Shop.load(GOOD)
    with pytest.raises(pydantic.ValidationError) as caught:
        settings.port = "hunter2"  # type: ignore[assignment, misc]
    assert "hunter2" not in str(caught.value) + repr(caught.value.errors())


def test_provenance_names_the_alias_that_gave_the_value() -> None:
    class Aliased(env.Settings):
        port: int = pydantic.Field(1, validation_alias=pydantic.AliasChoices("PORT", "HTTP_PORT"))

    assert Aliased.load({"HTTP_PORT": "5"}).provenance() == {"HTTP_PORT": "environment"}
    assert Aliased.load({}).provenance() == {"PORT": "default"}


def test_a_misspelt_nested_name_is_a_problem_and_a_mapping_takes_any_name() -> None:
    class Database(pydantic.BaseModel):
        host: str = ""

    class Nested(env.Settings):
        model_config = {"env_nested_delimiter": "__"}  # noqa: RUF012
        db: Database = Database()
        pools: dict[str, Database] = {}  # noqa: RUF012

    with pytest.raises(env.EnvError) as caught:
        Nested.load({"DB__HSOT": "h", "DB__HOST": "h", "DB__PORTER": "5"})
    assert [(each.variable, each.rule) for each in caught.value.problems] == [
        ("DB__HSOT", "unknown"),
        ("DB__PORTER", "unknown_prefix"),
    ]
    assert Nested.load({"POOLS__A__HOST": "q"}).pools["a"].host == "q"


def test_pydantics_own_secrets_are_registered() -> None:
    class Theirs(env.Settings):
        token: pydantic.SecretStr

    assert Theirs.load({"TOKEN": "hunter2-hunter2"}).secret_values() == ("hunter2-hunter2",)
