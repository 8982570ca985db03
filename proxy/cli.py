"""The `thermostratum` command: what an operator types.

Each command is a few lines: it loads what it needs (imports are inside, so that `--help` and `check` stay quick), calls the part
that does the work, and turns what can go wrong into one message with a remedy. Exit codes: 0 done, 1 failed, 2 wrong command line,
78 the site file has mistakes. A traceback is always a bug of ours.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import cyclopts
from cyclopts import App, Parameter

from proxy.commands.say import CliError, explain, fail, say, warn
from proxy.errors import ConfigError, ThermostratumError

EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG = 1, 2, 78
DEFAULT_URL = "http://127.0.0.1:8080"
_PROBLEMS_SHOWN = 200

SitePath = Annotated[Path, Parameter(name="SITE", help="The site file (TOML).", show_default=False)]
Url = Annotated[str, Parameter(env_var="THERMOSTRATUM_URL", help="Where the running proxy answers.")]
KeyFile = Annotated[
    Path | None, Parameter(env_var="THERMOSTRATUM_KEY_FILE", help="File with an API key; keys never go on the command line.")
]

app = App(
    name="thermostratum",
    help="Stratum proxy that makes a fleet of miners follow a heat demand.",
    help_epilogue="Start here: `thermostratum demo`, then `thermostratum check SITE.toml`.",
    help_format="markdown",
    version=lambda: metadata.version("thermostratum"),
    end_of_options_delimiter="--",
)
ledger = App(name="ledger", help="Look into the record of shares, energy and commands.", help_format="markdown")
app.command(ledger)


@app.command
def run(site: SitePath, /) -> int:
    """Run a site until SIGTERM or SIGINT; SIGHUP reads the site file again.

    Example: `thermostratum run /etc/thermostratum/site.toml`
    """
    from proxy.checks.load import load_site

    loaded = load_site(site)
    for line in loaded.warnings:
        warn(line)
    from proxy import app as site_app

    try:
        site_app.run(loaded.config, site)
    except (OSError, BaseExceptionGroup) as error:
        raise CliError(explain(error, loaded.config)) from error
    return 0


@app.command
def check(site: SitePath, /) -> int:
    """Find every mistake in a site file, and show what it means: bytes, pools, loops, kilowatts.

    Nothing is opened or connected. Exit code 78 when the file cannot be used.

    Example: `thermostratum check /etc/thermostratum/site.toml`
    """
    from proxy.checks.load import load_site
    from proxy.commands.show import show_site

    loaded = load_site(site)
    show_site(site, loaded.config)
    for line in loaded.warnings:
        warn(line)
    say(f"{site.name} can be used" + (f", with {len(loaded.warnings)} warnings." if loaded.warnings else "."))
    return 0


@app.command
def demo(*, seconds: float | None = None, listen: str = "127.0.0.1:8080", keep: Path | None = None) -> int:
    """Show it all on this machine: simulated plant, miners that hash for real, a pool, and a utility that asks for heat.

    Example: `thermostratum demo`, then open http://127.0.0.1:8080

    Parameters
    ----------
    seconds
        End after so long and print one line of JSON with the results. Default: until Ctrl-C.
    listen
        Where the page answers.
    keep
        A folder for site file, ledger and logs. Default: a temporary one that goes when all went well.
    """
    from proxy.checks.net import parse_endpoint

    if parse_endpoint(listen) is None:
        raise CliError(f'"{listen}" is no address to listen on; give host:port, such as 127.0.0.1:8081')
    if seconds is not None and not 0 < seconds <= 86_400:
        raise CliError("--seconds must be above 0 and at most 86400")
    from proxy.sim.demo import run_demo

    try:
        run_demo(seconds=seconds, listen=listen, keep=keep)
    except (OSError, BaseExceptionGroup) as error:
        raise CliError(explain(error, None)) from error
    return 0


@app.command
def simulate(
    scenario: Annotated[
        str | None, Parameter(name="SCENARIO", help="A scenario file (TOML), or the name of a shipped one.")
    ] = None,
    /,
    *,
    seed: int | None = None,
    hours: float | None = None,
    out: Path | None = None,
    plots: bool = True,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Let a site live through its day in virtual time: the real heat control over simulated machines, water, meters and faults.

    Prints one line of JSON with tracking, wear, energy and alarms, and draws pictures. Exit code 78 for a scenario with mistakes.

    Example: `thermostratum simulate nordic-228 --hours 6 --out winter`

    Parameters
    ----------
    seed
        Another seed than the scenario's: the same seed is the same run.
    hours
        Other than the scenario's.
    out
        Folder for pictures and summary. Default: simulate-NAME.
    plots
        Draw pictures and write the folder.
    list_
        Name the shipped scenarios.
    """
    from proxy.sim import simulate as simulation

    if list_:
        simulation.show_list()
        return 0
    if scenario is None:
        raise CliError("which scenario? `thermostratum simulate --list` names those that are shipped; or give a TOML file")
    if hours is not None and not 0 < hours <= 240:
        raise CliError("--hours must be above 0 and at most 240")
    if seed is not None and seed < 0:
        raise CliError("--seed must be 0 or more")
    try:
        simulation.simulate(scenario, seed=seed, hours=hours, out=out, with_plots=plots)
    except ConfigError as error:
        for line in error.problems[:_PROBLEMS_SHOWN]:
            fail(line)
        return EXIT_CONFIG
    return 0


