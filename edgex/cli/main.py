"""`edgex` and `convert-model`: finds the command's file, and turns an EdgexError into an exit code."""

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from edgex.interrupt import EXIT_INTERRUPTED, LeavesAtOnce
from edgex_runtime import errors

# Command → (module that holds `command`, the line that `edgex --help` shows without importing it).
COMMANDS = {
    "demo": ("edgex.cli.demo", "Draw photos, train, convert, prove and run live: the whole way in five minutes."),
    "train": ("edgex.cli.train", "Train a network on a folder of photos, one folder a class."),
    "eval": ("edgex.cli.eval", "Measure any model file on a folder of photos."),
    "explain": ("edgex.cli.explain", "Show where in a picture a checkpoint sees a class (Grad-CAM)."),
    "compare": ("edgex.cli.compare", "Do two model files say the same to the same pictures, and if not, why?"),
    "convert": ("edgex.cli.convert", "Convert a trained network to ONNX, OpenVINO and TFLite, and prove each file."),
    "cache": ("edgex.cli.cache", "Show what conversions have kept for the next one, and remove it."),
    "live": ("edgex.cli.live", "Classify what a camera, a video or a folder shows."),
    "keys": ("edgex.cli.keys", "Make and show the key that bundles are signed with."),
    "bundle": ("edgex.cli.bundle", "Pack a model and all that a board needs to run it, signed."),
    "deploy": ("edgex.cli.deploy", "Bring a bundle to boards over SSH, prove it there, and roll back if it differs."),
    "bench": ("edgex.cli.bench", "Measure what model files take on this machine, compared in one run."),
    "inspect": ("edgex.cli.inspect", "Print a model file's contract and its evidence."),
    "devices": ("edgex.cli.devices", "Say what is known of boards, and which one a machine is."),
    "doctor": ("edgex.cli.doctor", "Examine this machine or a board, and say what to mend."),
    "tune": ("edgex.cli.tune", "Measure models on this machine, and keep the fastest way to run them."),
}

# The nearest class in an error's ancestry decides.
EXIT_CODES: dict[type[BaseException], int] = {
    errors.EdgexError: 1,
    errors.BadInputError: 2,
    errors.MissingExtraError: 3,
    errors.ContractMismatchError: 4,
    errors.ParityError: 4,
    errors.AccuracyGateError: 5,
    errors.DeviceUnavailableError: 6,
    errors.DeployError: 1,
    errors.SourceLostError: 7,
}


class LazyCommands(click.Group):
    """A group whose commands are imported when they are called, so that `edgex --help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the way: train, convert, run."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        if cmd_name not in COMMANDS:
            return None
        with LeavesAtOnce():
            command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table's own lines stand for the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="edgex")
def edgex() -> None:
    """Take an image classifier from a folder of photos to a camera, with proof at every step."""


def exit_code(error: BaseException) -> int:
    """The exit code of an error: that of the nearest class in its ancestry."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)


def run(command: click.Command, args: list[str] | None = None, *, prog: str) -> NoReturn:
    """Run a command and leave the process with its exit code; the talk goes to stderr."""
    try:
        result: Any = command.main(args, prog_name=prog, standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except errors.EdgexError as error:
        click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        # The reader of stdout has left (`edgex … | head`): nothing more to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def main() -> NoReturn:
    """`edgex …`."""
    run(edgex, prog="edgex")


def convert_model() -> NoReturn:
    """`convert-model …`, which is `edgex convert` under the name its users type."""
    with LeavesAtOnce():
        command = import_module("edgex.cli.convert").command
    run(command, prog="convert-model")
