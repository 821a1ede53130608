"""From a network to firmware: one function per target.

``hls4ml(network, directory, X)`` writes an hls4ml project and returns its ``ModelGraph``.
"""

from ._hls4ml import hls4ml

__all__ = ["hls4ml"]
