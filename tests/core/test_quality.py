from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable

import pytest

from prodkit.core.quality import weakness

WEAK = [
    "changeme",
    "changeme",
    "changemechangemechangemechangeme",
    "CHANGE_ME",
    "change-me-change-me-change-me-change-me",
    "your-secret-key-here",
    "your_session_secret_goes_here_please_now",
    "<your",
    "secret>",
    "${SESSION_SECRET}",
    "{{session_secret}}",
    "secretsecretsecretsecretsecretsecret",
    "my-super-secret-key-for-production-use",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "00000000000000000000000000000000",
    "abababababababababababababababab",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "0123456789abcdef0123456789abcdef",
    "12345678901234567890123456789012",
    "qwertyuiopasdfghjklzxcvbnmqwertyuiop",
    "QWERTYUIOPasdfghjklZXCVBNM1234567890",
    "passwordpasswordpasswordpassword",
    "Password123Password123Password123Pa",
    "this-is-a-very-long-secret-key-for-testing",
    "troque-me",
    "troque_isto",
    "sua-chave-secreta-aqui",
    "exemplo",
    "dummy",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "********************************",
    "null",
    "None",
    "django-insecure-change-this-key-in-production",
    "insecure-development-secret-key-0123",
    "replace_me_with_a_long_random_string",
    "0123456789012345678901234567890123456789",
    "zyxwvutsrqponmlkjihgfedcba9876543210",
    "minha-senha-super-secreta-2024-minha",
    "test-secret-test-secret-test-secret-1",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "1111111111111111aaaaaaaaaaaaaaaa",
    "31415926535897932384626433832795",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1",
    "your-256-bit-secret-your-256-bit-secret",
    "Iwasbornin1990inSaoPauloBrasilOK!",
    "FlamengoCampeao1981LibertadoresMundial",
    "correcthorsebatterystaple2026!!!",
    "segredo-super-secreto-da-empresa-2026",
    "companyname-prod-db-password-2024",
    "thequickbrownfoxjumpsoverthelazydog1",
    "EuAmoMinhaFamilia2020ParaSempre!!",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9",
    "minhaempresalindaemaravilhosa2024",
    "ilovemywifeandmykids2020forever!",
    "MeuCachorroSeChamaRex2019BomMenino",
    "thisismysupersecretpassworddonttell",
    "elgatonegroestaenlatejadosiempre1",
    "MyVoiceIsMyPassportVerifyMe2024!",
    "QuemTemBocaVaiARomaDiziaMinhaAvo1",
    "ThisIsOurProductionSessionSecret!",
    "MUDEESTASENHAANTESDEIRPARAPRODUCAO",
    "CHANGETHISBEFOREYOUGOTOPRODUCTION1",
    "jesusteamaetudodaracertonofinal22",
    "zurichgenevebernelausannebasel2020",
]


@pytest.mark.parametrize(
    "text", [*WEAK, " " * 40, "TODO", "not set yet, put it here", "[put the secret here]"]
)
def test_what_people_type_is_refused(text: str) -> None:
    assert weakness(text, 32) is not None


_ASCII = string.ascii_letters + string.digits
_SMALL = string.ascii_lowercase


def _drawn(alphabet: str, size: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=size))


GENERATORS: dict[str, Callable[[random.Random], str]] = {
    "token_hex(16)": lambda rng: rng.randbytes(16).hex(),
    "HEX": lambda rng: rng.randbytes(16).hex().upper(),
    "token_urlsafe(32)": lambda rng: base64.urlsafe_b64encode(rng.randbytes(32)).rstrip(b"=").decode(),
    "openssl rand -base64 32": lambda rng: base64.b64encode(rng.randbytes(32)).decode(),
    "uuid4": lambda rng: str(uuid.UUID(bytes=rng.randbytes(16), version=4)),
    "base32": lambda rng: base64.b32encode(rng.randbytes(20)).decode(),
    "base32 in small letters": lambda rng: base64.b32encode(rng.randbytes(20)).decode().lower(),
    "base32 of 32 bytes": lambda rng: base64.b32encode(rng.randbytes(32)).decode(),
    "base85": lambda rng: base64.b85encode(rng.randbytes(32)).decode(),
    "letters and digits": _drawn(_ASCII, 32),
    "40 letters and digits": _drawn(_ASCII, 40),
    "small letters and digits": _drawn(_SMALL + string.digits, 32),
    "letters": _drawn(string.ascii_letters, 32),
    "40 letters": _drawn(string.ascii_letters, 40),
    "small letters": _drawn(_SMALL, 32),
    "punctuation": _drawn(_ASCII + string.punctuation, 32),
    "Django": _drawn(_SMALL + string.digits + "!@#$%^&*(-_=+)", 50),
}


