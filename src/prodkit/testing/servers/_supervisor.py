"""The process between a test and its server: it outlives the test just long enough to clean up.

Run by its file name with ``python -I -S``, standard library only, so that it starts in some 20 ms. It reads
commands as JSON lines on stdin and answers on stdout; see :func:`main`.

Why a process of its own. ``PR_SET_PDEATHSIG`` set by the application would follow the *thread* that forked,
which in an asyncio or pytest process may end long before the process does, and ``atexit`` does not run on
SIGTERM or SIGKILL. This process has a single thread, so the death signal it gives its children is reliable,
and it learns of its owner's end in two ways: end of file on stdin, and a pidfd, because a forked worker of
the owner would keep the pipe open. It is a child subreaper as well: when a server is killed, the server's own
children come here and are waited for, so "stopped" means that none is left. If this process is itself killed,
the kernel signals the server.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_WITHOUT_OWNER = 1.2  # seconds for a clean end once no process waits for us any more
_GRACE_AFTER_HARDER = 0.4
_GRACE_FOR_ORPHANS = 0.2

LINUX = sys.platform.startswith("linux")


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class Supervisor:
    """One server at a time, and the files that have to go with it."""

    def __init__(self, owner: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.owner_gone = False
        self.buffer = b""
        self.child: subprocess.Popen[bytes] | None = None
        self.harder = signal.SIGKILL
        self.softly = signal.SIGTERM
        self.pid_file: Path | None = None
        self.remove: list[str] = []
        woken, self._wake = os.pipe()
        for fd in (woken, self._wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        # Handlers instead of SIG_IGN: an ignored signal would stay ignored in the server.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        self.selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))
        self.selector.register(0, selectors.EVENT_READ, self._read)
        self._watch(owner)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def _watch(self, owner: int) -> None:
        self.owner = owner
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # not offered by this kernel or sandbox: `turn` compares the parent's pid
                self.selector.register(os.pidfd_open(owner), selectors.EVENT_READ, self._end)
        if os.getppid() != owner:
            self._end()

    def _end(self, *_: object) -> None:
        self.owner_gone = True

    def _read(self) -> None:
        data = os.read(0, 65536)
        if data:
            self.buffer += data
        else:
            self.selector.unregister(0)
            self._end()

    def turn(self, seconds: float) -> None:
        """Waits up to `seconds` for anything to happen."""
        for key, _ in self.selector.select(min(seconds, 0.5)):
            key.data()
        if os.getppid() != self.owner:
            self._end()

    def command(self) -> dict[str, Any] | None:
        """The next command, or None once the owner is gone. Reports a server that ends by itself."""
        while not self.owner_gone:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                order: dict[str, Any] = json.loads(line)
                return order
            self.turn(60)
            if self.child is not None and self.reap():
                self.tidy()
        return None

    def report(self, **fact: object) -> None:
        try:
            os.write(1, json.dumps(fact).encode() + b"\n")
        except OSError:
            self._end()

    def spawn(self, order: dict[str, Any]) -> None:
        self.softly = signal.Signals(order.get("softly", signal.SIGTERM))
        self.harder = signal.Signals(order.get("harder", signal.SIGKILL))
        self.pid_file = Path(order["pid_file"]) if order.get("pid_file") else None
        uid, gid = order.get("uid"), order.get("gid")
        me, death = os.getpid(), self.softly

        def before_exec() -> None:
            # After setuid, which clears it; and the parent may have died since the fork.
            _prctl(_PR_SET_PDEATHSIG, death)
            if os.getppid() != me:
                os._exit(1)

        text = order.get("input", "").encode()
        child: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own argv, no shell
            order["argv"],
            stdin=subprocess.PIPE if text else subprocess.DEVNULL,
            stdout=order["log"],
            stderr=order["log"],
            cwd=order["cwd"],
            env=order["env"],
            pass_fds=order["fds"],
            umask=0o077,
            preexec_fn=before_exec,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
        if text and child.stdin is not None:
            child.stdin.write(text)
            child.stdin.close()
        self.child = child

    def reap(self) -> bool:
        """Collects the dead; whether the server itself is among them."""
        while self.child is not None and self.child.returncode is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.child.pid:
                self.child.returncode = os.waitstatus_to_exitcode(status)
        return True

    def end(self, number: signal.Signals, grace: float) -> int:
        """Signals the server, more and more firmly, and returns its exit code once everything is gone."""
        if self.child is None:
            return 0
        steps = [(number, grace), (self.harder, _GRACE_AFTER_HARDER), (signal.SIGKILL, 5.0)]
        for step, patience in steps:
            if not self.reap():
                os.kill(self.child.pid, step)
            limit = time.monotonic() + patience
            while not self.reap() and (left := limit - time.monotonic()) > 0:
                if self.owner_gone:  # an owner that dies while it waits shortens the wait
                    limit = min(limit, time.monotonic() + _GRACE_WITHOUT_OWNER)
                    left = min(left, _GRACE_WITHOUT_OWNER)
                self.turn(left)
        return self.tidy()

    def tidy(self) -> int:
        """After the server's end: waits for its orphans, then frees the shared memory that a crash leaves."""
        child, self.child = self.child, None
        assert child is not None
        limit = time.monotonic() + _GRACE_FOR_ORPHANS
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                if time.monotonic() > limit:
                    for orphan in _children():
                        os.kill(orphan, signal.SIGKILL)
                time.sleep(0.005)
        if self.pid_file is not None:
            _free_shared_memory(self.pid_file, child.pid)
        code = child.returncode or 0
        self.report(exited=code)
        return code

    def leave(self) -> None:
        self.end(self.softly, _GRACE_WITHOUT_OWNER)
        if self.remove:
            import shutil  # 10 ms that only throw-away servers pay, and only at their end

            for path in self.remove:
                shutil.rmtree(path, ignore_errors=True)


def _children() -> list[int]:
    """Pids of the processes whose parent we are."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def _free_shared_memory(pid_file: Path, pid: int) -> None:
    """A killed PostgreSQL leaves a System V segment; the pid file, which a clean end removes, has its id."""
    try:
        lines = pid_file.read_text().splitlines()
        if int(lines[0]) == pid:
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), 0, None)
            pid_file.unlink()
    except (OSError, ValueError, IndexError):
        pass


def main() -> None:
    """Obey commands until ``quit``, or until the owner is gone.

    ``serve`` starts a process (answered with ``pid``; its end is reported as ``exited``), ``stop`` and
    ``kill`` end it, ``remove`` names the directories to delete at the end, ``quit`` ends both.
    """
    supervisor = Supervisor(int(sys.argv[1]))
    act: dict[str, Callable[[dict[str, Any]], object]] = {
        "stop": lambda order: supervisor.end(supervisor.softly, order["grace"]),
        "kill": lambda _: supervisor.end(signal.SIGKILL, 5.0),
        "remove": lambda order: supervisor.remove.extend(order["paths"]),
    }
    while (order := supervisor.command()) is not None:
        verb = order["do"]
        if verb == "quit":
            break
        if verb == "serve":
            try:
                supervisor.spawn(order)
            except (OSError, subprocess.SubprocessError) as error:
                supervisor.report(failed=f"{order['argv'][0]}: {error}")
            else:
                assert supervisor.child is not None
                supervisor.report(pid=supervisor.child.pid)
        else:
            act[verb](order)
    supervisor.leave()


if __name__ == "__main__":
    main()
