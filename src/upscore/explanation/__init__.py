"""What a model's upsampling layers do, as a table and as a page that explains the layer itself."""
