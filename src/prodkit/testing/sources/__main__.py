"""``python -m prodkit.testing.sources``: serves the simulated sources until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import sys

from prodkit.testing.process import serve_until_stopped
from prodkit.testing.sources.perplexity import Perplexity
from prodkit.testing.sources.server import Server
from prodkit.testing.sources.unsplash import Unsplash
from prodkit.testing.sources.youtube import YouTube


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prodkit.testing.sources",
        description="Perplexity, YouTube and Unsplash on loopback, without keys, on three ports in this order.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=8101, help="the first port; 0 takes free ones (default: 8101)"
    )
    parser.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser


async def _serve(options: argparse.Namespace) -> None:
    listening = {}
    for number, api in enumerate((Perplexity(), YouTube(), Unsplash())):
        port = options.port + number if options.port else 0
        listening[api.name] = await Server(api).start(options.host, port)
    await serve_until_stopped(listening, parent=options.parent, title="Simulated sources")


def main() -> int:
    try:
        asyncio.run(_serve(_parser().parse_args()))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
