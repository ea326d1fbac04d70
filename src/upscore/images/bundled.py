"""The photos that come with the package, for the demo and for comparing models."""

from pathlib import Path

_PHOTOS = Path(__file__).parent / "photos"


def samples() -> dict[str, Path]:
    """Return the photos that come with the package.

    Returns:
        Their files by name; photos/LICENCES.md beside them says where they are from.

    Examples:
        >>> list(samples())
        ['astronaut', 'cat', 'coffee']
    """
    return {path.stem: path for path in sorted(_PHOTOS.glob("*.jpg"))}