@app.command
def status(*, url: Url = DEFAULT_URL, key_file: KeyFile = None) -> int:
    """Show what the running proxy does: heat, pools, units, shares.

    Example: `thermostratum status --url http://10.0.0.2:8080 --key-file viewer.key`
    """
    import msgspec

    from proxy.commands.http import call
    from proxy.commands.show import show_status
    from proxy.views import SiteView

    answer = call("GET", url, "/api/v1/status", key_file=key_file)
    try:
        view = msgspec.json.decode(answer, type=SiteView)
    except msgspec.DecodeError as error:
        raise CliError(
            f"{url} does not speak as this version does ({error}); is it another program, or another version?"
        ) from error
    show_status(view)
    return 0


@app.command
def reload(*, url: Url = DEFAULT_URL, key_file: KeyFile = None) -> int:
    """Let the running proxy read its site file again. With mistakes in it, nothing changes and they are shown.

    Example: `thermostratum reload --key-file operator.key`
    """
    from proxy.commands.http import call

    call("POST", url, "/api/v1/reload", key_file=key_file)
    say("The site file was read again and is in effect.")
    return 0


@app.command
def service(
    unit: Annotated[str, Parameter(help="The unit's id.")],
    state: Annotated[Literal["on", "off"], Parameter(help="on: taken out for service, never commanded; off: back.")],
    /,
    *,
    note: str = "",
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
) -> int:
    """Take a unit out for service (on), or give it back to heat control (off). It survives a restart only in the site file.

    Example: `thermostratum service L1-07 on --note "hose replaced" --key-file operator.key`

    Parameters
    ----------
    note
        Why, for the audit.
    """
    from urllib.parse import quote

    from proxy.commands.http import call

    body = {"in_service": state == "on", "note": note}
    call("PUT", url, f"/api/v1/units/{quote(unit, safe='')}/service", body=body, key_file=key_file)
    say(f"{unit} is taken out for service: it is not commanded." if state == "on" else f"{unit} is back in heat control.")
    return 0


@app.command
def apikey(name: str, role: Literal["utility", "operator", "viewer"], /) -> int:
    """Make an API key. The key is shown once; only its hash goes into the site file.

    Example: `thermostratum apikey city-heat utility`

    Parameters
    ----------
    name
        Who will use it; the audit shows it.
    role
        utility: heat demand and meter; operator: units too; viewer: reading.
    """
    from proxy.commands.apikey import make_key

    make_key(name, role)
    return 0


@app.command
def keygen(file: Annotated[Path, Parameter(name="FILE", help="The key file to make.", show_default=False)], /) -> int:
    """Make the keys of a Stratum V2 port. Devices are configured with the public key it prints.

    Example: `thermostratum keygen /etc/thermostratum/v2-keys.toml`
    """
    from proxy.commands.keygen import make_keys

    make_keys(file)
    return 0


@app.command
def settle(
    site: SitePath,
    /,
    *,
    start: Annotated[str, Parameter(name="--from", help="Date or time at which the span begins.")],
    end: Annotated[str, Parameter(name="--to", help="Date or time at which it ends, not included.")],
    format: Literal["csv", "json", "pdf"] | None = None,  # noqa: A002  # its public name
    out: Path | None = None,
    time_zone: str = "UTC",
    revisions: bool = False,
) -> int:
    """Write the settled quarter hours of a span of time: heat demanded and delivered, electricity, work, proof of heat.

    The chain of records is proven before anything is written; the proxy may be running. Exit code 1 when it is broken.

    Example: `thermostratum settle site.toml --from 2026-11-01 --to 2026-12-01 --time-zone Europe/Helsinki --out november.pdf`

    Parameters
    ----------
    format
        csv, json or pdf. Default: what the name of --out ends in, else csv.
    out
        The file to write. Default: standard output.
    time_zone
        Of dates without an offset, and for reading: `start_local` in CSV, the times in the PDF. Data are in UTC.
    revisions
        Every revision of every period, not only the newest (csv, json).
    """
    import time

    from proxy.commands.settle import settle as write_settlement

    write_settlement(site, start, end, format=format, out=out, zone=time_zone, revisions=revisions, wall_clock=time.time)
    return 0


