"""Other libraries' names for what upscore does."""

from upscore.compat.patching import Patch as Patch
from upscore.compat.patching import patch as patch
