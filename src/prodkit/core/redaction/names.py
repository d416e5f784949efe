"""Names of values: which of them name a secret. Decided on the words of the name, so ``secretary`` stays.

A name has a strength. STRONG hides any value (``password``, ``api_key``); WEAK hides a value that looks random
(``license_key``, ``sig``, ``code``, names of providers); NONE hides nothing.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Final

__all__ = ["HEADER", "NONE", "STRONG", "WEAK", "before_key", "is_sensitive", "is_suspect", "strength"]

NONE: Final = 0
WEAK: Final = 1
STRONG: Final = 2
HEADER: Final = 3
"""Like STRONG; as a header its value is the rest of the line."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HEADERS = _words("authorization cookie")
_STRONG = _words(
    """
    password passwd passwds passphrase passcode passwort pwd pswd passw pword senha segredo secret secrets secrete token
    jwt bearer authorization credential credentials cookie contrasena motdepasse kennwort parola lozinka haslo losenord
    apikey apisecret apitoken accesstoken authtoken secretkey privatekey clientsecret sessionid sessid csrftoken
    xsrftoken refreshtoken idtoken phpsessid jsessionid userpassword dbpassword dbpass dbpasswd dbpwd pgpassword
    pgpass rootpassword adminpassword mysqlpassword acrpwd userpass userpwd cvv cvc cvv2 otp totp cpf cnpj ssn csrf
    xsrf webhooksecret signingkey encryptionkey accesskey secretaccesskey authkey accountkey pin cardnumber masterkey
    sessionkey servicekey appsecret appkey keypass storepass storepassword keypassword connectionstring sastoken
    sharedaccesskey sharedsecret consumersecret tokensecret privkey pass passwds dockerconfigjson dockercfg
    personalaccesstoken pat
    dbkey databasekey databasepass databasepwd smtppass redispass mailpass clientkey
    passwords senhas apikeys palavrapasse credencial credenciais chaveapi chavesecreta chaveprivada clavesecreta
    deploykey licensekey mnemonic seedphrase tlskey sshkey bindpw ldappass authpass
    """
)
_BEFORE_KEY = _words(
    """
    api private secret access encryption encrypt decryption signing signature sign master auth authentication
    authorization ssh session service fernet hmac aes rsa deploy deployment account license licence app application
    admin storage subscription consumer client webhook shared bot stripe aws openai anthropic groq mistral sendgrid
    mailgun twilio algolia functions function db database priv ingest insert write integration sdk maps push vapid
    wallet
    """
)
_STRONG_PAIRS = {(word, "key") for word in _BEFORE_KEY} | {
    ("session", "id"),
    ("card", "number"),
    ("credit", "card"),
    ("auth", "code"),
    ("authorization", "code"),
    ("security", "code"),
    ("verification", "code"),
    ("pass", "word"),
    ("pass", "phrase"),
    ("pass", "code"),
    ("connection", "string"),
    ("access", "code"),
    ("seed", "phrase"),
    ("recovery", "phrase"),
    ("recovery", "code"),
    ("backup", "code"),
    ("art", "api"),
    ("social", "security"),
    ("chave", "api"),
    ("chave", "secreta"),
    ("chave", "privada"),
    ("chave", "acesso"),
    ("chave", "mestra"),
    ("clave", "secreta"),
    ("clave", "privada"),
    ("codigo", "acesso"),
    ("codigo", "verificacao"),
    ("codigo", "seguranca"),
    ("codigo", "autenticacao"),
    ("palavra", "passe"),
    ("mot", "passe"),
    ("frase", "secreta"),
    ("api", "keys"),
    ("secret", "keys"),
    ("access", "keys"),
    ("access", "tokens"),
    ("refresh", "tokens"),
}
# Generic words that also name harmless things, and providers whose keys have no form of their own.
_WEAK = _words(
    """
    key keys sig signature code codigo auth session sid sess salt nonce assertion samlresponse credits creds cred
    webhook hook dsn sas pem cert certificate id_token verifier ticket otc magic
    tokens chave chaves clave segredos pix
    invite reset activation unsubscribe apiid authtok passkey crypt cipher oauth sso
    """
)
# Providers whose keys have no form of their own. "asana_id" may hold one as well: their client ids are random too.
_PROVIDERS = _words(
    """
    adafruit adobe airtable alibaba aliyun algolia artifactory asana atlassian azure beamer bintray bitbucket bitly
    bittrex buildkite circleci clearbit cloudant cloudflare cloudinary codecov cohere coinbase confluence confluent
    contentful datadog digitalocean discord dropbox droneci dynatrace etsy facebook fastly finicity finnhub
    firebase flickr freshbooks gitter gocardless grafana heroku hubspot ibm instagram intercom
    jenkins jfrog jira jumpcloud kraken kucoin launchdarkly linkedin lob looker mailchimp mailgun mandrill mapbox
    mattermost meraki messagebird mixpanel mongodb netlify newrelic notion nytimes okta onesignal opsgenie paypal
    pagerduty pipedrive plaid planetscale postmark privateai pusher rapidapi razorpay rollbar salesforce
    sendbird sendgrid sentry shopify slack smtp snyk softlayer sonar sonarqube spotify squarespace stripe sumo
    sumologic supabase telegram telegr travis trello twilio twitch twitter typeform vercel xray yandex zendesk
    zoho braintree calendly clickup cloudsmith codeclimate coveralls customerio fullstory fixer ipstack
    atatt3 defined definednetworking dnkey linear newyorktimes tfp freemius duffel dynatrace easypost flutterwave
    frameio harness infracost lob octopusdeploy openshift prefect pulumi readme scalingo sendinblue shippo
    sidekiq sourcegraph tines vault yandexcloud
    """
)
_BESIDE_PROVIDER = _words(
    "client app application access key api token secret consumer oauth auth public private"
)
# The last word says that the value is *about* a secret, not one.
_ABOUT = _words(
    """
    count counts length len size at date time expires expiry expired expiration exp ttl age policy hint field type kind
    name names banner banners enabled disabled required limit limits url urls uri path page version strength min max
    attempts changed updated created reset valid invalid ok status used usage budget consent domain samesite rotated
    endpoint prefix suffix cost price prices total index format label placeholder manager provider header headers
    column alg algorithm missing present verified rule rules error errors failed failure file files dir directory
    filename env var variable class method function handler helper service store factory validator expires_in seconds
    ms days hours bits ref reference arn id ids number no mode scope scopes issuer audience server host port region
    regex pattern ttl_seconds ratio rate source target message text title description info details reason event
    """
)
_ABOUT_KEPT = {("session", "id"), ("card", "number"), ("sess", "id"), ("client", "id"), ("key", "id")}
_AMOUNTS = _words(
    """
    max min num total has is n count average avg per input output cached remaining use with no missing invalid valid
    expired unknown bad wrong need needs require requires required show hide allow public cache primary foreign sort
    partition routing idempotency lock dedup group row object map dict sorting composite unique natural surrogate
    prompt completion reasoning thinking
    """
)
# "key" after these words names a thing, not a secret, whatever its value looks like.
_NOT_KEY = _words(
    """
    cache primary foreign sort partition routing idempotency lock public dedup group row object map dict index record
    redis message kafka hash range composite unique natural s3 storage_object i18n translation field property config
    registry hot arrow press keyboard answer question item
    """
)
# Of each pair of words that names a secret or a provider together, such as "card number" and "message bird", at least
# one is suspect by itself: the rarer one.
_PARTS = (
    frozenset(first for first, second in _STRONG_PAIRS if second not in _STRONG and second not in _WEAK)
    - {"connection"}
) | _words(
    """
    pw bind string
    dog bird mark gun chimp shift duty click easy relic grid darkly flare circle kite ocean drop fire fresh hub jump
    cardless planet sales rapid roll square graph brain bit box signal story coin clear mix york octopus networking ai
    frame layer matter form
    """
)
_TELLING: Final = _STRONG | _WEAK | {word for pair in _STRONG_PAIRS for word in pair}
_WEAK_ENDINGS: Final = ("key", "secret", "token", "passwd", "pass")
_ENDINGS: Final = ("key", "keys", "secret", "token", "passwd", "password", "pass")
_KEPT: Final = 4096
_known: dict[str, int] = {}


