"""The processes that train together; with one alone, nothing here does anything."""

import platform
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, broadcast_object_list, gather_object
from torch import nn

from upscore.errors import RunError, UpscoreError

T = TypeVar("T")


def process() -> PartialState:
    """This process among those that train together."""
    # Without cpu=True, Accelerate leaves processes on CPUs unconnected.
    return PartialState(cpu=not torch.accelerator.is_available())


def agreed(make: Callable[[], T]) -> T:
    """What the main process makes, in all of them: measured times differ from one to the next."""
    state = process()
    made: list[T | UpscoreError | None] = [None]
    if state.is_main_process:
        try:
            made = [make()]
        except UpscoreError as error:  # the others, which wait, have to know
            made = [error]
    if state.num_processes > 1:
        broadcast_object_list(made)
    if isinstance(made[0], UpscoreError):
        raise made[0]
    return cast(T, made[0])


def of_all(value: T) -> list[T]:
    """The values of all processes, in all of them: every process has to call it."""
    return list(gather_object([value]))


def from_one(value: T, rank: int = 0) -> T:
    """The value of one process, in all of them: every process has to call it."""
    values = [value]
    if process().num_processes > 1:
        broadcast_object_list(values, from_process=rank)
    return values[0]


def by_each(make: Callable[[], T]) -> T:
    """What each process makes for itself; where one cannot, none of them goes on.

    Without it, the others would wait for one that has ended.
    """
    if process().num_processes == 1:
        return make()
    try:
        made, error = make(), None
    except (UpscoreError, OSError) as caught:
        made, error = None, caught
    where = platform.node()
    problems = list(filter(None, of_all(error and f"on {where}: {error}")))
    if error:
        raise error
    if problems:
        raise RunError(problems[0])
    return cast(T, made)


def share_buffers(*modules: nn.Module) -> None:
    """Give the first process's buffers to all: each has the statistics of its own photos."""
    for module in modules:
        broadcast(list(module.buffers()))
