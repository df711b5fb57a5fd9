"""The command line: `guide unlearn | invert | compare | evaluate | attack | ...`, the same as `python -m guide_lib`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys

from guide_lib.commands import COMMANDS
from guide_lib.errors import GuideError


def parser() -> argparse.ArgumentParser:
    """Every command with its options, as --help shows them."""
    top = argparse.ArgumentParser(prog="guide", description="Generative identity unlearning.")
    commands = top.add_subparsers(required=True, metavar="command")
    for function, add_options in COMMANDS.items():
        name, text = function.__name__.replace("_", "-"), function.__doc__
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        add_options(sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; a GuideError becomes one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be in any encoding
    args = parser().parse_args(argv)
    try:
        if hasattr(args, "device"):  # networks will be run
            from guide_lib.runtime import keep_freed_memory

            keep_freed_memory()
        args.function(args)
    except GuideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads the output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python would still write at its end
        return 0
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 130
    return 0


def run() -> None:
    """What the shell calls: `main`, with a shutdown that ends it as Ctrl-C does, so that the state is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


if __name__ == "__main__":
    run()
