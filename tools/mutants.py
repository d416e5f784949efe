"""Mutation testing of the pure cores: changes one thing at a time and asks whether a test notices.

    python tools/mutants.py                  # every core
    python tools/mutants.py circuit window   # some of them
    python tools/mutants.py --jobs 4

Each mutant is one node of the module's syntax tree replaced: a comparison shifted, an operator swapped, a number
moved by one, a condition fixed, a statement dropped. It meets the tests named here in a forked process of its own,
up to the first failure. Survivors have to be explained in ``mutants.txt``, next to
this file; the exit status is 1 when one is not, or when fewer than 96 % are killed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib.abc
import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = tuple(f"{ROOT / each}{os.sep}" for each in ("src", "examples", "tests"))
EXPLAINED = Path(__file__).with_name("mutants.txt")
GOAL = 0.96
PATIENCE = 60  # real seconds a mutant may take before it counts as noticed: it hangs

QUIETLY = ["-x", "-q", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
QUIETLY += ["-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]
TESTS = "tests/policies"
CORES: dict[str, list[str]] = {
    "circuit": [
        f"{TESTS}/test_circuit.py",
        f"{TESTS}/test_breaker.py",
        f"{TESTS}/traps/test_breaker_traps.py",
        "tests/models/test_circuit_model.py",
    ],
    "window": [f"{TESTS}/test_window.py", f"{TESTS}/test_circuit.py"],
    "budget": [f"{TESTS}/test_budget.py", f"{TESTS}/test_base.py"],
    "backoff": [f"{TESTS}/test_backoff.py"],
    "matching": [f"{TESTS}/test_matching.py"],
    "retry_after": [f"{TESTS}/test_retry_after.py"],
    "classify": [f"{TESTS}/test_classify.py", "tests/postgres/test_shared_classifier.py"],
    "pacing": [f"{TESTS}/test_pacing.py", f"{TESTS}/test_gate.py", f"{TESTS}/traps/test_limit_traps.py"],
    "gate": [
        f"{TESTS}/test_gate.py",
        f"{TESTS}/test_base.py",
        f"{TESTS}/test_switch.py",
        f"{TESTS}/test_pacing.py",
        f"{TESTS}/test_block.py",
    ],
    "adaptive": [f"{TESTS}/test_adaptive.py", f"{TESTS}/test_base.py"],
    "retry_rules": [
        f"{TESTS}/test_retry_rules.py",
        f"{TESTS}/test_retry.py",
        f"{TESTS}/test_retry_on_tenacity.py",
    ],
    "policy_options": [f"{TESTS}/test_policy_options.py", f"{TESTS}/test_policy_set.py"],
    "trace_recording": ["tests/testing/test_trace_recording.py", "tests/cli/test_replay.py"],
    "queueing": [
        f"{TESTS}/test_bulkhead.py",
        f"{TESTS}/test_queueing.py",
        f"{TESTS}/traps/test_limit_traps.py",
        "tests/models/test_slots_model.py",
    ],
}

APP = "examples/advisory/tests"
RULES = {
    "agreement": ["agreement"],
    "chat": ["chat_rules"],
    "cross_review": ["cross_review"],
    "export": ["council_values"],
    "model": ["council_values"],
    "plan": ["rules"],
    "prompts": ["council_values", "agreement", "cross_review"],
    "spending": ["agreement"],
    "texts": ["council_values", "rules", "retries"],
}
for _name, _tests in RULES.items():
    CORES[f"advisory/council/{_name}"] = [
        "-m",
        "not integration",
        *(f"{APP}/test_{each}.py" for each in _tests),
    ]
CORES["advisory/council/chat"] += [
    "-k",
    "not (piece_by or gone_on or not_whole or blamed or fit or turn_that or turn_whose)",
]
CORES["advisory/worker/draft"] = [f"{APP}/test_draft.py"]
STORED = sorted(f"{APP}/{each.name}" for each in (ROOT / APP).glob("test_*_store.py"))


def stored(name: str) -> list[str]:
    """All tests of the store, those of the file `name` first: they notice most."""
    own = f"{APP}/test_{name}_store.py"
    return [*(own for each in STORED if each == own), *(each for each in STORED if each != own)]


for _name in (
    "account", "agreement", "chat", "chat_turns", "council", "cross_review", "cursor", "deleted", "events", "experts",
    "personas", "purge", "recoveries", "refunds", "runs", "saved", "search", "seeds", "share", "spending", "users",
):  # fmt: skip
    _own = {"chat_turns": "chat", "refunds": "chat"}.get(_name, _name)
    CORES[f"advisory/store/{_name}"] = [*stored(_own), f"{APP}/test_saved.py", "-k", "store or key"]
for _name in ("model", "plan", "prompts", "texts"):
    CORES[f"advisory/research/{_name}"] = ["-m", "not integration", f"{APP}/test_research_rules.py"]
for _name in ("errors", "perplexity", "unsplash", "youtube"):
    CORES[f"advisory/sources/{_name}"] = [
        "-m",
        "not integration",
        f"{APP}/test_sources.py",
        f"{APP}/test_research_rules.py",
    ]
CORES["advisory/worker/chat"] = [f"{APP}/test_chat_rules.py"]
APP_GOAL = 0.90

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.Mod: (ast.Add,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.RShift: (ast.LShift,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.USub: (ast.UAdd,),
}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what it was, what it became, and the changed tree."""

    core: str
    line: int
    was: str
    now: str
    tree: ast.Module

    @property
    def key(self) -> str:
        """The name in ``mutants.txt``: by what was written, not by a line number that moves."""
        return f"{self.core}: {self.was}  ->  {self.now}"


