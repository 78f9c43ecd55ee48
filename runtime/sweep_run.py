"""Who runs the batches of a sweep: threads of this machine, or the workers of a Dask cluster. One loop drives both."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pkgutil
import queue
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from sgdlimit.derive.errors import BackendError, InputError, SgdlimitError
from sgdlimit.runtime.kernel import Source
from sgdlimit.runtime.sweep_batch import Arrays, run_batch
from sgdlimit.runtime.sweep_store import SweepStopped

PATIENCE = 10.0
"""Seconds in which a scheduler answers."""

_LOOK_EVERY = 0.2  # seconds between looks at whether the workers are still there
_COUNT_EVERY = 2.0  # seconds between counts of a cluster's threads
_FETCH = 60.0  # seconds in which a result that is ready comes


class Future(Protocol):
    """What a thread pool and a cluster promise alike."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None: ...
    def result(self, timeout: float | None = None) -> Any: ...
    def cancel(self) -> Any: ...


@dataclass(frozen=True)
class Workers:
    """Somebody who runs batches.

    Parameters
    ----------
    submit : callable
        From a batch's number to a future of its arrays.
    slots : callable
        How many batches run at a time, now.
    check : callable
        Raises when they are gone.
    who : str
        For messages.
    passes_over : callable
        Whether an error is of its batch alone, so that the others go on.
    """

    submit: Callable[[int], Future]
    slots: Callable[[], int]
    check: Callable[[], None]
    who: str
    passes_over: Callable[[BaseException], bool] = lambda error: False


def each_finished(workers: Workers, batches: Iterable[int]) -> Iterator[tuple[int, Arrays]]:
    """Numbers and arrays of the batches, as they finish; a few more than can run are handed out at a time.

    Raises
    ------
    SweepStopped
        When the workers are gone; at the end, where batches had to be passed over.
    """
    waiting = iter(batches)
    ended: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
    pending: dict[int, Future] = {}
    lost: list[int] = []

    def hand_out() -> None:
        for batch in itertools.islice(waiting, max(0, 2 * workers.slots() - len(pending))):
            future = pending[batch] = workers.submit(batch)
            future.add_done_callback(lambda done, batch=batch: ended.put((batch, done)))  # type: ignore[misc]

    try:
        hand_out()
        while pending:
            try:
                batch, future = ended.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                workers.check()
                hand_out()  # workers may have come
                continue
            del pending[batch]
            hand_out()
            try:
                arrays = future.result(_FETCH)
            except Exception as error:
                if not workers.passes_over(error):
                    raise
                lost.append(batch)
                continue
            yield batch, arrays
        if lost:
            told = f"batch {lost[0]}" if len(lost) == 1 else f"batches {', '.join(map(str, sorted(lost)[:5]))}"
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            raise SweepStopped(
                f"{told}{more} ended {workers.who}'s workers several times, all others are kept; look at the workers' "
                "memory and logs, and give the same command again"
            )
    finally:
        for future in pending.values():
            with contextlib.suppress(Exception):
                future.cancel()