def strength(name: str) -> int:
    """Return how sensitive the value under `name` is: NONE, WEAK, STRONG or HEADER.

    Camel case, snake case, kebab case and dots separate words.
    """
    found = _known.get(name)
    if found is None:
        if len(_known) >= _KEPT:
            _known.clear()
        found = _known[name] = _judge(name)
    return found


def is_suspect(word: str) -> bool:
    """Return True when a name that `word` is a part of may be sensitive; a text without such a word names no secret.

    Args:
        word: a run of letters, as it is written in the text.
    """
    small = word.lower()
    if small in _STRONG or small in _WEAK or small in _PARTS:
        return True
    return strength(word) != NONE or strength(small) != NONE


def before_key(word: str) -> bool:
    """Return True when "key" behind `word` names a thing, as in "cache key"; "invalid key" names none.

    Args:
        word: one word.
    """
    return word.lower() in _NOT_KEY


def is_sensitive(name: str) -> bool:
    """Return True when any value under `name` is hidden."""
    return strength(name) >= STRONG


def _judge(name: str) -> int:
    name = name[-120:]
    if not name.isascii():  # contraseña, código
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and words[-1].isdigit():
        words.pop()
    if not words:
        return NONE
    if len(words) == 1:
        return _judge_word(words[0])
    pairs = list(pairwise(words))
    joined = "".join(words)
    named = _names_provider(words, pairs)
    if not named and not _is_telling(words, joined):
        return NONE  # most names
    provider = _provider(words, pairs) if named else set[str]()
    return _judge_words(words, pairs, joined, provider)