def mutants(core: str) -> Iterator[Mutant]:
    tree = ast.parse(source_of(core).read_text())
    for path, node in walk(tree, ()):
        for other in changed(node):
            mutated = copy.deepcopy(tree)
            replace(mutated, path, copy.deepcopy(other))
            ast.fix_missing_locations(mutated)
            yield Mutant(core, getattr(node, "lineno", 0), text(node), text(other), mutated)


def source_of(core: str) -> Path:
    folder = "examples" if "/" in core else "src"
    return ROOT / folder / f"{module_of(core).replace('.', '/')}.py"


def module_of(core: str) -> str:
    if "/" in core:
        return core.replace("/", ".")
    return f"prodkit.{'testing' if core.startswith('trace') else 'policies'}.{core}"


def text(node: ast.AST | None) -> str:
    return "(dropped)" if node is None or isinstance(node, ast.Pass) else " ".join(ast.unparse(node).split())


Step = tuple[str, int | None]


def walk(node: ast.AST, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], ast.AST]]:
    """Every node whose change a test could notice: no annotations, docstrings, imports, messages or reprs."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.arguments)):
        return
    if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
        return
    if isinstance(node, ast.Assign) and text(node).startswith(("__all__", "__slots__")):
        return
    if isinstance(node, ast.Raise) and text(node) == "raise NotImplementedError":
        return
    yield path, node
    for name, value in ast.iter_fields(node):
        if name in (
            "annotation",
            "returns",
            "decorator_list",
            "bases",
            "type_comment",
            "ctx",
            "ops",
            "op",
            "func",
        ):
            continue
        if isinstance(value, list):
            for place, child in enumerate(value):
                if isinstance(child, ast.AST):
                    yield from walk(child, (*path, (name, place)))
        elif isinstance(value, ast.AST):
            yield from walk(value, (*path, (name, None)))


def changed(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op]):
            for kind in SWAPS.get(type(op), ()):
                yield ast.Compare(node.left, [kind()], node.comparators)
        case ast.Compare(ops=[first, second]):
            for kind in SWAPS.get(type(first), ())[:1]:
                yield ast.Compare(node.left, [kind(), second], node.comparators)
            for kind in SWAPS.get(type(second), ())[:1]:
                yield ast.Compare(node.left, [first, kind()], node.comparators)
        case ast.BinOp(op=op):
            for kind in SWAPS.get(type(op), ()):
                yield ast.BinOp(node.left, kind(), node.right)
        case ast.AugAssign(op=op):
            for kind in SWAPS.get(type(op), ()):
                yield ast.AugAssign(node.target, kind(), node.value)
            yield ast.Pass()
        case ast.BoolOp(op=op):
            for kind in SWAPS[type(op)]:
                yield ast.BoolOp(kind(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.UnaryOp(op=ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1)
        case ast.If() | ast.IfExp() | ast.While():
            fixed = (False,) if isinstance(node, ast.While) else (True, False)
            for value in fixed:
                other = copy.copy(node)
                other.test = ast.Constant(value)
                yield other
        case ast.Return(value=ast.AST()) if not isinstance(node.value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Assign() | ast.Raise():
            yield ast.Pass()
        case ast.Expr() if not isinstance(node.value, ast.Constant):
            yield ast.Pass()
        case _:
            return


def replace(tree: ast.AST, path: Sequence[Step], other: ast.AST) -> None:
    for name, place in path[:-1]:
        tree = getattr(tree, name) if place is None else getattr(tree, name)[place]
    name, place = path[-1]
    if place is None:
        setattr(tree, name, other)
    else:
        getattr(tree, name)[place] = other


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed tree."""

    def __init__(self, core: str, tree: ast.Module) -> None:
        self.name = module_of(core)
        self.path = str(source_of(core))
        self.tree = tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


