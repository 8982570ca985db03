"""The declaration against the table made from the specification, and the message classes against the declaration."""

import json
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from protocol.v2.layouts import LAYOUT_BY_CLASS, LAYOUT_BY_TYPE, LAYOUTS, Layout
from protocol.v2.messages import common, extensions, job_declaration, mining, template_distribution
from protocol.v2.messages.base import Message

TABLE = json.loads((Path(__file__).parents[2] / "vectors" / "sv2_message_table.json").read_text())["messages"]
# Ours for the second message of that name.
SPECIFICATION_NAMES = {"TemplateSetNewPrevHash": "TDP.SetNewPrevHash"}


def snake(name: str) -> str:
    return re.sub(
        r"(?<=[a-z_])([A-Z])", lambda match: ("" if match.string[match.start() - 1] == "_" else "_") + match[1].lower(), name
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_layout_is_that_of_the_specification(row: dict[str, object]) -> None:
    layout = LAYOUT_BY_TYPE[row["extension_type"], row["msg_type"]]  # type: ignore[index]  # ints in the file
    assert SPECIFICATION_NAMES.get(layout.name, layout.name) == row["name"]
    assert layout.is_channel == bool(row["channel_bit"])
    assert layout.direction.value == row["direction"]
    fields = [[snake(name), wire_type] for name, wire_type in row["fields"]]  # type: ignore[attr-defined]  # pairs in the file
    assert [[name, wire_type.name] for name, wire_type in layout.fields] == fields


def test_nothing_is_declared_that_the_specification_has_not() -> None:
    assert len(TABLE) == len(LAYOUTS) == len(LAYOUT_BY_CLASS) == len(LAYOUT_BY_TYPE) == 44


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_message_class_has_the_declared_fields_and_types(layout: Layout) -> None:
    message_class = layout.message_class
    assert message_class.__struct_fields__ == (*(name for name, _ in layout.fields), "rest")
    hints = get_type_hints(message_class)
    for name, wire_type in layout.fields:
        hint = hints[name]
        assert (hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)) == wire_type.annotation
    assert message_class.__struct_config__.frozen
    assert not message_class.__struct_config__.gc


def test_every_message_class_is_declared_in_its_module() -> None:
    for module in (common, mining, job_declaration, template_distribution, extensions):
        classes = {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Message)} - {Message}
        assert classes == {layout.message_class for layout in LAYOUTS if f"messages.{layout.subprotocol.value}" in module.__name__}


def test_channel_messages_begin_with_the_channel_id() -> None:
    for layout in LAYOUTS:
        if layout.is_channel:
            assert layout.fields[0][0] == "channel_id"
            assert layout.wire_extension_type == 0x8000
        else:
            assert layout.wire_extension_type == layout.extension_type
