"""A program of `torch.export` for any number of photos of one size."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from upscore.exporting.options import Options
from upscore.io.atomic import write_bytes
from upscore.models.checkpoint import Checkpoint
from upscore.models.graph import FromPhotos
from upscore.models.spec import COARSEST
from upscore.models.weights import network_of


class WithHead(nn.Module):
    """A network on photos of one size that pads, cuts, and labels if asked to."""

    rows: Tensor
    columns: Tensor

    def __init__(self, network: nn.Module, size: tuple[int, int], stride: int, head: str) -> None:
        super().__init__()
        self.network, self.size, self.stride, self.head = network, size, stride, head
        padded = [-(-side // COARSEST) * COARSEST for side in size]
        for name, side, whole in zip(("rows", "columns"), size, padded, strict=True):
            # Beyond the photo, its last row and column again.
            self.register_buffer(name, torch.arange(whole).clamp(max=side - 1))

    def forward(self, photos: Tensor) -> Tensor:
        padded = photos[:, self.rows][:, :, self.columns]
        height, width = (-(-side // self.stride) for side in self.size)
        scores: Tensor = self.network(padded)[..., :height, :width]
        if self.head == "scores":
            return scores
        enlarged = F.interpolate(
            scores, scale_factor=float(self.stride), mode="bilinear", align_corners=False
        )
        return enlarged[..., : self.size[0], : self.size[1]].argmax(1).to(torch.uint8)


class StoredInHalf(nn.Module):
    """A network that keeps filters and matrices in half precision and computes in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.data = parameter.data.half()

    def forward(self, photos: Tensor) -> Tensor:
        wide = {name: value.float() for name, value in self.network.named_parameters()}
        scores: Tensor = torch.func.functional_call(self.network, wide, (photos,))
        return scores


class ProgramCandidate:
    """A program, run by torch after it was saved and loaded."""

    def __init__(self, checkpoint: Checkpoint, options: Options, folder: Path) -> None:
        assert options.size is not None
        spec = checkpoint.spec
        whole = FromPhotos(network_of(spec, checkpoint.weights), spec)
        photos = whole.blank(2, *options.size)  # 2: of 1, torch makes a constant
        network = StoredInHalf(whole) if options.precision == "float16" else whole
        module = WithHead(network, options.size, spec.stride, options.head).eval()
        with torch.no_grad():
            self.program = torch.export.export(
                module, (photos,), dynamic_shapes=({0: torch.export.Dim("N")},)
            )
        torch.export.save(self.program, folder / "model.pt2")
        self.loaded: Any = torch.export.load(folder / "model.pt2").module()

    @torch.inference_mode()
    def run(self, photos: NDArray[Any]) -> Any:
        """Scores or labels."""
        return self.loaded(torch.from_numpy(photos)).numpy()

    def write(self, file: Path, metadata: dict[str, str]) -> None:
        """Write the program; each piece of metadata is an extra file of its archive."""
        content = BytesIO()
        torch.export.save(self.program, content, extra_files=metadata)
        write_bytes(file, content.getvalue())
