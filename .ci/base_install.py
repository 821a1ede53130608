"""What works without any extra, from an installed wheel: ``python base_install.py`` outside the work tree."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

import shadowprune as sp

SAMPLE = np.random.default_rng(0).normal(size=(5000, 2))
EXTRAS = {
    "plot": ("matplotlib", lambda: sp.plots.rejection_vs_efficiency({"a": ([0, 1], [0.0, 1.0])})),
    "hls4ml": (
        "hls4ml",
        lambda: sp.emit.hls4ml(sp.Network([2, 3, 1]), "prj", X=SAMPLE),
    ),
    "onnx": ("onnx", lambda: sp.emit.onnx(sp.Network([2, 3, 1]), "net.onnx")),
    "keras": ("h5py", lambda: sp.emit.keras(sp.Network([2, 3, 1]), "net.keras")),
    "rtl": ("da4ml", lambda: sp.emit.verilog(sp.quantize(sp.Network([2, 3, 1]), "fixed<8,3>"), "prj")),
    "generate": ("pythia8mc", lambda: sp.datasets.generate("jets.npz", 10)),
}


def main() -> None:
    """Import, train, reduce, save, and ask in vain for every extra."""
    home = Path(sp.__file__).resolve().parent
    assert "site-packages" in home.parts, f"{home} is not an installed package"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 5))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    tagger = sp.ShadowClassifier((16, 16), n_nodes=10, max_iter=20, random_state=0).fit(x, y)
    assert tagger.n_nodes_ == sum(tagger.widths_) == 10, tagger.widths_
    assert tagger.score(x, y) > 0.8, tagger.score(x, y)
    tagger.network_.save("tagger.npz")
    again = sp.Network.load("tagger.npz").forward(x)
    assert np.array_equal(np.ravel(again), np.ravel(tagger.network_.forward(x)))
    jets = sp.datasets.load_hbb()
    assert jets.data.shape[1] == 40, jets.data.shape

    for extra, (module, call) in EXTRAS.items():
        assert importlib.util.find_spec(module) is None, f"{module} is here, though not a base dependency"
        try:
            call()
        except ImportError as error:
            assert f'pip install "shadowprune[{extra}]"' in str(error), error
        else:
            raise AssertionError(f"{module} is missing, and nobody said so")
    optional = {"matplotlib", "hls4ml", "pandas", "h5py", "torch", "onnx", "da4ml"}.intersection(sys.modules)
    assert not optional, optional
    print(f"base install: {sp.__version__}, {len(jets.data)} jets, {tagger.widths_} of (16, 16) kept")


if __name__ == "__main__":
    main()
