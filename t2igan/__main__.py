"""The command `t2igan SUBCOMMAND`, which `python -m t2igan SUBCOMMAND` is too."""

import os
import signal
import sys
import weakref

INTERRUPTED = 130

# Until `run` has imported the rest a Ctrl-C just ends the process: there is nothing to say, and a
# traceback of imports says it badly.
_before = signal.getsignal(signal.SIGINT)
if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run() -> int:
    """Exit status of the process, which may first have started itself again with larger pages."""
    from t2igan.cli.main import computes, main
    from t2igan.runtime.absent_tpu import use_the_processor_where_no_device_is
    from t2igan.runtime.huge_pages import restart_with_huge_pages

    if computes(sys.argv[1:]):
        restart_with_huge_pages()
    use_the_processor_where_no_device_is()
    signal.signal(signal.SIGINT, _before)
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
