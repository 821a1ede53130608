"""ShadowPath: one training, and a network of every node count read off afterwards."""

from __future__ import annotations

import copy
import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ._checks import check_weights
from ._defaults import classes_per_node, usual_epochs, usual_learning_rate, usual_orders
from ._levels import count_epochs, stages_of
from .budget import Budget, count
from .estimators import ShadowClassifier
from .metrics import background_rejection
from .nested import train_nested
from .training import F32


class ShadowPath(BaseEstimator):  # type: ignore[misc]
    """Classifiers of every number of nodes, from one training.

    The scores of a shadow network order all nodes, so that the networks of the best 12, 13, ... nodes are
    nested in each other. They are trained together, with small corrections for each size, and up to 72 %
    of all nodes learn from the whole network beside the labels. Which nodes come first, and how many
    of each layer, is found as by `ShadowClassifier`. The word is that of `sklearn.linear_model.lasso_path`.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64, 64, 64, 64)
        Nodes of each hidden layer of the largest network.
    n_nodes_min : int or float, optional
        Hidden nodes of the smallest network: an int is the number, a float the fraction (rounded down). By
        default 5 %, but at least one per hidden layer.
    activation, alpha, batch_size, learning_rate_init, max_iter, standardize, random_state, n_jobs, verbose
        As for `ShadowClassifier`. "auto" weight decay is, for the largest network, that for its size, rising
        from .7 to 1.3 times; for smaller ones less than a single run's. Networks see no more than
        `max_iter` epochs ("auto": than a run for few nodes takes; where the smallest network has more
        than two classes per node of its average hidden layer, no more than 60 or 3,000 steps), but
        where the smallest have few nodes and cost little, these train for as many after what they
        share with larger ones, and the very smallest for a third of as many alone. Small networks are
        trained on after the largest, so that the run has more.
    validation_fraction : float, default=0.1
        Part of the rows that is not trained on but kept for `smallest`; 0 keeps none.

    Attributes
    ----------
    n_nodes_range_ : tuple of int
        Hidden nodes of the smallest and of the largest network.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_features_in_, feature_names_in_
        Columns seen in `fit`, and their names if they had any.
    history_ : History
        Loss and more, per epoch.
    family_ : Family
        The nested networks, of standardised columns.

    Notes
    -----
    Training several widths of one network at once is due to Yu and Huang (arXiv:1903.05134), who cut every
    layer alike; here a gate per node decides. `ShadowClassifier` gives one network of a size decided
    beforehand, cost budgets, pruned inputs and training for fixed point, which a path does not have.

    While networks below the largest train, a second copy of the rows is in memory.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = ShadowPath((16, 16), n_nodes_min=4, max_iter=40, random_state=0).fit(X, y)
    >>> [path.at(n).n_nodes_ for n in (4, 11, 0.75)]
    [4, 11, 24]
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64, 64, 64, 64),
        *,
        n_nodes_min: float | None = None,
        activation: str = "relu",
        alpha: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float | str = "auto",
        max_iter: int | str = "auto",
        validation_fraction: float = 0.1,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_nodes_min = n_nodes_min
        self.activation = activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train all networks in one run.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows; any real dtype, never changed. No NaN, no infinity, not sparse.
        y : array_like of shape (n,)
            Labels of two or more classes.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows; they may be negative, but their sum must be positive.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable data or parameters.
        """
        kept = {name: value for name, value in self.get_params().items() if name != "n_nodes_min"}
        fraction = kept.pop("validation_fraction")
        if (
            isinstance(fraction, bool)
            or not isinstance(fraction, (int, float, np.number))
            or not 0 <= fraction < 1
        ):
            raise ValueError(f"validation_fraction is {fraction!r}; it must be at least 0 and below 1")
        one = ShadowClassifier(n_nodes=None, **kept)
        rows = one._read(X, y, sample_weight, hold=float(fraction) or None)
        n = sum(rows.widths[1:-1])
        if len(rows.widths) < 3:
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes!r}; a path needs a hidden layer"
            )
        layers = len(rows.widths) - 2
        if n == layers:
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes!r}; a path needs layers that can be pruned"
            )
        asked = max(layers, int(0.05 * n)) if self.n_nodes_min is None else self.n_nodes_min
        smallest = count("n_nodes_min", asked, n, layers, n - 1, why="one per hidden layer")
        network = one._first_network(rows, None)
        settings = one._settings(rows.n, network, None)
        batch = settings.batch_size

        def rate(kept: float) -> float:
            if self.learning_rate_init != "auto":
                return settings.learning_rate
            return usual_learning_rate(batch, kept, classes_per_node(network.widths, settings.loss, kept))

        def epochs(kept: float) -> int:
            if self.max_iter != "auto":
                return settings.epochs
            return usual_epochs(network.widths, rows.n, batch, settings.loss, kept, smallest / n)

        stages = stages_of(n, smallest, epochs, usual_orders(rows.n, settings.loss))
        with one._progress(count_epochs(stages), type(self).__name__) as tick:
            self.family_, self.history_ = train_nested(
                network, stages, rows.x, rows.target, rows.weight, settings, rows.streams[3],
                learning_rate=rate, scores=rows.streams[2], progress=tick,
            )  # fmt: skip
        self.n_nodes_range_ = (smallest, n)
        self.classes_, self.n_features_in_ = one.classes_, one.n_features_in_
        if hasattr(one, "feature_names_in_"):
            self.feature_names_in_ = one.feature_names_in_
        self._one = one
        self._held, rows.held = rows.held, None
        rows.x = rows.target = np.empty((0, 0), np.float32)  # the scaling is needed later, the rows are not
        rows.weight = None
        self._rows = rows
        return self

    def at(self, n_nodes: float) -> ShadowClassifier:
        """The classifier with so many nodes.

        Parameters
        ----------
        n_nodes : int or float
            Hidden nodes: an int is the exact number, a float the fraction of all (rounded down).

        Returns
        -------
        ShadowClassifier
            Fitted, with exactly so many nodes, and independent of the path. Its `support_` refers to the
            nodes of the largest, as `at` returns it.

        Raises
        ------
        ValueError, TypeError
            If the number lies outside `n_nodes_range_` or is none.
        """
        check_is_fitted(self)
        smallest, n = self.n_nodes_range_
        number = count("n_nodes", n_nodes, n, smallest, why="n_nodes_min")
        one, band = copy.copy(self._one), self.family_.whole
        one.n_nodes = number
        network = self.family_.at(number)
        one._fold(network, self._rows, np.ones(network.widths[0], np.bool_))
        support = band.keep(number)
        (constraint,) = Budget(nodes=number).constraints(band.network.widths)
        one.budget_report_ = (constraint.report(np.concatenate(support[1:]), 0.0),)
        one._set_fitted(network, support, self.history_)
        return one

    def smallest(
        self,
        *,
        rejection: float | None = None,
        efficiency: float = 0.5,
        accuracy: float | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> ShadowClassifier:
        """The smallest classifier that is good enough.

        Parameters
        ----------
        rejection : float, optional
            Background rejection 1/eps_B asked for, at a tagging efficiency; of two classes.
        efficiency : float, default=0.5
            Signal efficiency of the rejection.
        accuracy : float, optional
            Instead of a rejection: part of the rows given their own label.
        X, y, sample_weight : array_like, optional
            Rows to measure on, of the shapes `fit` takes. By default those kept aside in `fit`.

        Returns
        -------
        ShadowClassifier
            As of `at`.

        Raises
        ------
        ValueError
            If no network of the path is good enough, nothing or two things are asked for, or there are no
            rows to measure on.

        Notes
        -----
        Every network is measured. Single sizes fluctuate up and down with the rows and with the training, and
        the first to pass would be one that fluctuated up; so an isotonic regression over all sizes decides,
        which lets the background that passes (the accuracy) only fall (only rise) with the number of nodes.
        Of few nodes the very smallest has trained on alone; where it is better than the next, it counts as
        they do on average.
        """
        check_is_fitted(self)
        if (rejection is None) == (accuracy is None):
            raise ValueError("smallest needs to know what is good enough: give rejection= or accuracy=")
        if rejection is not None and len(self.classes_) != 2:
            raise ValueError(f"rejection is for two classes, y had {len(self.classes_)}; give accuracy=")
        name = "rejection" if accuracy is None else "accuracy"
        wanted = _positive(
            name, rejection if accuracy is None else accuracy, math.inf if accuracy is None else 1
        )
        efficiency = _positive("efficiency", efficiency, 1)
        logits, index, weight = self._measured_on(X, y, sample_weight)
        sizes = np.arange(self.n_nodes_range_[0], self.n_nodes_range_[1] + 1)
        merit = np.empty(len(sizes))
        for i, size in enumerate(sizes):
            z = logits(int(size))
            if accuracy is None:
                merit[i] = -1 / background_rejection(index, z, efficiency, sample_weight=weight)
            else:
                merit[i] = np.average((z > 0 if z.ndim == 1 else z.argmax(1)) == index, weights=weight)
        smooth = IsotonicRegression().fit_transform(sizes, merit)
        good = np.flatnonzero(smooth >= (-1 / wanted if accuracy is None else wanted))
        if not len(good):
            best = smooth[-1] if rejection is None else -1 / smooth[-1]
            raise ValueError(
                f"{name} is {wanted!r}, and no network of this path reaches it on {len(index)} "
                f"rows; the largest, with {sizes[-1]} nodes, has {best:.4g}"
            )
        passing = math.inf if rejection is None else np.sum(index == 0) / wanted
        if passing < 10:
            warnings.warn(
                f"at rejection={wanted:g} {passing:.2g} background rows pass: too few to tell networks "
                "apart; give more rows as X= and y=",
                UserWarning,
                stacklevel=2,
            )
        return self.at(int(sizes[good[0]]))

    def _measured_on(
        self, X: ArrayLike | None, y: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> tuple[Callable[[int], F32], NDArray[np.intp], NDArray[np.float64] | None]:
        """Logits of a size on the rows, the classes of these as numbers, and their weights."""
        if X is not None and y is not None:
            labels = column_or_1d(y)
            for unknown in set(np.unique(labels).tolist()) - set(self.classes_.tolist()):
                raise ValueError(f"y holds {unknown!r}, which it did not in fit")
            check_consistent_length(X, labels)
            index, weight = np.searchsorted(self.classes_, labels), check_weights(sample_weight, len(labels))
            return lambda size: self.at(size).decision_function(X), index, weight
        if X is not None or y is not None or sample_weight is not None:
            raise ValueError("X and y go together, and sample_weight with them: give both or neither")
        if self._held is None:
            raise ValueError(
                "validation_fraction was 0, so that no rows were kept aside to measure on: give X= and y="
            )
        x, target, weight = self._held
        index = target.argmax(1) if target.shape[1] > 1 else target[:, 0].astype(np.intp)

        def logits(size: int) -> F32:
            z: F32 = self.family_.at(size).forward(x, keep=False)
            return z if z.shape[1] > 1 else z[:, 0]

        return logits, index, weight


def _positive(name: str, value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) <= most:
        raise ValueError(f"{name} is {value!r}; it must be a number above 0, at most {most:g}")
    return float(value)
