"""Keys of known providers, recognised by their own form: a prefix, an alphabet and a length.

The facts are those of the providers' documentation and of public rule sets of secret scanners. One regular
expression is compiled from the table, with the alternatives grouped by their first letter, and is run only on stretches
of text that are long enough to hold a key.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FORMS", "mask_forms"]

_B = "[A-Za-z0-9]"  # letters and digits
_U = "[A-Za-z0-9_-]"  # base64url
_L = "[a-z0-9]"
_H = "[A-Fa-f0-9]"
_S = "[A-Za-z0-9+/]"  # base64

_TABLE = rf"""
    sk-ant-{_U}{{12,}} | sk-or-v1-{_H}{{32,}} | sk-(?:proj|svcacct|admin|None)-{_U}{{20,}} | sk-lf-{_U}{{20,}}
    | sk-{_B}{{20,}} | sk-{_U}{{32,}} | (?:sk|rk|pk)_(?:live|test|prod)_{_B}{{8,}} | sk_{_B}{{24,}}
    | whsec_{_S}{{16,}} | pk-lf-{_U}{{20,}} | pplx-{_B}{{32,}} | gsk_{_B}{{32,}} | xai-{_B}{{40,}}
    | r8_{_B}{{30,}} | hf_{_B}{{30,}} | api_org_{_B}{{30,}} | fw_{_B}{{20,}} | csk-{_B}{{40,}}
    | nvapi-{_U}{{40,}} | tgp_v1_{_U}{{40,}} | jina_{_U}{{40,}} | tvly-{_U}{{20,}} | voyage-{_U}{{30,}}
    | ls__{_H}{{32}} | lsv2_(?:pt|sk)_{_H}{{32}}_{_H}{{10}} | gh[pousr]_\w{{16,}} | github_pat_{_U}{{22,}}
    | v1\.{_H}{{40}} | gl(?:pat|dt|rt|rtr|cbt|ptt|ft|soat|agent|imt|oas|ffct|wt)-[\w.-]{{16,}}
    | GR1348941{_U}{{16,}} | ATBB{_B}{{24,}} | ATCTT3xFfG{_U}{{40,}} | ATATT3[\w=-]{{20,}}
    | xox[abeoprs]-[A-Za-z0-9-]{{8,}} | xoxe\.xox[bp]-{_U}{{20,}} | xapp-[A-Za-z0-9-]{{8,}}
    | (?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA|ANVA|AIPA)[A-Z0-9]{{16}} | ABSK{_S}{{100,}}
    | bedrock-api-key-{_B}{{20,}} | LTAI{_B}{{12,24}} | AKID{_B}{{32}} | JDC_{_B}{{25,}} | AKLT{_U}{{40,}}
    | AIza{_U}{{30,}} | ya29\.{_U}{{16,}} | GOCSPX-{_U}{{20,}} | 1//0{_U}{{30,}} | AQ\.{_U}{{35,}}
    | npm_{_B}{{20,}} | pypi-{_U}{{30,}} | rubygems_{_H}{{40,}} | oy2{_L}{{43}} | crates_{_B}{{30,}}
    | cio{_B}{{32}} | CLOJARS_{_B}{{40,}} | dckr_(?:pat|oat)_{_U}{{16,}} | NuGet{_B}{{40,}}
    | SG\.[\w=.-]{{40,}} | xkeysib-{_H}{{32,}}-{_B}{{12,}} | xsmtpsib-{_H}{{32,}}-{_B}{{12,}}
    | (?:pub)?key-{_H}{{32}} | {_L}{{32}}-us\d{{1,2}} | md-{_U}{{22}} | re_{_B}{{8,}}_{_B}{{16,}}
    | POSTMARK{_B}{{20,}} | (?:AC|SK)(?:{_L}{{32}}|{_H}{{32}}) | EAA[A-Za-z]{_B}{{40,}} | IGQ[A-Za-z]{_U}{{60,}}
    | EAAA{_U}{{22,}} | sq0[a-z]{{3}}-{_U}{{22,}} | IDP1{_B}{{20,}}
    | access-(?:sandbox|development|production)-{_H}{{8}}-[A-Fa-f0-9-]{{27}} | AAPI{_B}{{30,}}
    | shp(?:at|ca|pa|ss|ua|ka)_{_H}{{32}} | shippo_(?:live|test)_{_H}{{32,}} | EZ[AT]K{_B}{{40,}}
    | FLW(?:SECK|PUBK)(?:_TEST)?-{_B}{{12,}}(?:-X)? | rzp_(?:live|test)_{_B}{{14,}}
    | APP_USR-[A-Za-z0-9-]{{16,}} | TEST-\d{{10,}}-\d{{6}}-{_H}{{32}}-\d+ | \$aact_[\w:=]{{30,}}
    | pagarme_{_B}{{20,}} | ak_(?:live|test)_{_B}{{16,}} | duffel_(?:test|live)_[\w=-]{{30,}}
    | live_[\w=-]{{36,}} | (?:live|test)_(?:pub_)?{_H}{{31,35}} | cko_{_B}{{20,}} | do[opr]_v1_{_H}{{32,}}
    | HRKU-[\w-]{{30,}} | fo1_{_U}{{40,}} | fm[12][ar]?_{_S}{{60,}} | nfp_{_B}{{36,}} | vercel_{_B}{{20,}}
    | pscale_(?:tkn|oauth|pw)_[\w=.-]{{30,}} | sbp_{_H}{{40}} | sb_secret_{_U}{{20,}} | npg_{_B}{{12,}}
    | rnd_{_B}{{28,}} | tk-us-{_U}{{40,}} | pul-{_H}{{40}} | tfp_{_U}{{30,}} | dapi{_H}{{32}}(?:-\d)?
    | dnkey-{_U}{{26,}} | hv[sbr]\.{_U}{{20,}} | s\.{_B}{{24}} | atlasv1\.{_U}{{60,}}
    | dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{{36,}} | ops_eyJ{_S}{{60,}} | A3-[A-Z0-9]{{6}}-[A-Z0-9-]{{20,}}
    | AGE-SECRET-KEY-1[A-Z0-9]{{20,}} | akv_{_B}{{30,}} | dt0[a-z]\d\d\.{_B}{{24}}\.{_B}{{60,}}
    | NR(?:AK|II|JS|IQ|BR|RA)-[A-Za-z0-9_-]{{16,}} | {_H}{{36}}NRAL | glc_{_S}{{32,}}
    | glsa_{_B}{{32}}_{_H}{{8}} | sntrys_{_S}{{20,}}={{0,2}}_{_S}{{40,}} | sntry[ua]_{_H}{{60,}}
    | ddp?_{_B}{{34,}} | phc_{_B}{{40,}} | phx_{_B}{{40,}} | lin_(?:api|oauth)_{_B}{{32,}} | secret_{_B}{{40,}}
    | ntn_{_B}{{40,}} | PMAK-{_H}{{24}}-{_H}{{34}} | pat{_B}{{14}}\.{_H}{{64}} | key{_B}{{14}}
    | figd_{_U}{{36,}} | [ps]at\.{_U}{{22}}\.{_B}{{24}}\.{_B}{{20}}
    | sgp_(?:[A-Fa-f0-9]{{16}}_|local_)?{_H}{{40}} | API-[A-Z0-9]{{25,}} | squ_{_H}{{40}} | sq[ap]_{_H}{{40}}
    | pnu_{_B}{{36}} | rdme_{_B}{{60,}} | ico-{_B}{{32}} | sm_[aps]at_{_B}{{16}} | p8e-{_B}{{32}}
    | fio-u-[\w=-]{{60,}} | AKC{_B}{{10,}} | cmVmd{_B}{{50,}} | eyJrIjoi{_S}{{60,}} | cf(?:ut|at)_{_B}{{40,}}
    | v1\.0-{_H}{{24}}-{_H}{{100,}} | 4b1d{_B}{{38}} | sha256~{_U}{{43}} | s-s4t2(?:ud|af)-{_H}{{64}}
    | AQVN{_U}{{35,}} | t1\.{_U}{{20,}}={{0,2}}\.{_U}{{80,}} | YC{_U}{{38}} | y[0-3]_{_U}{{50,}}
    | vk1\.a\.{_U}{{60,}} | sl\.{_U}{{60,}} | b_[\w=-]{{44}} | 00{_U}{{40}}
    | (?:sc|ext|scauth|authress)_{_B}{{5,30}}\.{_B}{{4,6}}\.acc[_-][a-z0-9-]{{10,32}}\.[\w+/=-]{{30,}}
    | PRIVATE-TOKEN-{_B}{{20,}} | pk\.eyJ[\w.-]{{40,}} | sk\.eyJ[\w.-]{{40,}} | pk\.{_L}{{60}}\.{_L}{{22}}
    | CFPAT-{_U}{{40,}} | bkua_{_H}{{40}} | CCIPAT_{_B}{{20,}}_{_H}{{40}} | cicd_{_B}{{30,}}
    | wakatime_{_B}{{20,}} | waka_[\w-]{{36}} | prk_{_U}{{30,}} | shpss_{_B}{{20,}} | unkey_{_B}{{20,}}
    | rl_{_B}{{40,}} | trigger_{_B}{{20,}} | inngest_{_B}{{20,}} | tskey-[a-z]+-{_B}{{8,}}-{_B}{{20,}}
    | ccpat_{_B}{{30,}} | ZPKA_{_U}{{30,}} | pdk_{_B}{{20,}} | u\+{_B}{{18}}
    | [MNO]{_U}{{22,28}}\.{_U}{{6}}\.{_U}{{27,38}} | mfa\.{_U}{{80,}}
    | AccountKey=[\w+/=]{{40,}} | [\w~.]{{3}}\dQ~[\w~.-]{{31,34}} | {_B}{{6}}_{_B}{{29}}_mmk
    | {_B}{{14}}\.atlasv1\.[\w=-]{{60,}} | \d{{15,16}}(?:\||%(?:7C)?){_U}{{27,40}}
    | A{{20,22}}[A-Za-z0-9%]{{60,}} | {_L}{{11}}A{{10}}[\w=-]{{43}} | {_B}{{76}}AZDO{_B}{{4}}
    | {_L}{{32}}-{_L}{{8}}-{_L}{{8}} | tok_{_B}{{14,}}
    | \$2[abxy]\$\d\d\$[A-Za-z0-9./]{{53}} | p=\d{{1,3}}\$[A-Za-z0-9+/]{{8,}}\$[A-Za-z0-9+/]{{16,}}
    | \$(?:[156y]|argon2id?|scrypt)\$[\w$=./+-]{{24,}} | pbkdf2_sha\d{{1,3}}\$\d+\$[\w$=./+-]{{24,}}
