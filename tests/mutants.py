"""Mutation testing with mutmut: faults that the tests of a module let through, in docs/mutants.md.

    python tests/mutants.py all                             # every module of TESTS
    python tests/mutants.py components/bridge fetch/web     # some; what is known of others stays
    python tests/mutants.py                                 # counts anew after reasons were written

mutmut forks a process for each mutant, which runs the tests that call the changed function. Here it
also changes decorated functions, which it passes over (the five bridges among them), returned
values, conditions of `if`, and statements that only call. Who survives meets every test of the
module in a process that has not yet imported it, so that what runs on import is tested as well.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mutants.md"
TESTS = {  # module below src/pscli: its tests
    "components/alignment": ["alignment"],
    "components/bridge": ["bridge"],
    "components/estimators": ["estimators"],
    "components/noise": ["bridge"],
    "dialogue/sequence": ["sequence", "packing"],
    "fetch/addresses": ["web"],
    "fetch/web": ["web"],
    "metrics/base": ["metrics_base"],
    "metrics/group": ["metrics_base"],
    "metrics/distinct": ["text_oracles"],
    "metrics/image": ["metrics_image"],
    "metrics/overlap": ["metrics_text", "text_oracles"],
    "metrics/score": ["metrics_base"],
    "metrics/sharing": ["metrics_base"],
    "metrics/text": ["metrics_text", "text_oracles"],
    "metrics/text_parts": ["metrics_text", "text_oracles", "outputs"],
    "metrics/tokens": ["text_oracles"],
    "predictions/outputs": ["outputs", "broken_predictions"],
    "training/checkpoint": ["checkpoint"],
    "training/loop": ["loop"],
    "training/schedules": ["schedules"],
}
KILLED = (1, 3, 36, 24, -24, 152, 255)  # how pytest ends in mutmut: a test fails, time is over
LIMIT = 900  # seconds for all tests of a module
HEAD = """# Mutants
Small changes to a module (an operator, constant, argument, condition, returned value, a call left
out), and whether its tests notice. `make mutants MODULES="components/bridge fetch/web"` renews what
it names, with mutmut {version}. A mutant whose tests do not end counts as killed. The score is
killed / (mutants - equivalent). What survives is listed below, with the reason. Not changed are
`strict=` of zip, which only guards, and `encoding=`, which is the default here.

| module | tests | mutants | killed | equivalent | survived | score | date |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as fetch/web; all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rows, survivors = read_page()
    for module in list(TESTS) if options.modules == ["all"] else options.modules:
        with tempfile.TemporaryDirectory() as folder:
            found = run(module, Path(folder), options.jobs)
        rows[module] = (len(found), str(datetime.date.today()))
        known = dict(survivors.get(module, []))
        left = [mutant["change"] for mutant in found if mutant["end"] == "survived"]
        survivors[module] = [(change, known.get(change, "?")) for change in left]
        write_page(rows, survivors)
    write_page(rows, survivors)


def run(module: str, work: Path, jobs: int) -> list[dict[str, str]]:
    """How each mutant of a module ended, and the change of those that survived."""
    for name in ("src", "tests", "examples"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = [f"tests/test_{name}.py" for name in TESTS[module]]
    settings = {
        "source_paths": ["src"], "only_mutate": [f"src/pscli/{module}.py"],
        "pytest_add_cli_args_test_selection": files, "also_copy": ["examples"],
    }  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join([text, "[tool.mutmut]", *lines])
    (work / "pyproject.toml").write_text(text, encoding="utf-8")
    copy = work / "mutants"
    (copy / "src").mkdir(parents=True)  # Python forgets a path that is not there when it starts
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy / "src")}
    for step in (["mutate", str(jobs)], ["again", str(jobs), *files]):
        subprocess.run([sys.executable, __file__, *step], cwd=work, env=environment, check=True)
    found: list[dict[str, str]] = json.loads((work / "found.json").read_text(encoding="utf-8"))
    return found


# -- the page ----------------------------------------------------------------------------------


