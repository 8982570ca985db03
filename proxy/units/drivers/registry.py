"""Which driver speaks to which family. The only place that knows them all; what a driver does is its own file's."""

from collections.abc import Callable

from proxy import config
from proxy.units.credentials import credentials_of
from proxy.units.drivers.avalon import AvalonDriver
from proxy.units.drivers.axeos import AxeosDriver
from proxy.units.drivers.base import Connect, Driver
from proxy.units.drivers.braiins import BraiinsDriver
from proxy.units.drivers.luxos import LuxosDriver
from proxy.units.drivers.whatsminer import WhatsminerDriver


def make_driver(unit: config.Unit, model: config.Model, connect: Connect, wall_clock: Callable[[], float]) -> Driver:
    """The driver for a unit of this model. Raises ConfigError when its password file cannot be used."""
    match model.driver:
        case "avalon":
            return AvalonDriver(unit, model, connect, wall_clock)
        case "whatsminer":
            return WhatsminerDriver(unit, model, connect, wall_clock, credentials_of(unit, model))
        case "braiins":
            return BraiinsDriver(unit, model, connect, credentials_of(unit, model))
        case "luxos":
            return LuxosDriver(unit, model, connect)
        case "axeos":
            return AxeosDriver(unit, model, connect)