"""


def _grouped(table: str) -> str:
    """The alternatives of `table` grouped by their first character, as a two-level trie."""
    alternatives = [each.strip() for each in re.split(r"\n\s*\|\s|\s\|\s|\n", table) if each.strip()]
    groups: dict[str, list[str]] = {}
    for each in alternatives:
        plain = each[0].isalnum() and each[1:2] not in "{+*?"
        groups.setdefault(each[0] if plain else "", []).append(each[1:] if plain else each)
    parts = [f"{first}(?:{'|'.join(rest)})" for first, rest in groups.items() if first]
    return "|".join((*parts, *groups.get("", ())))


FORMS: Final = re.compile(rf"(?<![A-Za-z0-9])(?:{_grouped(_TABLE)})")
# In a very long run only its beginning is looked at: "a-a-a-…" has a boundary at every second character.
_STRICT: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_grouped(_TABLE)})")
_LONG_RUN: Final = 1024
_AZURE = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,90}={0,2}")
_AZURE_MARKS: Final = ("AzFu", "AzSe", "ASt", "AzCa", "ACDb", "ACR", "AIoT", "APIM", "ARm")
_TELEGRAM = re.compile(
    r"(?<![\w])(?:\d{5,16}:A[A-Za-z0-9_-]{33,35}|\d{8,10}:(?=[^A-Z]{0,34}[A-Z])(?=[^a-z]{0,34}[a-z])[A-Za-z0-9_-]{35})"
    r"(?![A-Za-z0-9_-])"
)
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])(?:eyJ|ZXlK)[A-Za-z0-9_-]{6,}={0,2}(?:\.[A-Za-z0-9_-]{2,}={0,2}){1,4}\.?"
)
_BASE64_JWT = re.compile(r"(?<![A-Za-z0-9_-])ZXlK[A-Za-z0-9+/_-]{40,}={0,2}")
_HOOKS = re.compile(
    r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d+/"
    r"|webhook\.office\.com/webhookb2/|hooks\.zapier\.com/hooks/catch/\d+/|outlook\.office\.com/webhook/"
    r"|api\.telegram\.org/bot|chat\.googleapis\.com/v1/spaces/[\w-]+/messages\?|hook\.(?:eu|us)\d\.make\.com/"
    r"|maker\.ifttt\.com/trigger/[\w-]+/with/key/|events\.pagerduty\.com/integration/|hooks\.chime\.aws/incomingwebhooks/"
    r"|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=|open\.(?:feishu|larksuite)\.cn?/open-apis/bot/v2/hook/"
)
_REST = re.compile(r"[^\s\"'<>`\\|)]{6,}")


def mask_forms(text: str, mask: str) -> str:
    """Return `text` with provider keys, JWTs and the secret part of webhook addresses replaced by `mask`."""
    if "eyJ" in text or "ZXlK" in text:
        text = _BASE64_JWT.sub(mask, _JWT.sub(mask, text))
    forms = FORMS if len(text) <= _LONG_RUN else _STRICT
    text = forms.sub(lambda found: _checked(found, mask), text)
    if len(text) <= _LONG_RUN and "=" in text and any(mark in text for mark in _AZURE_MARKS):
        text = _AZURE.sub(lambda found: _azure(found, mask), text)
    if ":" in text:
        text = _TELEGRAM.sub(mask, text)
    return text


def mask_hooks(text: str, mask: str) -> str:
    """Return `text` with the path of webhook addresses masked: who knows it may post."""
    parts: list[str] = []
    at = 0
    for found in _HOOKS.finditer(text):
        if found.end() < at:
            continue
        rest = _REST.match(text, found.end())
        if rest is None:
            continue
        parts += (text[at : found.end()], mask)
        at = rest.end()
    return "".join((*parts, text[at:])) if parts else text


def _azure(found: re.Match[str], mask: str) -> str:
    """Azure's keys carry a mark near their end, such as ``AzFu`` for functions and ``+ASt`` for storage."""
    tail = found.group().rstrip("=")[-16:]
    return mask if any(mark in tail for mark in _AZURE_MARKS) else found.group()


_SPOKEN = re.compile(r"[a-z]{3,}")


def _checked(found: re.Match[str], mask: str) -> str:
    """Keep what has the form of a key but is spelt in words, such as ``sk-learn-extra-estimator-pipeline``."""
    value = found.group()
    if not any(map(str.isdigit, value)) and value.lower() == value:
        words = re.split(r"[-_.]", value)
        if all(len(word) <= 14 for word in words) and len(words) > 2:
            return value
    if not any(map(str.isdigit, value)) and sum(map(len, _SPOKEN.findall(value))) * 4 > len(value) * 3:
        letters = [char for char in value.lower() if char.isalpha()]
        vowels = sum(char in "aeiou" for char in letters)
        if vowels * 100 > 34 * len(letters):
            return value
    return mask