def codes(code: CodeType) -> Iterator[CodeType]:
    """All code objects in `code`, itself included."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes(const)


def functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods written in `module`."""
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if isinstance(member, FunctionType) and member.__code__.co_filename == module.__file__:
                yield member


class Judge:
    """A pytest plugin: once the tests are collected, each mutant runs them in a process of its own.

    What changes inside a function is put into the functions that the tests have imported already, which saves
    most of the time. What changes elsewhere (a default, a constant of a class) needs a fresh import: `slow`.
    """

    def __init__(self, core: str, jobs: int) -> None:
        self.core = core
        self.jobs = jobs
        self.every = list(mutants(core))
        self.survivors: list[Mutant] = []
        self.healthy = False

    def pytest_runtestloop(self, session: Any) -> bool:
        if session.testsfailed or not session.items:
            return True
        module = sys.modules[module_of(self.core)]
        mine = {function.__code__.co_qualname: function for function in functions(module)}
        original = {code.co_qualname: code for code in codes(compiled(self.core, None))}
        unchanged = ast.parse(source_of(self.core).read_text())
        self.healthy = all(
            os.waitstatus_to_exitcode(os.waitpid(self.fork(work), 0)[1]) == 0
            for work in (
                lambda: run(session),
                lambda: self.imported_again(unchanged),
            )  # both ways notice nothing
        )
        running: dict[int, Mutant] = {}
        waiting = list(reversed(self.every)) if self.healthy else []
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                running[self.fork(functools.partial(self.attempt, mutant, session, mine, original))] = mutant
            child, status = os.waitpid(-1, 0)
            mutant = running.pop(child)
            if os.waitstatus_to_exitcode(status) == 0:
                self.survivors.append(mutant)
        return True

    def attempt(
        self, mutant: Mutant, session: Any, mine: dict[str, FunctionType], original: dict[str, CodeType]
    ) -> int:
        changed_codes = {code.co_qualname: code for code in codes(compiled(self.core, mutant.tree))}
        differing = [name for name, code in changed_codes.items() if code != original.get(name)]
        outer = {name.split(".<locals>")[0] for name in differing if name in mine or "<locals>" in name}
        if not outer or not outer <= mine.keys() or not all(covers(outer, name) for name in differing):
            return self.imported_again(mutant.tree)
        for name in outer:
            mine[name].__code__ = changed_codes[name]
        return run(session)

    def imported_again(self, tree: ast.Module) -> int:
        """Imports everything of ours again, the module from `tree`, and runs the tests.

        Third parties stay, those of an environment inside this folder too: a C extension that is imported twice
        may crash, and a crash would count as a mutant that was noticed.
        """
        sys.meta_path.insert(0, Changed(self.core, tree))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(OURS):
                del sys.modules[name]
        return int(pytest.main([*QUIETLY, *CORES[self.core]]))

    @staticmethod
    def fork(work: Callable[[], int]) -> int:
        """Does `work` in a process of its own, which ends with what it returns."""
        if child := os.fork():
            return child
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        signal.alarm(PATIENCE)
        status = 2
        try:
            status = work()
        finally:
            os._exit(status)


