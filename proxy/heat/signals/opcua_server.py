"""The OPC UA server itself, on asyncio in a thread of its own: address space, accounts, methods. Only here asyncua is imported.

Below Objects/Thermostratum: methods SetDemand, SetOutdoor, SetImportLimit and SetStop, which answer with a code and a reason; the
folder Demand for systems that can only write variables (writing Sequence, last, sends the others); the folder Report. A value that
is unknown has the status BadNoData, never 0. Who has no account may read and nothing else.
"""

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import trio
from asyncua import ua
from asyncua.common.callback import CallbackType
from asyncua.common.connection import TransportLimits
from asyncua.common.methods import uamethod
from asyncua.common.node import Node
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from proxy.config import OpcUaSignal
from proxy.heat.signals.opcua import Judge, Verdict
from proxy.heat.signals.port import Report

T = TypeVar("T")
MAX_MESSAGE_BYTES = 1_048_576
BUFFER_BYTES = 65_535
WRITING = tuple(
    ua.NodeId(ua.Int32(each))
    for each in (ObjectIds.WriteRequest_Encoding_DefaultBinary, ObjectIds.CallRequest_Encoding_DefaultBinary)
)
FORBIDDEN = tuple(
    ua.NodeId(ua.Int32(each))
    for each in (
        ObjectIds.RegisterServerRequest_Encoding_DefaultBinary,
        ObjectIds.RegisterServer2Request_Encoding_DefaultBinary,
        ObjectIds.AddNodesRequest_Encoding_DefaultBinary,
        ObjectIds.DeleteNodesRequest_Encoding_DefaultBinary,
        ObjectIds.AddReferencesRequest_Encoding_DefaultBinary,
        ObjectIds.DeleteReferencesRequest_Encoding_DefaultBinary,
    )
)
DOUBLE, INT64, UINT32, INT32, BOOLEAN, STRING = (
    ua.VariantType.Double,
    ua.VariantType.Int64,
    ua.VariantType.UInt32,
    ua.VariantType.Int32,
    ua.VariantType.Boolean,
    ua.VariantType.String,
)
# Name of the variable, field of the report, type.
REPORT = (
    ("Alive", "alive", INT64),
    ("AtUnixS", "at_unix_s", DOUBLE),
    ("Ladder", "ladder", STRING),
    ("DemandW", "demand_w", DOUBLE),
    ("SupplyAskedC", "supply_asked_c", DOUBLE),
    ("HeatW", "heat_w", DOUBLE),
    ("Quality", "quality", STRING),
    ("PowerW", "power_w", DOUBLE),
    ("HeadroomUpW", "headroom_up_w", DOUBLE),
    ("HeadroomDownW", "headroom_down_w", DOUBLE),
    ("SupplyC", "supply_c", DOUBLE),
    ("ReturnC", "return_c", DOUBLE),
    ("FlowLPerMin", "flow_l_per_min", DOUBLE),
    ("EnergyWh", "energy_wh", DOUBLE),
)
Arguments = tuple[tuple[str, ua.VariantType], ...]
DEMAND: Arguments = (("Epoch", UINT32), ("Sequence", INT64), ("PowerKw", DOUBLE), ("SupplyC", DOUBLE), ("ValidityS", DOUBLE))
TYPES: dict[ua.VariantType, type | tuple[type, ...]] = {DOUBLE: (int, float), INT64: int, UINT32: int, BOOLEAN: bool}


