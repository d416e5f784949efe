"""``python -m advisory demo | serve | worker | migrate | backup | deleted | purge``.

Settings come first and everything heavy later, so that a bad environment is reported in well under two seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EX_CONFIG = 78
"""The exit code of sysexits.h for a bad configuration."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="advisory", description="O Conselho, the reference app of prodkit")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="everything on this machine, nothing to install or to configure")
    demo.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    demo.add_argument(
        "--data", type=Path, default=Path(".prodkit/demo"), help="where the demo keeps its data"
    )
    commands.add_parser("serve", help="the app, on the servers that the environment names")
    commands.add_parser("worker", help="runs councils and serves no pages")
    commands.add_parser("migrate", help="brings the database up to date")
    copy = commands.add_parser(
        "backup", help="makes one backup in BACKUP_DIRECTORY (and BACKUP_BUCKET) and verifies it by a restore"
    )
    copy.add_argument("--check", action="store_true", help="only say whether the last one is young enough")
    commands.add_parser("deleted", help="counts what lies in the bin")
    commands.add_parser("purge", help="removes for good what has lain in the bin for ninety days")
    chosen = parser.parse_args(arguments)
    if chosen.command == "demo":
        if not 0 <= chosen.port <= 65535:
            parser.error(f"--port is 0 to 65535, got {chosen.port}")
        from advisory.demo.run import run

        return run(port=chosen.port, directory=chosen.data)
    if chosen.command == "backup":
        from advisory.deploy import backups

        return backups.main(["check" if chosen.check else "run"])
    from advisory.settings import Settings
    from prodkit.errors import EnvError

    try:
        settings = Settings.load(language="pt-BR")
    except EnvError as error:
        print(f"advisory: {error}", file=sys.stderr)
        return EX_CONFIG
    from advisory import commands as run_command

    return run_command.run(chosen.command, settings)


if __name__ == "__main__":
    sys.exit(main())
