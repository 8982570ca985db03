"""A meter that speaks Modbus TCP: pymodbus's own server, run from trio."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio_asyncio
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer


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
    async with trio_asyncio.open_loop():
        server = ModbusTcpServer(ModbusServerContext(devices=dict(devices), single=False), address=("127.0.0.1", 0))
        await trio_asyncio.aio_as_trio(server.serve_forever)(background=True)
        try:
            yield server.transport.sockets[0].getsockname()[1]
        finally:
            await trio_asyncio.aio_as_trio(server.shutdown)()
