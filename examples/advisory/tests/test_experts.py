from __future__ import annotations

import io
import re

import pytest
from PIL import Image

pytestmark = pytest.mark.integration


def photo(kind: str = "PNG", size: tuple[int, int] = (64, 48), *, place: bool = False) -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", size, (120, 60, 200))
    more = {}
    if place:
        exif = Image.Exif()
        exif[0x8825] = {1: "S", 2: (23.0, 33.0, 1.0)}
        exif[0x010E] = "SEGREDO-NA-FOTO"
        more["exif"] = exif
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def create(who, content: bytes | None = None, file: str = "eu.png", kind: str = "image/png", **fields):
    data = {"name": "Clara Nunes", "role": "engenheira de produção", **fields}
    files = {} if content is None else {"avatar": (file, content, kind)}
    return who.post("/especialistas", data, page="/especialistas/novo", files=files or None)


def avatar_of(who) -> str:
    return re.search(r'src="(/avatares/[^"]+)"', who.get("/especialistas").text)[1]


def test_five_experts_are_there_from_the_start(ana):
    text = ana.get("/especialistas").text
    for name in ("Helena Prado", "Davi Monteiro", "Inês Tavares", "Otávio Reis", "Noemi Barros"):
        assert name in text
    assert "/remover" not in text  # those are everybody's


def test_an_expert_with_a_photo_is_listed_and_the_photo_is_served_safely(ana):
    answer = create(ana, photo("JPEG", place=True), "férias na praia.JPG", "image/jpeg")
    assert answer.status_code == 303
    page = ana.get("/especialistas").text
    assert "Clara Nunes agora faz parte dos seus especialistas." in page
    served = ana.get(avatar_of(ana))
    assert served.status_code == 200
    assert served.headers["content-type"] == "image/jpeg"
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in served.headers["content-security-policy"]
    assert served.headers["cache-control"].startswith("private")
    assert b"SEGREDO-NA-FOTO" not in served.content
    assert b"Exif" not in served.content
    again = ana.get(avatar_of(ana), headers={"if-none-match": served.headers["etag"]})
    assert again.status_code == 304
    # she is first in the list of who can be asked
    assert ana.get("/").text.index("Clara Nunes") < ana.get("/").text.index("Helena Prado")


def test_an_expert_needs_no_photo(ana):
    assert create(ana).status_code == 303
    assert '<span class="avatar monogram large' in ana.get("/especialistas").text


@pytest.mark.parametrize(
    ("content", "name", "kind", "reason"),
    [
        (b"MZ" + bytes(5000), "eu.png", "image/png", "tipo aceito"),
        (b"", "eu.png", "image/png", "vazio"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            "eu.svg",
            "image/svg+xml",
            "A extensão do nome do arquivo não é aceita",
        ),
        (photo(size=(2049, 10)), "eu.png", "image/png", "2048 x 2048"),
        (photo()[:-30], "eu.png", "image/png", "incompleto"),
        (photo("JPEG"), "eu.png", "image/png", "não corresponde"),
        (photo() + bytes(5 * 2**20), "eu.png", "image/png", "passa de 5 MiB"),
    ],
    ids=["exe", "empty", "svg", "too wide", "truncated", "extension", "too large"],
)
def test_what_is_no_picture_is_refused_with_the_reason(ana, content, name, kind, reason):
    answer = create(ana, content, name, kind)
    assert answer.status_code == 422, answer.status_code
    assert "A foto foi recusada: " in answer.text
    assert reason in answer.text
    assert "Clara Nunes" in answer.text  # what was typed is kept
    assert "Clara Nunes" not in ana.get("/especialistas").text


def test_what_hangs_behind_a_picture_is_not_kept(ana):
    create(ana, photo() + b"<?php system($_GET[0]); ?>")
    if "/avatares/" in ana.get("/especialistas").text:  # re-encoded, or refused: both are safe
        assert b"<?php" not in ana.get(avatar_of(ana)).content


def test_a_body_beyond_all_limits_is_refused_before_it_is_read(ana):
    answer = create(ana, bytes(7 * 2**20))
    assert answer.status_code == 413
    assert "Arquivo grande demais" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_name_goes_nowhere(ana):
    assert create(ana, photo(), "../../../etc/passwd.png").status_code in (303, 422)
    assert "passwd" not in ana.get("/especialistas").text


def test_wrong_fields_are_told(ana):
    answer = create(ana, name="", role="x", goals="g" * 601)
    assert answer.status_code == 422
    assert "Preencha o campo “Nome”." in answer.text
    assert "“Papel” precisa de pelo menos 3 caracteres; tem 1." in answer.text
    assert "pode ter no máximo 600 caracteres; tem 601." in answer.text


def test_the_eleventh_photo_in_an_hour_has_to_wait(ana):
    answers = [create(ana, b"no picture") for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert "Muitos envios de arquivos. Tente novamente em" in answers[10].text


def test_own_experts_are_seen_and_removed_by_their_owner_only(ana, bruno):
    create(ana, photo())
    picture = avatar_of(ana)
    remove = re.search(r'action="(/especialistas/\d+/remover)"', ana.get("/especialistas").text)[1]
    assert "Clara Nunes" not in bruno.get("/especialistas").text
    assert bruno.get(picture).status_code == 404
    assert bruno.post(remove).status_code == 404
    assert ana.post(remove).status_code == 303
    page = ana.get("/especialistas").text
    assert "Clara Nunes" not in page.split("removido")[-1]
    undo = re.search(r'action="(/especialistas/\d+/restaurar)"', page)[1]
    assert bruno.post(undo).status_code == 404
    assert ana.post(undo, page="/especialistas").headers["location"] == "/especialistas"
    page = ana.get("/especialistas").text
    assert "Especialista restaurado." in page
    assert "Clara Nunes" in page
    assert ana.post(undo).status_code == 404  # once


def test_a_name_is_a_name_and_no_markup(ana):
    create(ana, name="<img src=x onerror=alert(1)>")
    for page in ("/especialistas", "/"):
        assert "<img src=x" not in ana.get(page).text
        assert "&lt;img src=x onerror=alert(1)&gt;" in ana.get(page).text
