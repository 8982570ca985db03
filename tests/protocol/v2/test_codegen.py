"""The checked-in codecs are those that the declaration makes."""

import ast
from pathlib import Path

import pytest

import protocol.v2.generated
from protocol.v2.codegen import source
from protocol.v2.layouts import Subprotocol

GENERATED = Path(protocol.v2.generated.__file__).parent


@pytest.mark.parametrize("subprotocol", Subprotocol)
def test_generated_module_is_current(subprotocol: Subprotocol) -> None:
    stored = (GENERATED / f"{subprotocol.value}.py").read_text()
    assert ast.dump(ast.parse(stored)) == ast.dump(ast.parse(source(subprotocol))), "run: python docs/tools/sv2_codecs.py"


def test_nothing_else_is_stored_there() -> None:
    assert {path.stem for path in GENERATED.glob("*.py")} == {"__init__", *(subprotocol.value for subprotocol in Subprotocol)}
