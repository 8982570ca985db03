"""Makes docs/reference/states.md: one Mermaid diagram for each transition table of the program.

A transition table is found by its shape: a public module-level mapping `{State: {Step: State}}` of Enums, in a module that defines
an Enum called ...Step. So a new state machine is in the documentation without anybody thinking of it.
"""

import enum
import importlib
import pkgutil
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from generated import publish

import protocol
import proxy

INTRODUCTION = """\
# State machines

<!-- Made by docs/tools/diagrams.py from the transition tables of the program: change them there, then `make docs`. -->

Every state of these machines has a row in its table, and nothing but the table changes a state. Steps that leave a state as it is
are not drawn; steps that many states share stand below the diagram; every other step is refused.
"""

_STEP = re.compile(r"^class \w*Step\(", re.MULTILINE)
# More arrows than these cannot be read any more: then steps that so many states share go into a table under the diagram.
_MANY_ARROWS, _MANY_STATES = 40, 4

Table = Mapping[enum.Enum, Mapping[enum.Enum, enum.Enum]]


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(_section(module, name, table) for module, name, table in tables())])


def tables() -> list[tuple[ModuleType, str, Table]]:
    """Every transition table with the module and the name it has, in order of the modules."""
    found = []
    for package in (protocol, proxy):
        for info in sorted(pkgutil.walk_packages(package.__path__, f"{package.__name__}."), key=lambda each: each.name):
            if not _mentions_table(info):
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if not name.startswith("_") and _is_table(value) and _is_own(module, value):
                    found.append((module, name, value))
    return found


def _mentions_table(info: pkgutil.ModuleInfo) -> bool:
    """Whether the source defines steps at all: importing every module of the product would be slow."""
    spec = info.module_finder.find_spec(info.name, None)
    return spec is not None and spec.origin is not None and _STEP.search(Path(spec.origin).read_text(encoding="utf-8")) is not None


def _is_table(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(state, enum.Enum) and isinstance(row, Mapping) for state, row in value.items())
        and all(
            isinstance(step, enum.Enum) and isinstance(after, enum.Enum) for row in value.values() for step, after in row.items()
        )
    )


def _is_own(module: ModuleType, table: Table) -> bool:
    """A table belongs to the module of its states, or of its steps; elsewhere it was only imported."""
    first = next(iter(table))
    steps = [step for row in table.values() for step in row]
    return module.__name__ in {type(first).__module__, *(type(step).__module__ for step in steps)}


def _section(module: ModuleType, name: str, table: Table) -> str:
    title = module.__name__ + (f": {name.removesuffix('TRANSITIONS').strip('_').lower()}" if name != "TRANSITIONS" else "")
    lines = [f"## {title}\n"]
    about = (type(next(iter(table))).__doc__ or "").strip().splitlines()
    if about:
        lines.append(f"{about[0]}\n")
    common = _common(table)
    lines += ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table)).name}"]
    for state, row in table.items():
        arrows: dict[enum.Enum, list[str]] = {}
        for step, after in row.items():
            if after is not state and (step, after) not in common:
                arrows.setdefault(after, []).append(step.name.lower())
        lines += [f"    {state.name} --> {after.name}: {', '.join(steps)}" for after, steps in arrows.items()]
        if not row:
            lines.append(f"    {state.name} --> [*]")
    lines.append("```\n")
    if common:
        lines += ["| step | leads to | from |", "|---|---|---|"]
        lines += [f"| {step.name.lower()} | {after.name} | {', '.join(sources)} |" for (step, after), sources in common.items()]
        lines.append("")
    return "\n".join(lines)


def _common(table: Table) -> dict[tuple[enum.Enum, enum.Enum], list[str]]:
    """Steps that lead from many states to the same one: a row in a table says that better than a bundle of arrows."""
    sources: dict[tuple[enum.Enum, enum.Enum], list[str]] = {}
    for state, row in table.items():
        for step, after in row.items():
            if after is not state:
                sources.setdefault((step, after), []).append(state.name)
    if sum(map(len, sources.values())) <= _MANY_ARROWS:
        return {}
    return {arrow: states for arrow, states in sources.items() if len(states) >= _MANY_STATES}


if __name__ == "__main__":
    sys.exit(publish("states.md", page(), sys.argv[1:]))
