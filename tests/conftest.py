"""What the tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=search looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

sys.path.insert(0, str(Path(__file__).parent))

# A shell starts what it puts into the background without SIGINT, and so would be the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the test session's own: nothing that an earlier version left is used, nothing is left behind."""
    before = os.environ.get("SGDLIMIT_CACHE")
    root = tmp_path_factory.getbasetemp()
    # workers of one session share what they compile
    folder = (root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root) / "kernels"
    os.environ["SGDLIMIT_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SGDLIMIT_CACHE"]
    else:
        os.environ["SGDLIMIT_CACHE"] = before
