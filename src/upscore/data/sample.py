"""One photo and its mask."""

from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from upscore.data.shapes import Drawing


@dataclass(frozen=True)
class Sample:
    """One photo and its mask.

    Attributes:
        name: the photo's file name without suffix; before it, with slashes, the folders it is in
            below that of the photos.
        image: the photo's file.
        mask: the mask's file; where the mask is to be drawn, the annotation file.
        drawing: what the annotation file says of the photo; None for a mask that is a picture.
    """

    name: str
    image: Path
    mask: Path
    drawing: Drawing | None = field(default=None, compare=False, repr=False)

    @property
    def at_fault(self) -> Path:
        """The file to name, and to skip, where the mask is wrong.

        It is the mask's own, or the photo where one annotation file serves many.
        """
        return self.image if self.drawing and self.drawing.shared else self.mask


def by_hash(name: str) -> tuple[int, str]:
    """A key that mixes names, in the same way every time and on every machine.

    Names that are no UTF-8, as in archives of other systems, have their place too.
    """
    return crc32(name.encode(errors="surrogateescape")), name
