"""The methods of the study, and what each may choose on the validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

from shadowprune import ShadowClassifier, ShadowPath
from shadowprune._defaults import WeightDecay, usual_epochs
from shadowprune.network import Network
from shadowprune.training import Settings

from .dense import RULE, fit, fresh, narrow, rng_of
from .gates import ChipNet, HardConcrete, learn_gates
from .pquantml import pdp
from .pruning import fit_torch, train_prune_finetune
from .samples import Data

Option = dict[str, float | str | bool]
Trained = tuple[Network, float, int | None]  # the network, seconds of processor time, nodes it had by itself
Choices = dict[str, tuple[float | str | bool, ...]]

RATE: Choices = {"rate": (1.0, 3.0)}  # times the usual learning rate
DECAY: Choices = {"decay": (RULE, 0.05, 0.2, 0.5)}
CUTS = 5  # of the iterative ones


@dataclass(frozen=True)
class Method:
    """One way to get a network of so many nodes."""

    train: Callable[..., Trained]  # (data, count, seed, **option)
    rounds: Sequence[
        Choices
    ] = ()  # tried on the validation rows, one round after the other; none: nothing to choose
    like: str | None = None  # the method whose choice is taken instead
    last: int = -1  # and of which of its rounds
    extra: Sequence[str] = ()  # hyper-parameters beyond those of ordinary training

    def options(self, chosen: Sequence[Option]) -> list[Option] | None:
        """What the next round tries, given the best of each round before; None after the last.

        A round tries every combination of its choices, with what is chosen already and with the first choice
        of everything later.
        """
        if len(chosen) == len(self.rounds):
            return None
        settled = chosen[-1] if chosen else {key: values[0] for r in self.rounds for key, values in r.items()}
        now = self.rounds[len(chosen)]
        return [settled | dict(zip(now, values, strict=True)) for values in product(*now.values())]


def name_of(option: Option) -> str:
    """An option as the CSV has it."""
    return " ".join(f"{key}={value}" for key, value in sorted(option.items()))


def option_of(name: str) -> Option:
    """And back."""
    words = {"True": True, "False": False, RULE: RULE}
    pairs = (entry.split("=") for entry in name.split())
    return {key: words[value] if value in words else float(value) for key, value in pairs}


class _Other(ShadowClassifier):
    """With the usual learning rate times something, parts of the weight decay's rule replaced, one order.

    With one order scores move at the usual rate.
    """

    rate: float
    rule: dict[str, float]
    one_order: bool

    def _settings(self, *given: Any, **more: Any) -> Settings:
        settings = super()._settings(*given, **more)
        decay = settings.weight_decay
        if isinstance(decay, WeightDecay):
            decay = replace(decay, **self.rule)
        settings = replace(settings, learning_rate=self.rate * settings.learning_rate, weight_decay=decay)
        return replace(settings, tries=1, score_rate=1.0) if self.one_order else settings


def _in_full(data: Data) -> bool:
    """Whether the methods have the estimator's epochs: not so in quick mode."""
    return data.epochs == usual_epochs(data.widths, len(data.x), data.batch, data.loss)


def _own_epochs(data: Data, kept: float) -> int:
    """What the estimator takes for this part of the nodes."""
    if not _in_full(data):
        return data.epochs
    return usual_epochs(data.widths, len(data.x), data.batch, data.loss, kept)


def shadow(
    data: Data, count: int, seed: int, *, method: str = "shadow", decay: float | str = RULE,
    rate: float = 1.0, batch: float = 1.0, epochs: float = 1.0, own_epochs: bool = False,
    one_order: bool = False, **rule: float,
) -> Trained:  # fmt: skip
    """One run of `ShadowClassifier`; rate, batch and epochs are times the usual values.

    The usual epochs are those of all methods, or its own; other orders of few nodes come on top, or not. The
    rest is of the weight decay's rule.
    """
    rows, kept = round(batch * data.batch), count / sum(data.hidden)
    usual = _own_epochs(data, kept) if own_epochs else data.epochs
    model = _Other(
        data.hidden, count, method=method, alpha="auto" if decay == RULE else decay, batch_size=rows,
        max_iter=round(epochs * usual), standardize=False, random_state=seed,
    )  # fmt: skip
    model.rate, model.rule, model.one_order = rate, rule, one_order
    begin = time.thread_time()
    model.fit(data.x, data.labels)
    return model.network_, time.thread_time() - begin, model.n_nodes_


@lru_cache(maxsize=16)
def _layout(data: Data, count: int, seed: int) -> tuple[tuple[int, ...], float]:
    network, seconds, _ = shadow(data, count, seed)
    return network.widths, seconds


def retrained(data: Data, count: int, seed: int, *, decay: float | str = RULE, rate: float = 1.0) -> Trained:
    """The layout that the shadow finds, as a new network with weights of its own."""
    widths, seconds = _layout(data, count, seed)
    network, more = fit(fresh(widths, seed + 1000), data, data.epochs, decay, rng_of(seed, 5), rate)
    return network, seconds + more, None


@lru_cache(maxsize=4)
def _path(data: Data, seed: int, own_epochs: bool) -> tuple[ShadowPath, float]:
    path = ShadowPath(
        data.hidden, batch_size=data.batch, max_iter="auto" if own_epochs and _in_full(data) else data.epochs,
        standardize=False, validation_fraction=0, random_state=seed,
    )  # fmt: skip
    begin = time.thread_time()
    path.fit(data.x, data.labels)
    return path, time.thread_time() - begin


