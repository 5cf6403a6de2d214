"""The command line: reads arguments and settings, runs the terminal, returns an exit code.

0: asked to stop. 1: an unforeseen error. 2: an argument or a setting must be changed; one sentence a line on stderr
says which. `check`, which looks at what the program needs, ends with 0 or 1.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import NoReturn

from pulse import __version__, check, logs
from pulse.errors import SettingsError
from pulse.ingest.recording import open_recording
from pulse.settings import Settings
from pulse.supervisor import start
from pulse.terminal import Plan

EXIT_BROKEN, EXIT_SETTINGS = 1, 2
SEED_MAX = 2**32 - 1
SPEED_MAX = 1000.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message[:1].upper()}{message[1:]}; see `python -m pulse --help`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the terminal until it is asked to stop and return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        if options.command == "check":
            _plan(options, Settings())  # refuses arguments that belong to other commands
            return check.run(os.environ, sys.stdout)
        settings = Settings.from_environment(os.environ)
        logs.set_up(settings.log_level, settings.log_format)
        start(settings, _plan(options, settings))
    except SettingsError as error:
        sys.stderr.write("".join(f"pulse: {logs.printable(line)}\n" for line in str(error).split("\n")))
        return EXIT_SETTINGS
    except Exception:  # noqa: BLE001  # the only place: an unforeseen error ends the process and is logged
        logs.log_crash()
        return EXIT_BROKEN
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pulse",
        description="A self-hosted crypto market terminal: book, metrics, candles, feed and dashboard.",
        epilog="Settings come from the environment; docs/configuration.md lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pulse {__version__}")
    parser.add_argument("command", nargs="?", choices=["check"], help="check what the program needs, and end")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--demo", action="store_true", help="run against a built-in exchange simulator, with no network")
    mode.add_argument("--replay", nargs="+", metavar="FILE", type=Path, help="play recordings of raw frames")
    parser.add_argument("--seed", type=_seed, help="with --demo: the same seed gives the same session (default 1)")
    parser.add_argument(
        "--speed", type=_speed, help="with --replay: speed as a factor of recorded time, or max (default 1)"
    )
    return parser


def _plan(options: argparse.Namespace, settings: Settings) -> Plan:
    if options.command and (options.demo or options.replay):
        raise SettingsError("check looks at the real exchange; --demo and --replay need none.")
    if options.seed is not None and not options.demo:
        raise SettingsError("--seed belongs to --demo.")
    if options.speed is not None and options.replay is None:
        raise SettingsError("--speed belongs to --replay.")
    if options.demo:
        return Plan("simulation", settings.symbols, seed=1 if options.seed is None else options.seed)
    if options.replay is None:
        return Plan("exchange", settings.symbols)
    recording = open_recording(options.replay)
    return Plan("replay", tuple(recording.instruments), recording=recording, speed=options.speed or 1.0)


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or int(text) > SEED_MAX:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {SEED_MAX}, got {text!r}")
    return int(text)


def _speed(text: str) -> float:
    if text == "max":
        return inf
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII) or not 0 < float(text) <= SPEED_MAX:
        raise argparse.ArgumentTypeError(f"expected max or a factor up to {SPEED_MAX:g}, got {text!r}")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
