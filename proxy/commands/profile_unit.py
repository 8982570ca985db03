"""`thermostratum profile-unit`: records one machine's levels, delays and ramps, and writes them as a table for the site file.

It asks before it touches the machine, and brings it back to the level it found however the recording ends: done, refused, broken,
Ctrl-C or SIGTERM. What is measured and how is `units.profile`.
"""

import datetime
import ipaddress
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from proxy import config
from proxy.commands.profile_gate import ProxyGate, WorkFrom
from proxy.commands.say import CliError, say
from proxy.errors import UnitError
from proxy.units.credentials import NEEDS_PASSWORD, read_password
from proxy.units.drivers.base import Driver
from proxy.units.drivers.link import connect_tcp
from proxy.units.drivers.registry import make_driver
from proxy.units.profile import Plan, Profile, Recording, Setting
from proxy.units.profile_table import table_of

MAX_LEVELS = 16


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for, checked."""

    address: str
    port: int | None
    plan: Plan
    account: dict[str, str]  # api_user, api_password_file
    name: str | None
    out: Path | None
    work: WorkFrom | None = None


def parse_settings(text: str) -> tuple[Setting, ...]:
    """`400,490,600`, or `400@1100,490@1150` with core millivolts. Raises CliError."""
    try:
        settings = tuple(_setting(word) for word in text.split(","))
    except (ValueError, msgspec.ValidationError):
        raise CliError(f'--levels "{text}" is no list of settings; give whole numbers by rising power, such as 50,75,100') from None
    if len(settings) > MAX_LEVELS:
        raise CliError(f"--levels has {len(settings)} settings; a model has at most {MAX_LEVELS}")
    if len({each.setting for each in settings}) < len(settings):
        raise CliError(f'--levels "{text}" has a setting twice; the driver tells levels apart by it')
    return settings


def _setting(word: str) -> Setting:
    setting, at, millivolts = word.strip().partition("@")
    return Setting(int(setting), int(millivolts) if at else None)


def check_request(request: Request) -> None:
    """Refuse what could not end well, before the machine is touched. Raises CliError or ConfigError."""
    try:
        ipaddress.ip_address(request.address)
    except ValueError:
        raise CliError(f'"{request.address}" is no IP address; a unit is found by its address, not by a name') from None
    if request.out is not None and request.out.exists():
        raise CliError(f"{request.out} exists and is not overwritten; give another name")
    if request.out is not None and not request.out.absolute().parent.is_dir():
        raise CliError(f"{request.out.absolute().parent} is no folder; make it first")
    password_file = request.account.get("api_password_file")
    if request.plan.driver in NEEDS_PASSWORD and password_file is None:
        raise CliError(f"{request.plan.driver} machines take no command without a password; give --password-file")
    if password_file is not None:
        read_password(Path(password_file))
    if request.work is not None:
        ProxyGate(request.work).check(request.address)


def describe(request: Request) -> str:
    """What is going to be done to the machine, for the person who is asked."""
    plan = request.plan
    settings = ", ".join(f"{each.setting}" for each in plan.settings)
    sleeps = "Then it is put to sleep and woken. " if plan.with_sleep else ""
    count = len(plan.settings) + 2 * plan.with_sleep
    starves = ""
    if request.work is not None:
        starves = f"Then it gets no work for {plan.without_work_s / 60:.0f} minutes. "
        count += math.ceil(plan.without_work_s / 240) + 1
    return (
        f"{request.address} ({plan.driver}) is set to {settings} in turn and watched until its power stands still. "
        f"{sleeps}{starves}That takes about {4 * count} minutes, more if it reboots or tunes itself; then it is brought back to the"
        " level it has now.\n"
        "Its water must flow all the time, and nobody else may command it: in a running site, take it out for service first."
    )


def confirm(question: str) -> None:
    """Ask at the terminal. Raises CliError for anything but yes."""
    if not sys.stdin.isatty():
        raise CliError("nobody can be asked here; add --yes when it may be done")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("nothing was done")


def profile_unit(request: Request, *, is_agreed: bool) -> None:
    """Ask, record, restore, write. Raises CliError, ConfigError or KeyboardInterrupt; says so when the machine is not as it was."""
    check_request(request)
    say(describe(request))
    if not is_agreed:
        confirm("Go on?")
    unit = config.Unit(
        id="unit",
        address=request.address,
        model="recorded",
        loop="none",
        api_port=request.port,
        api_user=request.account.get("api_user"),
        api_password_file=request.account.get("api_password_file"),
    )

    def driver_for(model: config.Model) -> Driver:
        return make_driver(unit, model, connect_tcp, time.time)

    async def run() -> Profile | None:
        gate = None if request.work is None else ProxyGate(request.work)
        return await record(Recording(request.plan, driver_for, trio.current_time, trio.sleep, _tell, gate), until_signal)

    try:
        profile = trio.run(run)
    except UnitError as problem:
        raise CliError(str(problem)) from problem
    if profile is None:
        raise KeyboardInterrupt
    write(request, profile)


async def record(recording: Recording, until_stopped: Callable[[], Awaitable[None]]) -> Profile | None:
    """Record and restore; None when it was stopped. Raises UnitError; CliError when the machine did not come back."""
    profile: Profile | None = None
    problem: UnitError | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await until_stopped()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            try:
                await recording.begin()
                profile = await recording.measure()
            except UnitError as error:
                problem = error
            nursery.cancel_scope.cancel()
    finally:
        # Outside of the nursery, so a stop cannot cut it off; a second Ctrl-C can, and then somebody wants exactly that.
        is_back = await recording.restore()
    if not is_back:
        cause = f" (it began with: {problem})" if problem is not None else ""
        raise CliError(f"it did not come back to level {recording.found_level}{cause}: look at it, and set it by its own page")
    if problem is not None:
        raise problem
    return profile


async def until_signal() -> None:
    """Wait for Ctrl-C or SIGTERM, which then do nothing else."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            _tell("stopping")
            return


def write(request: Request, profile: Profile) -> None:
    """Write the table to its file or to standard output. Raises CliError when it cannot be written; then it is shown."""
    name = request.name or _name_of(profile)
    text = table_of(profile, name, f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC", request.account)
    if request.out is None:
        say(text)
        return
    try:
        with request.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        say(text)
        raise CliError(f"{request.out} cannot be written: {error.strerror}; the table is shown instead") from error
    say(f"Recorded in {request.out}: copy the table into the site file, then `thermostratum check` it.")


def _name_of(profile: Profile) -> str:
    told = "".join(letter for letter in profile.found.model_name or "" if letter.isascii() and (letter.isalnum() or letter in "_-"))
    return told.lower()[:40] or profile.plan.driver


def _tell(line: str) -> None:
    """Progress: not part of the result, so that standard output can go into a file."""
    sys.stderr.write(f"{datetime.datetime.now():%H:%M:%S} {line}\n")
