"""The samples of the study, scaled, with the settings that all methods share on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import datasets as sklearn_datasets
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from shadowprune import ShadowClassifier
from shadowprune._defaults import WeightDecay, usual_weight_decay
from shadowprune.datasets import load_generated, load_hbb
from shadowprune.metrics import background_rejection
from shadowprune.network import Network

F32 = NDArray[np.float32]

SAMPLES = ("jets", "generated", "flavour", "digits", "breast cancer")
NOISY = "noisy"  # for the defaults only: labels of which a fifth are drawn
BY_AUC = ("jets", "generated")  # the others by accuracy; defaults and rules all by AUC
HIDDEN = {"flavour": (64, 32, 32), "digits": (64, 64), "breast cancer": (64, 64)}
PAPER = (64, 64, 64, 64)
REPEATED = {"digits": 24, "breast cancer": 60}  # too small for one test part: stratified splits, so many
SPLITS = 5  # of the rows to train on of each of these, to choose by
RESPLIT = (*REPEATED, "flavour")  # a validation part for each seed
NOISY_TEST, NOISY_ROWS = 16_000, 8000  # the first of 120,000 rows; for each seed, of the others
# where the rules of the defaults were chosen: so many training rows, others to score on; for each seed
# others, and drawn problems another problem
SUBSETS = (
    "2000 jets", "8000 jets", "30000 jets", "8000 flavour", "2000 drawn", "8000 drawn", "30000 drawn",
    "2000 clean", "8000 clean", "1000 of 4 classes", "4000 of 4 classes", "1000 of 8 classes",
    "4000 of 8 classes", "400 jets", "1000 jets", "400 drawn", "1000 drawn", "400 clean", "1000 clean",
    "300 of 4 classes",
)  # fmt: skip
OF_CLASSES = tuple(name for name in SUBSETS if name.endswith(("flavour", "classes")))  # more than two
SCORED_ROWS = 20_000
FLAVOUR_ROWS = 7650  # of one class at most, which is how many charm jets there are
QUICK_ROWS = 1500


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to train on and to score on, and what every method uses alike."""

    x: F32
    target: F32  # (n, 1) or one column per class
    x_score: F32
    y_score: NDArray[np.int64]
    hidden: tuple[int, ...]
    epochs: int
    batch: int
    rate: float
    rule: WeightDecay  # of what the number of rows is to weight decay

    @property
    def loss(self) -> str:
        return "binary_crossentropy" if self.target.shape[1] == 1 else "categorical_crossentropy"

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the network before pruning."""
        return (self.x.shape[1], *self.hidden, self.target.shape[1])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes of the training rows."""
        wide = self.target.shape[1] > 1
        return self.target.argmax(1) if wide else self.target[:, 0].astype(np.int64)

    def outcome(self, network: Network) -> dict[str, float | None]:
        """How good a network is on the rows to score on."""
        z = network.forward(self.x_score, keep=False)
        if z.shape[1] > 1:
            return {
                "accuracy": float(accuracy_score(self.y_score, z.argmax(1))),
                "auc": float(roc_auc_score(self.y_score, softmax(z.astype(float), 1), multi_class="ovr")),
            }
        at = background_rejection(self.y_score, z[:, 0], [0.5, 0.7])
        return {
            "accuracy": float(accuracy_score(self.y_score, z[:, 0] > 0)),
            "auc": float(roc_auc_score(self.y_score, z[:, 0])),
            "rejection_50": float(at[0]) if np.isfinite(at[0]) else None,
            "rejection_70": float(at[1]) if np.isfinite(at[1]) else None,
        }


def measure(sample: str, table: str = "methods") -> str:
    """Column that the sample's methods are compared by; of several classes each against the others."""
    return "auc" if sample in BY_AUC or table != "methods" else "accuracy"


def hidden(sample: str) -> tuple[int, ...]:
    """Hidden layers of the network before pruning."""
    return HIDDEN.get(sample.split(maxsplit=1)[-1] if sample in SUBSETS else sample, PAPER)


def _drawn(n: int, flipped: float, seed: int, classes: int = 2) -> tuple[NDArray[Any], NDArray[Any]]:
    """Twenty columns, ten of them informative; labels of a part are drawn."""
    X, y = sklearn_datasets.make_classification(
        n, 20, n_informative=10, n_redundant=4, n_classes=classes, n_clusters_per_class=8 // classes,
        flip_y=flipped, random_state=seed,
    )  # fmt: skip
    return X, y


def _subset(name: str, seed: int) -> tuple[NDArray[Any], ...]:
    """So many rows to train on, X and X to score on, y and y; no test row among them."""
    number, kind, *more = name.split()
    n = int(number)
    if kind not in ("jets", "flavour"):
        flipped, classes = 0.02 if kind == "clean" else 0.2, int(more[0]) if more else 2
        X, y = _drawn(n + SCORED_ROWS, flipped, 100 + seed, classes)
    else:
        X, y, *_ = _parts(kind, ())
    order = np.random.default_rng([seed, n]).permutation(len(y))
    rows, scored = order[:n], order[n : n + SCORED_ROWS]
    return X[rows], X[scored], y[rows], y[scored]


