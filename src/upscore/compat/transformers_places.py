"""Where Hugging Face transformers keeps its image processors: one for tensors, one for Pillow."""

FILES = {"": "image_processing", "Pil": "image_processing_pil"}  # by how their names end


def methods(folder: str, name: str, method: str) -> list[str]:
    """The places of a method of a model's two image processors."""
    return [
        f"models.{folder}.{file}_{folder}:{name}ImageProcessor{end}.{method}"
        for end, file in FILES.items()
    ]


def functions(folders: tuple[str, ...], name: str) -> list[str]:
    """The places of a function beside the image processors of these models."""
    return [
        f"models.{folder}.{file}_{folder}:{name}" for folder in folders for file in FILES.values()
    ]
