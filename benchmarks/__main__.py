"""``python -m benchmarks``."""

import os
import sys

# CPU times are compared, so nobody gets a second thread: to be said before NumPy is imported.
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks.run import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