@lru_cache(maxsize=2)
def _parts(name: str, files: tuple[str, ...]) -> tuple[NDArray[Any], ...]:
    """X, y to train on and X, y to test on, as they come."""
    if name in REPEATED:
        X, y = getattr(sklearn_datasets, f"load_{name.replace(' ', '_')}")(return_X_y=True)
        return X, y, X[:0], y[:0]
    if name == NOISY:
        X, y = _drawn(120_000, 0.2, 1)
        return X[NOISY_TEST:], y[NOISY_TEST:], X[:NOISY_TEST], y[:NOISY_TEST]
    parts: list[NDArray[Any]] = []
    for subset in ("train", "test"):
        if name == "generated":
            if not files:
                raise ValueError(
                    "the generated sample needs --sample FILE, written by `shadowprune generate`"
                )
            made = [load_generated(file, subset=subset) for file in files]
            parts += [
                np.concatenate([one.data for one in made]),
                np.concatenate([one.target for one in made]),
            ]
            continue
        jets = load_hbb(subset=subset)
        if name == "flavour":
            # light, charm, one b, two b's of a gluon, Higgs; rows come in random order, the first are kept
            y = np.where(jets.target == 1, 4, jets.flavour)
            rows = np.sort(np.concatenate([np.flatnonzero(y == c)[:FLAVOUR_ROWS] for c in range(5)]))
            parts += [jets.data[rows], y[rows]]
        else:
            parts += [jets.data, jets.target]
    return tuple(parts)


def load(name: str, seed: int, validation: bool, quick: bool = False, files: tuple[str, ...] = ()) -> Data:
    """Rows of a sample: to train and to test on, or the rows to train on cut 3 : 1, no test row among them.

    Where every seed has a test part of its own, until these come again with other first weights, five
    validation seeds after each other cut the rows that one seed trains on: 0 to 4 those of the test seed 0.

    Parameters
    ----------
    name : str
        One of `SAMPLES` or `SUBSETS`, or `NOISY`.
    seed : int
        Of the split, where a sample has one per seed; else the parts are the sample's own.
    validation : bool
        Score on a quarter of the training rows.
    quick : bool
        Few rows and epochs, to see that everything works.
    files : tuple of str
        Of the generated sample, taken together.

    Returns
    -------
    Data
        The same object for the same rows, so that what was trained on them can be found again.
    """
    if not validation:
        seed = tested_on(name, seed)
    own = (*(RESPLIT if validation else REPEATED), NOISY, *SUBSETS)  # those with rows for each seed
    return _load(name, seed if name in own else 0, validation, quick, files)


def tested_on(name: str, seed: int) -> int:
    """The first of the seeds that test on the same rows for the same choice."""
    return seed % REPEATED[name] if name in REPEATED else seed


def splits_of(name: str, seed: int) -> range:
    """Validation seeds that cut the rows this seed trains on, of a sample with test rows for each."""
    first = SPLITS * tested_on(name, seed)
    return range(first, first + SPLITS)


def _trained_on(split: int) -> int:
    """The seed whose rows to train on this validation seed cuts."""
    return split // SPLITS


@lru_cache(maxsize=4)
def _load(name: str, seed: int, validation: bool, quick: bool, files: tuple[str, ...]) -> Data:
    if name in SUBSETS:
        X, X_score, y, y_score = _subset(name, seed)
    else:
        X, y, X_score, y_score = _parts(name, files)
    if name == NOISY:
        rows = np.random.default_rng([seed, 2]).choice(len(y), NOISY_ROWS, replace=False)
        X, y = X[rows], y[rows]
    if name in REPEATED:
        tested = _trained_on(seed) if validation else seed
        X, X_score, y, y_score = train_test_split(X, y, test_size=0.25, stratify=y, random_state=tested)
    if quick:
        X, y, X_score, y_score = (part[:QUICK_ROWS] for part in (X, y, X_score, y_score))
    if validation and name not in SUBSETS:
        X, X_score, y, y_score = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X)
    n_classes = int(y.max()) + 1
    target = y[:, None] if n_classes == 2 else np.eye(n_classes)[y]
    estimator = ShadowClassifier()
    estimator.classes_ = np.arange(n_classes)
    network = Network((X.shape[1], *hidden(name), target.shape[1]))
    usual = estimator._settings(len(X), network, None)
    return Data(
        x=np.ascontiguousarray(scaler.transform(X), np.float32),
        target=np.ascontiguousarray(target, np.float32),
        x_score=np.ascontiguousarray(scaler.transform(X_score), np.float32),
        y_score=y_score.astype(np.int64),
        hidden=hidden(name),
        epochs=6 if quick else usual.epochs,
        batch=usual.batch_size,
        rate=usual.learning_rate,
        rule=usual_weight_decay(network.widths, len(X), "binary_crossentropy"),
    )
