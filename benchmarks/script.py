"""How a script of this folder fails: as `pscli` does, without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pscli import console
from pscli.errors import PscliError


def run(main: Callable[[], None]) -> None:
    """Runs a script: expected failures are told and exit with 2, Ctrl-C exits with 130."""
    try:
        main()
    except PscliError as error:
        console.show_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
