"""What a model's upsampling layers do, as a table and as a page that explains the layer itself."""

from upscore.explain.layers import Explanation, Layer, explain
from upscore.explain.page import open_page, write_page

__all__ = ["Explanation", "Layer", "explain", "open_page", "write_page"]
