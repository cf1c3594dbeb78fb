"""Where vectors come from: the backends of `embedder.Embedder`."""
