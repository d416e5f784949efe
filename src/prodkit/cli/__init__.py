"""The ``prodkit`` command: one file a command, imported when it is called.

    prodkit env check service.settings:Settings
    python -m prodkit --help

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 invalid configuration (``EX_CONFIG``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from prodkit.errors import MissingExtraError

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "adopt": ("adopt", "find tenacity, pybreaker, slowapi and others in a tree, and print the replacements"),
    "replay": ("replay", "run a fault trace, or last night's recorded outage, on your policies"),
    "console": ("console", "write recorded events as one HTML page: breakers, calls, pools, limits, models"),
    "env": ("env", "check an environment, and write its documents from the settings class"),
    "new": ("new", "write a small service that is ready for production"),
    "backup": ("backup", "make, verify, restore, prune and list backups of a PostgreSQL database"),
    "doctor": ("doctor", "check this installation and the services that the environment names"),
    "jobs": ("jobs", "look at durable runs; retry, cancel, signal and purge them"),
}
"""Each command with its module, relative to this package, and one line of help. The module defines ``app``, a Typer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after ``prodkit``; those of the process when None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from prodkit import __version__

        print(f"prodkit {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        print(f"prodkit: no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        import typer
    except ImportError:
        print(f"prodkit: {MissingExtraError.named('typer', 'cli')}", file=sys.stderr)
        return 1
    app = import_module(f"{__name__}.{COMMANDS[name][0]}").app
    try:
        code = typer.main.get_command(app).main(rest, prog_name=f"prodkit {name}", standalone_mode=True)
    except SystemExit as stop:
        code = stop.code
    except MissingExtraError as error:
        print(f"prodkit: {error}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0 if code is None else 1


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS), default=0)
    listing = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    return f"usage: prodkit COMMAND [ARGUMENT …]\n\n{listing}"
