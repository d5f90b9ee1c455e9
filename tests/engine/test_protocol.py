"""The protocol of the helper threads: in every order, and millions of times with delays between its steps.

In every order: the source of `threads` itself, one access to memory at a time. A thread is a generator made from that
source, which yields at each access. It goes from place to place (where it stands, and what its variables hold) by the
answers that it gets. A state is the places of all threads and the contents of memory, and from each state every thread
may take the next step. What takes time takes any time: a comparison with the clock may turn out either way.

Memory is sequentially consistent, as the engine's atomics are. The plain accesses are so too if no two threads make
conflicting ones without order, and that is looked for in every state.

With delays: a copy of the package in which a thread waits, mostly not at all and now and then for long, before each
access to what threads share. What it computes is checked after each job, bit for bit; a job halves numbers in place, so
an element that is left out or computed twice shows.
"""

from __future__ import annotations

import ast
import dis
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

import rectifier
from rectifier.engine.compiler.structures import lower
from rectifier.engine.runtime import layout, threads
from rectifier.engine.runtime.layout import Control, Engine, Job
from rectifier.engine.runtime.structure import Structure, Words

ENGINE, BLOCK, PLANS, JOBS = (n << 24 for n in range(1, 5))  # where things lie
OWNS, JOB = 1 << 20, 1 << 13  # bytes of each owner's stack, and between jobs on it
PRIMITIVES, ALL = 24, (1 << 32) - 1


class ViolationError(Exception):
    """What must not happen, has."""


class _Stepwise(ast.NodeTransformer):
    """Yield at each instruction, and let the clock say anything."""

    def __init__(self, functions: set[str]) -> None:
        self.functions = functions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.body.insert(0, ast.parse("yield from ()").body[0])
        return node

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        """Count in variables: how far an iterator is cannot be seen from outside."""
        self.generic_visit(node)
        k, stop = node.target.id, f"stop_{node.lineno}"
        bound = ast.unparse(node.iter.args[0])
        loop = ast.parse(f"{k} = -1\n{stop} = {bound}\nwhile {k} + 1 < {stop}:\n    {k} += 1").body
        loop[-1].body += node.body
        return loop

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if any(isinstance(part, ast.Name) and part.id == "ticks" for part in ast.walk(node)):
            return self._yield("choose")
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = node.func.id
        if name in self.functions:
            return self._yield("value", ast.YieldFrom(node))
        if name == "ticks":
            return ast.Constant(0)
        if name in ("min", "max", "range"):
            return node
        return self._yield(name, *node.args)

    @staticmethod
    def _yield(name: str, *values: ast.expr) -> ast.Yield:
        return ast.Yield(ast.Tuple([ast.Constant(name), *values], ast.Load()))


def refuse(node: ast.AST) -> Any:
    raise AssertionError(f"no field: {ast.unparse(node)}")


def word_of(structure: type[Structure], name: str, k: int = 0) -> int:
    """Return where a field lies in a structure, or an element of it, in bytes."""
    return 8 * (structure.fields[name].word + k)


def stepwise(source: str, names: set[str], words: dict[str, Any]) -> dict[str, Callable[..., Generator]]:
    """Make generators of functions in a source."""
    functions = {
        node.name: lower(node, {**vars(threads), **words}, refuse)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in names
    }
    tree = ast.Module([_Stepwise(names).visit(functions[name]) for name in sorted(names)], [])
    namespace = dict(words)
    exec(compile(ast.unparse(ast.fix_missing_locations(tree)), "<stepwise>", "exec"), namespace)
    return {name: namespace[name] for name in names}


def address_of(name: str, values: list[int]) -> int:
    """Say which word an instruction accesses."""
    return values[0] + 8 * values[1] if name in ("load", "store") else values[0] if values else 0


