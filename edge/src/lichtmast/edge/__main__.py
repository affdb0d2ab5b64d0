"""The `lichtmast-edge` command: run, check, outbox, selftest, identity, wipe.

Expected failures are one line on standard error and an exit code; anything else is a bug and shows its trace.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.errors import EdgeError, SettingsError
from lichtmast.edge.log_lines import log_to_stderr
from lichtmast.edge.settings import Settings, read_settings
from lichtmast.edge.watchdog import Watchdog
from lichtmast.wire.faultpoint import FaultpointError, arm, parse_faults

if TYPE_CHECKING:
    from lichtmast.edge.identity import IdentityFolder
    from lichtmast.edge.preparing import Prepared

SETTINGS: Final = Path("/etc/lichtmast-edge/agent.toml")
FAILED: Final = 1
WRONG: Final = 2
_LOG: Final = logging.getLogger(__name__)


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    words = _parser().parse_args()
    try:
        code = int(words.command(words))
    except SettingsError as error:
        code = _say(error, WRONG)
    except (EdgeError, OSError) as error:
        code = _say(error, FAILED)
    sys.exit(code)


def _run(words: argparse.Namespace) -> int:
    from lichtmast.edge.agent import run_agent  # noqa: PLC0415 - the other commands start faster without
    from lichtmast.edge.twin import REBOOT_EXIT_CODE, RebootAskedError  # noqa: PLC0415

    log_to_stderr(verbose=words.verbose)
    _arm(os.environ.get("LICHTMAST_FAULTS", ""))
    prepared = _prepared(words.settings)
    watchdog = Watchdog.of(os.environ.get("NOTIFY_SOCKET", ""), os.environ.get("WATCHDOG_USEC", ""))

    async def live() -> None:
        this = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, this.cancel if this is not None else loop.stop)
        await run_agent(prepared, SystemClock(), watchdog)

    try:
        asyncio.run(live())
    except (asyncio.CancelledError, KeyboardInterrupt):
        _LOG.warning("agent_stopped")
        return 0
    except ExceptionGroup as group:
        expected, unexpected = group.split((EdgeError, OSError))
        if unexpected is not None:
            raise
        errors = list(_leaves(expected))
        if any(isinstance(one, RebootAskedError) for one in errors):
            _LOG.warning("agent_ends_for_reboot")
            return REBOOT_EXIT_CODE
        for error in errors:
            _say(error, FAILED)
        return FAILED
    return 0


def _check(words: argparse.Namespace) -> int:
    prepared = _prepared(words.settings)
    uplink = prepared.settings.uplink
    told: dict[str, Any] = {
        "device": str(prepared.settings.device.id),
        "profile": prepared.settings.device.profile,
        "interval_s": prepared.settings.report.interval_s,
        "readings": sorted(prepared.abilities.measured),
        "actuators": sorted(prepared.abilities.actuators),
        "rules": [rule.name for rule in prepared.configuration.rules],
        "links": [f"{name}{'s' * (name in uplink.tls)}" for name in uplink.order],
    }
    label = prepared.settings.identity.label
    if label is not None:
        from lichtmast.edge.identity.looking import describe  # noqa: PLC0415 - brings cryptography

        told["identity"] = describe(_identity_folder(prepared.settings), label)
    if words.json:
        _print(json.dumps({"sound": True} | told))
    else:
        _print_fields(told)
    return 0


def _outbox(words: argparse.Namespace) -> int:
    from lichtmast.edge.agent import outbox_path  # noqa: PLC0415 - as above
    from lichtmast.edge.outbox import inspect_outbox  # noqa: PLC0415

    prepared = _prepared(words.settings)
    settings = prepared.settings
    told = asdict(
        inspect_outbox(outbox_path(settings), settings.device.id, settings=prepared.outbox, clock=SystemClock())
    )
    if words.json:
        _print(json.dumps(told))
    else:
        for name, value in told.items():
            _print(f"{name:22} {value}")
    return 0


def _selftest(words: argparse.Namespace) -> int:
    from lichtmast.edge.checks import Check, Verdict, selftest  # noqa: PLC0415 - as above

    logging.disable(logging.CRITICAL)  # what is found is told as checks
    prepared = None if words.settings is None else _prepared(words.settings)

    async def checks() -> list[Check]:
        found = []
        async for check in selftest(prepared, SystemClock()):
            found.append(check)
            if not words.json:
                _print(f"{check.verdict.value}  {check.name}: {check.told}")
                if check.remedy:
                    _print(f"      {check.remedy}")
        return found

    found = asyncio.run(checks())
    sound = all(one.verdict is not Verdict.FAIL for one in found)
    if words.json:
        told = [asdict(one) | {"verdict": one.verdict.value} for one in found]
        _print(json.dumps({"sound": sound, "checks": told}))
    return 0 if sound else FAILED


def _identity(words: argparse.Namespace) -> int:
    from lichtmast.edge.identity import keys, looking  # noqa: PLC0415 - as above

    settings = read_settings(words.settings)  # a device without a label has no other use for its settings yet
    folder = _identity_folder(settings)
    if words.what == "new":
        folder.make()
        keys.make_key(folder.key)
    if words.what == "label-key" and not words.json:
        sys.stdout.write(keys.load_key(folder.key).public_pem)
        return 0
    told: dict[str, Any] = looking.describe(folder, settings.identity.label)
    told |= {"public_key": keys.load_key(folder.key).public_pem}
    if words.json:
        _print(json.dumps(told))
    else:
        _print_fields({name: value for name, value in told.items() if name != "public_key"})
        sys.stdout.write(told["public_key"])
    return 0


def _wipe(words: argparse.Namespace) -> int:
    from lichtmast.edge.identity.wiping import wipe  # noqa: PLC0415 - as above

    settings = read_settings(words.settings)
    state, key = settings.device.state, settings.identity.key
    files = [words.settings, *([] if key is None else [key])]
    if not words.yes:
        named = ", ".join(str(one) for one in (state, *files))
        sys.stderr.write(
            f"lichtmast-edge: this deletes the key, the certificate, all undelivered packs and the settings of "
            f"{settings.device.id}, for ever: {named}. Stop the agent, and say --yes\n"
        )
        return WRONG
    wiped = wipe(state, files)
    if words.json:
        _print(json.dumps({"wiped": [str(one) for one in wiped]}))
    else:
        _print(f"{len(wiped)} files are overwritten and gone. Retire {settings.device.id} on the server too:")
        _print(f"lichtmast device retire {settings.device.id}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lichtmast-edge",
        description="The agent beside the sensors: it measures, and keeps every reading until the server has it.",
        epilog="Exit codes: 0 done and sound, 1 something failed, 2 words or settings are wrong, 75 start me again.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    default = Path(os.environ.get("LICHTMAST_EDGE_SETTINGS", SETTINGS))
    for name, command, told in (
        ("run", _run, "run until SIGTERM"),
        ("check", _check, "read the settings and say what is wrong; touches no bus and no network"),
        ("outbox", _outbox, "tell what waits to be delivered, also beside a running agent"),
        ("selftest", _selftest, "try each part once; without --settings what needs none"),
        ("identity", _identity, "make this device's key, once, or show what may be known of key and certificate"),
        ("wipe", _wipe, "overwrite and delete everything that the agent kept, and its settings"),
    ):
        one = commands.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        needs_settings = command is not _selftest
        one.add_argument(
            "--settings",
            type=Path,
            metavar="FILE",
            default=default if needs_settings else None,
            help=f"the agent's TOML file{f' (default {default})' if needs_settings else ''}",
        )
        if command is _identity:
            what = "new makes the key, show tells of it, label-key prints its public key for lichtmast device label"
            one.add_argument("what", choices=("new", "show", "label-key"), help=what)
        if command is _wipe:
            one.add_argument("--yes", action="store_true", help="do it: nothing can be brought back")
        if command is _run:
            one.add_argument("--verbose", action="store_true", help="log every event, not only warnings")
        else:
            one.add_argument("--json", action="store_true", help="one JSON object on standard output")
        one.set_defaults(command=command)
    return parser


def _prepared(path: Path) -> "Prepared":
    """The settings file, understood. Raises SettingsError, which names the file."""
    from lichtmast.edge.preparing import prepare  # noqa: PLC0415 - --help starts faster without

    settings = read_settings(path)
    try:
        return prepare(settings)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _identity_folder(settings: Settings) -> "IdentityFolder":
    from lichtmast.edge.identity.keeping import IdentityFolder  # noqa: PLC0415 - as above

    return IdentityFolder(settings.device.state, settings.identity.key)


def _arm(faults: str) -> None:
    """Arm the faultpoints of a laboratory. Raises SettingsError."""
    if not faults:
        return
    try:
        arm(parse_faults(faults), leave=os._exit, sleep=time.sleep)
    except FaultpointError as error:
        raise SettingsError(f"LICHTMAST_FAULTS: {error}") from error
    _LOG.critical("faults_armed", extra={"faults": faults})


def _print_fields(told: Mapping[str, Any]) -> None:
    """A line for each; a group's fields indented below its name."""
    for name, value in told.items():
        if isinstance(value, dict):
            _print(name)
            _print_fields({f"  {inner}": one for inner, one in value.items()})
        else:
            _print(f"{name:16} {', '.join(value) if isinstance(value, list) else value}")


def _print(line: str) -> None:
    """One line on standard output, at once: a check that takes long follows one that was quick."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(error: BaseException, code: int) -> int:
    sys.stderr.write(f"lichtmast-edge: {error}\n")
    return code


def _leaves(group: BaseException | None) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    if isinstance(group, BaseExceptionGroup):
        for one in group.exceptions:
            yield from _leaves(one)
    elif group is not None:
        yield group


if __name__ == "__main__":
    main()
