"""``python -m prodkit.testing.anthropic``: serves the simulator until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.personalities import PERSONALITIES
from prodkit.testing.anthropic.server import Server


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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watching: list[asyncio.Task[None]] = []
    if options.parent:
        sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
        loop.add_reader(sys.stdin.fileno(), _read_to_the_end, stop)
        watching.append(asyncio.create_task(_watch_parent(stop, options.parent)))
    else:
        sys.stdout.write(f"Messages API simulator on {url} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    await stop.wait()
    os._exit(0)  # nothing to save, and answers in flight would complain about being cut


def _read_to_the_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


async def _watch_parent(stop: asyncio.Event, parent: int) -> None:
    """Stop when the parent is gone; a fork of it may keep our stdin open."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.2)
    stop.set()


def main() -> int:
    try:
        asyncio.run(_serve(_parser().parse_args()))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
