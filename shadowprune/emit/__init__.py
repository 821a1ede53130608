"""From a network to files and firmware: one function per target.

``hls4ml(network, directory, X)`` writes an hls4ml project and returns its ``ModelGraph``;
``onnx(network, path)`` and ``keras(network, path)`` write the float network for whatever reads these formats.
"""

from ._hls4ml import hls4ml
from ._keras import keras
from ._onnx import onnx

__all__ = ["hls4ml", "keras", "onnx"]