@contextlib.contextmanager
def local(text: str, sources: Mapping[str, Source], folder: str, threads: int | None) -> Iterator[Workers]:
    """Threads of this machine, all cores unless said; the kernel runs without Python's lock."""
    stop = threading.Event()
    count = threads or os.cpu_count() or 1

    def watch(done: int, total: int) -> None:
        if stop.is_set():
            raise CancelledError

    def submit(batch: int) -> Future:
        return pool.submit(run_batch, text, sources, folder, batch, watch)

    with ThreadPoolExecutor(count, thread_name_prefix="sweep") as pool:
        try:
            yield Workers(submit, lambda: count, lambda: None, f"{count} threads")
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def cluster(text: str, sources: Mapping[str, Source], folder: str, address: str) -> Iterator[Workers]:
    """Workers of a Dask cluster, by its scheduler's address.

    Raises
    ------
    InputError
        Without Dask distributed, or when no scheduler answers there.
    SweepStopped
        When the scheduler goes away.
    """
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise InputError(
            "--scheduler", "it needs Dask distributed, which is not installed", "pip install 'sgdlimit[sweep]'"
        ) from None
    client = _connected(distributed, address)
    run_id = uuid.uuid4().hex[:8]
    gone = f"the scheduler {address} is gone; every finished batch is kept, give the same command when it is back"

    def check() -> None:
        if client.status != "running":
            raise SweepStopped(gone)

    def submit(batch: int) -> Future:
        check()
        future: Future = client.submit(
            run_batch, text, sources, folder, batch, key=f"sweep-{run_id}-{batch}", pure=False
        )
        return future

    counted: list[float] = [0.0, 0]  # when, and how many threads

    def slots() -> int:
        check()
        now = time.monotonic()
        if now > counted[0] + _COUNT_EVERY:
            counted[:] = [now, sum(client.nthreads().values())]
            if not counted[1]:
                warnings.warn(f"the cluster at {address} has no workers; waiting for some", UserWarning, stacklevel=2)
        return max(1, int(counted[1]))

    try:
        _check_imports(client, address)
        yield Workers(
            submit, slots, check, f"the cluster at {address}", lambda e: isinstance(e, distributed.KilledWorker)
        )
    except SgdlimitError:
        raise
    except Exception as error:
        if client.status != "running" or type(error).__name__ in (
            "CancelledError",
            "FutureCancelledError",
            "CommClosedError",
        ):
            raise SweepStopped(gone) from None
        raise
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=2)


def _connected(distributed: Any, address: str) -> Any:
    """A client of the scheduler at an address.

    Raises
    ------
    InputError
        For what is no address, and where no scheduler answers in time.
    """
    where, remedy = f"--scheduler {address}", "start one with `dask scheduler`, which says its address"
    try:
        host, port = distributed.comm.get_address_host_port(address)
        if not host or not 0 < port < 2**16:
            raise ValueError
    except (ValueError, TypeError, IndexError):
        raise InputError(where, "it is no address", f"write tcp://host:8786; {remedy}") from None

    async def handshake() -> None:
        """A client waits for ever for what accepts a connection and says nothing, or what Dask does not."""
        security = distributed.Security().get_connection_args("client")
        # what says nothing outlasts Dask's own patience
        comm = await asyncio.wait_for(distributed.comm.connect(address, timeout=PATIENCE, **security), PATIENCE + 0.5)
        comm.abort()

    try:
        asyncio.run(handshake())
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except OSError as error:  # TimeoutError is one
        why = f"no scheduler answers within {PATIENCE:g} s"
        raise InputError(where, f"{why}{_cause(error)}", remedy) from None
    except Exception as error:
        told = f"what answers there is no Dask scheduler of this version ({type(error).__name__})"
        raise InputError(where, told, remedy) from None


def _cause(error: BaseException | None) -> str:
    """What the system said, in brackets; empty where the last attempt only took too long."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return f" ({error.strerror})"
        error = error.__cause__
    return ""


def _check_imports(client: Any, address: str) -> None:
    """Scheduler and workers unpickle what they are sent: one that cannot fails in its own way, or waits for ever.

    Raises
    ------
    BackendError
        Names the first that cannot.
    """
    probe, module = pkgutil.resolve_name, "sgdlimit.runtime.sweep_batch:run_batch.__name__"
    try:
        client.run_on_scheduler(probe, module)
    except (ImportError, AttributeError):
        raise BackendError(_NO_IMPORT.format(who=f"the scheduler {address}")) from None
    for where, found in sorted(client.run(probe, module, on_error="return").items()):
        if isinstance(found, ImportError | AttributeError):
            raise BackendError(_NO_IMPORT.format(who=f"the worker {where}"))


_NO_IMPORT = "{who} cannot import sgdlimit; install it there, the same version"
