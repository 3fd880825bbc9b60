"""The command `t2igan SUBCOMMAND`, which `python -m t2igan SUBCOMMAND` is too."""

import sys

from t2igan.cli.main import computes, main
from t2igan.runtime.absent_tpu import use_the_processor_where_no_device_is
from t2igan.runtime.huge_pages import restart_with_huge_pages


def run() -> int:
    """Exit status of the process, which may first have started itself again with larger pages."""
    if computes(sys.argv[1:]):
        restart_with_huge_pages()
    use_the_processor_where_no_device_is()
    return main()


if __name__ == "__main__":
    sys.exit(run())
