"""Train a neural network and end with exactly the number of nodes that fits the FPGA."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from . import losses
from .budget import Budget
from .fixedpoint import FixedNetwork
from .network import Network
from .optimizers import SGD, Adam
from .quantization import quantize
from .resources import resources
from .shadow import ShadowNetwork

if TYPE_CHECKING:
    from . import datasets, emit, metrics, plots
    from .estimators import ShadowClassifier, ShadowRegressor
    from .parallel import fit_many
    from .path import ShadowPath

__version__ = _version("shadowprune")

__all__ = [
    "SGD",
    "Adam",
    "Budget",
    "FixedNetwork",
    "Network",
    "ShadowClassifier",
    "ShadowNetwork",
    "ShadowPath",
    "ShadowRegressor",
    "datasets",
    "emit",
    "fit_many",
    "losses",
    "metrics",
    "plots",
    "quantize",
    "resources",
]

# What imports scikit-learn comes at first use: that takes longer than everything else together.
_LATER = {
    "ShadowClassifier": "estimators",
    "ShadowPath": "path",
    "ShadowRegressor": "estimators",
    "fit_many": "parallel",
    **{module: module for module in ("datasets", "emit", "metrics", "plots")},
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _import_module(f".{_LATER[name]}", __name__)
    found = module if _LATER[name] == name else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