def read_page() -> tuple[dict[str, tuple[int, str]], dict[str, list[tuple[str, str]]]]:
    """Number of mutants and date by module; changes that survive, and why, by module."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: (int(row[2]), row[7]) for row in cells if row[0] != "module"}
    survivors = {}
    for part in text.split("\n## ")[1:]:
        module, *items = part.split("\n- ")
        pairs = [item.strip().split("\n  ", 1) for item in items]
        survivors[module.strip()] = [(change, why) for change, why in pairs]
    return rows, survivors


def write_page(
    rows: dict[str, tuple[int, str]], survivors: dict[str, list[tuple[str, str]]]
) -> None:
    text = HEAD.format(version=version("mutmut"))
    for module, (count, date) in sorted(rows.items()):
        reasons = [why for _, why in survivors.get(module, [])]
        equivalent = sum(why.startswith("Equivalent") for why in reasons)
        killed = count - len(reasons)
        score = f"{100 * killed / max(1, count - equivalent):.1f} %"
        tests = ", ".join(f"test_{name}" for name in TESTS[module])
        row = (module, tests, count, killed, equivalent, len(reasons) - equivalent, score, date)
        text += f"| {' | '.join(map(str, row))} |\n"
    for module, pairs in sorted(survivors.items()):
        items = [f"- {change}\n  {why}\n" for change, why in pairs]
        text += f"\n## {module}\n{''.join(items)}" if items else ""
    PAGE.write_text(text, encoding="utf-8")


# -- inside the copy: mutmut, extended ---------------------------------------------------------


def mutate(jobs: str) -> None:
    import libcst as cst
    from mutmut import __main__ as mutmut
    from mutmut.mutation import file_mutation, mutators
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    def no_call(node: cst.Expr) -> Iterable[cst.CSTNode]:
        if isinstance(node.value, cst.Call):
            yield cst.Pass()

    def no_value(node: cst.Return) -> Iterable[cst.CSTNode]:
        if node.value is not None and getattr(node.value, "value", "") != "None":
            yield node.with_changes(value=cst.Name("None"))

    def negation(node: cst.If) -> Iterable[cst.CSTNode]:
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))

    def left(node: cst.Call) -> list[cst.Arg]:
        """Arguments that no test here can tell from their default."""
        names = ["encoding", *(["strict"] if getattr(node.func, "value", "") == "zip" else [])]
        return [a for a in node.args if a.keyword and a.keyword.value in names]

    def fewer(node: cst.Call) -> Iterable[cst.CSTNode]:
        kept = left(node)
        rest = node.with_changes(args=[a for a in node.args if a not in kept])
        for call in mutators.operator_arg_removal(rest):
            yield call.with_changes(args=[*call.args, *kept])

    own = mutators.mutation_operators
    own[own.index((cst.Call, mutators.operator_arg_removal))] = (cst.Call, fewer)  # type: ignore
    own.extend(  # type: ignore[attr-defined]
        [(cst.Expr, no_call), (cst.Return, no_value), (cst.If, negation)]
    )
    untouched: list[cst.CSTNode] = []
    skip = file_mutation.MutationVisitor._skip_node_and_children
    arrange = file_mutation.function_trampoline_arrangement

    def skip_less(self: Any, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.decorators:
            node = node.with_changes(decorators=[])
        if isinstance(node, cst.Call):
            untouched.extend(left(node))
        return node in untouched or skip(self, node)

    def arrange_bare(function: Any, mutants: Any, class_name: Any) -> Any:
        """Decorators stay on the function that is called and leave its copies."""
        before, (called, *copies), after, names = arrange(function, mutants, class_name)
        return before, [called, *map(bare, copies)], after, names

    def bare(copy: Any) -> Any:
        kinds = ("staticmethod", "classmethod")
        kept = [d for d in copy.decorators if getattr(d.decorator, "value", "") in kinds]
        return copy.with_changes(decorators=kept)

    file_mutation.MutationVisitor._skip_node_and_children = skip_less
    file_mutation.function_trampoline_arrangement = arrange_bare
    mutmut.cli(["run", "--max-children", jobs], standalone_mode=False)

    found = []
    for meta in Path("mutants/src").rglob("*.meta"):
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        for name, code in codes.items():
            lines = [line for line in get_diff_for_mutant(name).splitlines()[2:] if line[0] in "+-"]
            change = " ".join(f"`{line[0]} {' '.join(line[1:].split())}`" for line in lines)
            where = re.sub("^x[_ǁ]|__mutmut_.*", "", name.rsplit(".", 1)[1]).replace("ǁ", ".")
            end = "killed" if code in KILLED else "survived"
            found.append({"name": name, "end": end, "change": f"{where}: {change}"})
    Path("found.json").write_text(json.dumps(found), encoding="utf-8")


def again(jobs: str, *files: str) -> None:
    """All tests of the module for who survived."""
    import diffusers  # noqa: F401  what each process would else import for itself
    import transformers  # noqa: F401

    place = Path("found.json").absolute()
    found = json.loads(place.read_text(encoding="utf-8"))
    left = [mutant for mutant in found if mutant["end"] == "survived"]
    os.chdir("mutants")
    with multiprocessing.get_context("fork").Pool(int(jobs), maxtasksperchild=1) as pool:
        tasks = [pool.apply_async(meet, (mutant["name"], files)) for mutant in left]
        for mutant, task in zip(left, tasks, strict=True):
            mutant["end"] = "killed" if task.get() else "survived"
    place.write_text(json.dumps(found), encoding="utf-8")


def meet(name: str, files: tuple[str, ...]) -> int:
    import pytest

    def stop(*_: object) -> None:
        raise TimeoutError(f"{name} took more than {LIMIT} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    os.environ["MUTANT_UNDER_TEST"] = name
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))


if __name__ == "__main__":
    inside = {"mutate": mutate, "again": again}.get(sys.argv[1] if sys.argv[1:] else "")
    inside(*sys.argv[2:]) if inside else main()
