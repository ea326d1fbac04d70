"""Photos and masks found by patterns that the user gives."""

from dataclasses import dataclass
from pathlib import Path

from upscore import images as decoder
from upscore.data.layouts.layout import ALL, Layout, Listing, no_partner
from upscore.data.sample import Sample
from upscore.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Patterns:
    """Where photos and masks are, both below the folder of the data set.

    Args:
        images: a pattern of the photos: `*` stands for anything, `**/` for any folders.
        masks: the mask of a photo: `{stem}` is the photo's name without suffix, `{parent}` the
            folder it lies in.

    Raises:
        ArgumentError: a pattern is empty or absolute, or `masks` gives all photos one mask.

    Examples:
        >>> Patterns(images="img/*.tif", masks="gt/{stem}_mask.png").mask_of("img/a.tif")
        'gt/a_mask.png'
    """

    images: str
    masks: str

    def __post_init__(self) -> None:
        for name, pattern in (("images", self.images), ("masks", self.masks)):
            if not pattern or Path(pattern).is_absolute():
                raise ArgumentError(f"{name}={pattern!r}; expected a pattern below the folder")
        if "{stem}" not in self.masks:
            raise ArgumentError(f"masks={self.masks!r}; expected {{stem}} in it, for the photo's")

    def mask_of(self, photo: str) -> str:
        """Return where the mask of a photo is.

        Args:
            photo: the photo's path below the folder.

        Returns:
            The mask's path below the folder.
        """
        path = Path(photo)
        where = self.masks.replace("{parent}", path.parent.as_posix())
        return where.replace("{stem}", path.stem)

    def layout(self) -> Layout:
        """Return the layout of a folder that has its files so.

        Returns:
            What `find` takes internally in the place of a known layout.
        """
        return Layout("patterns", f"{self.images} + {self.masks}", lambda root: (ALL,), self._read)

    def _read(self, root: Path, split: str) -> Listing:
        partners = {path: root / self.mask_of(_below(root, path)) for path in self._photos(root)}
        masks = set(partners.values())  # which a wide pattern finds too
        photos = {path: mask for path, mask in partners.items() if path not in masks}
        if not photos:
            raise DataError(
                f"{root}: no photo matches {self.images!r}; `*` is anything within a name, `**/` "
                "any folders"
            )
        samples = [Sample(path.stem, path, mask) for path, mask in photos.items() if mask.is_file()]
        problems = [
            no_partner(path, f"no mask {mask}", "mask")
            for path, mask in photos.items()
            if not mask.is_file()
        ]
        everywhere = self.masks.replace("{parent}", "**").replace("{stem}", "*")
        problems += [
            no_partner(path, f"no photo among {self.images} has this mask", "photo")
            for path in sorted(root.glob(everywhere))
            if path not in masks and path not in photos and path.is_file()
        ]
        return Listing(samples, problems, f"{self.images}, {self.masks}")

    def _photos(self, root: Path) -> list[Path]:
        try:
            found = sorted(root.glob(self.images))
        except (ValueError, NotImplementedError, IndexError) as error:
            raise ArgumentError(f"images={self.images!r}: no pattern ({error})") from error
        return [p for p in found if p.suffix.lower() in decoder.SUFFIXES and p.is_file()]


def chosen(
    layout: str | Patterns | None, images: str | None, masks: str | None
) -> str | Patterns | None:
    """The layout that was asked for, where two patterns may stand in its place."""
    if images is None and masks is None:
        return layout
    if images is None or masks is None or layout is not None:
        raise ArgumentError("images and masks go together, and take the place of a layout")
    return Patterns(images, masks)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
