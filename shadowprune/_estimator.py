"""What classifier and regressor share: parameters, one run of training, what is known after it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from ._checks import check_weights
from ._defaults import (
    classes_per_node,
    usual_batch_size,
    usual_epochs,
    usual_learning_rate,
    usual_score_rate,
    usual_tries,
    usual_weight_decay,
)
from ._folding import check_start, fold_inputs, unfold_inputs
from ._parameters import N_NODES, check_shorthand, checked_layers
from ._validation import checked_rows
from .budget import Budget
from .fixedpoint import FixedNetwork
from .network import Network
from .parallel import stop_if_asked, workers
from .qat import Quantiser
from .shadow import ShadowNetwork
from .training import History, Settings, train

F32 = NDArray[np.float32]


@dataclasses.dataclass
class Rows:
    """The rows of one training, ready for the core."""

    x: F32
    target: F32
    weight: F32 | None
    held: tuple[F32, F32, NDArray[np.float64] | None] | None  # x, target, weight kept aside
    n: int  # rows given
    mean: NDArray[np.float64]  # of the columns
    scale: NDArray[np.float64]
    quantiser: Quantiser | None
    widths: list[int]  # inputs, hidden layers, outputs
    streams: list[np.random.Generator]  # of the split, the weights, the scores, the order of rows


class ShadowEstimator(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Base of both; what is particular to labels or values is asked of the methods that raise here."""

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64, 64, 64, 64),
        n_nodes: float | None = N_NODES,
        *,
        n_inputs: float | None = None,
        prune_layers: Sequence[int] | None = None,
        budget: Budget | None = None,
        method: str = "shadow",
        activation: str = "relu",
        alpha: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float | str = "auto",
        max_iter: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        standardize: bool = True,
        precision: str | Sequence[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_nodes = n_nodes
        self.n_inputs = n_inputs
        self.prune_layers = prune_layers
        self.budget = budget
        self.method = method
        self.activation = activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.standardize = standardize
        self.precision = precision
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        network: Network | None = None,
    ) -> Self:
        """Train, prune and reduce in one run.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows; any real dtype, never changed. No NaN, no infinity, not sparse.
        y : array_like of shape (n,)
            Labels or target values.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, for example Monte Carlo weights; they may be negative, but their sum
            must be positive.
        network : Network, optional
            Start from this trained network instead of random weights. It takes the columns of X as they
            are, of the same names if both have names, and gives logits (a regression: values); its layers
            and activation replace `hidden_layer_sizes` and `activation`. "auto" then means a third of the
            epochs of a whole network, and a learning rate that is the smaller the more nodes are kept. It is
            not changed.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable data, a budget that cannot be met, or a network that does not fit the data.
        """
        return self._fit(X, y, sample_weight, None, network)

    def prune(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **parameters: Any
    ) -> Self:
        """Go on to a smaller network, from this one.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. X has all columns; those pruned away are not used.
        **parameters
            What to change: `n_nodes`, of the nodes that are left, `n_inputs`, or both, or `budget`, and any
            other parameter but `hidden_layer_sizes` and `activation`, which are those of `network_`.

        Returns
        -------
        ShadowClassifier or ShadowRegressor
            A fitted estimator; this one stays as it is. Its `support_` refers to the layers of this one's
            `network_`, that of the inputs to all columns.

        Raises
        ------
        ValueError, TypeError
            Without a budget, for columns other than `fit` saw, or as `fit`.
        """
        self._check_columns(X)
        if parameters.keys().isdisjoint({"n_nodes", "n_inputs", "budget"}):
            raise ValueError("prune needs to know what to: give n_nodes=, n_inputs= or both, or budget=")
        for name in ("hidden_layer_sizes", "activation"):
            if name in parameters:
                raise ValueError(
                    f"{name} is {parameters[name]!r}; prune goes on from network_, which has its own"
                )
        same = {"hidden_layer_sizes": self.widths_, "n_nodes": None, "n_inputs": None, "budget": None}
        if "budget" in parameters or parameters.get("n_nodes") is None:  # a budget says itself what it covers
            same["prune_layers"] = None
        smaller = type(self)(**self.get_params() | same)
        smaller.set_params(**parameters)
        smaller._fit(X, y, sample_weight, self.support_[0], self.network_)
        return smaller

    def retrain(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the reduced layout as a new, independent network.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. X has all columns; those pruned away are not used.

        Returns
        -------
        ShadowClassifier or ShadowRegressor
            A fitted estimator of that layout, without shadow; this one stays as it is.

        Raises
        ------
        ValueError, TypeError
            For columns other than `fit` saw, or as `fit`.
        """
        self._check_columns(X)
        parameters = self.get_params() | {
            "hidden_layer_sizes": self.widths_, "n_nodes": None, "n_inputs": None, "prune_layers": None,
            "budget": None,
        }  # fmt: skip
        return type(self)(**parameters)._fit(X, y, sample_weight, self.support_[0], None)

    def _check_columns(self, X: ArrayLike) -> None:
        """Refuse another number, order or names of columns than `fit` saw, as `predict` does."""
        check_is_fitted(self)
        validate_data(self, X, reset=False, skip_check_array=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, columns: NDArray[np.bool_] | None,
        start: Network | None,
    ) -> Self:  # fmt: skip
        rows = self._read(
            X, y, sample_weight, columns, start, self.validation_fraction if self.early_stopping else None
        )
        score = None
        if (held := rows.held) is not None:

            def score(net: Network | FixedNetwork, inputs: NDArray[np.bool_]) -> float:
                x_held, t_held, w_held = held
                return self._validation_score(net.forward(x_held[:, inputs]), t_held, w_held)

        network = self._first_network(rows, start)
        shadow = self._shadow(network, rows.streams[2])
        settings = self._settings(rows.n, network, shadow, warm=start is not None)
        with self._progress(settings.epochs, type(self).__name__) as tick:
            network, support, history = train(
                network, shadow, rows.x, rows.target, rows.weight, settings, rows.streams[3],
                scores=rows.streams[2], quantiser=rows.quantiser, score=score, progress=tick,
            )  # fmt: skip
        outputs = self._output_scaling()
        fixed = rows.quantiser.finish(network, support[0], *outputs) if rows.quantiser else None
        self._fold(network, rows, support[0])
        self.budget_report_ = shadow.report(support) if shadow is not None else ()
        if columns is not None:
            kept, support[0] = support[0], columns.copy()
            support[0][columns] = kept
        self._set_fitted(network, support, history, fixed)
        return self

    def _read(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, columns: NDArray[np.bool_] | None = None,
        start: Network | None = None, hold: float | None = None,
    ) -> Rows:  # fmt: skip
        """Everything checked, split and scaled; hold: part of the rows to keep aside."""
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, ensure_min_samples=2,
            y_numeric=self._numeric_target,
        )  # fmt: skip
        target, n_outputs = self._targets(y)
        weight = check_weights(sample_weight, len(X))
        hidden = checked_layers(self)
        if columns is not None:
            X = X[:, columns]
        names = getattr(self, "feature_names_in_", None)
        check_start(
            start, X.shape[1], n_outputs, names if names is None or columns is None else names[columns]
        )
        if np.abs(X).max() > np.finfo(np.float32).max:
            raise ValueError("X holds values beyond the range of float32 (3.4e38); scale it first")
        n = len(X)
        # streams of their own, so that weights and order are the same with and without a shadow
        seed = np.random.SeedSequence(check_random_state(self.random_state).randint(2**31 - 1))
        streams = [np.random.default_rng(s) for s in seed.spawn(4)]
        held = None
        if hold is not None:
            strata = y if isinstance(self, ClassifierMixin) else None
            split = int(streams[0].integers(2**31))
            try:
                rows, aside = train_test_split(
                    np.arange(n), test_size=hold, stratify=strata, random_state=split
                )
            except ValueError as error:
                raise ValueError(f"validation_fraction is {hold!r}, for {n} rows: {error}") from error
            held = X[aside], target[aside], None if weight is None else weight[aside]
            X, target, weight = X[rows], target[rows], None if weight is None else weight[rows]
        if weight is not None:
            if weight.sum() <= 0:
                raise ValueError("sample_weight adds up to zero or less on the rows that are trained on")
            weight = (weight / weight.mean()).astype(np.float32)
        quantiser = self._quantiser(len(hidden if start is None else start.widths[1:-1]) + 1, start)
        mean, scale, to_network = self._scaling(X, quantiser)
        if held is not None:
            held = to_network(held[0]), *held[1:]
        widths = [X.shape[1], *hidden, n_outputs]
        return Rows(to_network(X), target, weight, held, n, mean, scale, quantiser, widths, streams)

    @contextmanager
    def _progress(self, epochs: int, name: str) -> Iterator[Callable[[History], None]]:
        """A bar over epochs; what to call after each."""
        with tqdm(total=epochs, disable=not self.verbose, unit="epoch", desc=name) as bar:

            def tick(history: History) -> None:
                bar.set_postfix(
                    loss=f"{history.loss[-1]:.4f}", nodes=f"{history.n_nodes[-1]:.0f}", refresh=False
                )
                bar.update()
                self._after_epoch()

            yield tick

    def _fold(self, network: Network, rows: Rows, inputs: NDArray[np.bool_]) -> None:
        """Scaling of columns and targets into a network that was trained without them."""
        if rows.mean.any() or (rows.scale != 1).any():
            fold_inputs(network, rows.mean[inputs], rows.scale[inputs])
        self._fold_outputs(network)

    def _quantiser(self, n_layers: int, start: Network | None) -> Quantiser | None:
        if self.precision is None:
            return None
        return Quantiser(self.precision, n_layers, self.activation if start is None else start.activation)

    def _scaling(
        self, X: NDArray[Any], quantiser: Quantiser | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Callable[[NDArray[Any]], F32]]:
        """Mean and scale of every column, and what takes rows to the network."""
        mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.standardize:
            scaler = StandardScaler().fit(X)
            mean, scale = scaler.mean_, scaler.scale_
        if quantiser is not None:
            quantiser.fit(X, mean, scale)
            return quantiser.offset, quantiser.scale, quantiser.transform
        if not self.standardize:
            return mean, scale, lambda rows: np.ascontiguousarray(rows, np.float32)
        return mean, scale, lambda rows: np.ascontiguousarray(scaler.transform(rows), np.float32)

    def _first_network(self, rows: Rows, start: Network | None) -> Network:
        """Random weights, or the trained network to start from, for the columns and targets as scaled."""
        if start is None:
            return Network(rows.widths, self.activation, rows.streams[1])
        network = start.copy()
        if rows.mean.any() or (rows.scale != 1).any():
            unfold_inputs(network, rows.mean, rows.scale)
        self._unfold_outputs(network)
        return network

    def _shadow(self, network: Network, rng: np.random.Generator) -> ShadowNetwork | None:
        if self.budget is not None:
            check_shorthand(self)
            return ShadowNetwork(network, budget=self.budget, method=self.method, random_state=rng)
        if self.n_nodes is None and self.prune_layers is not None:
            raise ValueError(
                f"prune_layers is {self.prune_layers!r}, but n_nodes is None: no hidden layer is covered"
            )
        if self.n_nodes is None and self.n_inputs is None:
            return None
        return ShadowNetwork(
            network, self.n_nodes, layers=self.prune_layers, inputs=self.n_inputs, method=self.method,
            random_state=rng,
        )  # fmt: skip

    def _set_fitted(
        self, network: Network, support: list[NDArray[np.bool_]], history: History,
        fixed: FixedNetwork | None = None,
    ) -> None:  # fmt: skip
        if hasattr(self, "feature_names_in_"):
            network.input_names = self.feature_names_in_[support[0]].tolist()
        self.network_ = network
        self.fixed_network_ = fixed and dataclasses.replace(fixed, input_names=network.input_names)
        self.support_ = support
        self.history_ = history
        self.loss_curve_ = history.loss
        self.n_iter_ = len(history.loss)
        self.n_nodes_ = network.n_nodes
        self.widths_ = network.widths[1:-1]

    _numeric_target = False

    def _after_epoch(self) -> None:
        """An exception raised here ends the training."""
        stop_if_asked()

    def _targets(self, y: NDArray[Any]) -> tuple[F32, int]:
        raise NotImplementedError

    def _validation_score(self, z: NDArray[Any], target: F32, weight: NDArray[Any] | None) -> float:
        raise NotImplementedError

    def _fold_outputs(self, network: Network) -> None:
        """Undo a scaling of the targets in the last layer; nothing to do for classes."""

    def _unfold_outputs(self, network: Network) -> None:
        """The reverse."""

    def _output_scaling(self) -> tuple[ArrayLike, ArrayLike]:
        """Scale and mean of the targets."""
        return 1.0, 0.0

    def _loss(self) -> str:
        raise NotImplementedError

    def _settings(
        self, n_rows: int, network: Network, shadow: ShadowNetwork | None, warm: bool = False
    ) -> Settings:
        """Every "auto" decided; warm: the run begins with a trained network."""
        batch = self.batch_size
        if batch == "auto":
            batch = usual_batch_size(n_rows)
        batch = int(min(batch, n_rows))
        rate, epochs, decay = self.learning_rate_init, self.max_iter, self.alpha
        loss = self._loss()
        final = shadow.open_widths(1.0) if shadow else network.widths
        if rate == "auto" and warm:  # the more is taken away, the more must the rest learn anew
            rate = usual_learning_rate(batch, 1.0) * max(0.2, 1 - _kept_share(shadow, 0))
        elif rate == "auto":
            rate = usual_learning_rate(batch, _kept_share(shadow, 1), classes_per_node(final, loss))
        if epochs == "auto" and warm:
            epochs = math.ceil(usual_epochs(network.widths, n_rows, batch, loss) / 3)
        elif epochs == "auto":
            kept = float(sum(final[1:-1]) / network.n_nodes) if network.n_nodes else 1.0
            epochs = usual_epochs(network.widths, n_rows, batch, loss, kept)
        tries = 1
        if shadow is not None and shadow.may_shrink:
            tries = usual_tries(network.widths, final, n_rows, loss)
        usual = usual_weight_decay(network.widths, n_rows, loss)
        if warm:  # not measured there, and what an earlier pruning left has fewer weights
            usual = dataclasses.replace(usual, fade=1.0)
        return Settings(
            loss=loss,
            epochs=int(epochs),
            batch_size=batch,
            learning_rate=float(rate),
            weight_decay=usual if decay == "auto" else float(decay),
            patience=self.n_iter_no_change if self.early_stopping else None,
            threads=workers(self.n_jobs, default=1),
            tries=tries,
            score_rate=usual_score_rate(n_rows, loss) if tries > 1 else 1.0,
        )

    def _get_support_mask(self) -> NDArray[np.bool_]:
        """The columns kept: what makes the estimator one of scikit-learn's feature selectors."""
        check_is_fitted(self)
        return self.support_[0]

    def _outputs(self, X: Any) -> F32:
        X = checked_rows(self, X)
        if X.shape[1] > self.network_.widths[0]:
            X = X[:, self.support_[0]]
        if self.fixed_network_ is not None:
            return self.fixed_network_.forward(X).astype(np.float32)
        return self.network_.forward(X, keep=False)


def _kept_share(shadow: ShadowNetwork | None, first_layer: int) -> float:
    """Smallest share that one of the budgets leaves, of those that reach layers from `first_layer` on."""
    groups = shadow.groups if shadow else []
    return min((float(g.open_part(1.0)) for g in groups if g.layer.max() >= first_layer), default=1.0)
