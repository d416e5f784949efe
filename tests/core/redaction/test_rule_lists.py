"""Recall against the rules of a secret scanner that was written by others; every value is generated at run time."""

from __future__ import annotations

import importlib
import random
from typing import Any

import pytest

from prodkit.core.redaction import redact

from .samples import sample

# Left out: what is found by its surroundings in source code only (AWS secret keys, Cloudant, IBM, SoftLayer), and
# Artifactory's passwords, which look like every word that begins with "AP".
RULES = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
SKIPPED = {("artifactory", 1), ("aws", 1)}
CASES = 40


def plugin(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()


@pytest.mark.parametrize("module", RULES)
def test_values_of_the_forms_of_a_scanner_are_masked(module: str) -> None:
    rng = random.Random(f"forms {module}")
    found = plugin(module, RULES[module])
    missed: list[str] = []
    cases = 0
    for number, rule in enumerate(found.denylist):
        if (module, number) in SKIPPED:
            continue
        for _ in range(CASES):
            text = sample(rule.pattern, rng).strip("\"' =:")
            if "\\" in text:  # a rule for source code, where they are escaped
                continue
            line = f'the call with "{text}" was refused'
            # Some rules have a group around a prefix only: then the whole text is the secret.
            secrets = {each for each in found.analyze_string(line) if len(each) >= 8} or {text}
            cases += 1
            if any(secret.strip("\"'=: ") in redact(line) for secret in secrets):
                missed.append(line)
    assert cases >= CASES // 4
    assert len(missed) <= 0.02 * cases, missed[:5]


SHAPES = (
    "{n}={v}", '{n} = "{v}"', "{n}: '{v}'", "{n} := {v}", '{n}[] = "{v}"', "if ({n} == '{v}')", '{n} => "{v}"',
    '"{n}": "{v}",', "my_{n}_of_mine: {v}", 'app["{n}"] = "{v}";', "set_{n}('{v}')", "<{n}>{v}</{n}>",
)  # fmt: skip


def test_the_names_of_a_scanner_are_known_in_every_shape() -> None:
    keyword = importlib.import_module("detect_secrets.plugins.keyword")
    rng = random.Random(20261124)
    missed: list[str] = []
    cases = 0
    for name in keyword.DENYLIST:
        for shape in SHAPES:
            for _ in range(4):
                value = (
                    "".join(rng.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=18))
                    + "7"
                )
                written = name.replace("_?", "") if rng.random() < 0.5 else sample(name, rng)
                line = shape.format(n=written, v=value)
                cases += 1
                if value in redact(line):
                    missed.append(line)
    assert len(missed) <= 0.03 * cases, missed[:20]
