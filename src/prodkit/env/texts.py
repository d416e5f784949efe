"""Hints for each broken rule, in English and Brazilian Portuguese."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["LANGUAGES", "Language", "headline", "hint"]

Language: TypeAlias = Literal["en", "pt-BR"]
LANGUAGES: Final = ("en", "pt-BR")

_GENERATE: Final = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "missing": ("is required and is not set", "é obrigatória e não foi definida"),
    "blank": ("is set, but holds only blanks", "foi definida, mas só contém espaços"),
    "placeholder": (
        "still holds the placeholder of a template; put the real value there",
        "ainda contém o valor de exemplo do modelo; coloque o valor real",
    ),
    "too_short": (
        f"is too short: at least {{min_length}} characters; make one with {_GENERATE}",
        f"é curta demais: use pelo menos {{min_length}} caracteres; gere uma com {_GENERATE}",
    ),
    "low_entropy": (
        f"can be guessed; make one with {_GENERATE}",
        f"é fácil de adivinhar; gere uma com {_GENERATE}",
    ),
    "text": ("must be text", "deve ser um texto"),
    "integer": ("must be a whole number", "deve ser um número inteiro"),
    "number": ("must be a number", "deve ser um número"),
    "boolean": ("must be true or false", "deve ser true ou false"),
    "choice": ("must be one of: {expected}", "deve ser um destes valores: {expected}"),
    "range": ("is out of range: {limit}", "está fora dos limites: {limit}"),
    "length": ("has the wrong length: {limit}", "tem tamanho inválido: {limit}"),
    "pattern": ("does not have the expected form", "não está no formato esperado"),
    "duration": (
        "must be a duration, such as 90, 1h30m or PT1M30S",
        "deve ser uma duração, como 90, 1h30m ou PT1M30S",
    ),
    "date": ("must be a date, such as 2026-11-25", "deve ser uma data, como 2026-11-25"),
    "datetime": (
        "must be a date and time, such as 2026-11-25T18:00:00Z",
        "deve ser uma data e hora, como 2026-11-25T18:00:00Z",
    ),
    "time": ("must be a time, such as 18:30", "deve ser um horário, como 18:30"),
    "uuid": ("must be a UUID", "deve ser um UUID"),
    "address": (
        "must be an address, such as https://example.com",
        "deve ser um endereço, como https://exemplo.com.br",
    ),
    "ip": ("must be an IP address or network", "deve ser um endereço ou rede IP"),
    "validator": (
        "could not be checked: a validator of the settings class raised {error} ({where})",
        "não pôde ser verificada: um validador da classe levantou {error} ({where})",
    ),
    "path": ("must be a path that exists", "deve ser um caminho que existe"),
    "list": (
        'must be a list: a,b,c or ["a", "b"] in JSON',
        'deve ser uma lista: a,b,c ou ["a", "b"] em JSON',
    ),
    "json": ("must be JSON", "deve ser JSON"),
    "file_unreadable": (
        "names a file that cannot be read ({reason})",
        "aponta para um arquivo que não pode ser lido ({reason})",
    ),
    "both_set": (
        "is set together with {other}; keep one of the two",
        "foi definida junto com {other}; mantenha só uma das duas",
    ),
    "unknown": (
        "is not a variable of this service; did you mean {meant}?",
        "não é uma variável deste serviço; você quis dizer {meant}?",
    ),
    "unknown_prefix": (
        "begins like the variables of this service, but is none of them",
        "começa como as variáveis deste serviço, mas não é nenhuma delas",
    ),
    "dotenv_line": ("line {line} cannot be read", "a linha {line} não pode ser lida"),
    "dotenv_duplicate": (
        "sets {name} twice, again in line {line}",
        "define {name} duas vezes, de novo na linha {line}",
    ),
    "dotenv_unreadable": ("cannot be read ({reason})", "não pode ser lido ({reason})"),
    "url_scheme": (
        "must begin with {schemes} (the driver takes nothing after a +)",
        "deve começar com {schemes} (o driver não aceita nada depois de um +)",
    ),
    "url_malformed": ("is not a well-formed address", "não é um endereço bem formado"),
    "url_blank_inside": (
        "has a blank, a line break or a control character in it; remove it, or write %20",
        "contém espaço, quebra de linha ou caractere de controle; remova-o ou escreva %20",
    ),
    "url_at": (
        "has an @, / or ? in its user or password; write %40, %2F or %3F there",
        "tem @, / ou ? no usuário ou na senha; escreva %40, %2F ou %3F ali",
    ),
    "url_hash": ("has a # in it; write %23", "contém #; escreva %23"),
    "url_escape": ("has a lone %; write %25", "contém um % solto; escreva %25"),
    "url_host": ("names no host", "não informa o servidor"),
    "url_port": (
        "has a port that is no number from 1 to 65535",
        "tem uma porta que não é um número de 1 a 65535",
    ),
    "url_user": ("names no user", "não informa o usuário"),
    "url_database": ("names no database", "não informa o banco de dados"),
    "url_sslmode": (
        "has an unknown sslmode: disable, allow, prefer, require, verify-ca or verify-full",
        "tem sslmode desconhecido: disable, allow, prefer, require, verify-ca ou verify-full",
    ),
    "url_redis_database": ("has a database that is no number", "tem um banco que não é um número"),
    "group": (
        "is required because {other} is set; set both or neither",
        "é obrigatória porque {other} foi definida; defina as duas ou nenhuma",
    ),
    "equal_secrets": (
        "has the same value as {other}; use a different secret for each purpose",
        "tem o mesmo valor que {other}; use um segredo diferente para cada fim",
    ),
    "production_localhost": (
        "points to this machine, which is not allowed in production",
        "aponta para esta própria máquina, o que não é permitido em produção",
    ),
    "production_debug": ("must be off in production", "deve ficar desligada em produção"),
    "production_wildcard": (
        "allows everybody (*); list the origins or hosts of production",
        "permite qualquer um (*); liste as origens ou os servidores de produção",
    ),
    "production_https": ("must use https:// in production", "deve usar https:// em produção"),
    "cleaned_quotes": (
        "stood in quotes, which were removed (docker --env-file keeps them)",
        "estava entre aspas, que foram removidas (docker --env-file as mantém)",
    ),
    "cleaned_blanks": (
        "had blanks or line breaks around it, which were removed",
        "tinha espaços ou quebras de linha em volta, que foram removidos",
    ),
    "invalid": ("is not valid", "não é válida"),
    "custom": ("{message}", "{message}"),
    "item": ("item {item} {rest}", "o item {item} {rest}"),
}


def hint(rule: str, language: Language, **facts: object) -> str:
    """The sentence for `rule`, without the variable's name."""
    text = _TEXTS.get(rule, _TEXTS["invalid"])[LANGUAGES.index(language)]
    return text.format_map(_Facts(facts))


def headline(count: int, language: Language) -> str:
    """The first line of the error."""
    if language == "pt-BR":
        return f"O ambiente tem {count} problema{'s' if count > 1 else ''}:"
    return f"The environment has {count} problem{'s' if count > 1 else ''}:"


class _Facts(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"
