"""Conditioning augmentation against numpy."""

import jax
import numpy as np

from t2igan.models.conditioning_augmentation import ConditioningAugmentation


def test_c_is_mu_plus_sigma_eps_of_each_example():
    rng = np.random.default_rng(0)
    text, eps = rng.normal(size=(3, 5)).astype("f"), rng.normal(size=(3, 4)).astype("f")
    (c, mu, log_sigma), variables = ConditioningAugmentation(4).init_with_output(
        jax.random.key(0), text, eps
    )
    layer = variables["params"]["Dense_0"]
    hidden = text @ np.array(layer["kernel"]) + np.array(layer["bias"])
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    np.testing.assert_allclose(mu, hidden[:, :4], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log_sigma, hidden[:, 4:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(c, hidden[:, :4] + np.exp(hidden[:, 4:]) * eps, rtol=1e-4, atol=1e-6)
