"""``prodkit env``: check an environment, and write its documents from the settings class.

    prodkit env check service.settings:Settings --dotenv .env
    prodkit env docs service.settings:Settings --output ENV_VARIABLES.md
    prodkit env docs service.settings:Settings --output ENV_VARIABLES.md --check
    prodkit env example service.settings:Settings --output .env.example
    prodkit env schema service.settings:Settings

Exit codes: 0 done, 1 a document does not match the class, 2 wrong usage, 78 the environment is invalid.
"""

from __future__ import annotations

import difflib
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from prodkit.errors import EnvError

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Check an environment, and write its documents from the settings class.",
)

_INVALID: Final = 78  # EX_CONFIG of sysexits.h
_USAGE: Final = 2

Target = Annotated[
    str, typer.Argument(metavar="MODULE:CLASS", help="the settings class, importable from here")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="file to write; standard output when absent")
]
Check = Annotated[bool, typer.Option("--check", help="write nothing; exit with 1 when the file differs")]
Language = Annotated[str, typer.Option(help="en or pt-BR")]


@app.command()
def check(
    target: Target,
    dotenv: Annotated[list[Path] | None, typer.Option(help="a .env file; may be given several times")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="a variable of another program")] = None,
    language: Language = "en",
    docs: Annotated[Path | None, typer.Option(help="an ENV_VARIABLES.md that must match the class")] = None,
    example: Annotated[Path | None, typer.Option(help="a .env.example that must match the class")] = None,
) -> None:
    """Read the environment as the service would: every problem at once, and where each value came from."""
    settings = _settings(target)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True)
    try:
        loaded = settings.load(
            dotenv=list(dotenv or ()), language=_language(language), ignore=list(ignore or ())
        )
    except EnvError as error:
        wrong = Console(stderr=True, soft_wrap=True)
        wrong.print(Text(str(error).partition("\n")[0], style="bold red"))
        for problem in error.problems:
            wrong.print(
                Text.assemble(
                    "  ", (problem.variable, "bold"), f" {problem.hint} ", (f"[{problem.rule}]", "dim")
                )
            )
        raise typer.Exit(_INVALID) from None
    table = Table("variable", "from", box=None, pad_edge=False)
    for variable, origin in loaded.provenance().items():
        table.add_row(variable, Text(origin, style="dim" if origin == "default" else ""))
    console.print(table)
    for notice in loaded.notices():
        console.print(Text(f"{notice.variable} {notice.hint}", style="yellow"))
    drifted = False
    if docs is not None:
        drifted |= _differs(docs, _markdown(settings, _written_in(docs, language)))
    if example is not None:
        drifted |= _differs(example, _example(settings))
    if drifted:
        raise typer.Exit(1)


@app.command()
def docs(target: Target, output: Output = None, check: Check = False, language: Language = "en") -> None:
    """Write ENV_VARIABLES.md: a table of the variables, in English or Portuguese."""
    _deliver(_markdown(_settings(target), language), output, check)


@app.command()
def example(target: Target, output: Output = None, check: Check = False) -> None:
    """Write .env.example: required variables empty, optional ones commented out with their defaults."""
    _deliver(_example(_settings(target)), output, check)


@app.command()
def schema(target: Target, output: Output = None, check: Check = False) -> None:
    """Write a JSON schema of the environment, for editors and deployment tools."""
    from prodkit import env

    _deliver(
        json.dumps(env.json_schema(_settings(target)), indent=2, ensure_ascii=False) + "\n", output, check
    )


def _settings(target: str) -> Any:
    """Import the class; the working directory is importable, as with ``python -m``."""
    from prodkit import env

    module, colon, name = target.partition(":")
    if not (module and colon and name):
        _stop(f"{target!r} is not MODULE:CLASS, such as service.settings:Settings")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    raised = ""
    try:
        names = vars(import_module(module))
    except ModuleNotFoundError as error:
        _stop(f"cannot import {module!r}: no module named {error.name!r}")
    except Exception as error:  # noqa: BLE001 - the service's own code
        names, raised = _names_so_far(error, module), type(error).__name__
    first, *parts = name.split(".")
    found: Any = names.get(first)
    for part in parts:
        found = getattr(found, part, None)
    if raised and found is None:
        _stop(f"cannot import {module!r}: it raised {raised}")
    if not (isinstance(found, type) and issubclass(found, env.Settings)):
        _stop(f"{target!r} is not a subclass of prodkit.env.Settings")
    return found


def _names_so_far(error: BaseException, module: str) -> dict[str, Any]:
    """Return the names of a module that failed: many call ``Settings.load()`` right below the class.

    The environment is what this command is asked about, so that call may fail; the class stands in the module's frame.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == module:
            return trace.tb_frame.f_globals
        trace = trace.tb_next
    return {}


def _language(language: str) -> Any:
    if language not in ("en", "pt-BR"):
        _stop(f"--language must be en or pt-BR, got {language!r}")
    return language


def _written_in(path: Path, fallback: str) -> str:
    """The language of an existing document: that of its heading."""
    try:
        return "pt-BR" if path.read_text().startswith("# Variáveis") else "en"
    except OSError:
        return fallback


def _markdown(settings: Any, language: str) -> str:
    from prodkit import env

    return env.markdown(settings, language=_language(language))


def _example(settings: Any) -> str:
    from prodkit import env

    return env.env_example(settings)


def _deliver(text: str, output: Path | None, check: bool) -> None:
    if output is None:
        if check:
            _stop("--check needs --output, the file to compare with")
        sys.stdout.write(text)
    elif check:
        if _differs(output, text):
            raise typer.Exit(1)
    else:
        output.write_text(text, encoding="utf-8")


def _differs(path: Path, wanted: str) -> bool:
    """Print how the file differs from what the class says."""
    try:
        found = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        print(f"{path} does not exist: write it with --output {path}", file=sys.stderr)
        return True
    if found == wanted:
        return False
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), str(path), "the settings class", lineterm="", n=1
    )
    print("\n".join(lines), file=sys.stderr)
    return True


def _stop(message: str) -> NoReturn:
    print(f"prodkit env: {message}", file=sys.stderr)
    raise typer.Exit(_USAGE)
