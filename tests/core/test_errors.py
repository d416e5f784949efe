import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import prodkit
from prodkit import errors
from prodkit.errors import EnvProblem, FileProblem, MissingExtraError, ProdkitError

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ProdkitError) and value.__module__ == "prodkit.errors"
]
FACTS = {
    "retry_after": 4.5,
    "breaker": "perplexity",
    "bulkhead": "uploads",
    "limit": "10/hour",
    "size": 20,
    "idle": 1,
    "waiting": 7,
    "timeout": 60.0,
    "attempts": ("one", "two"),
    "partial": {"text": "half"},
    "code": "overloaded",
    "reason": "origin",
    "extra": "redis",
    "package": "redis-py",
}


def facts_of(cls: type[ProdkitError]) -> dict[str, object]:
    names = [name for name in inspect.signature(cls.__init__).parameters if name not in {"self", "message"}]
    problem = (
        EnvProblem("A", "missing", "set it") if cls is errors.EnvError else FileProblem("too_big", "too big")
    )
    return {name: (problem,) if name == "problems" else FACTS[name] for name in names}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_pickles_and_copies_with_all_its_facts(cls: type[ProdkitError]) -> None:
    facts = facts_of(cls)
    assert "retry_after" in facts
    error = cls("what happened", **facts)  # type: ignore[arg-type]
    error.add_note("gave up after 3 attempts")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert str(twin) == "what happened"
        assert {name: getattr(twin, name) for name in facts} == facts
        assert twin.__notes__ == ["gave up after 3 attempts"]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_fact_has_a_default(cls: type[ProdkitError]) -> None:
    error = cls()
    assert str(error) == ""
    assert error.retry_after is None


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ├└─]*)([A-Z]\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else None
    real = {cls.__name__: cls.__bases__[0].__name__ if cls is not ProdkitError else None for cls in CLASSES}
    assert drawn == real


def test_the_builtin_relatives_and_the_public_names() -> None:
    assert issubclass(errors.CallTimeoutError, TimeoutError)
    assert issubclass(errors.InvalidError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
    names = {cls.__name__ for cls in CLASSES}
    assert names <= set(errors.__all__)
    assert names <= set(prodkit.__all__)


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtraError.named("redis", "redis")
    assert "pip install 'prodkit-resilience[redis]'" in str(error)
    assert (error.package, error.extra) == ("redis", "redis")


def test_a_missing_extra_warns_of_the_other_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "prodkit-0.4.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: prodkit\nVersion: 0.4.0\n")
    assert "another project" not in str(MissingExtraError.named("redis", "redis"))
    monkeypatch.syspath_prepend(tmp_path)
    message = str(MissingExtraError.named("redis", "redis"))
    assert "pip install 'prodkit-resilience[redis]'" in message
    assert "`pip uninstall prodkit`" in message
