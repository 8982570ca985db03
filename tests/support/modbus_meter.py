"""A meter that speaks Modbus TCP: pymodbus's own server, run from trio."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer

from tests.support.other_loop import other_loop


def floats(values: Sequence[float], word_order: str = "big") -> list[int]:
    """Floats as registers, by the library's own conversion."""
    words: list[int] = []
    for value in values:
        order = "big" if word_order == "big" else "little"
        words += ModbusClientMixin.convert_to_registers(value, ModbusClientMixin.DATATYPE.FLOAT32, word_order=order)
    return words


@asynccontextmanager
async def modbus_meter(
    inputs: Sequence[int], holdings: Sequence[int] = (0,), device_ids: Sequence[int] = (1,)
) -> AsyncIterator[int]:
    """Serve registers from address 0 on; the value is the port."""
    devices: Mapping[int, ModbusDeviceContext] = {
        device_id: ModbusDeviceContext(
            ir=ModbusSequentialDataBlock(1, list(inputs)), hr=ModbusSequentialDataBlock(1, list(holdings))
        )
        for device_id in device_ids
    }

    async def start() -> ModbusTcpServer:
        server = ModbusTcpServer(ModbusServerContext(devices=dict(devices), single=False), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        return server

    async with other_loop() as loop:
        server = await loop.call(start)
        try:
            yield server.transport.sockets[0].getsockname()[1]
        finally:
            await loop.call(server.shutdown)
