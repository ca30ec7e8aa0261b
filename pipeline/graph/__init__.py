"""The graph itself: influence, pruning, scores. Tensors in, tensors out."""
