"""What a site file may say of MQTT, OpenADR and OPC UA."""

from pathlib import Path

import pytest

from proxy.checks.load import LoadedConfig, load_site
from proxy.errors import ConfigError
from proxy.heat.holds import UNREADABLE

POOL = '[[pools]]\nname = "main"\nurl = "stratum+tcp://127.0.0.1:3333"\nuser = "account"\n'
DIGEST = "ab" * 32


def loaded(tmp_path: Path, table: str, *lines: str) -> LoadedConfig:
    path = tmp_path / "site.toml"
    path.write_text(POOL + f"[signals.{table}]\n" + "\n".join(lines) + "\n")
    return load_site(path)


def problem(tmp_path: Path, table: str, *lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, table, *lines)
    (only,) = caught.value.problems
    return only


def warnings(tmp_path: Path, table: str, *lines: str) -> str:
    return "\n".join(line for line in loaded(tmp_path, table, *lines).warnings if "signals." in line)


def key_problem(tmp_path: Path, name: str) -> str:
    return problem(tmp_path, "rest", "[[api.keys]]", f'name = "{name}"', 'role = "utility"', f'sha256 = "{DIGEST}"')


@pytest.mark.parametrize("name", ["mqtt", "MQTT", "mqtt:utility", "modbus", "opcua", "openadr"])
def test_a_key_that_is_named_as_a_transport_could_take_back_its_stop_and_is_refused(tmp_path: Path, name: str) -> None:
    words = key_problem(tmp_path, name)
    assert "api.keys[0].name" in words
    assert f"what comes by {name.lower().partition(':')[0]}" in words
    assert "could take back a stop that is not its own" in words


def test_no_key_takes_back_the_stop_of_a_ledger_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in key_problem(tmp_path, UNREADABLE)


def test_a_key_may_have_a_transports_name_in_its_own(tmp_path: Path) -> None:
    key = ("[[api.keys]]", 'name = "mqtt-bridge-of-anna"', 'role = "utility"', f'sha256 = "{DIGEST}"')
    assert [each.name for each in loaded(tmp_path, "rest", *key).config.api.keys] == ["mqtt-bridge-of-anna"]


def secret(tmp_path: Path, mode: int = 0o600, text: str = "secret\n") -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(mode)


def test_good_tables_are_taken_without_a_word_and_files_are_relative_to_the_site_file(tmp_path: Path) -> None:
    secret(tmp_path)
    mqtt = ('broker = "mqtts://broker.example:8883"', 'user = "hall"', 'password_file = "secret"')
    openadr = ('url = "https://vtn.example/openadr3/3.1.0"', 'client_id = "hall"', 'client_secret_file = "secret"')
    opcua = ('listen = "opc.tcp://127.0.0.1:4840/"', f'users = {{ utility = "{DIGEST}" }}')
    for table, lines in (("mqtt", mqtt), ("openadr", openadr), ("opcua", opcua)):
        assert warnings(tmp_path, table, *lines) == ""
    assert loaded(tmp_path, "mqtt", *mqtt).config.signals.mqtt.password_file == str(tmp_path / "secret")


@pytest.mark.parametrize(
    ("table", "lines", "words"),
    [
        ("mqtt", ('broker = "mqtt://127.0.0.1:99999"',), "signals.mqtt.broker usable host and port"),
        ("mqtt", ('broker = "mqtt://hall:pw@127.0.0.1"',), "signals.mqtt.broker account secrets"),
        ("mqtt", ('broker = "http://127.0.0.1"',), "signals.mqtt.broker"),
        ("mqtt", ('broker = "mqtt://127.0.0.1"', 'password_file = "secret"'), "signals.mqtt.user missing"),
        ("mqtt", ('broker = "mqtt://127.0.0.1"', 'topic = "/heat"'), "signals.mqtt.topic levels"),
        ("mqtt", ('broker = "mqtt://127.0.0.1"', 'user = "u"', 'password_file = "absent"'), "password_file cannot be read"),
        ("mqtt", ('broker = "mqtts://b.example"', 'tls_ca = "secret"'), "tls_ca no PEM"),
        ("openadr", ('url = "https://vtn.example"', 'client_id = "x"'), "client_secret_file missing"),
        ("openadr", ('url = "https://vtn.example?a=b"',), "signals.openadr.url base"),
        ("opcua", ('listen = "opc.tcp://127.0.0.1:8080/"', f'users = {{ u = "{DIGEST}" }}'), "clashes with api.listen"),
        ("opcua", ('listen = "opc.tcp://127.0.0.1:4840/"', 'users = { u = "password" }'), "sha256"),
        (
            "opcua",
            ('listen = "opc.tcp://127.0.0.1:4840/"', f'users = {{ u = "{DIGEST}" }}', 'key = "secret"'),
            "certificate missing",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_its_remedy(tmp_path: Path, table: str, lines: tuple[str, ...], words: str) -> None:
    secret(tmp_path)
    found = problem(tmp_path, table, *lines)
    assert all(word in found for word in words.split())


def test_a_secret_that_others_can_read_or_that_is_empty_is_refused(tmp_path: Path) -> None:
    lines = ('broker = "mqtt://127.0.0.1"', 'user = "u"', 'password_file = "secret"')
    secret(tmp_path, mode=0o644)
    assert "chmod 600" in problem(tmp_path, "mqtt", *lines)
    secret(tmp_path, text="\n")
    assert "is empty" in problem(tmp_path, "mqtt", *lines)


@pytest.mark.parametrize(
    ("table", "lines", "words"),
    [
        ("mqtt", ('user = "hall"',), "signals.mqtt.user has no effect broker"),
        ("mqtt", ('broker = "mqtt://broker.example"',), "not encrypted mqtts://"),
        ("mqtt", ('broker = "mqtt://127.0.0.1"', 'user = "u"'), "no password"),
        ("openadr", ('program = "heat"',), "no effect url"),
        ("openadr", ('url = "http://vtn.example"',), "not encrypted https://"),
        ("opcua", ('listen = "opc.tcp://127.0.0.1:4840/"',), "nobody may send"),
        ("opcua", ('listen = "opc.tcp://0.0.0.0:4840/"', f'users = {{ u = "{DIGEST}" }}'), "certificate unencrypted"),
    ],
)
def test_what_works_but_is_hardly_meant_is_warned_of(tmp_path: Path, table: str, lines: tuple[str, ...], words: str) -> None:
    found = warnings(tmp_path, table, *lines)
    assert all(word in found for word in words.split())
