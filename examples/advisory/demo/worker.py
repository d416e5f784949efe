"""A worker process of the demo: it records its events for the console, and ends when the demo is gone.

python -m advisory.demo.worker EVENTS       # settings come from the environment, the demo holds our standard input
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from advisory import commands
from advisory.settings import Settings
from prodkit import Runtime
from prodkit.core.recording import Recorder

__all__ = ["main"]


def main(events: Path) -> int:
    """Work until standard input ends, which it does at the latest when the demo dies."""
    threading.Thread(target=_watch, name="parent", daemon=True).start()
    runtime = Runtime()
    with Recorder(runtime, events):
        return commands.run("worker", Settings.load(), runtime=runtime)


def _watch() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(4.0)
    os._exit(1)  # whatever it is that does not end


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