SHORT_WEAK = """
    Password12345678 Password1234567! changeme12345678 qwertyuiop123456 1234567890123456 aaaaaaaaaaaaaaaa
    abcdefghijklmnop 0123456789abcdef adminadminadmin1 SuperSecret12345 MySecretPassword1 iloveyou12345678
    Senha12345678910 minhasenha123456 SenhaSecreta2024! flamengo19811981 Flamengo@2024!!! SaoPaulo2024!!!!
    BrasilCampeao2002 empresa-prod-2024 P@ssw0rdP@ssw0rd Summer2024Summer! Welcome123456789 correcthorsebatt
    dev-secret-key-123 abc123abc123abc1 1q2w3e4r5t6y7u8i zaq12wsxcde34rfv asdfghjklqwertyu JoaoDaSilva123456
    maria.silva.1985! deadbeefdeadbeef root@localhost123 YWRtaW5hZG1pbjE= c3VwZXJzZWNyZXQ= 61646d696e61646d
""".split()  # noqa: SIM905


@pytest.mark.parametrize("text", SHORT_WEAK)
def test_what_people_type_is_refused_at_sixteen_characters_too(text: str) -> None:
    assert weakness(text, 16) is not None


SHORT_GENERATORS: dict[str, tuple[int, Callable[[random.Random], str]]] = {
    "16 letters and digits": (16, _drawn(_ASCII, 16)),
    "16 small letters and digits": (16, _drawn(_SMALL + string.digits, 16)),
    "16 letters": (16, _drawn(string.ascii_letters, 16)),
    "20 letters and digits": (20, _drawn(_ASCII, 20)),
    "24 letters and digits": (24, _drawn(_ASCII, 24)),
    "token_hex(10)": (20, lambda rng: rng.randbytes(10).hex()),
    "token_hex(12)": (24, lambda rng: rng.randbytes(12).hex()),
    "token_urlsafe(12)": (16, lambda rng: base64.urlsafe_b64encode(rng.randbytes(12)).decode()),
    "openssl rand -base64 15": (20, lambda rng: base64.b64encode(rng.randbytes(15)).decode()),
    "openssl rand -base64 18": (24, lambda rng: base64.b64encode(rng.randbytes(18)).decode()),
    "18 with punctuation": (16, _drawn(_ASCII + string.punctuation, 18)),
}


@pytest.mark.parametrize("name", SHORT_GENERATORS)
def test_random_values_of_the_least_length_are_accepted(name: str) -> None:
    """A field that asks for 16 characters takes 16 random ones."""
    rng = random.Random(20261125)
    least, draw = SHORT_GENERATORS[name]
    refused = [text for text in (draw(rng) for _ in range(1_000)) if weakness(text, least)]
    assert not refused


@pytest.mark.parametrize("name", GENERATORS)
def test_what_generators_print_is_never_refused(name: str) -> None:
    rng = random.Random(20261123)
    refused = [text for text in (GENERATORS[name](rng) for _ in range(1_000)) if weakness(text, 32)]
    assert not refused


@pytest.mark.parametrize(
    "text",
    [
        "ZOFPVFFPGEUBODRDE2GWOAIBOT3EILBU",  # base32 that can nearly be spoken
        "FKDWBEANKQSJIDCHISSSFLUDPLTSMODJ",  # base32 without a digit
        "lHyyoqaiXMqiuLmyojuhbFzpoewYPTic",
        "uoylrtmshxuxilpggealnani8j6ekldy",
    ],
)
def test_random_letters_that_can_be_spoken_are_no_words(text: str) -> None:
    assert weakness(text, 32) is None


def test_the_rules_have_names() -> None:
    assert weakness("  ", 32) == "blank"
    assert weakness("changeme", 4) == "placeholder"
    assert weakness("a9F-k2", 32) == "too_short"
    assert weakness("a" * 40, 32) == "low_entropy"
