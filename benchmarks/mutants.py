"""Mutation testing of the pure cores: changes one thing at a time and asks whether a test notices.

    python benchmarks/mutants.py                  # every core
    python benchmarks/mutants.py circuit window   # some of them
    python benchmarks/mutants.py --jobs 4

Each mutant is one node of the module's syntax tree replaced: a comparison shifted, an operator swapped, a number
moved by one, a condition fixed, a statement dropped. It runs in a forked process that imports the changed module
and then the tests named here, up to the first failure. Survivors have to be explained in ``mutants.txt``, next to
this file; the exit status is 1 when one is not, or when fewer than 96 % are killed.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = Path(__file__).with_name("mutants.txt")
GOAL = 0.96
PATIENCE = 60  # real seconds a mutant may take before it counts as noticed: it hangs

QUIETLY = ["-x", "-q", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
QUIETLY += ["-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]
TESTS = "tests/policies"
CORES: dict[str, list[str]] = {
    "circuit": [
        f"{TESTS}/test_circuit.py",
        f"{TESTS}/traps/test_breaker_traps.py",
        "tests/models/test_circuit_model.py",
    ],
    "window": [f"{TESTS}/test_window.py", f"{TESTS}/test_circuit.py"],
    "budget": [f"{TESTS}/test_budget.py"],
    "backoff": [f"{TESTS}/test_backoff.py"],
    "gate": [f"{TESTS}/test_gate.py", f"{TESTS}/test_pace.py"],
    "pace": [f"{TESTS}/test_pace.py", f"{TESTS}/test_gate.py"],
    "adaptive": [f"{TESTS}/test_adaptive.py"],
    "slots": [
        f"{TESTS}/test_bulkhead.py",
        f"{TESTS}/traps/test_limit_traps.py",
        "tests/models/test_slots_model.py",
    ],
}

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
        """How ``mutants.txt`` names it: by what was written, not by a line number that moves."""
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
    return ROOT / "src/prodkit/policies" / f"{core}.py"


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
        self.name = f"prodkit.policies.{core}"
        self.path = str(source_of(core))
        self.tree = tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


def run_in_child(mutant: Mutant | None, core: str) -> int:
    """Forks; the child runs the tests of `core` and ends with 0 when all passed. Returns its process id."""
    if child := os.fork():
        return child
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.alarm(PATIENCE)
    status = 2
    try:
        import pytest

        if mutant is not None:
            sys.meta_path.insert(0, Changed(core, mutant.tree))
        status = int(pytest.main([*QUIETLY, *CORES[core]]))
    finally:
        os._exit(status)


def judge(every: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """The mutants that no test noticed."""
    running: dict[int, Mutant] = {}
    survivors: list[Mutant] = []
    waiting = list(reversed(every))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[run_in_child(mutant, mutant.core)] = mutant
        child, status = os.waitpid(-1, 0)
        mutant = running.pop(child)
        if os.waitstatus_to_exitcode(status) == 0:
            survivors.append(mutant)
    return survivors


def explained() -> dict[str, str]:
    """What ``mutants.txt`` says: a line names the mutant, the indented ones after it say why it may live."""
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
    sys.path.insert(0, str(ROOT / "src"))
    # Loaded once, so that each child starts with them; nothing of prodkit is.
    import hypothesis.stateful
    import pytest
    import pytest_asyncio.plugin
    import tenacity

    _ = asyncio, hypothesis.stateful, pytest, pytest_asyncio.plugin, tenacity
    reasons = explained()
    good = True
    for core in options.cores or CORES:
        started = time.monotonic()
        _, status = os.waitpid(run_in_child(None, core), 0)
        if os.waitstatus_to_exitcode(status) != 0:
            print(f"{core}: its tests fail without any change")
            return 1
        every = list(mutants(core))
        survivors = judge(every, options.jobs)
        killed = len(every) - len(survivors)
        share = killed / len(every)
        unexplained = [each for each in survivors if not reasons.get(each.key)]
        good = good and share >= GOAL and not unexplained
        took = time.monotonic() - started
        print(
            f"{core}: {killed} of {len(every)} killed, {share:.1%}, {len(unexplained)} unexplained ({took:.0f} s)"
        )
        for each in sorted(survivors, key=lambda mutant: mutant.line):
            print(
                f"  {'explained' if each.key in reasons else 'SURVIVED '} {each.line:4d}  {each.key}",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
