"""Serials: learned, configured, overruled, kept."""

import pytest

from proxy import config
from proxy.errors import StoreError
from proxy.units.identity import SerialBook, save


def unit(unit_id, serial=None):
    return config.Unit(id=unit_id, address="10.0.0.1", model="m", loop="north", serial=serial)


def test_the_first_serial_seen_is_learned_and_another_is_noticed():
    book = SerialBook([unit("a")])
    assert book.check("a", "AA11") is None
    assert book.is_changed
    assert book.check("a", "aa11") is None
    problem = book.check("a", "bb22")
    assert "serial bb22, expected aa11" in problem
    assert "accept" in problem
    assert (book.expected("a"), book.present("a")) == ("aa11", "bb22")


def test_a_machine_that_tells_no_serial_is_not_suspected():
    book = SerialBook([unit("a", "aa")])
    assert book.check("a", None) is None
    assert book.present("a") is None


def test_the_other_units_machine_is_called_by_name():
    book = SerialBook([unit("a", "aa"), unit("b")])
    book.check("b", "bb")
    assert "which is unit b" in book.check("a", "bb")
    assert "which is unit a" in book.check("b", "aa")


def test_accepting_makes_the_present_machine_the_right_one():
    book = SerialBook([unit("a")])
    assert book.accept("a") is None
    book.check("a", "aa")
    book.check("a", "bb")
    assert book.accept("a") == "bb"
    assert book.check("a", "bb") is None
    assert book.check("a", "aa") is not None


def test_an_operators_word_holds_until_the_configuration_says_something_new(tmp_path):
    path = tmp_path / "state" / "serials.json"
    book = SerialBook([unit("a", "aa")])
    book.check("a", "bb")
    book.accept("a")
    assert book.check("a", "bb") is None
    save(path, book.encoded())
    assert not book.is_changed

    again = SerialBook([unit("a", "aa")])
    again.load(path)
    assert again.check("a", "bb") is None
    changed = SerialBook([unit("a", "cc")])
    changed.load(path)
    assert changed.check("a", "bb") is not None
    assert changed.check("a", "cc") is None


def test_a_missing_file_is_an_empty_book(tmp_path):
    book = SerialBook([unit("a")])
    book.load(tmp_path / "none.json")
    assert book.expected("a") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"serials": []}', b'{"serials": {"a": {"serial": 5}}}'])
def test_a_broken_file_is_said_with_its_remedy(tmp_path, content):
    path = tmp_path / "serials.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"serials\.json cannot be read .* remove it"):
        SerialBook([]).load(path)


def test_saving_leaves_the_old_file_or_the_new_one_and_nothing_else(tmp_path):
    path = tmp_path / "serials.json"
    save(path, b"one")
    save(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="check space and permissions"):
        save(tmp_path / "file" / "serials.json", b"x")
