"""scikit-learn estimators: one call trains, prunes to exactly the nodes asked for, and reduces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from . import _core
from ._checks import score_weights
from ._estimator import ShadowEstimator
from ._parameters import ATTRIBUTES, PARAMETERS
from .network import Network

F32 = NDArray[np.float32]


class ShadowClassifier(ClassifierMixin, ShadowEstimator):  # type: ignore[misc]
    __doc__ = f"""Neural-network classifier pruned to an exact number of nodes while it trains.

    Binary problems have one logit and binary cross-entropy, others a softmax over the classes. The
    equations are those of `ShadowNetwork`.

    Parameters
    ----------
    {PARAMETERS}

    Attributes
    ----------
    {ATTRIBUTES}
    classes_ : ndarray of shape (n_classes,)
        Labels.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> clf = ShadowClassifier((32, 32), n_nodes=10, random_state=0).fit(X, y)
    >>> clf.n_nodes_
    10
    """

    def _targets(self, y: NDArray[Any]) -> tuple[F32, int]:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"y holds only one class, {self.classes_[0]!r}; a classifier needs at least two")
        index = encoder.transform(y)
        if len(self.classes_) == 2:
            return np.ascontiguousarray(index[:, None], np.float32), 1
        return np.eye(len(self.classes_), dtype=np.float32)[index], len(self.classes_)

    def _loss(self) -> str:
        return "binary_crossentropy" if len(self.classes_) == 2 else "categorical_crossentropy"

    def _validation_score(self, z: NDArray[Any], target: F32, weight: NDArray[Any] | None) -> float:
        weight = score_weights(weight)
        if len(self.classes_) == 2:
            return float(roc_auc_score(target[:, 0], z[:, 0], sample_weight=weight))
        return float(np.average(z.argmax(1) == target.argmax(1), weights=weight))

    def decision_function(self, X: ArrayLike) -> F32:
        """Logits.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes), float32
        """
        z = self._outputs(X)
        return z[:, 0] if len(self.classes_) == 2 else z

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
        """
        z = self._outputs(X)
        if z.shape[1] == 1:
            return _core.probabilities(z)
        p = np.exp(z - z.max(axis=1, keepdims=True), dtype=np.float64)
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), dtype of the labels
        """
        z = self._outputs(X)
        index = (z[:, 0] > 0).astype(np.intp) if z.shape[1] == 1 else z.argmax(axis=1)
        return np.asarray(self.classes_[index])


class ShadowRegressor(MultiOutputMixin, RegressorMixin, ShadowEstimator):  # type: ignore[misc]
    __doc__ = f"""Neural-network regressor pruned to an exact number of nodes while it trains.

    Squared error; targets are standardised for the training, and this is folded into `network_`.

    Parameters
    ----------
    {PARAMETERS}

    Attributes
    ----------
    {ATTRIBUTES}
    """

    _numeric_target = True

    def _targets(self, y: NDArray[Any]) -> tuple[F32, int]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._flat = y.ndim == 1
        rows = y.reshape(len(y), -1).astype(np.float64)
        self._target_scaler = StandardScaler().fit(rows)
        if self.precision is not None:  # a shift of the binary point
            self._target_scaler.scale_ = np.exp2(np.rint(np.log2(self._target_scaler.scale_)))
        return np.ascontiguousarray(self._target_scaler.transform(rows), np.float32), rows.shape[1]

    def _loss(self) -> str:
        return "squared_error"

    def _validation_score(self, z: NDArray[Any], target: F32, weight: NDArray[Any] | None) -> float:
        return float(r2_score(target, z, sample_weight=weight))

    def _fold_outputs(self, network: Network) -> None:
        w, b = network.weights[-1], network.biases[-1]
        w *= self._target_scaler.scale_
        b[:] = b * self._target_scaler.scale_ + self._target_scaler.mean_

    def _unfold_outputs(self, network: Network) -> None:
        w, b = network.weights[-1], network.biases[-1]
        w /= self._target_scaler.scale_
        b[:] = (b - self._target_scaler.mean_) / self._target_scaler.scale_

    def _output_scaling(self) -> tuple[ArrayLike, ArrayLike]:
        return self._target_scaler.scale_, self._target_scaler.mean_

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predicted values.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets) as the y of `fit`, float64
        """
        z = self._outputs(X).astype(np.float64)
        return z[:, 0] if self._flat else z
