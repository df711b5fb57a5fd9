"""Long jobs on several workers: processes of this machine, those of a Dask cluster, or any other `Executor`.

>>> from concurrent.futures import ThreadPoolExecutor
>>> with ThreadPoolExecutor(2) as executor:
...     crew = Crew(executor, ready=dict, size=lambda: 2)
...     sorted(done for job, done in crew.finished(lambda tools, number: number**2, [(2,), (3,)]))
[4, 9]

What is dear to set up (networks) is made once a worker, by `ready`; what a job gives comes back to the parent, which
alone writes it down. A worker that dies costs what it was at: the job goes to another one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from guide_lib.errors import GuideError
from guide_lib.processes import Processes
from guide_lib.runtime import keep_freed_memory

TRIES = 3  # of a job whose worker dies: memory may have been short, or the job is what kills
PATIENCE = 20.0  # seconds for a scheduler to answer
LOOK_EVERY = 5.0  # seconds after which a crew that has grown gets more jobs
_alone = threading.Lock()  # what a worker has ready serves one job at a time, however many threads an engine gives it


@dataclass(frozen=True)
class Crew:
    """Whoever does the jobs.

    executor: takes them. ready: makes, in each worker and once, what all jobs need there; an executor sends it, so it
    is a function of a module, or a `partial` of one, whose arguments can be hashed. size: how many workers there are
    now; no more jobs are given out, so that a slow worker keeps none waiting.
    """

    executor: Executor
    ready: Callable[[], Any]
    size: Callable[[], int]

    def finished(self, work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        """Yield (job, `work(ready(), *job)`) for each job, in the order in which they end.

        A job that fails is said on standard error, and the others go on. Whoever stops early gives up what runs.

        Raises:
            GuideError: at the end, if jobs have failed; at once, if no worker can get ready.
        """
        waiting, running, tried, failed = deque(jobs), {}, Counter(), []
        try:
            while waiting or running:
                while waiting and len(running) < max(1, self.size()):
                    job = waiting.popleft()
                    running[self.executor.submit(_do, self.ready, work, job)] = job
                for future in wait(running, LOOK_EVERY, FIRST_COMPLETED).done:
                    job, answer = running.pop(future), _answer(future)
                    tried[job] += 1
                    if answer.fatal:
                        raise GuideError(f"The workers cannot get ready: {answer.fault}")
                    if answer.died and tried[job] < TRIES:
                        _say(f"A worker died at {_named(job)}, which is begun again: {answer.fault}")
                        waiting.append(job)
                    elif answer.fault:
                        _say(f"There is no row of {_named(job)}: {answer.fault}")
                        failed.append(job)
                    else:
                        yield job, answer.value
        finally:
            for future in running:
                future.cancel()
        if failed:
            raise GuideError(f"Without a row: {'; '.join(map(_named, failed))}. The same command tries them again.")


@dataclass(frozen=True)
class Answer:
    """What comes back from a worker.

    value: what the job gave. fault: what was wrong instead, a sentence. fatal: it is wrong for every job there. died:
    it is the worker's end.
    """

    value: Any = None
    fault: str = ""
    fatal: bool = False
    died: bool = False


@contextmanager
def crew_of(
    ready: Callable[[], Any], workers: int | None = None, scheduler: str | None = None
) -> Iterator[Crew | None]:
    """A crew of so many processes of this machine, or of a Dask cluster's workers; None if neither is asked for.

    scheduler: the cluster's address, "tcp://host:8786", or the file that its scheduler has written.

    Raises:
        GuideError: `distributed` is missing, or nobody answers at the address.

    >>> with crew_of(dict, workers=None) as crew:
    ...     print(crew)
    None
    """
    if scheduler:
        with _client(scheduler) as client:
            executor = client.get_executor(pure=False)
            yield Crew(executor, ready, lambda: sum(client.nthreads().values()))
            return
    if workers:
        with Processes(workers) as executor:
            yield Crew(executor, ready, lambda: workers)
            return
    yield None


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise GuideError("A scheduler is spoken to by Dask; install it: pip install 'guide-lib[cluster]'.") from None
    known = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
    try:
        return Client(**known, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise GuideError(f"No Dask scheduler answers at {scheduler} ({error}); start one, or use --workers.") from None


def _do(ready: Callable[[], Any], work: Callable[..., Any], job: tuple[Any, ...]) -> Answer:
    """In the worker. Whatever a job raises is an answer, so what a future raises itself is the end of its worker."""
    with _alone:
        try:
            call = ready if isinstance(ready, partial) else partial(ready)  # two partials of the same are not equal
            tools = _made(call.func, call.args, tuple(call.keywords.items()))
        except Exception as error:
            return Answer(fault=_sentence(error), fatal=True)
        try:
            return Answer(work(tools, *job))
        except Exception as error:
            return Answer(fault=_sentence(error))


@lru_cache(maxsize=1)
def _made(function: Callable[..., Any], arguments: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> Any:
    keep_freed_memory()  # here, where it also undoes what Dask's nannies ask of the allocator
    return function(*arguments, **dict(options))


def _answer(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except Exception as error:
        return Answer(fault=_sentence(error), died=True)


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, GuideError) else f"{type(error).__name__}: {error}"


def _named(job: tuple[Any, ...]) -> str:
    return ", ".join(map(str, job))


def _say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr)