@cache
def needed(code: CodeType) -> dict[int, frozenset[str]]:
    """Say which variables matter after each instruction: what the others hold makes no difference.

    They are those that are read later, and those that were read in the same line, whose values an expression may hold.
    """
    instructions = list(dis.get_instructions(code))
    index = {instruction.offset: k for k, instruction in enumerate(instructions)}
    live: list[set[str]] = [set() for _ in (*instructions, None)]
    after: list[set[str]] = [set() for _ in instructions]
    changed = True
    while changed:
        changed = False
        for k in range(len(instructions) - 1, -1, -1):
            instruction = instructions[k]
            ends = instruction.opname.startswith(("RETURN", "RAISE", "RERAISE", "JUMP"))
            out = set() if ends else set(live[k + 1])
            if instruction.opcode in (*dis.hasjrel, *dis.hasjabs):
                out |= live[index[instruction.argval]]
            before, names = set(out), instruction.argval
            accesses = re.findall("(LOAD|STORE)_FAST", instruction.opname)
            names = names if isinstance(names, tuple) else (names,)
            for access, name in reversed(list(zip(accesses, names, strict=False))):
                before = before | {name} if access == "LOAD" else before - {name}
            changed |= before != live[k] or out != after[k]
            live[k], after[k] = before, out
    held: dict[int, set[str]] = defaultdict(set)
    line = 0
    for k, instruction in enumerate(instructions):
        line = (instruction.positions and instruction.positions.lineno) or line
        if "LOAD_FAST" in instruction.opname:
            held[line] |= {instruction.argval} if isinstance(instruction.argval, str) else set(instruction.argval)
        after[k] |= held[line]
    return {instruction.offset: frozenset(after[k]) for k, instruction in enumerate(instructions)}


class Line(NamedTuple):
    """What a frame has learnt since it came to a line."""

    number: int
    at: int
    answers: tuple[int, ...]


class Thread:
    """One thread as an automaton, which is found out as far as it is asked about.

    A place is where each of its frames stands, with the variables that matter, and the answers that the line has got so
    far: what a half-evaluated expression holds cannot be seen, but follows from those.
    """

    def __init__(self, start: Callable[[], Generator], constants: dict[int, int]) -> None:
        self.start, self.constants = start, constants
        self.numbers: dict[Any, int] = {}
        self.histories: list[tuple[int, ...]] = []
        self.actions: list[tuple[Any, ...]] = []
        self.edges: dict[tuple[int, int], int] = {}
        self.first = self._find(())

    def after(self, place: int, answer: int) -> int:
        if (place, answer) not in self.edges:
            self.edges[place, answer] = self._find((*self.histories[place], answer))
        return self.edges[place, answer]

    def _find(self, history: tuple[int, ...]) -> int:
        program = self.start()
        lines: list[Line] = []
        action, answers = next(program), iter(history)
        while True:
            answer = self._at_once(action)
            frames = list(self._frames(program))
            lines = [self._line(frame, lines[k : k + 1], frame is frames[-1]) for k, frame in enumerate(frames)]
            if answer is None:
                answer = next(answers, None)
                if answer is None:
                    break
            lines[-1] = lines[-1]._replace(answers=(*lines[-1].answers, answer))
            try:
                action = program.send(answer)
            except StopIteration:
                action, lines, frames = ("over",), [], []
                break
        place = (
            action,
            tuple((frame.f_lasti, self._variables(frame)) for frame in frames),
            tuple(line.answers for line in lines),
        )
        if place not in self.numbers:
            self.numbers[place] = len(self.numbers)
            self.histories.append(history)
            self.actions.append(action)
        return self.numbers[place]

    def _at_once(self, action: tuple[Any, ...]) -> int | None:
        """Answer what no other thread can tell: a word that never changes or that is not looked at, a pause."""
        name, *values = action
        if name == "value":  # of a function of the source
            return values[0] or 0
        if name in ("pause", "enter_default_floating_point", "call1"):
            return 0
        return self.constants.get(address_of(name, values)) if name in ("load", "store", "atomic_add") else None

    @staticmethod
    def _line(frame: Any, before: list[Line], innermost: bool) -> Line:
        """Keep the answers while a frame goes on in a line; one that has come round to it again begins anew.

        A frame that waits for one inside it stands still.
        """
        if before and before[0].number == frame.f_lineno and before[0].at < frame.f_lasti + (not innermost):
            return before[0]._replace(at=frame.f_lasti)
        return Line(frame.f_lineno, frame.f_lasti, ())

    @staticmethod
    def _variables(frame: Any) -> tuple[tuple[str, int], ...]:
        live = needed(frame.f_code)[frame.f_lasti]
        return tuple((name, value) for name, value in frame.f_locals.items() if name in live)

    @staticmethod
    def _frames(program: Any) -> Iterator[Any]:
        while program is not None:
            yield program.gi_frame
            program = program.gi_yieldfrom


class State(NamedTuple):
    memory: tuple[int, ...]
    places: tuple[int, ...]
    asleep: tuple[int | None, ...]  # what the word was when a thread went to sleep over it
    jobs: tuple[tuple[int, int, int], ...]  # of each owner: the job, 0 before and after; its elements; those computed


