from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from prodkit import env, logs
from prodkit.core import redaction
from prodkit.core.redaction import redact
from prodkit.core.redaction.documents import is_card, is_cnpj, is_cpf
from prodkit.core.redaction.names import is_sensitive
from prodkit.core.secrets import REGISTRY


class Login(NamedTuple):
    user: str
    password: str


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJoaWRlbWUifQ.c2lnbmF0dXJlLWhpZGVtZQ"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhideme\nhideme==\n-----END RSA PRIVATE KEY-----"

# (a text, what must not be left of it)
SECRET_TEXTS = [
    ("connect postgresql://ana:hunter2@db.example:5432/shop failed", "hunter2"),
    ("postgres://ana:p@ss/w@rd@h/db refused", "ss/w"),
    ("redis://:hunter2@cache:6379/0", "hunter2"),
    ("amqp://u:hunter2@mq//vhost", "hunter2"),
    ("https://u:hunter2@example.org/x?y=1", "hunter2"),
    ("cloning https://0123456789abcdef0123456789@github.example/x.git", "0123456789abcdef"),
    ("GET /ws?access_token=hunter2&x=1 HTTP/1.1", "hunter2"),
    ("password=hunter2 user=ana", "hunter2"),
    ("senha do banco: hunter2", "hunter2"),
    ("chave de API: hunter2-x", "hunter2"),
    ("chave_api=hunter2", "hunter2"),
    ("token de acesso: hunter2", "hunter2"),
    ("Seu código de verificação é 482913", "482913"),
    ("código de acesso: 482913", "482913"),
    ("Invalid API key provided: hunter2-abc", "hunter2"),
    ("login failed for ana with password Zq8vT1kPw3LmX9cR", "Zq8v"),
    ("| password | Zq8vT1kPw3LmX9cR |", "Zq8v"),
    ("PASSWORD\tZq8vT1kPw3LmX9cR", "Zq8v"),
    ("basic auth ana:Zq8vT1kPw3LmX9cR", "Zq8v"),
    ("OTP 482913 sent", "482913"),
    ("card ok, cvv 123", "123"),
    ("ssn 078-05-1120", "05-1120"),
    ("jdbc:oracle:thin:scott/hunter2@//db:1521/x", "hunter2"),
    ("sqlplus -s scott/hunter2@db", "hunter2"),
    ("GET /conta/redefinir-senha/Zq8vT1kPw3LmX9cRZq8v HTTP/1.1", "Zq8v"),
    ("GET /reset/Zq8vT1kPw3LmX9cRZq8v", "Zq8v"),
    ("int('tok_hidemehideme0123')", "hideme"),
    ("$2b$12$KIXQJ0l1g3kz3k9pXz1Z5u8G1a1k7yq1o8k8Q0b4fGm6oYpQxXqK2", "KIXQ"),
    ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaaE", "Rdescudv"),
    ("password: hunter2", "hunter2"),
    ("senha: hunter2", "hunter2"),
    ("PGPASSWORD='hun ter2' psql", "ter2"),
    ('{"password": "hun \\"ter2", "user": "ana"}', "ter2"),
    ("{'api_key': 'hunter2'}", "hunter2"),
    ('{\\"client_secret\\": \\"hunter2\\"}', "hunter2"),
    ("apiKey => hunter2", "hunter2"),
    ("db.password := hunter2", "hunter2"),
    ("mysql --password hunter2 -u root", "hunter2"),
    ("tool --api-key=hunter2", "hunter2"),
    ("Authorization: Basic YW5hOmh1bnRlcjI=", "YW5hOmh1bnRlcjI"),
    ("Authorization: Digest username=ana, response=hunter2", "hunter2"),
    ("curl -H 'Authorization: Bearer hunter2hunter2'", "hunter2"),
    ("sent Bearer abcDEF123456_hunter2", "hunter2"),
    ("Cookie: session=hunter2; theme=dark", "hunter2"),
    ("Set-Cookie: sid=hunter2; HttpOnly", "hunter2"),
    ("[('authorization', 'hunter2'), ('accept', '*/*')]", "hunter2"),
    ("[(b'cookie', b'hunter2')]", "hunter2"),
    ("x-api-key: hunter2", "hunter2"),
    ("key sk-ant-api03-hidemehideme_hideme-AA used", "hidemehideme"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("token ghp_hidemehidemehidemehidemehideme0123", "hideme"),
    ("xoxb-123456789012-hidemehideme", "hideme"),
    ("AIzaSyhideme0123456789hideme0123456789ab", "hideme"),
    ("sk_live_hidemehideme0123", "hideme"),
    (f"jwt {JWT} end", "eyJzdWIi"),
    (f"got {JWT}", "c2lnbmF0dXJl"),
    (f"key:\n{PEM}\nend", "hideme"),
    (PEM[:60], "hideme"),
    ("paid with 4111 1111 1111 1111 today", "1111 1111"),
    ("paid with 5500-0000-0000-0004.", "0000-0004"),
    ("amex 378282246310005", "378282246310005"),
    ('    if token == "hunter2-hunter2":', "hunter2"),
    ('if ("hunter2x" == password) {', "hunter2"),
    ("apikey = m{{h}o)p${e]nob(ody[finds>-_$#thisone}}", "thisone"),
    ("<password>hunter2</password>", "hunter2"),
    ('[{"name": "API_KEY", "value": "hunter2"}]', "hunter2"),
    ('["psql", "--password", "hunter2"]', "hunter2"),
    ("password%3Dhunter2%26user%3Dana", "hunter2"),
    ("create user ana identified by 'hunter2'", "hunter2"),
    ("curl -u ana:hunter2 https://x.example", "hunter2"),
    ("Digest username=ana, response=hunter2aaaa", "hunter2"),
    ("https://x.example/b?sv=1&sig=kq2vS1nGdJ0m4T8yRwZc", "kq2vS1n"),
    ("https://hooks.slack.com/services/T0/B0/kq2vS1nGdJ0m", "kq2vS1n"),
    ("DB_PASS=hunter2", "hunter2"),
    ("license_key=b1d6f2a09c3e4d57b1d6", "b1d6f2"),
    ("token=" + "aB3" * 2000 + "xyz9", "xyz9"),
    ("mail ana@example.org now", "ana@"),
    ("phone +55 11 91234-5678", "91234"),
    ("CPF 529.982.247-25 ok", "982.247"),
    ("cliente 52998224725,", "52998224725"),
    ("CNPJ 11.222.333/0001-81", "222.333"),
    ("CNPJ 12ABC34501DE35 novo", "ABC34501"),
    ("CNPJ 12.ABC.345/01DE-35 novo", "ABC.345"),
]


@pytest.mark.parametrize(("text", "secret"), SECRET_TEXTS, ids=range(len(SECRET_TEXTS)))
def test_secrets_leave_texts(text: str, secret: str) -> None:
    assert secret in text
    shown = logs.redact(text)
    assert secret not in shown
    assert "***" in shown


SENSITIVE = """
    password PASSWORD userPassword db_password api_key apiKey X-API-Key x-api-key apikey clientSecret
    session_id sessionId accessToken access_token refresh-token Authorization proxy-authorization cookie
    Set-Cookie private_key privateKey AWS_SECRET_ACCESS_KEY ANTHROPIC_API_KEY senha cpf cnpj cvv
    card_number credentials smtp.password signing_key SESSION_SECRET csrf_token jwt passphrase otp
"""

ALIKE = """
    user secretary session_count max_tokens input_tokens tokens token_count key keyboard monkey
    cache_key primary_key cookie_banner password_length has_password password_changed_at token_type
    author authors session duration secret_name token_url passenger pinned compass spinner mapping
"""

BENIGN = [
    "the secretary of the session opened session_count=12 with a cookie banner",
    "max_tokens=800 input_tokens=120 output_tokens: 33 token_count: 4",
    "password is too short: at least 8 characters",
    "password: required",
    "token: expired",
    "has_password=true password_changed_at=2026-11-23T10:00:00Z",
    "Basic authentication failed for user ana",
    "Bearer authentication required",
    "http://example.org:8080/path?page=2&sort=name#top",
    "https://example.org/@ana/posts/12",
    "git@github.example:x/y.git, getty@tty1.service, react@18.2.0",
    "ssh://git@github.example/x.git",
    "git+ssh://git@github.example:22/x.git",
    "order 1234567890123456 shipped",
    "2026-11-23 20:55:01.123 took 12.345 s",
    "timestamp 1795468501123 and 1795468501123456789",
    "digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c0f7f0a08aa",
    "password: ${link}",
    "Digest sha256:9f86d081884c7d659a2feaa0c55ad015",
    "ip 192.168.100.200:54321 and fe80::1ff:fe23:4567:890a",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c0f7f0a08",
    "commit 3f06ac2d1b4e8c7f9a0b1c2d3e4f5a6b7c8d9e0f",
    "CPF 111.111.111-11 and 123.456.789-00 are no CPF",
    "select id, token_id from tokens where deleted_at is null",
    "key=value; cache_key: council:v1:abc, primary key: id, foreign key (expert_id)",
    "keyboard: qwerty, monkey: banana, tokenizer: bpe, authors: ana",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "retry.scheduled attempt=2 wait=1.5 error=TimeoutError",
    "C:\\Users\\ana\\file.txt and /home/ana/.config",
    "price R$ 1.234.567,89 on 23/11/2026",
    "version 1.2.3-rc.4+build.5 of prodkit",
    "eyJ is how a JWT begins",
    "a -> b => c := d",
    "the task-force asked for risk-taking and desk-research-institute",
]


@pytest.mark.parametrize("text", BENIGN, ids=range(len(BENIGN)))
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert logs.redact(text) == text


@pytest.mark.parametrize(
    "key",
    SENSITIVE.split(),
)
def test_sensitive_keys(key: str) -> None:
    assert is_sensitive(key)
    assert logs.redact({key: "hunter2"}) == {key: "***"}


@pytest.mark.parametrize(
    "key",
    ALIKE.split(),
)
def test_keys_that_only_sound_alike(key: str) -> None:
    assert not is_sensitive(key)


def test_structures_are_copied_without_their_secrets() -> None:
    @dataclass
    class Login:
        user: str
        password: str

    original: dict[str, Any] = {
        "user": "ana",
        "login": Login("ana", "hunter2"),
        "nested": [{"Authorization": "hunter2"}, ("cookie", "hunter2"), [b"x-api-key", b"hunter2"]],
        "body": b'{"password": "hunter2"}',
        "key": env.Secret("hunter2"),
        "url": env.PostgresUrl("postgresql://u:hunter2@h/d"),
        "error": ValueError("password=hunter2"),
        "pin": 1234,
        "cpf": 52998224725,
        "cpf_do_cliente": 52998224725,
        "password": None,
        "n": 3,
        "f": 1.5,
        "on": True,
        ("a", 1): {1, 2},
        "password=hunter2": 1,
    }
    before = repr(original)
    shown = logs.redact(original)
    assert "hunter2" not in repr(shown)
    assert "52998224725" not in repr(shown)
    assert repr(original) == before
    assert shown["user"] == "ana"
    assert shown["pin"] == "***"
    assert shown["password"] is None
    assert (shown["n"], shown["f"], shown["on"]) == (3, 1.5, True)
    assert shown["nested"][1] == ("cookie", "***")


def test_registered_values_go_wherever_they_turn_up() -> None:
    REGISTRY.add(*["correct horse/battery", env.Secret('quote"d-value'), "abc"])
    shown = logs.redact(
        [
            "x correct horse/battery y",
            "correct%20horse%2Fbattery",
            'a quote\\"d-value',
            {'quote"d-value': 1},
            "abc",
        ]
    )
    assert shown == ["x *** y", "***", "a ***", {"***": 1}, "abc"]


def test_masking_comes_before_the_cut() -> None:
    REGISTRY.add("a-registered-value-of-some-length")
    for secret in ("a-registered-value-of-some-length", "ghp_" + "aB3" * 12, "4111 1111 1111 1111"):
        for before in (65_500, 65_520, 65_535, 65_536):
            shown = logs.redact(f"{'x' * before} {secret} tail")
            assert secret[:6] not in shown


def test_kinds_can_be_switched_off() -> None:
    text = "ana@example.org 4111 1111 1111 1111 529.982.247-25 password=hunter2"
    assert (
        redaction.Redactor(kinds=redaction.KINDS - {"emails"}).text(text)
        == "ana@example.org *** *** password=***"
    )
    assert redaction.Redactor(kinds={"named"}).text(text) == text.replace("hunter2", "***")
    with pytest.raises(ValueError, match="kinds must be of"):
        redaction.Redactor(kinds={"mails"})


def test_stamps_and_ids_are_no_cards() -> None:
    rng = random.Random(3)
    stamps = [f"2026{rng.randrange(101, 1232):04}{rng.randrange(10**6):06}" for _ in range(2000)]
    assert not [stamp for stamp in stamps if is_card(stamp)]
    ids = [str(rng.randrange(10**15, 10**16)) for _ in range(4000)]
    assert sum(map(is_card, ids)) < 0.04 * len(ids)
    assert not [each for each in ids if logs.redact(f"order_id={each}") != f"order_id={each}"]


def test_argument_lists_and_labelled_values() -> None:
    assert logs.redact(["psql", "--password", "hunter2", "-h", "db"]) == [
        "psql",
        "--password",
        "***",
        "-h",
        "db",
    ]
    assert logs.redact({"name": "API_KEY", "value": "hunter2"}) == {"name": "API_KEY", "value": "***"}
    assert logs.redact({"license_key": "b1d6f2a09c3e4d57", "key": "order:12"}) == {
        "license_key": "***",
        "key": "order:12",
    }


def test_hostile_values_end() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("hunter2")

    class Lies(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("hunter2")

    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = "x"
    for _ in range(2000):
        deep = [deep]
    assert logs.redact(Hostile()) == "<Hostile: __str__ raised RuntimeError>"
    assert logs.redact(Lies(a="b")) == "<Lies: could not be redacted>"
    assert logs.redact(cycle) == ["<cycle>"]
    assert "…" in repr(logs.redact(deep))
    assert len(logs.redact(list(range(1_000_000)))) < 10_000
    assert len(logs.redact(dict.fromkeys(range(1000000), "x"))) < 10_000
    assert len(logs.redact("x" * 10_000_000)) < 100_000
    assert len(str(logs.redact(10**5000))) < 6000


ADVERSARIAL = [
    "a", "1", "1 ", "://", "a://", "a:@", "eyJ", "eyJ-", "eyJa.", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----",
    "password=", "password='", 'password="\\', "a.", "a-", "a_", "key:", "Bearer ", "Basic a", "sk-", "ghp_", "A1",
    "x='", "--a ", "--password ", "1.1", "11.111.111/", "0-", "@", ":", "\\", '\\"', "aA", "cookie: ", "AAA.", "[(",
    "https://u:", "https://@", "('cookie', '", "SG.a", "\n", " ", "--a--b", "a--", "-sk-", "SG.0--", "token=${",
    "token=a(",
    "cookie: is a ", 'sig="', "_key=a", "key='", "a@b.", "+1 ", "(11) ", "tel ", "-u a:", "mysql -p ",
    "password is ", "%3D",
    "hooks.slack.com/services/", '{"name": "a", "value": "', "a=", "a:", "number 1", "ZXlK", "secret=a))",
]  # fmt: skip


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_no_input_makes_it_slow(piece: str) -> None:
    def cost(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        started = time.perf_counter()
        logs.redact(text)
        return time.perf_counter() - started

    assert (
        min(cost(64_000) for _ in range(3)) < 0.5
    )  # 20-60 ms on a free machine; a quadratic rule takes minutes


def test_check_digits() -> None:
    assert is_card("4111111111111111")
    assert not is_card("4111111111111112")
    assert is_cpf("52998224725")
    assert not is_cpf("52998224726")
    assert is_cnpj("11222333000181")
    assert is_cnpj("12ABC34501DE35")
    assert not is_cnpj("12ABC34501DE36")


RANDOM = "Zq8vT1kPw3LmX9cR"


@pytest.mark.parametrize(
    "value",
    [
        {"passwords": ["hunter2hunter2", RANDOM]},
        {"tokens": [RANDOM]},
        {"api_keys": {"a": RANDOM}},
        {"auth": ("ana", RANDOM)},
        {"session": {"id": RANDOM}},
        ["curl", "-u", f"ana:{RANDOM}", "https://shop.example"],
        ["curl", "--proxy-user", f"ana:{RANDOM}"],
        Login("ana", RANDOM),
        [Login("ana", RANDOM)],
    ],
)
def test_secrets_of_lists_and_of_nested_names_are_hidden(value: Any) -> None:
    assert RANDOM not in repr(redact(value))


def test_amounts_words_and_ids_under_such_names_stay() -> None:
    kept = {"tokens": 1234, "keys": ["red", "blue"], "session": {"id": 17, "user": "ana"}, "tags": ["x"]}
    assert redact(kept)["tokens"] == 1234
    assert redact(kept)["keys"] == ["red", "blue"]
    assert redact(kept)["session"]["user"] == "ana"


def test_telephone_numbers_are_hidden_by_the_name_of_their_field() -> None:
    found = redact({"phone": "11912345678", "celular": 11912345678, "phone_model": "11912345678"})
    assert found == {"phone": "***", "celular": "***", "phone_model": "11912345678"}
    emails = redaction.Redactor(kinds={"emails"})
    assert emails.redact({"phone": "11912345678"}) == {"phone": "11912345678"}


class Hostile(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


def test_a_hostile_value_costs_its_own_place_only() -> None:
    class Silent:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

    found = redact({"a": Hostile(x=1), "b": [Silent(), 1], "c": "kept"})
    assert found["a"] == "<Hostile: could not be redacted>"
    assert found["b"][1] == 1
    assert found["c"] == "kept"


def test_a_huge_list_under_a_weak_name_is_cut_like_any_other() -> None:
    found = redact({"keys": [RANDOM] * 200_000})
    assert len(found["keys"]) <= 5_001
    assert set(found["keys"]) <= {"***", "…"}
