"""Pruning methods at exactly equal node counts and equal epochs: ``python -m benchmarks.method``.

Every method trains with shadowprune's C core, so that only the method differs; torch-pruning ranks nodes
for those that prune a trained network. Each chooses its options (weight decay, and what else it has) on a
part of the training rows; then every seed trains on all training rows and is tested once.
"""