class _Accounts(UserManager):
    """Who comes in. asyncua asks it with the name and password of a session, or without any."""

    def __init__(self, users: dict[str, str], intruder: Callable[[str], None]) -> None:
        self._users = users
        self._intruder = intruder

    def get_user(
        self, iserver: object, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """The user of a session; None refuses it."""
        if username is None:
            return User(role=UserRole.User, name=None)
        digest = hashlib.sha256((password or "").encode()).hexdigest()
        if hmac.compare_digest(digest, self._users.get(username, "")):
            return User(role=UserRole.User, name=username)
        self._intruder(username)
        return None


class _Rules:
    """What a session may ask for: nobody changes the address space, and only who has an account writes or calls."""

    def check_validity(self, user: User, action_type: ua.NodeId, body: object) -> bool:
        """Whether this request is allowed."""
        if action_type in FORBIDDEN:
            return False
        return user.name is not None or action_type not in WRITING


class UaServer:
    """`run` in a thread; `publish` and `stop` from the thread of the trio loop."""

    def __init__(self, config: OpcUaSignal, site: str, judge: Judge, token: trio.lowlevel.TrioToken) -> None:
        self._config = config
        self._uri = f"urn:thermostratum:{site}"
        self._judge = judge
        self._token = token
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event
        self._report: Report | None = None
        self._is_stopping = False
        self._written: dict[str, Node] = {}
        self._answers: dict[str, Node] = {}
        self._report_nodes: dict[str, tuple[Node, ua.VariantType]] = {}
        self._alarms: Node

    def run(self) -> None:
        """Serve until `stop`. Raises OSError when the address cannot be had."""
        # A loop by name: libraries that bring asyncio to trio replace the one that asyncio.run would take.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    def publish(self, report: Report) -> None:
        """Show this report; a newer one replaces it if the server has not come to it."""
        self._report = report
        self._poke()

    def stop(self) -> None:
        """End `run`, now or as soon as it has begun."""
        self._is_stopping = True
        self._poke()

    def _poke(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:  # closed between the question and the call: nobody is there to be woken
                return

    def _asked(self, call: Callable[[], T]) -> T:
        """Do a plain call on the trio thread. Our loop waits: it takes microseconds, and keeps calls in their order."""
        return trio.from_thread.run_sync(call, trio_token=self._token)

    async def _main(self) -> None:
        self._check_address()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = Server(user_manager=_Accounts(self._config.users, lambda name: self._asked(lambda: self._judge.intruder(name))))
        await self._prepare(server)
        await server.start()
        try:
            self._asked(self._judge.listening)
            while not self._is_stopping:
                self._wake.clear()
                if self._report is not None:
                    await self._show(self._report)
                if not self._is_stopping:
                    await self._wake.wait()
        finally:
            await server.stop()

    def _check_address(self) -> None:
        """Raises OSError when somebody listens there: to be known before two seconds of work, not after them."""
        where = urlsplit(self._config.listen or "")
        with socket.socket(socket.AF_INET6 if ":" in (where.hostname or "") else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((where.hostname or "", where.port or 4840))

    async def _prepare(self, server: Server) -> None:
        await server.init()
        await server.set_application_uri(self._uri)
        server.set_server_name("Thermostratum")
        server.set_endpoint(self._config.listen or "")
        server.limits = TransportLimits(BUFFER_BYTES, BUFFER_BYTES, MAX_MESSAGE_BYTES // BUFFER_BYTES + 1, MAX_MESSAGE_BYTES)
        policies = [ua.SecurityPolicyType.NoSecurity]
        if self._config.certificate is not None and self._config.key is not None:
            await server.load_certificate(self._config.certificate)
            await server.load_private_key(self._config.key)
            policies = [
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        server.set_security_policy(policies, permission_ruleset=_Rules())  # type: ignore[arg-type]  # the same calls, no base class
        server.set_identity_tokens([ua.AnonymousIdentityToken, ua.UserNameIdentityToken])
        index = await server.register_namespace(self._uri)
        plant = await server.nodes.objects.add_object(index, "Thermostratum")
        await self._add_methods(plant, index)
        await self._add_demand(server, plant, index)
        await self._add_report(plant, index)

    async def _add_methods(self, plant: Node, index: int) -> None:
        methods: tuple[tuple[str, Callable[..., Verdict], Arguments], ...] = (
            ("SetDemand", self._judge.demand, DEMAND),
            ("SetOutdoor", self._judge.outdoor, (("OutdoorC", DOUBLE),)),
            ("SetImportLimit", self._judge.limit, (("PowerKw", DOUBLE), ("ValidityS", DOUBLE))),
            ("SetStop", self._judge.stop, (("Stop", BOOLEAN),)),
        )
        answer = [_argument("Code", INT32), _argument("Reason", STRING)]
        for name, call, arguments in methods:
            await plant.add_method(index, name, self._method(call, arguments), [_argument(*each) for each in arguments], answer)

    def _method(self, call: Callable[..., Verdict], arguments: Arguments) -> Callable[..., Any]:
        async def method(parent: object, *given: Any) -> tuple[ua.Variant, ...]:
            return _outputs(self._judged(call, arguments, given))

        wrapped: Callable[..., Any] = uamethod(method)
        return wrapped

    def _judged(self, call: Callable[..., Verdict], arguments: Arguments, given: Sequence[object]) -> Verdict:
        """What the plant says to a call; whoever sends other types, or nothing, is told so without asking it."""
        fits = len(given) == len(arguments) and all(
            isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind is BOOLEAN)
            for value, (_, kind) in zip(given, arguments, strict=True)
        )
        if not fits:
            return Verdict(400, f"send {', '.join(f'{name} {kind.name}' for name, kind in arguments)}")
        return self._asked(lambda: call(*given))

    async def _add_demand(self, server: Server, plant: Node, index: int) -> None:
        """Variables to write; their names and order are those of SetDemand, Sequence last."""
        folder = await plant.add_folder(index, "Demand")
        for name, kind in DEMAND:
            first = float("nan") if kind is DOUBLE else 0
            self._written[name] = await folder.add_variable(index, name, ua.Variant(first, kind))
            await self._written[name].set_writable()
        self._answers["Code"] = await folder.add_variable(index, "Code", ua.Variant(0, INT32))
        self._answers["Reason"] = await folder.add_variable(index, "Reason", ua.Variant("", STRING))
        server.subscribe_server_callback(CallbackType.PostWrite, self._on_written)

    async def _add_report(self, plant: Node, index: int) -> None:
        folder = await plant.add_folder(index, "Report")
        for name, field, kind in REPORT:
            first: object = "" if kind is STRING else 0 if kind is INT64 else 0.0
            self._report_nodes[field] = await folder.add_variable(index, name, ua.Variant(first, kind)), kind
            await self._report_nodes[field][0].write_value(_unknown())
        self._alarms = await folder.add_variable(index, "Alarms", ua.Variant([], STRING, is_array=True))

    async def _show(self, report: Report) -> None:
        for _, field, kind in REPORT:
            value = getattr(report, field)
            await self._report_nodes[field][0].write_value(_unknown() if value is None else ua.DataValue(ua.Variant(value, kind)))
        await self._alarms.write_value(ua.DataValue(ua.Variant(list(report.alarms), STRING, is_array=True)))

    async def _on_written(self, event: Any, dispatcher: object) -> None:
        """After a client's write: when Sequence was among it, what stands in the folder is a demand."""
        if not event.is_external:
            return
        written = zip(event.request_params.NodesToWrite, event.response_params, strict=True)
        if not any(each.NodeId == self._written["Sequence"].nodeid and code.is_good() for each, code in written):
            return
        shown = [await self._written[name].read_data_value(raise_on_bad_status=False) for name, _ in DEMAND]
        given = [None if each.Value is None else each.Value.Value for each in shown]
        verdict = self._judged(self._judge.demand, DEMAND, given)
        for name, variant in zip(("Code", "Reason"), _outputs(verdict), strict=True):
            await self._answers[name].write_value(ua.DataValue(variant))


def _unknown() -> ua.DataValue:
    return ua.DataValue(ua.Variant(None, ua.VariantType.Null), ua.StatusCode(ua.UInt32(StatusCodes.BadNoData)))


def _argument(name: str, kind: ua.VariantType) -> ua.Argument:
    return ua.Argument(Name=name, DataType=ua.NodeId(ua.Int32(kind.value)), ValueRank=ua.Int32(-1))


def _outputs(verdict: Verdict) -> tuple[ua.Variant, ua.Variant]:
    return ua.Variant(verdict.code, INT32), ua.Variant(verdict.reason, STRING)
