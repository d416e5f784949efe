from __future__ import annotations

import base64
import json

import pytest

from prodkit.core.redaction.forms import mask_forms, mask_hooks

MIXED = "Zq8vT1mK4pX7sB2nR9wY3cF6hJ0dL5gA"  # made up


@pytest.mark.parametrize(
    "key",
    [
        "sk-ant-api03-" + MIXED * 2,
        "ghp_" + MIXED + "aB12",
        "AKIA" + "J4X7QPZ2M8K3W5VT",
        "xoxb-123456789012-" + MIXED,
    ],
)
def test_keys_of_providers_are_masked(key: str) -> None:
    assert mask_forms(key, "***") == "***"


def test_a_jwt_is_masked_whole() -> None:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "ana", "iat": 1}]
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    assert mask_forms(f"jwt={head}.{body}.{MIXED}", "***") == "jwt=***"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-learn-extra-estimator-pipeline",
        "an-ordinary-name-of-a-package",
        "request_completed_successfully",
    ],
)
def test_words_joined_by_hyphens_stay(text: str) -> None:
    assert mask_forms(text, "***") == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/abcdefgh", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/123/abcdefgh now", "https://discord.com/api/webhooks/123/*** now"),
        ("(https://api.telegram.org/bot12:abcdefgh)", "(https://api.telegram.org/bot***)"),
    ],
)
def test_the_path_of_a_webhook_is_masked_and_its_host_stays(text: str, shown: str) -> None:
    assert mask_hooks(text, "***") == shown


@pytest.mark.parametrize(
    "text", ["", "https://hooks.slack.com/services/", "https://slack.com/services/T0/B0/abcdef"]
)
def test_addresses_without_a_secret_path_stay(text: str) -> None:
    assert mask_hooks(text, "***") == text