def path(data: Data, count: int, seed: int, *, own_epochs: bool = False) -> Trained:
    """A size read off `ShadowPath`; the seconds are those of the one training that all sizes share."""
    whole, seconds = _path(data, seed, own_epochs)
    network = whole.at(count).network_
    return network, seconds, network.n_nodes


def uniform(data: Data, count: int, seed: int, *, decay: float | str = RULE, rate: float = 1.0) -> Trained:
    """A network that is narrow from the start, every layer alike."""
    widths = [data.x.shape[1], *narrow(data.hidden, count), data.target.shape[1]]
    network, seconds = fit(fresh(widths, seed), data, data.epochs, decay, rng_of(seed, 1), rate)
    return network, seconds, None


def _peers() -> dict[str, Method]:
    found = {}
    for criterion, per_layer, cuts, longer in (
        ("random", False, 1, 1), ("L1", False, 1, 1), ("L2", False, 1, 1), ("L2", True, 1, 1),
        ("Taylor", False, 1, 1), ("L2", False, CUTS, 1), ("Taylor", False, CUTS, 1),
        ("L2", True, 1, 2), ("Taylor", False, 1, 2), ("Taylor", False, CUTS, 2),
    ):  # fmt: skip
        train = partial(
            train_prune_finetune, criterion=criterion, cuts=cuts, longer=longer, per_layer=per_layer
        )
        name = f"{criterion}{' per layer' * per_layer} {'one cut' if cuts == 1 else f'{cuts} cuts'}"
        if longer > 1:
            found[f"{name} {longer}x epochs"] = Method(train, like=name, extra=found[name].extra)
            continue
        where: Choices = {"split": (0.5, 0.25)}
        if not (per_layer or criterion == "random"):
            where["normalise"] = (False, True)
        extra = ["epochs before the cut", "criterion", "how layers are compared"]
        extra += ["number of cuts", "their sizes"] * (cuts > 1)
        found[name] = Method(train, (where, RATE, DECAY), extra=extra)
    return found


METHODS: dict[str, Method] = {
    "shadow default": Method(shadow),
    "shadow one order": Method(partial(shadow, one_order=True)),
    "shadow": Method(shadow, ({"rate": (1.0, 0.5)}, DECAY)),  # of a rate that has been raised already
    "path": Method(path),
    "shadow default own epochs": Method(partial(shadow, own_epochs=True)),
    "path own epochs": Method(partial(path, own_epochs=True)),
    "straight-through": Method(partial(shadow, method="straight-through")),
    "taylor in one run": Method(partial(shadow, method="taylor")),
    "layout retrained": Method(retrained, (RATE,)),
    "uniform": Method(uniform, (RATE, DECAY), extra=["width of every layer"]),
    **_peers(),
    "hard concrete": Method(
        partial(learn_gates, kind=HardConcrete),
        ({"gate_rate": (0.02, 0.05, 0.1)}, RATE, DECAY),
        extra=["temperature", "stretch", "first gate", "two rates", "ramp", "epochs with gates"],
    ),
    "ChipNet": Method(
        partial(learn_gates, kind=ChipNet),
        ({"crispness": (0.04, 0.4, 10.0)}, RATE, DECAY),
        extra=["two sharpness schedules", "two penalties", "first gate", "rate", "epochs with gates"],
    ),
}

CHECK: dict[str, Method] = {
    "ours": Method(partial(train_prune_finetune, criterion="L2", per_layer=True)),
    "PyTorch": Method(partial(train_prune_finetune, criterion="L2", per_layer=True, fit=fit_torch)),
    "PDP of PQuantML": Method(pdp),  # left out where it is not installed
}

DEFAULTS: dict[str, Method] = {
    "default": Method(partial(shadow, own_epochs=True)),
    "tuned": Method(
        partial(shadow, own_epochs=True),
        (
            {"decay": (RULE, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)},
            {"rate": (1.0, 0.3, 3.0)},
            {"batch": (1.0, 0.5, 2.0)},
            {"epochs": (1.0, 0.5, 2.0)},
        ),
    ),
    "tuned in as many epochs": Method(partial(shadow, own_epochs=True), like="tuned", last=-2),
}

_one_order = partial(shadow, one_order=True)
# What the rules of the defaults were chosen by, with one order of the nodes.
RULES: dict[str, Method] = {
    "decay": Method(partial(_one_order, flatter=0.0), ({"factor": (1.0, 0.5, 2.0, 4.0, 8.0)},)),
    "fall": Method(_one_order, ({"flatter": (0.0, 0.1, 0.2, 0.3)},)),
    "crowd": Method(_one_order, ({"crowded": (1.5, 1.0, 2.0)},)),
    "fade": Method(_one_order, ({"fade": (1.0, 0.5, 0.2)},)),
    "early": Method(_one_order, ({"early": (0.5, 1.0, 0.25)},)),
    "late": Method(_one_order, ({"late": (1.5, 1.0, 2.0)},)),
    "rate": Method(_one_order, ({"rate": (1.0, 0.3, 0.5, 2.0, 3.0)},)),
    "batch": Method(_one_order, ({"batch": (1.0, 0.5, 2.0)},)),
    "epochs": Method(_one_order, ({"epochs": (1.0, 0.5, 2.0)},)),
}

TABLES = {"methods": METHODS, "defaults": DEFAULTS, "rules": RULES, "torch": CHECK}
