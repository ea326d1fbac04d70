"""Data sets of photos and masks: readers, checks and augmentation."""

from typing import TYPE_CHECKING, Any

from upscore.data.check import check as check
from upscore.data.check import class_pixels as class_pixels
from upscore.data.check import long_side as long_side
from upscore.data.check import read_skip_list as read_skip_list
from upscore.data.check import report as report
from upscore.data.check import skip_list as skip_list
from upscore.data.dataset import Dataset as Dataset
from upscore.data.dataset import find as find
from upscore.data.dataset import splits as splits
from upscore.data.layouts import Problem as Problem
from upscore.data.layouts import Sample as Sample
from upscore.errors import DataError as DataError

if TYPE_CHECKING:
    from upscore.data.transforms import TrainTransform as TrainTransform

__all__ = [
    "DataError",
    "Dataset",
    "Problem",
    "Sample",
    "TrainTransform",
    "check",
    "class_pixels",
    "find",
    "long_side",
    "read_skip_list",
    "report",
    "skip_list",
    "splits",
]


def __getattr__(name: str) -> Any:
    """`TrainTransform` needs torchvision, which is loaded when it is first asked for."""
    if name == "TrainTransform":
        from upscore.data.transforms import TrainTransform

        return TrainTransform
    raise AttributeError(f"module 'upscore.data' has no attribute {name!r}")
