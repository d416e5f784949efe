"""``python -m prodkit.testing.anthropic``: serves the simulator until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import sys

from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.personalities import PERSONALITIES
from prodkit.testing.anthropic.server import Server
from prodkit.testing.process import serve_until_stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prodkit.testing.anthropic",
        description="A Messages API on loopback that needs no key and follows a fault script.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099, help="0 takes a free port (default: 8099)")
    parser.add_argument(
        "--answers", default="council", help="words, echo, council, text:… or module:function"
    )
    parser.add_argument("--delay", type=float, default=0.02, help="seconds between the deltas of a stream")
    parser.add_argument(
        "--continuation", choices=PERSONALITIES, default="anchor", help="how a cut answer is continued"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the chance in continuations (default: 0)")
    parser.add_argument(
        "--always", default="ok", help="the behaviour of every request, such as 529 or midrst"
    )
    parser.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser


async def _serve(options: argparse.Namespace) -> None:
    server = Server(
        answers=answer_function(options.answers),
        delay=options.delay,
        continuation=options.continuation,
        seed=options.seed,
    )
    server.state.always(Behaviour.of(options.always), None)
    listening = await server.start(options.host, options.port)
    host, port = listening.sockets[0].getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    await serve_until_stopped({"url": url}, parent=options.parent, title="Messages API simulator")


def main() -> int:
    try:
        asyncio.run(_serve(_parser().parse_args()))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
