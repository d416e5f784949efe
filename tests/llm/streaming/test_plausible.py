import pytest

from prodkit.llm.streaming.plausible import is_preamble, language_of, plausible_rest

ENGLISH = "The results of the study show that the new method is faster than the old one for all of"
JOINED = 0.5  # below, an answer is not joined


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        ("Os resultados mostram que não há uma diferença para os grupos", "pt"),
        ("Die Ergebnisse zeigen, dass der neue Weg nicht mit dem alten zu vergleichen ist", "de"),
        ("Le résultat est que les groupes ne sont pas dans une seule classe", "fr"),
        ("x = 3; y = 4", ""),
        ("", ""),
        ("the", ""),
    ],
)
def test_the_language_is_read_from_common_words(text: str, language: str) -> None:
    found, share = language_of(text)
    assert found == language
    assert (share > 0.1) is bool(language)


@pytest.mark.parametrize("rest", [" the samples that were measured.", " samples", ", and more", " "])
def test_a_rest_in_the_same_sentence_is_plausible(rest: str) -> None:
    assert plausible_rest(ENGLISH, rest) >= JOINED


def test_a_new_sentence_is_plausible_after_the_end_of_one() -> None:
    assert plausible_rest(ENGLISH + " them.", " The second point is the cost.") >= JOINED


@pytest.mark.parametrize(
    "rest",
    [
        "Sorry for the interruption, here is the answer",
        " I apologize. Let me continue",
        "Desculpe, continuo a resposta que não foi dada para os alunos",
        "Os resultados mostram que não há uma diferença para os grupos",
        "Результаты показывают",
        "The results of the study show",
        "Results",
    ],
)
def test_an_apology_another_language_and_a_new_beginning_are_not(rest: str) -> None:
    assert plausible_rest(ENGLISH, rest) < JOINED


def test_prose_after_data_is_something_else() -> None:
    data = "alpha,beta,gamma\n" * 20
    assert (
        plausible_rest(data, "this is the rest of what you have asked for, and it will be with you") < JOINED
    )


def test_an_apology_within_an_apology_is_its_rest() -> None:
    assert (
        plausible_rest("Dear Ana, we are sorry for the delay and", " we apologize for the trouble.") >= JOINED
    )


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("Here is the rest:", " of it", True),
        ("Continuing from where I left off", None, True),
        ("and then they", None, False),
        ("and then they ", "went", False),
        ("As requested.\n", "went", True),
        ("x" * 401 + ":", "went", False),
    ],
)
def test_an_announcement_is_known_by_its_words_or_its_end(
    text: str, after: str | None, expected: bool
) -> None:
    assert is_preamble(text, after) is expected
