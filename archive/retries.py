"""Trying again: the one place where a request that failed is repeated, and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    wait_random_exponential,
)

from nightsift.archive.errors import StorageError
from nightsift.archive.faults import fault_of

Answer = TypeVar("Answer")

# Exponential backoff with full jitter: Brooker 2015, "Exponential backoff and jitter", AWS architecture blog.
WAIT = wait_random_exponential(multiplier=0.1, max=10)

_STOPPING = Event()


def give_up() -> None:
    """Make and repeat no request any more: this process is to end, and threads must not hold it."""
    _STOPPING.set()


@dataclass
class Retries:
    """How many requests had to be repeated; safe to share between threads.

    Requests have to be harmless when they are carried out twice: the answer may be what was lost.
    """

    number: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def call(self, request: Callable[..., Answer], *arguments: Any) -> Answer:
        """Make a request; again, after a while, if it meets a fault that passes.

        Raises
        ------
        Exception
            What the last try raised; a fault that stays is raised by the first.
        """
        if _STOPPING.is_set():
            raise StorageError("this run is being stopped", mend="run again to go on")
        retrying = Retrying(
            retry=retry_if_exception(_passes),
            stop=_tried_enough,
            wait=WAIT,
            sleep=sleep_using_event(_STOPPING),
            before_sleep=self._count,
            reraise=True,
        )
        return retrying(request, *arguments)

    def _count(self, _: RetryCallState) -> None:
        with self._lock:
            self.number += 1


def _passes(error: BaseException) -> bool:
    return isinstance(error, Exception) and fault_of(error).passing


def _tried_enough(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if error is None or (state.attempt_number < fault_of(error).tries and not _STOPPING.is_set()):
        return False
    error.add_note(f"tried {state.attempt_number} times")
    return True
