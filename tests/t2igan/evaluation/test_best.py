"""Which checkpoint is the best: what is measured decides, a loss never by itself."""

import pytest

from configs.common import get_config
from input_pipeline.errors import UserError
from t2igan.evaluation.best import best_by
from t2igan.metrics.engine import registry, shipped


@pytest.mark.parametrize(
    ("metrics", "given", "expected"),
    [
        ("", "", ("", "min")),
        ("frechet,kid", "", ("validation/frechet_lite0", "min")),
        ("prdc", "", ("validation/coverage_lite0", "max")),
        ("swd", "", ("validation/swd", "min")),  # as reported, for sliced_wasserstein
        ("frechet", "validation/loss/g", ("validation/loss/g", "min")),
        ("prdc", "validation/recall_lite0", ("validation/recall_lite0", "min")),
        ("", "loss/d", ("loss/d", "min")),
    ],
)
def test_what_ranks_checkpoints(metrics, given, expected):
    config = get_config()
    config.evaluate.metrics = metrics
    config.checkpoint.best_metric = given
    assert best_by(config) == expected


@pytest.mark.parametrize(
    ("metrics", "given", "told"),
    [
        ("frechet", "validation/kid_lite0", "gives validation/frechet_lite0"),
        ("frechet", "validation/frechet_lit0", "did you mean validation/frechet_lite0"),
        ("", "validation/frechet_lite0", "evaluate.metrics is empty"),
        ("fretchet", "", "did you mean frechet"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, given, told):
    config = get_config()
    config.evaluate.metrics = metrics
    config.checkpoint.best_metric = given
    with pytest.raises(UserError, match=told):
        best_by(config)


@pytest.mark.parametrize("name", shipped.names())
def test_every_metric_has_a_headline(name):
    headline = registry.headline(name, "lite0")
    assert headline is not None
    assert headline[1] in ("min", "max")
