"""What the derivation shows about a loss's convexity, kept in the cache: a known loss is judged without SymPy."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from importlib import metadata

from sgdlimit.derive.model import Loss
from sgdlimit.runtime.compiler import cache_folder, write_whole


@functools.lru_cache(maxsize=256)
def convexity(loss: Loss) -> tuple[str, ...] | None:
    """See :func:`sgdlimit.derive.convexity.convexity`; an answer is kept for the next process.

    Examples
    --------
    >>> convexity(Loss("(r - y)**2/2"))
    ()
    """
    question = f"convexity, sgdlimit {metadata.version('sgdlimit')}, sympy {metadata.version('sympy')}: {loss!r}"
    folder = cache_folder()
    path = None if folder is None else folder / "convexity" / hashlib.sha256(question.encode()).hexdigest()[:40]
    if path is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["question"] == question:
                return None if kept["positive"] is None else tuple(kept["positive"])
    from sgdlimit.derive.convexity import convexity as derived

    positive = derived(loss)
    if path is not None:
        # the answer is at hand; that it cannot be kept is told where kernels are kept
        with contextlib.suppress(OSError):
            write_whole(path, json.dumps({"question": question, "positive": positive}).encode())
    return positive
