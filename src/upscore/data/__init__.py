"""Data sets of photos and masks: readers, checks and augmentation."""

from typing import TYPE_CHECKING, Any

from upscore.data.dataset import Dataset as Dataset
from upscore.data.dataset import find as find
from upscore.data.dataset import splits as splits
from upscore.data.layouts.patterns import Patterns as Patterns
from upscore.data.problems import Problem as Problem
from upscore.data.problems import report as report
from upscore.data.sample import Sample as Sample
from upscore.data.skipping import read_skip_list as read_skip_list
from upscore.data.skipping import skip_list as skip_list
from upscore.data.survey import Survey as Survey
from upscore.data.survey import check as check
from upscore.data.survey import survey as survey
from upscore.errors import DataError as DataError

if TYPE_CHECKING:
    from upscore.data.transforms import TrainTransform as TrainTransform

__all__ = [
    "DataError",
    "Dataset",
    "Patterns",
    "Problem",
    "Sample",
    "Survey",
    "TrainTransform",
    "check",
    "find",
    "read_skip_list",
    "report",
    "skip_list",
    "splits",
    "survey",
]


def __getattr__(name: str) -> Any:
    """`TrainTransform` needs torchvision, which is loaded when it is first asked for."""
    if name == "TrainTransform":
        from upscore.data.transforms import TrainTransform

        return TrainTransform
    raise AttributeError(f"module 'upscore.data' has no attribute {name!r}")
