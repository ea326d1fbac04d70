"""The processes that train together; with one alone, nothing here does anything."""

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


def process() -> PartialState:
    """This process among those that train together."""
    # Without cpu=True, Accelerate leaves processes on CPUs unconnected.
    return PartialState(cpu=not torch.accelerator.is_available())


def agreed(make: Callable[[], T]) -> T:
    """What the main process makes, in all of them: measured times differ from one to the next."""
    state = process()
    made = [make() if state.is_main_process else None]
    if state.num_processes > 1:
        broadcast_object_list(made)
    return made[0]  # type: ignore[return-value]


def of_all(value: T) -> list[T]:
    """The values of all processes, in all of them: every process has to call it."""
    return list(gather_object([value]))
