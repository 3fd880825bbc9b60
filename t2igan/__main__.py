"""`python -m t2igan VERB` is the same as `t2igan VERB`."""

import sys

from t2igan.cli import main

if __name__ == "__main__":
    sys.exit(main())