class Found(NamedTuple):
    states: int
    violation: str


class Model:
    """All states that some threads can come to, and whether one of them is bad."""

    def __init__(self, owners: list[Thread], helpers: list[Thread], wake: bool) -> None:
        self.threads, self.owners, self.wake = [*owners, *helpers], len(owners), wake
        self.slots: dict[int, int] = {}

    def check(self) -> Found:
        """Look at every state: each job is computed once and whole, none is touched late, and none waits for ever."""
        n = len(self.threads)
        first = State((0,) * PRIMITIVES, tuple(t.first for t in self.threads), (None,) * n, ((0, 0, 0),) * self.owners)
        numbers, waiting = {first: 0}, deque([first])
        before: dict[int, list[int]] = defaultdict(list)
        over = []
        while waiting:
            state = waiting.popleft()
            number = numbers[state]
            if all(t.actions[p] == ("over",) for t, p in zip(self.threads[: self.owners], state.places, strict=False)):
                over.append(number)
            try:
                self._look_for_a_race(state)
                for following, of_itself in self._successors(state):
                    if following not in numbers:
                        numbers[following] = len(numbers)
                        waiting.append(following)
                    if of_itself:
                        before[numbers[following]].append(number)
            except ViolationError as violation:
                return Found(len(numbers), str(violation))
        ends = set(over)
        while over:
            for number in before[over.pop()]:
                if number not in ends:
                    ends.add(number)
                    over.append(number)
        return Found(len(numbers), "" if len(ends) == len(numbers) else "a job never ends")

    def _successors(self, state: State) -> Iterator[tuple[State, bool]]:
        """Give what can follow, and whether it does so without the system waking a thread for no reason."""
        for t in range(len(self.threads)):
            if state.asleep[t] is not None:
                yield self._woken(state, (t,)), False
            elif self.threads[t].actions[state.places[t]] != ("over",):
                for following, answer in self._act(state, t):
                    yield from ((s, True) for s in self._moved(following, t, answer))

    def _moved(self, state: State, t: int, answer: int) -> Iterator[State]:
        """Go on to the next access, through choices, which no other thread may notice."""
        thread, places = self.threads[t], state.places
        place = thread.after(places[t], answer)
        state = state._replace(places=(*places[:t], place, *places[t + 1 :]))
        if thread.actions[place] == ("choose",):
            for choice in (0, 1):
                yield from self._moved(state, t, choice)
        else:
            yield state

    def _look_for_a_race(self, state: State) -> None:
        """See whether two threads are about to access one word without order.

        Where no state is so, memory is as if sequentially consistent, whatever compiler and processor make of the plain
        accesses.
        """
        accesses = []
        for thread, place in zip(self.threads, state.places, strict=True):
            name, *values = thread.actions[place]
            if values and name not in ("begin", "call3", "call6"):
                accesses.append((address_of(name, values), name in ("load", "store"), "load" not in name))
        for (here, plain, writes), (there, also_plain, also_writes) in combinations(accesses, 2):
            if here == there and (plain or also_plain) and (writes or also_writes):
                raise ViolationError("two threads access a word at once")

    def _act(self, state: State, t: int) -> Iterator[tuple[State, int]]:
        name, *values = self.threads[t].actions[state.places[t]]
        if name in ("begin", "end"):
            _, total, done = state.jobs[t]
            if name == "end" and done != (1 << total) - 1:
                raise ViolationError("a job ends before it is computed")
            yield self._with_job(state, t, (*values, 0) if values else (0, 0, 0)), 0
        elif name == "call3":
            yield self._compute(state, *values[1:]), 0
        elif name == "call6":
            yield from self._futex(state, t, *values[2:5])
        else:
            address = address_of(name, values)
            self._look(state, t, name, address)
            slot = self.slots.setdefault(address, len(self.slots))
            old = state.memory[slot]
            new, answer = self._update(name, old, values)
            if new != old:
                state = state._replace(memory=(*state.memory[:slot], new, *state.memory[slot + 1 :]))
            yield state, answer

    @staticmethod
    def _update(name: str, old: int, values: list[int]) -> tuple[int, int]:
        if name in ("load", "atomic_load", "atomic_load32"):
            return old, old
        if name in ("store", "atomic_store"):
            return values[-1], 0
        if name in ("compare_and_swap", "compare_and_swap32"):
            return (values[2], 1) if old == values[1] else (old, 0)
        value = values[1]
        return {
            "atomic_add": lambda: old + value,
            "add32": lambda: old + value & ALL,
            "and32": lambda: old & value,
            "or32": lambda: old | value,
            "exchange32": lambda: value & ALL,
        }[name](), old

    def _look(self, state: State, t: int, name: str, address: int) -> None:
        """See whether a thread may do this now."""
        if address >= JOBS:
            owner = (address - JOBS) // OWNS
            if t != owner and not 0 <= address - state.jobs[owner][0] < JOB:
                raise ViolationError("a job is touched that is over")
        takes = name == "atomic_add" and BLOCK + word_of(Control, "next") <= address < PLANS
        door = self.slots.get(BLOCK + word_of(Control, "door"))
        if takes and t < self.owners and self.wake and door is not None:
            differing = [was ^ state.memory[door] for was in state.asleep[self.owners :] if was is not None]
            if any(difference & (threads.OPEN | threads.NUMBERS) for difference in differing):
                raise ViolationError("a sleeper is not woken")

    def _compute(self, state: State, job: int, start: int, stop: int) -> State:
        owner = (job - JOBS) // OWNS
        alive, total, done = state.jobs[owner]
        if job != alive:
            raise ViolationError("a job is computed that is over")
        if not 0 <= start < stop <= total:
            raise ViolationError("elements are computed that the job has not")
        bits = (1 << stop) - (1 << start)
        if bits & done:
            raise ViolationError("elements are computed twice")
        return self._with_job(state, owner, (job, total, done | bits))

    @staticmethod
    def _with_job(state: State, owner: int, job: tuple[int, ...]) -> State:
        return state._replace(jobs=(*state.jobs[:owner], job, *state.jobs[owner + 1 :]))

    def _futex(self, state: State, t: int, word: int, operation: int, value: int) -> Iterator[tuple[State, int]]:
        if operation == threads.WAIT:
            now = state.memory[self.slots[word]]
            asleep = (*state.asleep[:t], now, *state.asleep[t + 1 :])
            yield (state._replace(asleep=asleep) if now == value else state), 0
            return
        sleeping = [k for k, was in enumerate(state.asleep) if was is not None]
        for chosen in combinations(sleeping, min(value, len(sleeping))):
            yield self._woken(state, chosen), 0

    @staticmethod
    def _woken(state: State, chosen: tuple[int, ...]) -> State:
        return state._replace(asleep=tuple(None if k in chosen else was for k, was in enumerate(state.asleep)))


