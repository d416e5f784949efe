from __future__ import annotations

import string

import pytest

from prodkit.files.messages import LANGUAGES, REPAIRS, TEXTS, mebibytes, problem, repair


def test_every_text_exists_in_every_language_with_the_same_facts() -> None:
    for code, texts in (TEXTS | REPAIRS).items():
        assert len(texts) == len(LANGUAGES), code
        facts = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts]
        assert facts[0] == facts[1], code


def test_a_problem_carries_its_code_and_the_text_of_the_language() -> None:
    found = problem("dimensions_too_large", "pt-BR", width=10, height=20)
    assert found.code == "dimensions_too_large"
    assert found.message == "A imagem passa de 10 x 20 pixels."
    assert problem("unknown_type", text="svg").message == TEXTS["svg"][0]
    assert problem("unknown_type", text="svg").code == "unknown_type"


def test_a_repair_is_its_code() -> None:
    found = repair("tail", "pt-BR")
    assert found == "tail"
    assert found.message == REPAIRS["tail"][1]


@pytest.mark.parametrize(
    ("size", "text"),
    [(5 * 2**20, "5 MiB"), (500 * 2**10, "500 KiB"), (1_600_000, "1.53 MiB"), (12, "12 bytes")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert mebibytes(size) == text
