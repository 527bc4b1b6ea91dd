"""One line for what a user can mend; a traceback, in the log, for what only we can."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A fault outside the code: its message is one line that names the key, file or value and the remedy."""


@contextmanager
def reporting(log: str | Path) -> Iterator[logging.Logger]:
    """Log to the file `log` and to standard error; end the process with one line on a UserError.

    Yields the logger that a script uses. Any other exception is logged with its traceback and raised again.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("triaxis")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handlers: list[logging.Handler] = [logging.FileHandler(log, mode="w"), logging.StreamHandler(sys.stderr)]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.handlers = handlers
    try:
        yield logger
    except UserError as error:
        logger.error(" ".join(str(error).split()))
        sys.exit(1)
    except Exception:
        handlers[0].emit(logger.makeRecord("triaxis", logging.ERROR, "", 0, "unexpected", (), sys.exc_info()))
        raise
    finally:
        for handler in handlers:
            handler.close()