@app.command
def profile_unit(
    address: Annotated[str, Parameter(name="ADDRESS", help="IP address of the machine's API.", show_default=False)],
    /,
    *,
    driver: Literal["avalon", "whatsminer", "braiins", "luxos", "axeos"],
    levels: str,
    port: int | None = None,
    user: str | None = None,
    password_file: Path | None = None,
    setting_command: Literal["worklevel", "workmode"] = "worklevel",
    wake: Literal["softon", "reboot"] = "softon",
    change_reboots: Annotated[bool, Parameter(negative=())] = False,
    sleep: bool = True,
    patience: float = 1_200.0,
    unit: str | None = None,
    without_work: float = 900.0,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    name: str | None = None,
    out: Path | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Record how one machine follows commands, and write it as a model for the site file: watts, hashes, delays, ramps, reboots.

    It is set to each level, then put to sleep and woken, and brought back to the level it had, also after Ctrl-C. Asks first. With
    --unit, the running proxy that gives it work keeps it from work for a while, and what it then does is recorded too.

    Example: `thermostratum profile-unit 10.20.1.7 --driver avalon --levels 0,1,2 --out a1566ha.toml`

    Parameters
    ----------
    driver
        The family of its API.
    levels
        What the driver sends for each level, by rising power: worklevels, per cent, watts or MHz (with axeos also 490@1150: MHz and
        core millivolts). Its present setting must be one of them.
    port
        Of its API, where it is not the usual one.
    user
        Account of its API, where it is not the usual one.
    password_file
        File of mode 0600 with the account's password, for whatsminer and braiins.
    setting_command
        Avalon: the command that sets a level.
    wake
        Avalon: how it comes back from sleep.
    change_reboots
        Its firmware applies a level only when it restarts: send a reboot with each change.
    sleep
        Put it to sleep and wake it too.
    patience
        Seconds that one change may take to settle.
    unit
        Its id in the running proxy, where it must be in service. Default: what it does without work is not recorded.
    without_work
        Seconds that it is watched without work.
    name
        Of the model. Default: what the machine calls itself.
    out
        The file to write, which must not exist. Default: standard output.
    yes
        Do not ask.
    """
    from proxy.commands import profile_unit as command
    from proxy.commands.profile_gate import WorkFrom
    from proxy.units.profile import Plan

    if not 120 <= patience <= 3_600:
        raise CliError("--patience must be 120 to 3600 seconds")
    if not 300 <= without_work <= 86_400:
        raise CliError("--without-work must be 300 to 86400 seconds")
    account = {} if user is None else {"api_user": user}
    if password_file is not None:
        account["api_password_file"] = str(password_file.absolute())
    plan = Plan(
        driver=driver,
        settings=command.parse_settings(levels),
        setting_command=setting_command,
        wake=wake,
        change_reboots=change_reboots,
        with_sleep=sleep,
        patience_s=patience,
        without_work_s=without_work,
    )
    work = None if unit is None else WorkFrom(unit=unit, url=url, key_file=key_file)
    request = command.Request(address=address, port=port, plan=plan, account=account, name=name, out=out, work=work)
    command.profile_unit(request, is_agreed=yes)
    return 0


@ledger.command
def verify(
    source: Annotated[str, Parameter(name="SITE", help="The site file, or the SQLAlchemy URL of a ledger.", show_default=False)], /
) -> int:
    """Check that a ledger is whole: every share in a named state, totals equal, both chains unbroken. Exit code 1 when not.

    Example: `thermostratum ledger verify /etc/thermostratum/site.toml`
    """
    from proxy.commands.ledger import verify_source

    return 0 if verify_source(source) else EXIT_FAILED


def main(words: list[str] | None = None) -> NoReturn:
    """Entry point of the command: run `words` (default: the command line) and exit with its code.

    An operator's mistake ends in a message, never in a traceback.
    """
    from proxy.commands.import_names import check_import_names

    try:
        check_import_names()
        code = app(words, exit_on_error=False, result_action="return_value") or 0  # --help and --version return nothing
    except cyclopts.CycloptsError:
        code = EXIT_USAGE  # the parser has said what it did not understand
    except ConfigError as error:
        for line in error.problems[:_PROBLEMS_SHOWN]:
            fail(line)
        count, hidden = len(error.problems), len(error.problems) - _PROBLEMS_SHOWN
        fail(f"{count} mistake{'s' if count > 1 else ''} in the site file" + (f", {hidden} not shown" if hidden > 0 else ""))
        code = EXIT_CONFIG
    except (CliError, ThermostratumError) as error:
        fail(str(error))
        code = EXIT_FAILED
    except KeyboardInterrupt:
        code = 130  # as a shell reports SIGINT
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe left (`| head`): nothing to tell, nobody to tell it to
        code = EXIT_FAILED
    sys.exit(code)


if __name__ == "__main__":
    main()
