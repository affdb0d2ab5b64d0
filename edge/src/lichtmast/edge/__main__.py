"""The `lichtmast-edge` command: run, check, outbox, selftest.

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
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.errors import EdgeError, SettingsError
from lichtmast.edge.log_lines import log_to_stderr
from lichtmast.edge.settings import read_settings
from lichtmast.edge.watchdog import Watchdog
from lichtmast.wire.faultpoint import FaultpointError, arm, parse_faults

if TYPE_CHECKING:
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
    told = {
        "device": str(prepared.settings.device.id),
        "profile": prepared.settings.device.profile,
        "interval_s": prepared.settings.report.interval_s,
        "readings": sorted(prepared.abilities.measured),
        "actuators": sorted(prepared.abilities.actuators),
        "rules": [rule.name for rule in prepared.configuration.rules],
        "links": list(prepared.settings.uplink.order),
    }
    if words.json:
        _print(json.dumps({"sound": True} | told))
    else:
        for name, value in told.items():
            _print(f"{name:12} {', '.join(value) if isinstance(value, list) else value}")
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


def _arm(faults: str) -> None:
    """Arm the faultpoints of a laboratory. Raises SettingsError."""
    if not faults:
        return
    try:
        arm(parse_faults(faults), leave=os._exit, sleep=time.sleep)
    except FaultpointError as error:
        raise SettingsError(f"LICHTMAST_FAULTS: {error}") from error
    _LOG.critical("faults_armed", extra={"faults": faults})


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
