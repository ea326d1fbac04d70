"""The processes that train together; with one alone, nothing here does anything."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from upscore.errors import UpscoreError

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