def _is_telling(words: list[str], joined: str) -> bool:
    """Return False for most names, which no rule of :func:`_judge_words` can match."""
    return joined in _STRONG or words[-1].endswith(_ENDINGS) or not _TELLING.isdisjoint(words)


def _judge_words(words: list[str], pairs: list[tuple[str, str]], joined: str, provider: set[str]) -> int:
    last = words[-1]
    if provider and last in ("id", "ids") and not set(words[:-1]) - _BESIDE_PROVIDER - provider:
        return WEAK
    if last in _ABOUT and not (pairs and pairs[-1] in _ABOUT_KEPT) and joined not in _STRONG:
        return NONE
    if words[0] in _AMOUNTS and len(words) > 1 and joined not in _STRONG:
        return NONE
    if any(word in _STRONG for word in words) or joined in _STRONG:
        if last in ("id", "ids") and pairs[-1] != ("session", "id"):
            return WEAK
        return HEADER if last in _HEADERS else STRONG
    if any(pair in _STRONG_PAIRS for pair in pairs) or last.endswith(("password", "passwd", "apikey")):
        return STRONG
    if last in ("key", "keys") and len(words) > 1 and words[-2] in _NOT_KEY:
        return NONE
    if provider or any(word in _WEAK for word in words):
        return WEAK
    return WEAK if last.endswith(_WEAK_ENDINGS) and len(last) > 5 else NONE


def _judge_word(word: str) -> int:
    """The strength of a name of one word, by the rules of :func:`_judge`."""
    if word in _STRONG:
        return HEADER if word in _HEADERS else STRONG
    if word in _ABOUT:
        return NONE
    if word.endswith(("password", "passwd", "apikey")):
        return STRONG
    if word in _PROVIDERS or word in _WEAK:
        return WEAK
    return WEAK if len(word) > 5 and word.endswith(_WEAK_ENDINGS) else NONE


def _names_provider(words: list[str], pairs: list[tuple[str, str]]) -> bool:
    """Return True when :func:`_provider` finds words; a quick question, since most names have none."""
    if not (_PROVIDERS.isdisjoint(words) and _PROVIDERS.isdisjoint(map("".join, pairs))):
        return True
    triples = zip(words, words[1:], words[2:], strict=False)
    return len(words) > 2 and not _PROVIDERS.isdisjoint(map("".join, triples))


def _provider(words: list[str], pairs: list[tuple[str, str]]) -> set[str]:
    """Return the words that name a provider: ``asana``, or two or three together as in ``message-bird``."""
    found = {word for word in words if word in _PROVIDERS}
    for first, second in pairs:
        if first + second in _PROVIDERS:
            found |= {first, second}
    for triple in zip(words, words[1:], words[2:], strict=False):
        if "".join(triple) in _PROVIDERS:
            found |= set(triple)
    return found
