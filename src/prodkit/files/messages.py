"""Texts for the person whose file was refused, by code. Codes are stable; texts may improve."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from prodkit.errors import FileProblem
from prodkit.files.result import Repair

__all__ = ["LANGUAGES", "REPAIRS", "TEXTS", "Language", "problem", "repair"]

Language: TypeAlias = Literal["en", "pt-BR"]
LANGUAGES: Final = ("en", "pt-BR")

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "empty": ("The file is empty.", "O arquivo está vazio."),
    "too_large": ("The file is larger than {limit}.", "O arquivo passa de {limit}."),
    "unknown_type": (
        "The content is not of a type we accept.",
        "O conteúdo não é de um tipo aceito.",
    ),
    "svg": (
        "SVG pictures can contain programs and are not accepted. Please export the picture as PNG or WebP.",
        "Imagens SVG podem conter programas e não são aceitas. Exporte a imagem como PNG ou WebP.",
    ),
    "type_not_allowed": (
        "Files of the type {kind} are not accepted here.",
        "Arquivos do tipo {kind} não são aceitos aqui.",
    ),
    "extension_missing": ("The file name has no extension.", "O nome do arquivo não tem extensão."),
    "extension_not_allowed": (
        "The extension of the file name is not accepted.",
        "A extensão do nome do arquivo não é aceita.",
    ),
    "extension_mismatch": (
        "The extension does not match the content, which is {kind}.",
        "A extensão não corresponde ao conteúdo, que é {kind}.",
    ),
    "extension_dangerous": (
        "The file name hides a second, dangerous extension.",
        "O nome do arquivo esconde uma segunda extensão, perigosa.",
    ),
    "name_unsafe": (
        "The file name contains characters that are not allowed.",
        "O nome do arquivo contém caracteres não permitidos.",
    ),
    "declared_type_mismatch": (
        "The declared type does not match the content, which is {kind}.",
        "O tipo declarado não corresponde ao conteúdo, que é {kind}.",
    ),
    "truncated": (
        "The file is incomplete; please send it again.",
        "O arquivo está incompleto; envie-o novamente.",
    ),
    "malformed": ("The file is damaged.", "O arquivo está corrompido."),
    "unsupported": ("This variant of the format is not supported.", "Esta variante do formato não é aceita."),
    "dimensions_too_large": (
        "The picture is larger than {width} x {height} pixels.",
        "A imagem passa de {width} x {height} pixels.",
    ),
    "too_many_frames": ("The animation has too many frames.", "A animação tem quadros demais."),
    "too_many_pixels": ("The animation is too large.", "A animação é grande demais."),
    "too_many_scans": (
        "The picture is built of too many passes.",
        "A imagem é composta de passagens demais.",
    ),
    "too_many_chunks": ("The file is built of too many parts.", "O arquivo é composto de partes demais."),
    "metadata_too_large": (
        "The file carries too much besides its content.",
        "O arquivo traz metadados demais.",
    ),
    "inflates_too_much": (
        "The file grows too much when it is unpacked.",
        "O arquivo cresce demais ao ser descompactado.",
    ),
    "trailing_data": (
        "There is something else after the end of the picture.",
        "Há outra coisa depois do fim da imagem.",
    ),
    "active_content": ("The file contains a program or script.", "O arquivo contém um programa ou script."),
    "embedded_file": (
        "Another file is hidden inside the file.",
        "Há outro arquivo escondido dentro do arquivo.",
    ),
    "undecodable": ("The picture cannot be read.", "A imagem não pôde ser lida."),
    "decode_timeout": ("Reading the picture takes too long.", "A leitura da imagem demora demais."),
    "decode_memory": (
        "Reading the picture takes too much memory.",
        "A leitura da imagem exige memória demais.",
    ),
    "decode_crashed": ("The picture cannot be read safely.", "A imagem não pôde ser lida com segurança."),
    "encrypted": ("The file is protected by a password.", "O arquivo está protegido por senha."),
    "macros": ("The document contains macros.", "O documento contém macros."),
    "external_links": ("The document loads content from elsewhere.", "O documento carrega conteúdo externo."),
    "unsafe_archive": (
        "The document contains an entry that is not allowed.",
        "O documento contém um item não permitido.",
    ),
    "not_text": ("The file is not plain text.", "O arquivo não é texto simples."),
    "formula": ("A cell begins with a formula.", "Uma célula começa com uma fórmula."),
    "malware": ("The file was recognised as malware.", "O arquivo foi reconhecido como malware."),
    "refused": ("The file was refused.", "O arquivo foi recusado."),
}


REPAIRS: Final[dict[str, tuple[str, str]]] = {
    "tail": (
        "Data after the end of the picture was removed.",
        "Removemos dados que estavam depois do fim da imagem.",
    ),
    "foreign_chunk": ("Unreadable parts of the file were removed.", "Removemos partes ilegíveis do arquivo."),
    "foreign_bytes": (
        "Stray data inside the file was removed.",
        "Removemos dados soltos de dentro do arquivo.",
    ),
    "comment": (
        "A long comment or the data of an unknown maker was removed.",
        "Removemos um comentário longo ou dados de um fabricante desconhecido.",
    ),
    "bad_crc": ("A wrong checksum was corrected.", "Corrigimos uma soma de verificação errada."),
    "missing_end": ("The missing end mark was added.", "Acrescentamos a marca de fim que faltava."),
    "structure": (
        "Contradictions in the structure of the file were corrected.",
        "Corrigimos contradições na estrutura do arquivo.",
    ),
    "ampf": (
        "The further pictures of an HDR photo were removed.",
        "Removemos as imagens adicionais de uma foto HDR.",
    ),
    "orientation": ("The picture was turned upright.", "Giramos a imagem para a posição correta."),
    "name": ("The file name was cleaned.", "Limpamos o nome do arquivo."),
}


def repair(code: str, language: Language = "en") -> Repair:
    """Return the repair `code` with its text in `language`."""
    return Repair(code, REPAIRS[code][LANGUAGES.index(language)])


def problem(code: str, language: Language = "en", **facts: object) -> FileProblem:
    """Return the problem `code` with its text. `facts` fill the text and never hold data from the client.

    The fact `text` names another entry of :data:`TEXTS`, for a code that has more than one.
    """
    text = TEXTS[str(facts.get("text", code))][LANGUAGES.index(language)]
    return FileProblem(code, text.format(**facts))


def mebibytes(size: int) -> str:
    """Format a size for people: 5 MiB, 500 KiB, 12 bytes."""
    for unit, step in (("MiB", 2**20), ("KiB", 2**10)):
        if size >= step:
            return f"{size / step:.3g} {unit}"
    return f"{size} bytes"