PROTOCOL = {"helper", "run", "_take", "_open", "_close", "_range", "_futex", "_room"}
OWNER = """
def owner(engine: Engine, first, step, total, jobs):
    for k in range(jobs):
        begin(first + k * step, total - k % 2)
        job = Job(first + k * step)
        job.total = total - k % 2
        run(job, engine)
        end()
"""


def model(
    source: str,
    owners: int = 1,
    helpers: int = 1,
    jobs: int = 2,
    total: int = 3,
    wake: bool = True,
    step: int = 0,
    **settings: int,
) -> Model:
    """Model a source of `helper` and `run`; the jobs of an owner lie `step` bytes apart."""
    settings |= dict.fromkeys(("GRAIN", "SMALLEST_CHUNK", "LARGEST_CHUNK"), 1)
    given = f"def _parts(engine, control, estimate):\n    return {helpers + 1}\n"
    given += "def expected(plan, engine, n):\n    return n\n"
    names = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)} & PROTOCOL
    names |= {"_parts", "expected", "owner"}
    made = stepwise(source + given + OWNER, names, {**vars(threads), **settings})
    constants = dict.fromkeys((ENGINE + 8 * k for k in range(Engine.WORDS)), 0) | {
        ENGINE + word_of(Engine, "control"): BLOCK,
        ENGINE + word_of(Engine, "threads"): owners + helpers,
        ENGINE + word_of(Engine, "wake_from"): 0 if wake else 100,
        BLOCK + word_of(Control, "started"): 0,
    }
    programs = []
    for k in range(owners):
        at = JOBS + k * OWNS
        constants |= {at + j * step + word_of(Job, "plan"): PLANS for j in range(jobs)}
        programs.append(partial(made["owner"], ENGINE, at, step, total, jobs))
    return Model(
        [Thread(program, constants) for program in programs],
        [
            Thread(
                partial(made["helper"], ENGINE),
                constants | {BLOCK + word_of(Control, "numbered"): h, BLOCK + word_of(Control, "tasks", h + 1): 0},
            )
            for h in range(helpers)
        ],
        wake,
    )