def covers(outer: set[str], name: str) -> bool:
    """Return whether a difference in the code `name` is inside one of `outer`, or around it only because of it."""
    return any(
        each == name or name.startswith(f"{each}.<locals>") or each.startswith(f"{name}.") for each in outer
    ) or (name == "<module>")


def compiled(core: str, tree: ast.Module | None) -> CodeType:
    path = source_of(core)
    return compile(tree if tree is not None else ast.parse(path.read_text()), str(path), "exec")


def run(session: Any) -> int:
    """Runs the collected tests up to the first failure; 0 when all passed."""
    items = session.items
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def explained() -> dict[str, str]:
    """The content of ``mutants.txt``: a line names the mutant, the indented ones after it say why it may live."""
    reasons: dict[str, str] = {}
    key = ""
    for line in EXPLAINED.read_text().splitlines() if EXPLAINED.exists() else ():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" "):
            reasons[key] = f"{reasons[key]} {line.strip()}".strip()
        else:
            key = line.strip()
            reasons[key] = ""
    return reasons


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cores", nargs="*", choices=[*CORES, []], help="all when none is given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the two that are needed are named: it is faster
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "examples")]
    reasons = explained()
    good = True
    cores = options.cores or list(CORES)
    with database(cores):
        for core in cores:
            started = time.monotonic()
            judge = Judge(core, options.jobs)
            if child := os.fork():  # a process for each core: pytest runs once in each
                good = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and good
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                pytest.main([*QUIETLY, *CORES[core]], plugins=[judge])
            os._exit(0 if reported(judge, reasons, time.monotonic() - started) else 1)
    return 0 if good else 1


def reported(judge: Judge, reasons: dict[str, str], took: float) -> bool:
    """Prints what became of the mutants of one core; whether the goal is met."""
    core, survivors = judge.core, judge.survivors
    if not judge.healthy:
        print(f"{core}: its tests fail without any change", flush=True)
        return False
    total = len(judge.every)
    killed = total - len(survivors)
    unexplained = [each for each in survivors if not reasons.get(each.key)]
    share = f"{killed} of {total} killed, {killed / total:.1%}"
    print(f"{core}: {share}, {len(unexplained)} unexplained ({took:.0f} s)")
    for each in sorted(survivors, key=lambda mutant: mutant.line):
        print(f"  {'explained' if reasons.get(each.key) else 'SURVIVED '} {each.line:4d}  {each.key}")
    sys.stdout.flush()
    if "/" in core:  # of the app, whose survivors are listed and need no explanation
        return killed / total >= APP_GOAL
    return killed / total >= GOAL and not unexplained


@contextlib.contextmanager
def database(cores: Sequence[str]) -> Iterator[None]:
    """One PostgreSQL with the app's schema for all processes, where the app's SQL is tested."""
    if not any(core.startswith("advisory/store/") for core in cores):
        yield
        return
    from prodkit.testing.servers import Postgres

    with Postgres() as server:
        url = server.create_database("mutants")
        migrate = (
            f"import asyncio; from advisory.migrations.apply import migrate; asyncio.run(migrate({url!r}))"
        )
        paths = os.pathsep.join(str(ROOT / each) for each in ("src", "examples"))
        subprocess.run([sys.executable, "-c", migrate], check=True, env={**os.environ, "PYTHONPATH": paths})
        os.environ["ADVISORY_STORE_URL"] = url
        yield


if __name__ == "__main__":
    sys.exit(main())
