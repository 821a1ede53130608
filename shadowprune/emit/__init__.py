"""From a network to files and firmware: one function per target.

Float networks: ``onnx(network, path)``, ``keras(network, path)``. Fixed-point networks, from
`shadowprune.quantize`: ``hls4ml(network, directory)`` returns an hls4ml ``ModelGraph``,
``qonnx(network, path)`` writes ONNX with Quant nodes, ``verilog(network, directory)`` pipelined Verilog;
``verify(network, X)`` compares them with ``network.forward``, bit by bit.
"""

from ._hls4ml import hls4ml
from ._keras import keras
from ._onnx import onnx
from ._qonnx import qonnx
from ._verify import verify
from ._verilog import verilog

__all__ = ["hls4ml", "keras", "onnx", "qonnx", "verify", "verilog"]
