"""Processes of this machine behind `concurrent.futures.Executor`: one that dies takes nobody along.

>>> with Processes(1) as executor:
...     executor.submit(divmod, 7, 2).result()
(3, 1)

The standard library's pool ends all its processes when one dies, and lets none save its state.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

PATIENCE = 60.0  # seconds that a process has to save its state


class Processes(Executor):
    """`count` processes, each with its share of the cores and, where there are GPUs, one of them.

    A process is started for its first call, and again after its death, which only the call it was at hears of, as
    `BrokenExecutor`. Its calls come one after another.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._all = [_Process(number, count) for number in range(count)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function of a module in the next idle process; arguments and result go there and back by pickle."""
        return self._threads.submit(self._call, function, args, kwargs)

    def _call(self, *what: Any) -> Any:
        process = self._idle.get()
        try:
            return process.call(*what)
        finally:
            self._idle.put(process)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes. Whoever still works hears it as Ctrl-C, and has a minute to save the state."""
        for process in self._all:
            process.send_home()
        for process in self._all:
            process.wait()
        self._threads.shutdown(wait, cancel_futures=True)


class _Process:
    """One process, or the place of one that has died or has not begun."""

    def __init__(self, number: int, count: int) -> None:
        self._place = number, count
        self._process: multiprocessing.Process | None = None
        self._pipe: Connection | None = None
        self._at_home = False
        self._lock = threading.Lock()  # nobody is started while they are sent home

    def call(self, *what: Any) -> Any:
        """What the function answers. Raises `BrokenExecutor` if the process has died meanwhile, or was sent home."""
        with self._lock:
            if self._at_home:
                raise BrokenExecutor("the workers were sent home")
            if self._process is None or not self._process.is_alive():
                self._start()
        try:
            self._pipe.send(what)
            done, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise BrokenExecutor(f"its process ended with exit code {self._process.exitcode}") from None
        if not done:
            raise answer
        return answer

    def _start(self) -> None:
        new = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        self._pipe, theirs = new.Pipe()
        self._process = new.Process(target=_serve, args=(theirs, *self._place), daemon=True)
        self._process.start()
        theirs.close()

    def send_home(self) -> None:
        """Ask the process to end; it is not started again."""
        with self._lock:
            self._at_home = True
            if self._process is not None:
                self._process.terminate()

    def wait(self) -> None:
        """Until it has ended; whoever does not in time is killed."""
        if self._process is not None:
            self._process.join(PATIENCE)
            self._process.kill()


def _serve(pipe: Connection, number: int, count: int) -> None:
    """What a process does: set itself up, answer one call after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is heard by the parent, which ends us
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError):
        _share(number, count)
        while True:
            function, args, kwargs = pipe.recv()
            try:
                answer = True, function(*args, **kwargs)
            except Exception as error:
                answer = False, error
            pipe.send(answer)


def _follow_parent() -> None:
    """A parent that was killed cannot end its processes: they do it themselves, as by Ctrl-C."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _share(number: int, count: int) -> None:
    """Take this process's part of the cores, and the GPU whose turn it is."""
    import torch

    share = max(1, (os.cpu_count() or 1) // count)
    torch.set_num_threads(min(share, torch.get_num_threads()))  # whoever asks for fewer (OMP_NUM_THREADS) gets fewer
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = known.split(",") if known else [str(card) for card in range(torch.cuda.device_count())]
    if cards:  # before CUDA is used, which reads it then
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
