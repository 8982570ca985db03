"""The machines in a site file: hydraulic loops, models as data, and units."""

from typing import Annotated, Literal

from msgspec import Meta

from proxy.config_base import Name, Table

# Where each family listens unless somebody changed it.
API_PORTS = {"avalon": 4028, "whatsminer": 4433, "braiins": 80, "luxos": 4028, "axeos": 80}


class Loop(Table, frozen=True, kw_only=True):
    """[[loops]]: one hydraulic circuit."""

    name: Name
    max_power_w: Annotated[float, Meta(gt=0, description="cap of all units of the loop together, electrical")] | None = None
    design_flow_l_per_min: Annotated[float, Meta(gt=0, description="flow with all pumps on; below 60 % the loop sleeps")] | None = (
        None
    )
    shed_supply_c: Annotated[float, Meta(ge=20, le=120, description="hotter water from the loop: a quarter of it is shed")] = 88.0
    trip_supply_c: Annotated[float, Meta(ge=20, le=120, description="hotter still: the loop sleeps")] = 92.0


class Level(Table, frozen=True, kw_only=True):
    """One power level of a model. Level 0, asleep, is there without being listed."""

    name: Annotated[str, Meta(min_length=1, max_length=40, description="how people call it")]
    power_w: Annotated[float, Meta(gt=0, le=100_000, description="wall power")]
    hashrate_hps: Annotated[float, Meta(gt=0, description="hashes per second")]
    setting: Annotated[
        int, Meta(description="what the driver sends for it: worklevel, workmode, percent, watts or MHz, as the family has it")
    ] = 0
    core_voltage_mv: Annotated[int, Meta(ge=500, le=2_000, description="axeos: core voltage sent with it")] | None = None


class WithoutWork(Table, frozen=True, kw_only=True):
    """[models.NAME.without_work]: what a machine of the model did when it got no work, as `profile-unit` records it."""

    behaviour: Annotated[
        Literal["idles", "heats_on", "restarts", "silent"],
        Meta(description="what it does; only a model that idles, and came back by itself, may be kept from work"),
    ]
    power_w: Annotated[float, Meta(ge=0, le=100_000, description="what it drew at the end")] | None = None
    idle_after_s: Annotated[float, Meta(ge=0, le=86_400, description="from the loss of work until its power had gone")] | None = (
        None
    )
    resume_s: (
        Annotated[float, Meta(ge=0, le=86_400, description="from new work until its old power; not set: it did not come back")]
        | None
    ) = None


class Model(Table, frozen=True, kw_only=True):
    """[models.NAME]: data of a kind of machine, as recorded on one."""

    driver: Annotated[Literal["avalon", "whatsminer", "braiins", "luxos", "axeos"], Meta(description="vendor API family")] = (
        "avalon"
    )
    levels: Annotated[list[Level], Meta(min_length=1, max_length=16, description="rising power")]
    sleep_power_w: Annotated[float, Meta(ge=0, le=1_000, description="what it draws asleep")] = 15.0
    setting_command: Annotated[
        Literal["worklevel", "workmode"], Meta(description="worklevel: no reboot; workmode: takes effect after a reboot")
    ] = "worklevel"
    wake: Annotated[Literal["softon", "reboot"], Meta(description="how it comes back from softoff")] = "softon"
    change_reboots: Annotated[bool, Meta(description="a level change takes it off the line for minutes")] = False
    settle_s: Annotated[float, Meta(ge=1, le=3_600, description="a command should show in the readings by then")] = 240.0
    wake_s: Annotated[float, Meta(ge=1, le=3_600, description="from softon to hashing")] = 300.0
    min_dwell_s: Annotated[float, Meta(ge=0, le=86_400, description="shortest time on a level")] = 300.0
    min_off_s: Annotated[float, Meta(ge=0, le=86_400, description="shortest sleep: every start wears the supply")] = 900.0
    min_on_s: Annotated[float, Meta(ge=0, le=86_400, description="shortest time awake; interlocks do not wait for it")] = 1_800.0
    max_starts_per_day: Annotated[int, Meta(ge=1, le=1_000, description="then it stays as it is until the next day")] = 4
    change_delay_s: (
        Annotated[float, Meta(ge=0, le=3_600, description="from a command to the first watt of change, as recorded")] | None
    ) = None
    ramp_up_s: Annotated[float, Meta(ge=0, le=3_600, description="from no to full power once it moves, as recorded")] | None = None
    ramp_down_s: Annotated[float, Meta(ge=0, le=3_600, description="from full to no power, as recorded")] | None = None
    may_starve: Annotated[
        bool, Meta(description="true: gets no work where it was told to sleep and does not; needs a without_work that is safe")
    ] = False
    without_work: WithoutWork | None = None
    worker_name_limit: Annotated[int, Meta(ge=8, le=191, description="longer worker names are cut by the firmware")] = 63
    api_user: Annotated[str, Meta(max_length=64, description="account of its API; default: the family's usual one")] | None = None
    api_password_file: (
        Annotated[str, Meta(description="file with the password of that account, mode 0600; for whatsminer and braiins")] | None
    ) = None
    max_outlet_c: Annotated[float, Meta(ge=20, le=120, description="above: one level down")] = 85.0
    max_chip_c: Annotated[float, Meta(ge=20, le=150, description="above: one level down; 5 K above: asleep")] = 95.0


class Unit(Table, frozen=True, kw_only=True):
    """[[units]] or a row of units_file: one machine."""

    id: Name
    address: Annotated[str, Meta(description="IP address of its API, and of its Stratum connection")]
    model: Annotated[str, Meta(description="a [models.NAME]")]
    loop: Annotated[str, Meta(description="a [[loops]] name")]
    worker: Annotated[str, Meta(max_length=191, description="worker name it mines with; default: its id")] | None = None
    serial: Annotated[str, Meta(description="the device's own; learned at first contact when absent")] | None = None
    api_port: (
        Annotated[int, Meta(ge=1, le=65_535, description="TCP port of its API; default: the usual one of its model's driver")]
        | None
    ) = None
    api_user: Annotated[str, Meta(max_length=64, description="account of its API, where it differs from the model's")] | None = None
    api_password_file: Annotated[str, Meta(description="file with its password, where it differs from the model's")] | None = None
    pool: Annotated[str, Meta(description="the pool this unit prefers, whatever the priorities")] | None = None
    in_service: Annotated[bool, Meta(description="true: taken out for service, never commanded")] = False


def api_port(unit: Unit, model: Model) -> int:
    """TCP port of a unit's API: its own, else the usual one of its family."""
    return unit.api_port if unit.api_port is not None else API_PORTS[model.driver]


def starving_is_unsafe(model: Model) -> str | None:
    """Why a machine of this model must not be kept from work; None when a record says that it may."""
    record = model.without_work
    if record is None:
        return "nothing is recorded of what it does without work"
    if record.behaviour != "idles":
        does = {"heats_on": "heats on all the same", "restarts": "restarts again and again", "silent": "answers no more"}
        return f"without work it {does[record.behaviour]}"
    return "it did not come back by itself when it had work again" if record.resume_s is None else None


def may_starve(model: Model) -> bool:
    """Whether work may be withheld from a machine of this model: permitted in the site file, and recorded to be safe."""
    return model.may_starve and starving_is_unsafe(model) is None
