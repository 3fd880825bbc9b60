"""The StackGAN baseline's networks and step in Keras on TensorFlow, in its own style.

As in the report the discriminator judges each kind of pair by a call of its own, and the
generator draws again for its own update. Settings: xla (compile the step with it).
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

VERSIONS = {"keras": keras.__version__, "tensorflow": tf.__version__}


def generator(text: int) -> keras.Model:
    """Inputs text, z, eps; outputs image, mu, log_sigma."""
    embedding, z, eps = (layers.Input((n,)) for n in (text, 100, 128))
    both = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(256, name="condition")(embedding))
    mu, log_sigma = both[:, :128], both[:, 128:]
    x = layers.Concatenate()([mu + keras.ops.exp(log_sigma) * eps, z])
    x = layers.ReLU()(layers.Dense(16384, use_bias=False, name="project")(x))
    x = layers.Reshape((4, 4, 1024))(x)
    for step, width in enumerate((512, 256, 128, 64)):
        x = layers.UpSampling2D()(x)
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv_{step}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"norm_{step}")(x))
    x = layers.Conv2D(3, 3, padding="same", use_bias=False, name="conv_4")(x)
    image = layers.Activation("tanh")(x)
    return keras.Model([embedding, z, eps], [image, mu, log_sigma])


def discriminator(text: int) -> keras.Model:
    """Inputs image, text; output logit [B, 1]."""
    image, embedding = layers.Input((64, 64, 3)), layers.Input((text,))
    x = image
    for step, width in enumerate((64, 128, 256, 512)):
        x = layers.Conv2D(width, 4, strides=2, padding="same", use_bias=False, name=f"conv_{step}")(
            x
        )
        if step:
            x = layers.BatchNormalization(name=f"norm_{step - 1}")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    compressed = layers.Dense(128, activation="relu", name="compress")(embedding)
    tiled = keras.ops.tile(compressed[:, None, None, :], (1, 4, 4, 1))
    x = layers.Conv2D(512, 1, name="joint")(layers.Concatenate()([x, tiled]))
    x = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization(name="joint_norm")(x))
    logit = layers.Dense(1, name="logit")(layers.Flatten()(x))
    return keras.Model([image, embedding], logit)


class Competitor:
    """What child.py drives."""

    def __init__(self, problem: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        self.table, self.codes = tf.constant(problem["table"]), tf.constant(problem["codes"])
        self.image = tf.constant(problem["image"])
        self.noise = tf.constant(problem["z"]), tf.constant(problem["eps"])
        text = problem["codes"].shape[1] * problem["table"].shape[1]
        self.g, self.d = generator(text), discriminator(text)
        self._load(problem)
        adam = lambda: keras.optimizers.Adam(1e-3, beta_1=0.5)  # noqa: E731
        self.g_adam, self.d_adam = adam(), adam()
        self.g_adam.build(self.g.trainable_variables)
        self.d_adam.build(self.d.trainable_variables)
        compiled = bool(settings.get("xla"))
        self._train = tf.function(self._train_step, jit_compile=compiled)
        self._draw = tf.function(self._sample, jit_compile=compiled)
        self._last: Any = None

    def _load(self, problem: dict[str, np.ndarray]) -> None:
        for prefix, network, names in (("g", self.g, G_NAMES), ("d", self.d, D_NAMES)):
            for ours, theirs in names.items():
                layer, kind = theirs.split(".")
                getattr(network.get_layer(layer), kind).assign(problem[f"{prefix}/{ours}"])
            assert len(names) == len(network.trainable_variables)

    def check_sample(self) -> dict[str, np.ndarray]:
        """Returns the images of the problem's noise."""
        return {"sample": self._sample(*self.noise).numpy()}

    def check_train(self) -> dict[str, np.ndarray]:
        """Losses, gradients' norms, fakes and logits of the first step."""
        d_loss, g_loss, d_grads, g_grads, fake, logits = self._gradients(*self.noise)
        out = {"loss/d": d_loss, "loss/g": g_loss, "fake": fake}
        out |= {"grad_norm/d": tf.linalg.global_norm(d_grads)}
        out |= {"grad_norm/g": tf.linalg.global_norm(g_grads)}
        out |= {f"logits/{n}": x for n, x in zip(("real", "wrong", "fake"), logits, strict=True)}
        return {name: np.asarray(value) for name, value in out.items()}

    def _gradients(self, z, eps):
        text = tf.reshape(tf.gather(self.table, self.codes), (len(self.codes), -1))
        image = tf.cast(self.image, tf.float32) / 127.5 - 1
        fake = self.g([text, z, eps], training=True)[0]
        pairs = ((image, text), (image, tf.roll(text, 1, 0)), (fake, text))
        with tf.GradientTape() as tape:
            logits = [self.d(pair, training=True)[:, 0] for pair in pairs]
            real, wrong, made = map(_cross_entropy, logits, (0.9, 0.0, 0.0))
            d_loss = 0.5 * (real + 0.5 * (wrong + made))
        d_grads = tape.gradient(d_loss, self.d.trainable_variables)
        with tf.GradientTape() as tape:
            drawn, mu, log_sigma = self.g([text, z, eps], training=True)
            kl = tf.reduce_mean(-log_sigma + 0.5 * (-1 + tf.exp(2 * log_sigma) + mu**2))
            judged = self.d([drawn, text], training=True)[:, 0]
            g_loss = _cross_entropy(judged, 1.0) + 2.0 * kl
        g_grads = tape.gradient(g_loss, self.g.trainable_variables)
        return d_loss, g_loss, d_grads, g_grads, fake, logits

    def _train_step(self):
        noise = [tf.random.normal(x.shape) for x in self.noise]
        d_loss, g_loss, d_grads, g_grads, _, _ = self._gradients(*noise)
        self.d_adam.apply_gradients(zip(d_grads, self.d.trainable_variables, strict=True))
        self.g_adam.apply_gradients(zip(g_grads, self.g.trainable_variables, strict=True))
        return d_loss, g_loss

    def _sample(self, z, eps):
        text = tf.reshape(tf.gather(self.table, self.codes), (len(self.codes), -1))
        return self.g([text, z, eps], training=False)[0]

    def step(self) -> None:
        """One training step."""
        self._last = self._train()

    def sample(self) -> None:
        """One batch of images."""
        self._last = self._draw(*(tf.random.normal(x.shape) for x in self.noise))

    def wait(self) -> None:
        """Returns when all is computed."""
        tf.nest.map_structure(lambda x: x.numpy(), self._last)


def _cross_entropy(logits, target: float):
    labels = tf.fill(tf.shape(logits), target)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


def _norm_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/scale": f"{theirs}.gamma", f"{ours}/bias": f"{theirs}.beta"}


G_NAMES = {
    "conditioning/Dense_0/kernel": "condition.kernel",
    "conditioning/Dense_0/bias": "condition.bias",
    "Dense_0/kernel": "project.kernel",
    **{f"Conv_{layer}/kernel": f"conv_{layer}.kernel" for layer in range(5)},
}
D_NAMES = {
    **{f"convs_{layer}/kernel": f"conv_{layer}.kernel" for layer in range(4)},
    "text_compressor/kernel": "compress.kernel",
    "text_compressor/bias": "compress.bias",
    "joint/kernel": "joint.kernel",
    "joint/bias": "joint.bias",
    "logit/kernel": "logit.kernel",
    "logit/bias": "logit.bias",
    **_norm_names("joint_norm", "joint_norm"),
}
for _layer in range(4):
    G_NAMES |= _norm_names(f"BatchNorm_{_layer}", f"norm_{_layer}")
for _layer in range(3):
    D_NAMES |= _norm_names(f"norms_{_layer}", f"norm_{_layer}")
