"""Train for every count from 4 to 256 on the paper layout 40-64-64-64-64-1, 20 seeds, and as many costs.

Not collected by pytest, for it takes minutes: `make counts`, or `python tests/every_count.py [seeds]`. Each
training is a real one, cut short: gates, scores and weights move, the finish falls inside, the rest goes on.
"""

import sys
from itertools import pairwise

import numpy as np
from tqdm import tqdm

import shadowprune as sp

HIDDEN = (64, 64, 64, 64)
KINDS = ("multiplications", "multipliers", "weights", "weighted")


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(256, 40)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)


def trained(seed: int, **budget: object) -> sp.ShadowClassifier:
    settings = dict(batch_size=64, max_iter=5, random_state=seed)
    return sp.ShadowClassifier(HIDDEN, **settings, **budget).fit(*data(seed))


def spent(kind: str, widths: tuple[int, ...], budget: sp.Budget) -> int:
    pairs = list(pairwise(widths))
    match kind:
        case "multiplications":
            return sum(a * b for a, b in pairs)
        case "multipliers":
            return sum(-(-a * b // budget.reuse_factor) for a, b in pairs)
        case "weights":
            return sum((a + 1) * b for a, b in pairs)
    return sum(c * w for c, w in zip(budget.costs, widths[1:-1], strict=True))


def main(seeds: int) -> int:
    wrong = 0
    with tqdm(total=2 * seeds * 253, unit="training") as bar:
        for seed in range(seeds):
            rng = np.random.default_rng([seed, 1])
            for n_nodes in range(4, 257):
                clf = trained(seed, n_nodes=n_nodes)
                kept = [int(m.sum()) for m in clf.support_[1:]]
                wrong += not (clf.n_nodes_ == n_nodes == sum(kept) and min(kept) >= 1)
                bar.update()

                kind = KINDS[n_nodes % 4]
                options = {
                    "multipliers": {"reuse_factor": int(rng.integers(1, 9))},
                    "weighted": {"costs": rng.integers(1, 20, size=4).tolist()},
                }.get(kind, {})
                amount = float(np.exp(rng.uniform(np.log(0.07), 0)))
                budget = sp.Budget(**{kind: amount, "multiple": int(rng.choice([1, 1, 2, 4]))}, **options)
                clf = trained(seed, budget=budget)
                (report,) = clf.budget_report_
                used = spent(kind, clf.network_.widths, budget)
                tight = report.next_node is None or used + report.next_node > report.asked
                wrong += not (used == report.used <= report.asked and tight and report.short == 0)
                bar.update()
    print(
        f"{2 * seeds * 253} trainings, half of them to a count, half to a cost: {wrong} missed their budget"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
