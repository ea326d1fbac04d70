"""Pictures larger than memory: labelled window by window, written as one raster each."""
