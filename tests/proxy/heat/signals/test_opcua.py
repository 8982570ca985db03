"""The OPC UA server against asyncua's own client, which runs on asyncio in a thread as a control system would elsewhere."""

import asyncio
import datetime
import hashlib
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from proxy import config
from proxy.config import SiteConfig
from proxy.errors import ConfigError
from proxy.events import EventLog
from proxy.heat.signals import opcua
from proxy.heat.signals.status import SignalStatus
from tests.support.mosquitto import free_port
from tests.support.patience import PATIENCE_S
from tests.support.signal_port import RecordingPort

asyncua = pytest.importorskip("asyncua", reason="asyncua is not installed: pip install -r requirements-opcua.txt")
security_policies = pytest.importorskip("asyncua.crypto.security_policies")
pytestmark = pytest.mark.slow
NOW = 1_768_435_200.0
NAN = math.nan
T = TypeVar("T")


def make_certificate(directory: Path, name: str, uri: str) -> tuple[str, str]:
    """A self-signed certificate that names an OPC UA application; DER and PEM files."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der, pem = directory / f"{name}.der", directory / f"{name}.pem"
    der.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return str(der), str(pem)


class Rig:
    def __init__(self, certificate: str | None = None, key: str | None = None) -> None:
        self.url = f"opc.tcp://127.0.0.1:{free_port()}/"
        self.port = RecordingPort()
        self.events = EventLog(lambda: NOW)
        self.status = SignalStatus("opcua", self.url, self.events, trio.current_time)
        users = {"utility": hashlib.sha256(b"secret").hexdigest()}
        self.site = SiteConfig(
            site=config.Site(name="hall"),
            pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")],
            signals=config.Signals(opcua=config.OpcUaSignal(listen=self.url, users=users, certificate=certificate, key=key)),
        )

    async def serve(self) -> None:
        await opcua.serve(self.site, self.port, self.status, lambda: NOW)

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await trio.sleep(0.01)

    async def as_client(
        self,
        act: Callable[[Any, int], Awaitable[T]],
        account: str | None = "utility",
        password: str = "secret",
        secured: tuple[str, str] | None = None,
    ) -> T:
        """Do something in a session of its own."""

        async def session() -> T:
            client = asyncua.Client(self.url, timeout=10)
            if account is not None:
                client.set_user(account)
                client.set_password(password)
            if secured is not None:
                client.application_uri = "urn:test:client"
                await client.set_security(security_policies.SecurityPolicyBasic256Sha256, *secured)
            async with client:
                index = await client.get_namespace_index("urn:thermostratum:hall")
                return await act(client, index)

        def run() -> T:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                return runner.run(session())

        return await trio.to_thread.run_sync(run)


@pytest.fixture
async def rig(nursery: trio.Nursery) -> AsyncIterator[Rig]:
    rig = Rig()
    nursery.start_soon(rig.serve)
    await rig.until(lambda: rig.status.view().connected)
    yield rig
    nursery.cancel_scope.cancel()


async def child(client: Any, index: int, *names: str) -> Any:
    return await client.nodes.objects.get_child([f"{index}:{name}" for name in ("Thermostratum", *names)])


async def call(client: Any, index: int, method: str, *values: Any) -> tuple[int, str]:
    plant = await child(client, index)
    code, reason = await plant.call_method(f"{index}:{method}", *values)
    return code, reason


def demand(sequence: int, power_kw: float, supply_c: float = NAN, validity_s: float = 900.0) -> tuple[Any, ...]:
    ua = asyncua.ua
    return (
        ua.Variant(0, ua.VariantType.UInt32),
        ua.Variant(sequence, ua.VariantType.Int64),
        ua.Variant(power_kw, ua.VariantType.Double),
        ua.Variant(supply_c, ua.VariantType.Double),
        ua.Variant(validity_s, ua.VariantType.Double),
    )


async def test_calls_are_judged_and_answered_and_the_report_is_read(rig: Rig) -> None:
    async def act(client: Any, index: int) -> list[tuple[int, str]]:
        answers = [
            await call(client, index, "SetDemand", *demand(1, 1_500.0)),
            await call(client, index, "SetDemand", *demand(1, 1_400.0)),
            await call(client, index, "SetDemand", *demand(2, NAN)),
            await call(client, index, "SetDemand", *demand(2, -1.0)),
            await call(client, index, "SetDemand", *demand(2, 1_500.0, validity_s=math.inf)),
            await call(client, index, "SetDemand", *demand(3, NAN, supply_c=78.0)),
            await call(client, index, "SetOutdoor", -8.5),
            await call(client, index, "SetImportLimit", 1_200.0, 900.0),
            await call(client, index, "SetImportLimit", 1_200.0, NAN),
            await call(client, index, "SetStop", True),
            await call(client, index, "SetStop", "yes"),
            await call(client, index, "SetOutdoor", asyncua.ua.Variant(None, asyncua.ua.VariantType.Null)),
            await call(client, index, "SetDemand", *demand(4, 1_000.0)[:3]),
        ]
        report = {name: await (await child(client, index, "Report", name)).read_value() for name in ("HeatW", "Quality", "Alarms")}
        assert report == {"HeatW": 1_480_000.0, "Quality": "measured", "Alarms": ["loop a: flow below 60 %"]}
        with pytest.raises(asyncua.ua.UaStatusCodeError, match="BadNoData"):
            await (await child(client, index, "Report", "FlowLPerMin")).read_value()
        return answers

    await rig.until(lambda: rig.port.alive > 0)
    answers = await rig.as_client(act)
    assert [code for code, _ in answers] == [200, 409, 422, 422, 422, 200, 200, 200, 422, 200, 400, 400, 400]
    assert "NaN" in answers[2][1]
    assert "negative" in answers[3][1]
    first, second = rig.port.accepted
    assert (first.source, first.power_w, first.valid_until_unix_s) == ("opcua", 1_500_000.0, NOW + 900)
    assert (second.power_w, second.supply_c) == (None, 78.0)
    assert rig.port.outdoor == [(-8.5, "opcua", NOW)]
    assert rig.port.limits == [(1_200_000.0, NOW + 900, "opcua")]
    assert rig.port.stops == {"opcua": True}
    view = rig.status.view()
    assert (view.accepted, view.refused) == (5, 5)


async def test_written_variables_are_a_demand_and_who_has_no_account_reads_only(nursery: trio.Nursery, tmp_path: Path) -> None:
    """With a certificate there are encrypted sessions only."""
    rig = Rig(*make_certificate(tmp_path, "server", "urn:thermostratum:hall"))
    secured = make_certificate(tmp_path, "client", "urn:test:client")
    nursery.start_soon(rig.serve)
    await rig.until(lambda: rig.status.view().connected)

    async def stranger(client: Any, index: int) -> str:
        with pytest.raises(asyncua.ua.UaError):
            await call(client, index, "SetDemand", *demand(1, 1_500.0))
        with pytest.raises(asyncua.ua.UaError):
            await (await child(client, index, "Demand", "Sequence")).write_value(
                asyncua.ua.Variant(1, asyncua.ua.VariantType.Int64)
            )
        quality: str = await (await child(client, index, "Report", "Quality")).read_value()
        return quality

    async def writer(client: Any, index: int) -> tuple[int, str]:
        ua = asyncua.ua
        for name, value, kind in (
            ("PowerKw", 1_250.0, ua.VariantType.Double),
            ("ValidityS", 600.0, ua.VariantType.Double),
            ("Sequence", 5, ua.VariantType.Int64),
        ):
            assert not rig.port.accepted
            await (await child(client, index, "Demand", name)).write_value(ua.Variant(value, kind))
        with pytest.raises(ua.UaStatusCodeError):
            await (await child(client, index, "Report", "HeatW")).write_value(ua.Variant(0.0, ua.VariantType.Double))
        assert await (await child(client, index, "Demand", "Code")).read_value() == 200
        bad = ua.DataValue(ua.Variant(6, ua.VariantType.Int64), ua.StatusCode(ua.StatusCodes.BadSensorFailure))
        await (await child(client, index, "Demand", "Sequence")).write_value(bad)
        return (
            await (await child(client, index, "Demand", "Code")).read_value(),
            await (await child(client, index, "Demand", "Reason")).read_value(),
        )

    await rig.until(lambda: rig.port.alive > 0)
    assert await rig.as_client(stranger, account=None, secured=secured) == "measured"
    with pytest.raises(asyncua.ua.UaError):
        await rig.as_client(stranger, password="guess", secured=secured)
    with pytest.raises(asyncua.ua.UaError):
        await rig.as_client(stranger, account=None)
    assert not rig.port.accepted
    assert "utility" in str(rig.status.view().last_refusal)
    code, reason = await rig.as_client(writer, secured=secured)
    assert (code, "Sequence Int64" in reason) == (400, True)
    assert len(rig.port.accepted) == 1
    assert (rig.port.accepted[0].power_w, rig.port.accepted[0].valid_until_unix_s) == (1_250_000.0, NOW + 600)
    nursery.cancel_scope.cancel()


async def test_an_address_that_is_taken_is_named(nursery: trio.Nursery) -> None:
    rig = Rig()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(rig.url.rstrip("/").rpartition(":")[2])))
        taken.listen()
        nursery.start_soon(rig.serve)
        await rig.until(lambda: "Address already in use" in str(rig.status.view().reason))
    nursery.cancel_scope.cancel()


async def test_without_the_libraries_the_error_names_the_file_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "proxy.heat.signals.opcua_server", None)
    with pytest.raises(ConfigError, match=r"requirements-opcua\.txt"):
        await Rig().serve()
