"""The command `prunelle`: verbs, and what every error becomes."""

from __future__ import annotations

import os
import sys

import typer

from prunelle.cli.bench import bench
from prunelle.cli.classwise import classwise
from prunelle.cli.compare import compare
from prunelle.cli.doctor import doctor
from prunelle.cli.fit import fit
from prunelle.cli.inspect import inspect
from prunelle.cli.measure import measure
from prunelle.cli.plan import plan
from prunelle.cli.prepare import prepare
from prunelle.cli.prune import prune
from prunelle.cli.quickstart import quickstart
from prunelle.cli.report import report
from prunelle.cli.run import run
from prunelle.cli.ship import ship
from prunelle.cli.show import print_error
from prunelle.cli.sweep import sweep
from prunelle.cli.train import train
from prunelle.cli.usage import usage_sentence
from prunelle.errors import PrunelleError

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    help="Prune a network and measure the file you ship.",
    rich_markup_mode=None,
)
VERBS = (
    quickstart,
    inspect,
    measure,
    train,
    prune,
    run,
    report,
    compare,
    ship,
    bench,
    fit,
    sweep,
    plan,
    prepare,
    classwise,
    doctor,
)
for verb in VERBS:
    app.command()(verb)


def main() -> None:
    """0 done, 1 the work failed, 2 the input was refused. One sentence on stderr, never a traceback; the traceback
    of an error that is ours to mend is shown when PRUNELLE_DEBUG is set."""
    sys.exit(answer(sys.argv[1:]))


def answer(arguments: list[str]) -> int:
    """Carry out a command line. Returns the exit code."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False, prog_name="prunelle")
        # typer turns Ctrl-C into this code itself, in some versions without a word.
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except PrunelleError as error:
        print_error(str(error))
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted; start the same command again to go on.")
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:
        # A usage error of the parser; its class has moved from click into typer, its method has not.
        if hasattr(error, "format_message"):
            print_error(usage_sentence(error.format_message(), arguments))
            return 2
        if os.environ.get("PRUNELLE_DEBUG"):
            raise
        if isinstance(error, OSError):
            print_error(f"{error.filename or 'the output'}: {error.strerror or error}; free the place and start again.")
            return 1
        print_error(
            f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}; this is a mistake of ours, "
            "please report it (PRUNELLE_DEBUG=1 shows where)."
        )
        return 1


if __name__ == "__main__":
    main()
