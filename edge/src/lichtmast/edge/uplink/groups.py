"""What task groups make of errors and cancellations, put right."""

import asyncio


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that ended a session; mostly they all tell of the same end."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def end_if_cancelled() -> None:
    """Raise the cancellation that a TaskGroup forgot: in Python 3.11 a child's error that comes with it wins.

    A group takes back the cancellation with which it ended its own body, but before Python 3.13 not the one with which
    it ended its `__aexit__`: each body here waits, so that what is left was asked for from outside.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
