"""What every vendor driver can do, and what one reading of a machine says.

A driver turns one vendor's API into these; it keeps no policy: when to ask, how often to try and what to believe in the long
run is `lifecycle` and `actor`.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Protocol

import msgspec
import trio

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]  # address, port


class Reading(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One believable answer of a machine. A field it did not tell is None, never 0."""

    at_s: float
    serial: str | None = None
    model_name: str | None = None
    firmware: str | None = None
    level_observed: int | None = None  # the level it says it is set to; 0 = proven asleep
    asleep: bool | None = None  # True and False are proven, None is in between
    stopping: bool = False  # was asked to sleep and is not proven asleep yet
    calibrating: bool = False
    hashing: bool | None = None
    power_w: float | None = None  # wall power
    power_is_dc: bool = False  # power_w is the boards' only, about 9 % below wall power: the unit does not tell more
    hashrate_hps: float | None = None
    hashrate_rated_hps: float | None = None  # what its clocks should give, also told while it is asleep
    inlet_c: float | None = None
    outlet_c: float | None = None
    chip_c: float | None = None
    elapsed_s: float | None = None  # since its miner program started; falls at a reboot
    pools_alive: int | None = None  # asked only of units that are awake and make no hashes
    error_bits: tuple[int, ...] = ()  # vendor's words, for people


class Answer(Enum):
    """What became of one command. None of them proves an effect: only a later reading does."""

    TAKEN = auto()  # it said yes
    LOST = auto()  # went out, no usable answer: read back, never repeat
    UNSENT = auto()  # never left: it may be sent again
    CALIBRATING = auto()  # not now
    REFUSED = auto()  # it said no


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How a machine took a command; `text` is for people."""

    answer: Answer
    text: str = ""


class Driver(Protocol):
    """One machine. Calls never overlap (the caller sees to it); each ends within a bounded time."""

    async def read(self) -> Reading:
        """Ask the machine what it does. Raises UnitError for silence and for nonsense."""
        ...

    async def set_level(self, level: int) -> Outcome:
        """Tell the machine to go to `level` of its model (0 = asleep). Sends each write at most once. Never raises UnitError."""
        ...