SOURCE = inspect.getsource(threads)
CASES = {
    "one helper": {"jobs": 3, "total": 4},
    "the number of the job wraps": {"jobs": 5, "NUMBER": threads.OPEN >> 1, "NUMBERS": threads.OPEN >> 1},
    "two helpers": {"helpers": 2},
}
LARGE = {
    "two owners": {"owners": 2},
    "sleepers are left asleep": {"helpers": 2, "wake": False},
    "two helpers, three jobs": {"helpers": 2, "jobs": 3},
    "two owners, two helpers, one job each": {"owners": 2, "helpers": 2, "jobs": 1},  # a minute
    "three helpers, one job": {"helpers": 3, "jobs": 1},  # 7.6 million states: four minutes, 4 GB
}


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in LARGE)])
def test_in_every_order_each_element_is_computed_once_and_no_thread_waits_for_ever(case):
    found = model(SOURCE, **(CASES | LARGE)[case]).check()
    print(f"{found.states} states")
    assert not found.violation
    assert found.states > 1000


ENTERS = "if compare_and_swap32(door, now, now + 1):"
LOOKS = """            atomic_add(sleepers, 1)
            now = atomic_load32(door)
"""
SLEEPERS = "atomic_load(address(control.sleepers))"
ASKS = """    exchange32(door, (atomic_load32(door) + NUMBER) & NUMBERS | OPEN)
    if wake and atomic_load(address(control.sleepers)) > 0:
"""
SHUTS = """            if now & INSIDE:
                _futex(engine, door, WAIT, now)
"""
# what the source says, what the mutant says, what happens then
MUTANTS = {
    "the owner does not wait for those inside": ("while now & INSIDE:", "while 0:", "a job is touched that is over"),
    "a helper goes in by adding, whatever the door": (
        ENTERS, "if add32(door, 1) + 1:", "two threads access a word at once|over",
    ),
    "a helper goes in and then looks": (
        ENTERS, "if add32(door, 1) & OPEN == 0:\n                add32(door, -1)\n            else:", "woken|ends|over",
    ),
    "a helper takes the job before it goes in": (
        ENTERS, "job = control.job\n            " + ENTERS, "two threads access a word at once",
    ),
    "the door is opened before the job is there": (
        "    job.chunk = chunk\n",
        "    exchange32(address(control.door), (atomic_load32(address(control.door)) + NUMBER) & NUMBERS | OPEN)\n"
        "    job.chunk = chunk\n", "over|at once",
    ),
    "chunks are taken by a load and a store": (
        "i = atomic_add(address(control.next[t, 0]), chunk)",
        "i = atomic_load(address(control.next[t, 0])); atomic_store(address(control.next[t, 0]), i + chunk)", "twice",
    ),
    "a range ends beyond the job": ("end = min(total, (t + 1) * length)", "end = (t + 1) * length", "has not"),
    "ranges overlap": ("end = min(total, (t + 1) * length)", "end = total", "twice"),
    "the owner leaves the others' ranges to them": (
        "    for k in range(parts):\n", "    for k in range(1):\n", "before it is computed",
    ),
    "sleepers are counted when they have slept": (
        LOOKS, "            now = atomic_load32(door)\n", "a sleeper is not woken|never ends",
    ),
    "the owner looks for sleepers before it opens": (
        ASKS, f"    some = {SLEEPERS}\n" + ASKS.replace(SLEEPERS, "some"),
        "a sleeper is not woken",
    ),
    "no sleeper is woken": ("_futex(engine, door, WAKE, parts - 1)", "pause()", "a sleeper is not woken"),
    "the owner is not woken": ("if left & ASLEEP and left & INSIDE == 1:", "if 0:", "a job never ends"),
    "the owner is woken by the first to leave alone": ("left & INSIDE == 1:", "left & INSIDE > 1:", "a job never ends"),
    "the owner sleeps without a look": (SHUTS, SHUTS.replace("now & INSIDE", "1"), "a job never ends"),
    "a helper looks at the room without order": (
        "min(atomic_load(address(control.limit))", "min(control.limit", "at once",
    ),
    "nobody locks": ("compare_and_swap(address(control.lock), 0, 1)", "1", "at once"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_found(name):
    old, new, expected = MUTANTS[name]
    assert SOURCE.count(old) == 1, f"threads.py no longer says {old!r}"
    mutant = SOURCE.replace(old, new)
    settings = {"owners": 2} if name == "nobody locks" else {"helpers": 2}
    violation = model(mutant).check().violation or model(mutant, **settings).check().violation
    print(violation)
    assert re.search(expected, violation)


EARLIER = """
def helper(engine: Engine) -> None:
    control = engine.control
    seen = atomic_load(address(Words(control)[GENERATION]))
    while True:
        now = atomic_load(address(Words(control)[GENERATION]))
        if now != seen:
            seen = now
            atomic_add(address(Words(control)[WITHIN]), 1)
            if CHECK:
                _take(control)
            atomic_add(address(Words(control)[WITHIN]), -1)

def _take(control: Control) -> None:
    job = atomic_load(address(Words(control)[X]))
    n = atomic_load(address(Words(control)[N]))
    while True:
        i = atomic_add(address(Words(control)[CURSOR]), 1)
        if i >= n:
            break
        call3(0, job, i, i + 1)

def run(job: Job, engine: Engine) -> None:
    control = engine.control
    atomic_store(address(Words(control)[CURSOR]), 100)
    while atomic_load(address(Words(control)[WITHIN])) > 0:
        pause()
    atomic_store(address(Words(control)[X]), job)
    atomic_store(address(Words(control)[N]), job.total)
    atomic_store(address(Words(control)[CURSOR]), 0)
    atomic_store(address(Words(control)[DOORS]), 1)
    atomic_add(address(Words(control)[GENERATION]), 1)
    _take(control)
    atomic_store(address(Words(control)[DOORS]), 0)
    while atomic_load(address(Words(control)[WITHIN])) > 0:
        pause()
"""
FIELDS = {name: k for k, name in enumerate(("GENERATION", "WITHIN", "X", "N", "CURSOR", "DOORS"), 100)}


@pytest.mark.parametrize(("check", "right"), [("1", False), ("atomic_load(address(Words(control)[DOORS]))", True)])
def test_a_protocol_in_which_a_late_helper_gets_into_the_next_job_is_found_wrong(check, right):
    found = model(EARLIER.replace("CHECK", check), step=JOB, wake=False, Words=Words, **FIELDS).check()
    print(found)
    assert right == (not found.violation)


# Under load

PACKAGE = Path(rectifier.__file__).parent
STEPS = {
    "_futex", "and32", "atomic_add", "atomic_load", "atomic_load32", "atomic_store", "call3", "compare_and_swap",
    "compare_and_swap32", "exchange32", "or32", "store", "add32", "_take",
}  # fmt: skip
DELAY = """
def _delay(engine: Engine, place: int) -> None:
    noise = (ticks() + place * 7919) * 2654435761 >> 16 & 4095
    if noise < 4:
        call1(engine.system_call, SCHED_YIELD)
    elif noise < 256:
        until = ticks() + (noise << (13 if noise < 8 else 3))
        while ticks() < until:
            pause()
        atomic_add(address(Words(engine.control)[DELAYS + place]), 1)
"""
DELAYS = word_of(Control, "tasks", layout.MAX_THREADS // 2) // 8  # words that few threads leave free
HELPED, SHARED = Control.WORDS - 2, Control.WORDS - 1  # chunks that helpers computed, calls with such
COUNTING = [
    (
        "call3(walk, job, i, min(i + chunk, end))",
        "call3(walk, job, i, min(i + chunk, end))\n"
        "            atomic_add(address(Words(engine.control)[HELPED]), me > 0)",
    ),
    (
        "_open(job, engine, control, parts, wake)\n            _delay",
        "helped = atomic_load(address(Words(control)[HELPED]))\n"
        "            _open(job, engine, control, parts, wake)\n            _delay",
    ),
    (
        "_close(engine, control)\n        else:",
        "_close(engine, control)\n"
        "            counters = Words(control)\n"
        "            counters[SHARED] += atomic_load(address(counters[HELPED])) != helped\n"
        "        else:",
    ),
]
STRESS = """
from ..compiler.instructions import stack
from .driver import prepare
from .layout import Engine, Job, LoopDescriptor
from .structure import Words
from .threads import run


def stress(engine: Engine, plan: LoopDescriptor, data: Words, slope: int, n: int, rounds: int) -> int:
    job, wrong = stack(Job), 0
    number = data[0]
    for _ in range(rounds):
        job.plan = plan
        job.dimensions = 1
        job.extents[0] = n
        for k in range(3):
            job.pointers[k] = slope if k == 1 else data
            job.widths[k] = 4
            job.casts[k] = 0
            job.strides[k, 0] = 0 if k == 1 else 4
        prepare(job)
        run(job, engine)
        number -= 1 << 55 | 1 << 23  # the exponents of two
        differing = 0
        for w in range(n >> 1):
            differing |= data[w] ^ number
        if differing:
            wrong += 1
            number = data[0]
    return wrong
"""
LOAD = """
import ctypes, json, os, random, sys, threading, time
import numpy as np
from rectifier import leaky_relu, settings, warmup
from rectifier.engine import process, store, ufuncs
from rectifier.engine.runtime import layout, stress
from rectifier.engine.compiler import optimise, subset, target

number_of_threads, spin, owners, wanted, seconds, delays, shared = map(int, sys.argv[1:])
warmup(leaky_relu)
module, names = subset.optimised([stress.stress])
address = store._load(optimise.object_of(module, target.host()), {optimise.PREFIX + name for name in names})["stress"]
compiled = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)(address)
words = process.words()
control = words.control
counters = (ctypes.c_int64 * layout.Control.WORDS).from_address(control)
settings.threads, settings.spin_microseconds = number_of_threads, spin
words.start_from = words.wake_from = words.parallel_from = 0
words.measured = words.tries = 1 << 30  # keep to these
words.check_every = 1 << 44
control.allowed, control.refused = number_of_threads, -1 << 61  # whatever processors there are
control.checked = ctypes.CFUNCTYPE(ctypes.c_int64)(process.code()["clock"])()
loop = leaky_relu.methods["value"].loops["float32"].plan
slope = np.full(1, 0.5, np.float32)
counts, progress = [], [0]

def watch():
    before = -1
    while progress[0] != before:
        before = progress[0]
        time.sleep(60)
    print("no progress after", before, control.read("door", "sleepers", "lock", "active"),
          words.read("threads", "spin"), flush=True)
    os._exit(3)

def own(seed):
    random_ = random.Random(seed)
    room = np.empty(40_000, np.float32)
    wrong = done = 0
    while counters[shared] < wanted and time.perf_counter() - began < seconds:
        n = 2 * random_.choice([1024, 4096, 9000, 12000, 15000, 18000, random_.randrange(512, 20_000)])
        room[:n] = -(2.0**100)
        wrong += compiled(words, loop, room.ctypes.data, slope.ctypes.data, n, 200)
        done += 200
        progress[0] += 200
        if done == 200:
            for h in range(1, control.helpers + 1):  # also on the caller's processor
                os.sched_setaffinity(control.tasks[h], os.sched_getaffinity(0))
    counts.append((done, wrong))

threading.Thread(target=watch, daemon=True).start()
began = time.perf_counter()
callers = [threading.Thread(target=own, args=(k,)) for k in range(owners)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(json.dumps({
    "calls": sum(done for done, _ in counts), "wrong": sum(wrong for _, wrong in counts),
    "shared": counters[shared], "helpers": control.helpers, "seconds": round(time.perf_counter() - began, 1),
    "delays": list(counters[delays : delays + 64]),
}))
"""


class _Delayed(ast.NodeTransformer):
    """Wait before each statement that accesses what threads share: mostly not at all, now and then for long."""

    def __init__(self) -> None:
        self.places = 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse"):
            statements = getattr(node, field, None)
            if isinstance(node, ast.stmt) and isinstance(statements, list):
                setattr(node, field, [part for statement in statements for part in self._preceded(statement)])
        return node

    def _preceded(self, statement: ast.stmt) -> list[ast.stmt]:
        here = statement.test if isinstance(statement, ast.If) else statement
        inner = isinstance(statement, (ast.For, ast.While))
        calls = {part.func.id for part in ast.walk(here) if isinstance(part, ast.Call)}
        stores = isinstance(statement, (ast.Assign, ast.AugAssign)) and any(
            isinstance(part, (ast.Attribute, ast.Subscript)) and isinstance(part.ctx, ast.Store)
            for part in ast.walk(statement)
        )
        if inner or not (stores or calls & STEPS):
            return [statement]
        self.places += 1
        return [*ast.parse(f"_delay(engine, {self.places})").body, statement]


def delayed(source: str) -> str:
    """Put delays between the steps of a source of the protocol."""
    tree, delays = ast.parse(source), _Delayed()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in {"helper", "run", "_take", "_open", "_close"}:
            delays.visit(node)
    assert delays.places > 30
    text = ast.unparse(tree)
    for statement, counted in COUNTING:
        assert text.count(statement) == 1, f"threads.py no longer says {statement!r}"
        text = text.replace(statement, counted)
    number = "Number(24, 124)"
    words = f"SCHED_YIELD, DELAYS, HELPED, SHARED = {number}, {DELAYS}, {HELPED}, {SHARED}"
    return f"{text}\n\nfrom .structure import Words\n{words}\n{DELAY}"


def under_load(where: Path, source: str, *arguments: int) -> subprocess.CompletedProcess[str]:
    """Run jobs of a copy of the package that has this for the source of its threads."""
    if not (where / "rectifier").exists():
        shutil.copytree(PACKAGE, where / "rectifier", ignore=shutil.ignore_patterns("__pycache__"))
        (where / "rectifier/engine/runtime/stress.py").write_text(STRESS)
        (where / "rectifier/engine/runtime/threads.py").write_text(source)
        (where / "load.py").write_text(LOAD)
    return subprocess.run(
        [sys.executable, "load.py", *map(str, (*arguments, DELAYS, SHARED))],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(where)},
        capture_output=True,
        text=True,
        timeout=1000,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("delayed")


LOADS = [(helpers, spin, owners) for helpers in (1, 2, 4) for spin in (0, 100) for owners in (1, 2)]
EACH, TOGETHER = 250_000, 10_000_000  # calls that a helper has computed a part of
LONGEST = 60  # seconds; how often a helper comes in time depends on what else the machine does
checked: dict[tuple[int, int, int], list[dict[str, Any]]] = defaultdict(list)


def run_load(place: Path, load: tuple[int, int, int], wanted: int) -> dict[str, Any]:
    helpers, spin, owners = load
    run = under_load(place, delayed(SOURCE), helpers + owners, spin, owners, wanted, LONGEST)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(run.stdout)
    checked[load].append(figures)
    words = (f"{figures[key]:,} {key}" for key in ("calls", "shared", "wrong", "seconds"))
    print(f"{helpers} helpers, {owners} owners, spinning {spin} us:", *words, f"{sum(figures['delays']):,} delays")
    assert figures["wrong"] == 0
    assert figures["helpers"] == helpers + owners - 1
    return figures


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="helper threads are for Linux")
@pytest.mark.parametrize("load", LOADS, ids=str)
def test_under_load_with_delays_each_element_is_computed_once(place, load):
    figures = run_load(place, load, EACH)
    places = delayed(SOURCE).count("_delay(engine, ")
    never = places - sum(count > 0 for count in figures["delays"])
    assert figures["calls"] >= figures["shared"] > EACH // 20
    assert sum(figures["delays"]) > figures["shared"] // 2
    assert never <= places // 3  # where a helper begins, and where a call is not shared


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="helper threads are for Linux")
def test_ten_million_shared_calls_are_right(place):
    """Go on with the load under which most calls were shared lately, until they are so many together."""

    def rate(load: tuple[int, int, int]) -> float:
        return checked[load][-1]["shared"] / checked[load][-1]["seconds"] if checked[load] else 1e9

    def total(key: str) -> int:
        return sum(figures[key] for runs in checked.values() for figures in runs)

    for _ in range(10 * 60 // LONGEST):
        if total("shared") < TOGETHER:
            run_load(place, max(LOADS, key=rate), TOGETHER - total("shared"))
    print("together:", *(f"{total(key):,.0f} {key}" for key in ("calls", "shared", "wrong", "seconds")))
    assert total("shared") >= TOGETHER
    assert total("wrong") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="helper threads are for Linux")
def test_a_mistake_shows_under_load(tmp_path):
    old, new, _ = MUTANTS["chunks are taken by a load and a store"]
    source = SOURCE.replace(old, new.replace("; ", "\n            "))
    run = under_load(tmp_path, delayed(source), 2, 100, 1, 10_000, LONGEST)
    assert run.returncode == 0, run.stdout + run.stderr
    print({key: number for key, number in json.loads(run.stdout).items() if key != "delays"})
    assert json.loads(run.stdout)["wrong"] > 0
