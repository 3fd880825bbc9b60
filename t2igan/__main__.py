"""The command `t2igan SUBCOMMAND`, which `python -m t2igan SUBCOMMAND` is too."""

import os
import sys
import weakref

from t2igan.cli.main import computes, main
from t2igan.runtime.absent_tpu import use_the_processor_where_no_device_is
from t2igan.runtime.huge_pages import restart_with_huge_pages

INTERRUPTED = 130


def run() -> int:
    """Exit status of the process, which may first have started itself again with larger pages."""
    if computes(sys.argv[1:]):
        restart_with_huge_pages()
    use_the_processor_where_no_device_is()
    status = main()
    if status == INTERRUPTED:
        # Threads of what was interrupted may still compute; the interpreter's end would pull
        # their memory away. Temporary folders are removed, and that is all that is left to do.
        sys.stdout.flush()
        sys.stderr.flush()
        weakref.finalize._exitfunc()  # type: ignore[attr-defined]
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(run())
