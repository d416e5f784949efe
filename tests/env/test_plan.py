from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, Field

from prodkit import env
from prodkit.env.plan import is_hidden, plan_of


class Database(BaseModel):
    host: str = ""
    password: env.Secret | None = None


class Service(env.Settings):
    model_config = {"env_prefix": "SHOP_", "env_nested_delimiter": "__"}  # noqa: RUF012
    port: int = Field(1, validation_alias=AliasChoices("PORT", "HTTP_PORT"))
    token: env.Secret | None = None
    db: Database = Database()
    pools: dict[str, Database] = {}  # noqa: RUF012
    extra: Any = None


def test_names_choices_and_secrets_of_a_class() -> None:
    plan = plan_of(Service)
    assert plan.choices == (
        ("PORT", "HTTP_PORT"),
        ("SHOP_TOKEN",),
        ("SHOP_DB",),
        ("SHOP_POOLS",),
        ("SHOP_EXTRA",),
    )
    assert plan.variables["port"] == "PORT"
    assert {"SHOP_DB__HOST", "SHOP_DB__PASSWORD", "HTTP_PORT"} <= set(plan.known)
    assert plan.hidden == {"SHOP_TOKEN"}
    assert "SHOP_DB__PASSWORD" in plan.secrets
    assert plan_of(Service) is plan


def test_only_a_model_that_takes_its_own_fields_alone_is_closed() -> None:
    assert plan_of(Service).closed == ("SHOP_DB__",)


def test_hidden_types_are_found_inside_others() -> None:
    assert is_hidden(env.Secret | None)
    assert is_hidden(list[env.PostgresUrl])
    assert not is_hidden(str)
