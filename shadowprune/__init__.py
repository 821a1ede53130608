"""Train a neural network and end with exactly the number of nodes that fits the FPGA."""

from importlib.metadata import version as _version

from . import datasets, emit, losses, metrics, plots
from .budget import Budget
from .estimators import ShadowClassifier, ShadowRegressor
from .fixedpoint import FixedNetwork
from .network import Network
from .optimizers import SGD, Adam
from .quantization import quantize
from .shadow import ShadowNetwork

__version__ = _version("shadowprune")

__all__ = [
    "SGD",
    "Adam",
    "Budget",
    "FixedNetwork",
    "Network",
    "ShadowClassifier",
    "ShadowNetwork",
    "ShadowRegressor",
    "datasets",
    "emit",
    "losses",
    "metrics",
    "plots",
    "quantize",
]
