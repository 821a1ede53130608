"""JAX as its users write a fast loop: a whole epoch in one jitted `lax.scan`, buffers donated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import BETA_1, BETA_2, EPSILON, F32, I32, Task, flat


def forward(layers: Any, x: Any) -> Any:
    """Logits of a ReLU network given as a list of (W, b)."""
    *hidden, last = layers
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ last[0] + last[1]


def binary(layers: Any, x: Any, y: Any) -> Any:
    """Mean binary cross-entropy; y (n, 1)."""
    z = forward(layers, x)
    return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))


def categorical(layers: Any, x: Any, y: Any) -> Any:
    """Mean softmax cross-entropy; y (n, n_classes)."""
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(forward(layers, x)), axis=1))


class JaxScan:
    """Threads are those of the processors the process may use."""

    def __init__(self, threads: int) -> None:
        jax.config.update("jax_platforms", "cpu")

    def start(self, task: Task) -> None:
        loss = binary if task.n_outputs == 1 else categorical
        rate = task.learning_rate

        def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
            def one(state: Any, rows: Any) -> Any:
                layers, m, v, step = state
                step = step + 1
                value, grad = jax.value_and_grad(loss)(layers, x[rows], y[rows])
                m = jax.tree.map(lambda a, g: BETA_1 * a + (1 - BETA_1) * g, m, grad)
                v = jax.tree.map(lambda a, g: BETA_2 * a + (1 - BETA_2) * g * g, v, grad)
                scale, root = rate / (1 - BETA_1**step), 1 / (1 - BETA_2**step)
                layers = jax.tree.map(
                    lambda w, a, b: w - scale * a / (jnp.sqrt(b * root) + EPSILON), layers, m, v
                )
                return (layers, m, v, step), value

            return jax.lax.scan(one, state, order)

        self.task = task
        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.x, self.y = jnp.asarray(task.x), jnp.asarray(task.target())
        layers = [(jnp.asarray(w), jnp.asarray(b)) for w, b in task.layers()]
        zeros = jax.tree.map(jnp.zeros_like, layers)
        self.state = (layers, zeros, jax.tree.map(jnp.zeros_like, layers), jnp.float32(0))

    def train(self, order: I32) -> None:
        steps = order.reshape(-1, self.task.batch_size)
        self.state, losses = self.epoch(self.state, self.x, self.y, steps)
        losses.block_until_ready()
        jax.block_until_ready(self.state)

    def params(self) -> F32:
        return flat([(np.asarray(w), np.asarray(b)) for w, b in self.state[0]])
