# ruff: noqa: E501, B023 - tables
"""Generated secrets and harmless lines. `draw` takes a seed: one is for building, the held-out ones are for the test.

Forms and names follow what providers document and what public rule sets of secret scanners look for; the values are
random, so that no line is known to the code under test.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

B = string.ascii_letters + string.digits
U = B + "-_"
H = "0123456789abcdef"
L = string.ascii_lowercase + string.digits
C = string.ascii_uppercase + string.digits

# prefix, alphabet, length of the rest, suffix
FORMS: tuple[tuple[str, str, int, str], ...] = (
    ("sk-ant-api03-", U, 93, "AA"), ("sk-ant-admin01-", U, 93, "AA"), ("sk-proj-", U, 74, ""), ("sk-", B, 48, ""),
    ("ghp_", B, 36, ""), ("gho_", B, 36, ""), ("ghu_", B, 36, ""), ("ghs_", B, 36, ""), ("ghr_", B, 36, ""),
    ("github_pat_", B + "_", 82, ""), ("glpat-", U, 20, ""), ("gldt-", U, 20, ""), ("glrt-", U, 20, ""),
    ("glptt-", H, 40, ""), ("glsoat-", U, 20, ""), ("AKIA", C, 16, ""), ("ASIA", C, 16, ""), ("AIza", U, 35, ""),
    ("ya29.", U, 60, ""), ("GOCSPX-", U, 28, ""), ("xoxb-", string.digits, 12, "-123456789012-AbCdEfGhIjKlMnOpQrStUvWx"),
    ("xoxp-", string.digits, 12, "-123456789012-123456789012-abcdef0123456789abcdef0123456789"),
    ("xapp-1-A0", C, 9, "-1234567890123-abcdef0123456789abcdef0123456789"), ("sk_live_", B, 24, ""),
    ("rk_live_", B, 24, ""), ("sk_test_", B, 24, ""), ("whsec_", B, 32, ""), ("npm_", B, 36, ""),
    ("pypi-AgEIcHlwaS5vcmc", U, 60, ""), ("rubygems_", H, 48, ""), ("hf_", string.ascii_letters, 34, ""),
    ("dop_v1_", H, 64, ""), ("doo_v1_", H, 64, ""), ("shpat_", H, 32, ""), ("shpss_", H, 32, ""),
    ("SG.", U, 22, ".abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"), ("xkeysib-", H, 64, "-AbCdEfGhIjKlMnOp"),
    ("key-", H, 32, ""), ("SK", H, 32, ""), ("AC", H, 32, ""), ("sq0atp-", U, 22, ""), ("sq0csp-", U, 43, ""),
    ("EAAA", U, 60, ""), ("EAACEdEose0cBA", B, 100, ""), ("dapi", H, 32, ""), ("hvs.", U, 95, ""),
    ("glc_", B, 60, ""), ("glsa_", B, 32, "_0a1b2c3d"), ("PMAK-", H, 24, "-0123456789abcdef0123456789abcdef01"),
    ("pul-", H, 40, ""), ("pplx-", B, 48, ""), ("gsk_", B, 52, ""), ("lin_api_", B, 40, ""), ("tfp_", U, 44, ""),
    ("sntrys_eyJpYXQiO", B, 80, "=_" + "a1B2" * 11), ("sntryu_", H, 64, ""), ("NRAK-", C, 27, ""), ("NRII-", U, 32, ""),
    ("ATATT3xFfGF0", U, 60, "=A1B2C3D4"), ("dckr_pat_", U, 27, ""), ("AGE-SECRET-KEY-1", C, 58, ""), ("doppler dp.pt.", L, 43, ""),
    ("dt0c01.", C, 24, "." + "A1B2" * 16), ("rdme_", L, 70, ""), ("sgp_", H, 40, ""), ("API-", C, 26, ""), ("ico-", B, 32, ""),
    ("fo1_", U, 43, ""), ("ntn_", B, 46, ""), ("shippo_live_", H, 40, ""), ("EZAK", B, 54, ""), ("duffel_live_", U, 43, ""),
    ("pscale_tkn_", U, 43, ""), ("AKCp", B, 69, ""), ("LTAI", B, 20, ""), ("p8e-", L, 32, ""), ("squ_", H, 40, ""),
    ("APP_USR-", string.digits, 16, "-112233-0123456789abcdef0123456789abcdef-123456789"), ("r8_", B, 37, ""), ("figd_", U, 40, ""),
)  # fmt: skip

CONTEXTS = (
    "{}", "using {} for the call", "got '{}' from the vault", '{{"value": "{}"}}', "export X={}", "rejected key:{}",
    "GET /v1/things/{} 401", "[{}]", 'client("{}")', "line 12: x = '{}'",
)  # fmt: skip

NAMES = [
    "password",
    "passwd",
    "DB_PASS",
    "SMTP_PASS",
    "PGPASSWORD",
    "db_password",
    "userPassword",
    "secret",
    "client_secret",
    "clientSecret",
    "API_SECRET",
    "token",
    "access_token",
    "accessToken",
    "refresh_token",
    "auth_token",
    "csrf_token",
    "api_key",
    "apiKey",
    "X-API-Key",
    "APIKEY",
    "private_key",
    "secret_key",
    "SECRET_KEY_BASE",
    "signing_key",
    "encryption_key",
    "master_key",
    "session_id",
    "sessionid",
    "senha",
    "senha_do_banco",
    "passphrase",
    "credential",
    "credentials",
    "AccountKey",
    "license_key",
    "account_key",
    "braintreeKey",
    "webhook_secret",
    "bearer_token",
    "X-JFrog-Art-Api",
    "ACRPWD",
    "jwt",
    "pwd",
    "aws_secret_access_key",
    "SharedAccessKey",
    "storage_key",
    "service_key",
    "subscription-key",
]
PAIRS = (
    "{n}={v}", "{n}: {v}", '{n} = "{v}"', "{n}: '{v}'", '"{n}": "{v}"', "'{n}': '{v}'", "{n} => '{v}'", "{n} := {v}",
    'if {n} == "{v}":', "if {n} != '{v}' then", "--{n} {v}", "--{n}={v}", '["run", "--{n}", "{v}"]', "<{n}>{v}</{n}>",
    "('{n}', '{v}')", "{n}%3D{v}%26x", "/path?{n}={v}&page=2", '{{"name": "{n}", "value": "{v}"}}', 'set{n}("{v}")',
    '{{\\"{n}\\": \\"{v}\\"}}', "{n}={v};Timeout=30", "config.{n} = '{v}'",
)  # fmt: skip
SENTENCES = (
    "postgresql://app:{v}@db.example/shop", "redis://:{v}@cache:6379/0", "amqp://user:{v}@mq//", "curl -u admin:{v} https://x",
    "https://deploy:{v}@git.example/x.git", "Authorization: Bearer {v}", "sent Basic {b}", "Cookie: session={v}; theme=dark",
    "CREATE USER app IDENTIFIED BY '{v}'", "ALTER ROLE app PASSWORD '{v}'", "machine api.example login ana password {v}",
    "the password is {v}", "_gitlab_session={v}", "https://bucket.example/x?X-Amz-Signature={v}&X-Amz-Date=20261124T180000Z",
    "https://store.example/c/b.txt?sv=2020&sig={v}", "https://hooks.slack.com/services/T0000/B0000/{v}",
    "https://discord.com/api/webhooks/1234567890/{v}", "sshpass -p {v} ssh host", "mysql -u root -p{v} shop",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    text: str
    secret: str


def _from(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(size))


def forms(rng: random.Random, count: int) -> list[Case]:
    found = []
    for at in range(count):
        prefix, alphabet, size, suffix = FORMS[at % len(FORMS)]
        secret = prefix.rpartition(" ")[2] + _from(rng, alphabet, size) + suffix
        found.append(Case(rng.choice(CONTEXTS).format(secret), secret))
    return found


def named(rng: random.Random, count: int) -> list[Case]:
    found = []
    for _ in range(count):
        alphabet, size = rng.choice(((B, 20), (B, 32), (H, 32), (U, 24), (L, 16), (B, 14)))
        value = rng.choice(B) + _from(rng, alphabet, size - 3) + "7" + rng.choice(B)
        if rng.random() < 0.25:
            basic = base64.b64encode(f"ana:{value}".encode()).decode()
            text = rng.choice(SENTENCES).format(v=value, b=basic)
            found.append(Case(text, basic if basic in text else value))
        else:
            found.append(Case(rng.choice(PAIRS).format(n=rng.choice(NAMES), v=value), value))
    return found


def _digits(rng: random.Random, size: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(size))


def card(rng: random.Random) -> str:
    digits = rng.choice(("4", "51", "55", "2221", "6011", "3530", "62", "6504")) + _digits(rng, 15)
    digits = digits[:15]
    total = sum(
        (value if at % 2 else value * 2 - 9 * (value > 4)) for at, value in enumerate(map(int, digits))
    )
    return digits + str(-total % 10)


def cpf(rng: random.Random) -> str:
    values = [rng.randrange(10) for _ in range(9)]
    for size in (9, 10):
        total = sum(value * weight for value, weight in zip(values, range(size + 1, 1, -1), strict=False))
        values.append(total * 10 % 11 % 10)
    return "".join(map(str, values))


def cnpj(rng: random.Random) -> str:
    values = [ord(rng.choice(C)) - 48 for _ in range(8)] + [0, 0, 0, 1]
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    for size in (12, 13):
        rest = sum(v * w for v, w in zip(values, weights[13 - size :], strict=False)) % 11
        values.append(0 if rest < 2 else 11 - rest)
    return "".join(chr(value + 48) for value in values)


def people(rng: random.Random, count: int) -> list[Case]:
    first, last = (
        ["ana", "joao", "maria", "pedro", "luiza", "bruno", "carla", "diego"],
        ["silva", "souza", "lima", "costa", "rocha", "alves"],
    )
    found = []
    for at in range(count):
        who = f"{rng.choice(first)}.{rng.choice(last)}{rng.randrange(99)}"
        mail = f"{who}@{rng.choice(('example.com', 'empresa.com.br', 'mail.example.org', 'uni.edu'))}"
        number = card(rng)
        spaced = " ".join(number[at : at + 4] for at in range(0, 16, 4))
        tax = cpf(rng)
        firm = cnpj(rng)
        area, mobile = rng.randrange(11, 99), f"9{_digits(rng, 4)}-{_digits(rng, 4)}"
        makers: tuple[Callable[[], Case], ...] = (
            lambda: Case(f"sent to {mail} in 2 s", mail),
            lambda: Case(f"<{mail}> bounced", mail),
            lambda: Case(f'{{"email": "{mail}"}}', mail),
            lambda: Case(f"paid with {spaced} today", spaced),
            lambda: Case(f"card {number}.", number),
            lambda: Case(f"card {spaced.replace(' ', '-')} declined", spaced.replace(" ", "-")),
            lambda: Case(f"CPF {tax[:3]}.{tax[3:6]}.{tax[6:9]}-{tax[9:]}", tax[3:6] + "." + tax[6:9]),
            lambda: Case(f"cliente {tax}, ativo", tax),
            lambda: Case(f"CNPJ {firm}", firm),
            lambda: Case(f"CNPJ {firm[:2]}.{firm[2:5]}.{firm[5:8]}/{firm[8:12]}-{firm[12:]} ok", firm[2:5] + "." + firm[5:8]),
            lambda: Case(f"telefone: ({area}) {mobile}", mobile),
            lambda: Case(f"ligou de +55 {area} {mobile}", mobile),
            lambda: Case(f"phone={area}{mobile.replace('-', '')}", mobile.replace("-", "")),
            lambda: Case(f"WhatsApp +55{area}{mobile.replace('-', '')} ok", mobile.replace("-", "")),
            lambda: Case(f"call (415) 555-{_digits(rng, 4)} now", "555-"),
        )  # fmt: skip
        found.append(makers[at % len(makers)]())
    return found


HARMLESS = (
    "{ts} INFO  [{word}-{n}] {word}.{word}: {word} {word} finished in {ms} ms",
    '{ip} - - [{apache}] "GET /{word}/{n}?page={n}&sort=name HTTP/1.1" 200 {n} "-" "Mozilla/5.0 (X11; Linux x86_64)"',
    "{ts} pid={n} tid={n} order_id={big} status=paid amount={n}.{n2}",
    "digest: sha256:{hex64} pulled for library/{word}:{v}", "Digest sha256:{hex64}", "commit {hex40} by {word}",
    "stamp {stamp} offset={big} partition={n}", "request {uuid} took {ms} ms", "trace_id={hex32} span_id={hex16}",
    "cache_key=council:v1:{hex32} hit ttl={n}", 'etag: "{hex32}" length={n}', "container {hex12} started",
    "max_tokens={n} input_tokens={n} output_tokens: {n} total_tokens={n}", "password: required", "token: expired {n} s ago",
    "password={{password}} user={{user}}", "password: ${{DB_PASSWORD}}", "token=$TOKEN", "api_key=None", "secret: <redacted>",
    "    password = get_password(user)", "    token = self.tokens.next()", "    if password is None:", "token_type=bearer expires_in={n}",
    "select id, token_id from tokens where id = {n}", "session_count={n} secretary={word} monkey={word}", "key={word}:{n} value={n}",
    "primary key (id), foreign key ({word}_id)", "{word}@{v} installed", "getty@tty{n}.service: Succeeded.", "git@github.example:{word}/{word}.git",
    "ssh://git@git.example/{word}.git", "sshd[{n}]: Failed password for invalid user {word} from {ip} port {n} ssh2",
    "blk_-{big} replicated to {ip}:{n}", "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}",
    "kernel: [{n}.{ms}] usb {n}-1: new device, idVendor={hex4}, idProduct={hex4}", "{date} {word}: version {v} of {word}",
    "retry.scheduled attempt={n2} wait={ms} error=TimeoutError call={word}", "GET https://{word}.example/{word}/{n}#top {n}",
    "C:\\Users\\{word}\\{word}.txt", "/var/lib/{word}/{hex12}/{word}.log: {n} bytes", "uid={n}(www-data) gid={n}(www-data)",
    "Traceback (most recent call last):", '  File "/app/{word}/{word}.py", line {n}, in {word}', "ValueError: {word} must be at least {n}, got {n}",
    "ETA +{n2} s, drift +0300, build +{n2}", "latitude -23.5{n} longitude -46.6{n}", "price R$ 1.234,{n2} on {date}",
    "user {n} changed password", "password reset requested for user {n}", "author={word} authors={word},{word}", "mode=basic key {word}",
    "Basic authentication failed for {word}", "Bearer authentication required", "job {uuid} queued with priority {n2}", "epoch {epoch} ns {epoch}000000",
)  # fmt: skip


def harmless(rng: random.Random, count: int) -> list[str]:
    words = [
        "order",
        "worker",
        "cache",
        "invoice",
        "customer",
        "pipeline",
        "session",
        "scheduler",
        "gateway",
        "storage",
        "parser",
        "renderer",
        "council",
        "expert",
        "upload",
        "profile",
        "history",
        "message",
        "channel",
        "stream",
        "server",
        "client",
        "request",
        "answer",
    ]
    found = []
    for at in range(count):
        stamp = f"2026{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}{rng.randrange(24):02}{rng.randrange(60):02}{rng.randrange(60):02}"
        line = HARMLESS[at % len(HARMLESS)]
        while "{word}" in line:
            line = line.replace("{word}", rng.choice(words), 1)
        found.append(
            line.format(
                ts=f"2026-11-{rng.randrange(1, 31):02} {rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}",
                date=f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}", stamp=stamp, apache="24/Nov/2026:18:00:01 +0000",
                ip=".".join(str(rng.randrange(1, 255)) for _ in range(4)), n=rng.randrange(1, 99999), n2=rng.randrange(10, 99),
                big=rng.randrange(10**15, 10**16), ms=f"{rng.random() * 900:.3f}", hex64=_from(rng, H, 64), hex40=_from(rng, H, 40),
                hex32=_from(rng, H, 32), hex16=_from(rng, H, 16), hex12=_from(rng, H, 12), hex4=_from(rng, H, 4),
                uuid="-".join(_from(rng, H, size) for size in (8, 4, 4, 4, 12)), v=f"{rng.randrange(9)}.{rng.randrange(99)}.{rng.randrange(99)}",
                epoch=rng.randrange(1795000000, 1800000000),
            )
        )  # fmt: skip
    return found
