"""Mail over a real server: TLS, refusals, outages, and no secret in what is logged."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from advisory.mail import Mail, MailError, MailRefusedError, Outbox
from advisory.mail.smtp import SmtpMailer
from prodkit.errors import CallTimeoutError, CircuitOpenError

pytestmark = pytest.mark.integration
MAIL = Mail(to="ana@exemplo.com.br", subject="Olá, ção", text="O link: http://x.example/?codigo=abc\n")
SENDER = "O Conselho <nao-responda@conselho.example>"


class Inbox:
    """What the server took, and what it refuses."""

    def __init__(self) -> None:
        self.mails = []
        self.recipient = self.data = "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, _server, _session, envelope):
        if self.data.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.data


def authenticate(_server, _session, _envelope, _mechanism, given):
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"app", b"s3nha/dificil")
    return AuthResult(success=right)


@contextmanager
def server(inbox, **options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself: contexts of the server and of a client that trusts it."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    return serving, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


async def test_a_mail_arrives_with_the_headers_of_an_automatic_one():
    inbox = Inbox()
    with server(inbox) as port:
        await SmtpMailer(f"smtp://127.0.0.1:{port}", sender=SENDER).send(MAIL)
    (mail,) = inbox.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (MAIL.to, SENDER, MAIL.subject)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@conselho.example>")
    assert mail.get_content().strip() == MAIL.text.strip()


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_tls_is_used_and_the_password_is_sent_inside_it(certificate, scheme):
    serving, trusting = certificate
    tls = (
        {"ssl_context": serving} if scheme == "smtps" else {"tls_context": serving, "require_starttls": True}
    )
    inbox = Inbox()
    options = {
        "auth_required": scheme == "smtp",
        "authenticator": authenticate,
        "auth_require_tls": scheme == "smtp",
        **tls,
    }
    with server(inbox, **options) as port:
        mailer = SmtpMailer(f"{scheme}://app:s3nha%2Fdificil@127.0.0.1:{port}", sender=SENDER, tls=trusting)
        await mailer.send(MAIL)
        assert len(inbox.mails) == 1
        strict = SmtpMailer(f"{scheme}://app:s3nha%2Fdificil@127.0.0.1:{port}", sender=SENDER)
        with pytest.raises(MailError):  # a certificate of an unknown authority
            await strict.send(MAIL)
    assert len(inbox.mails) == 1
    assert "s3nha" not in repr(mailer)


async def test_a_server_elsewhere_that_offers_no_tls_gets_nothing(monkeypatch):
    from advisory.mail import smtp

    monkeypatch.setattr(smtp, "_is_local", lambda _host: False)
    inbox = Inbox()
    with server(inbox) as port, pytest.raises(MailError):
        await SmtpMailer(f"smtp://127.0.0.1:{port}", sender=SENDER).send(MAIL)
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("field", "answer", "error"),
    [
        ("recipient", "550 no such mailbox", MailRefusedError),
        ("recipient", "450 mailbox busy", MailError),
        ("data", "554 looks like spam", MailRefusedError),
        ("data", "451 try later", MailError),
    ],
)
async def test_a_refusal_for_good_is_told_from_one_for_now(field, answer, error):
    inbox = Inbox()
    setattr(inbox, field, answer)
    with server(inbox) as port:
        mailer = SmtpMailer(f"smtp://127.0.0.1:{port}", sender=SENDER)
        for _ in range(6 if error is MailRefusedError else 1):
            with pytest.raises(error) as caught:
                await mailer.send(MAIL)
    assert "ana@exemplo" not in str(caught.value)
    assert mailer.breaker.state == "closed"


async def test_a_dead_server_opens_the_breaker_which_the_health_report_shows():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mailer = SmtpMailer(f"smtp://127.0.0.1:{port}", sender=SENDER)
    for _ in range(5):
        with pytest.raises(MailError):
            await mailer.send(MAIL)
    with pytest.raises(CircuitOpenError) as caught:
        await mailer.send(MAIL)
    assert 0 < caught.value.retry_after <= 30
    assert (await mailer.check()).status == "degraded"


async def test_a_silent_server_costs_no_more_than_the_limit():
    with socket.socket() as silent:  # connections are accepted by the kernel, and nothing is ever said
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mailer = SmtpMailer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", sender=SENDER, limit=0.3)
        began = asyncio.get_running_loop().time()
        with pytest.raises((MailError, CallTimeoutError)):
            await mailer.send(MAIL)
        assert asyncio.get_running_loop().time() - began < 3


async def test_the_outbox_keeps_the_newest_fifty_for_this_user_only(tmp_path):
    outbox = Outbox(tmp_path / "saida", sender=SENDER)
    assert outbox.letters() == []
    for n in range(52):
        await outbox.send(Mail(to=MAIL.to, subject=f"Número {n}", text=MAIL.text))
    letters = outbox.letters()
    assert len(letters) == 50
    assert letters[0].subject == "Número 51"
    assert letters[0].text.strip() == MAIL.text.strip()
    assert {path.stat().st_mode & 0o777 for path in outbox.directory.iterdir()} == {0o600}
    assert "codigo" not in repr(MAIL)
