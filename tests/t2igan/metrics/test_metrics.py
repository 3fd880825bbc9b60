"""Every metric on a small data set: what a good, a blind and a copying model score."""

import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.metrics.engine import build as contexts
from t2igan.metrics.engine import image_sets, registry
from t2igan.metrics.engine.result import Result
from t2igan.metrics.features import network as feature_network

from .conftest import SIZE, picture


def good(text, indices):
    """Draws the color that the caption names."""
    names = [next(i for i in range(3) if 5 + i in row) for row in text["codes"].tolist()]
    return np.stack([picture(99, 3 * int(j) + i) for i, j in zip(names, indices, strict=True)])


def blind(text, indices):
    """generates what the noise says."""
    which = [int(np.random.default_rng([5, int(j)]).integers(1000)) for j in indices]
    return np.stack([picture(98, index) for index in which])


@pytest.fixture
def evaluate(dataset, network, monkeypatch):
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: network)

    def run(metrics, model=good, **more):
        context = contexts.make_context(
            metrics, generate=model, dataset=dataset, resamples=20, **more
        )
        return {result.metric: result for result in registry.measure_all(context, metrics)}

    return run


def test_metrics_are_found_by_the_name_of_their_file():
    names = registry.names()
    assert {"frechet", "kid", "prdc", "fid30k_coco64", "shapes_accuracy"} <= set(names)
    assert not {"context", "lite0", "provenance"} & set(names)
    with pytest.raises(UserError, match=r"no metric is called 'fid'.*choose of .*frechet"):
        registry.find("fid")
    for name in names:
        module = registry.find(name)
        assert module.READERS
        assert module.__doc__


def test_distances_stand_beside_their_anchors(evaluate):
    found = evaluate(["frechet", "kid", "prdc"])
    assert list(found) == [
        "frechet_lite0",
        "kid_lite0",
        *(f"{name}_lite0" for name in ("precision", "recall", "density", "coverage")),
    ]
    for result in found.values():
        assert isinstance(result, Result)
        assert set(result.references) == {"real", "blurred"}
        assert result.estimate.low <= result.estimate.value <= result.estimate.high
    frechet = found["frechet_lite0"]
    assert frechet.estimate.value < 3 * frechet.references["real"].value
    assert frechet.references["blurred"].value > frechet.references["real"].value


def test_a_result_says_what_it_was_computed_with(evaluate):
    about = evaluate(["frechet"], num=30, seed=4, about={"truncation": 0.7})["frechet_lite0"]
    known = about.provenance
    assert known["pictures"] == {"fake": 30, "real": 50, "other": 30}
    assert known["real_split"] == "test"
    assert known["other_split"] == "train"
    assert known["captions"] == "one of each image, drawn with seed 4"
    assert (known["seed"], known["truncation"]) == (4, 0.7)
    for field in ("weights_sha256", "resize", "code", "dataset", "resamples", "backend"):
        assert known[field]
    line = about.as_json()
    assert line["estimate"]["interval"][0] <= line["estimate"]["value"]


def test_one_generation_serves_all_metrics(evaluate):
    drawn = []

    def counting(text, indices):
        drawn.extend(indices.tolist())
        return good(text, indices)

    evaluate(["frechet", "kid", "prdc", "inception_score"], counting)
    assert drawn == list(range(50))


def test_more_images_than_captions_go_round_again(evaluate, dataset):
    again = image_sets.of_split(dataset, "validation", "x", num=47, seed=1)
    counts = np.bincount(again.partners, minlength=20)
    assert counts.min() == 2
    assert counts.max() == 3
    assert np.concatenate(list(again.batches())).shape == (47, SIZE, SIZE, 3)
    assert evaluate(["frechet"], num=120)["frechet_lite0"].provenance["pictures"]["fake"] == 120


def test_a_blind_model_shows_no_gap_and_no_text_variance(evaluate):
    for model, low, high in ((good, 0.8, 2.0), (blind, -0.3, 0.3)):
        gap = evaluate(["text_gap"], model)["feature_gap_lite0"].estimate
        assert low < gap.value < high, model
    seeing, unseeing = (evaluate(["variance"], model) for model in (good, blind))
    assert seeing["text_variance_lite0"].estimate.value > 0.9
    assert unseeing["text_variance_lite0"].estimate.value < 0.05
    for name in ("lite0", "pixels"):
        shares = [seeing[f"{part}_variance_{name}"].estimate.value for part in ("text", "noise")]
        assert sum(shares) == pytest.approx(1.0)


def test_diversity_is_the_noises_share_beside_what_captions_leave_open(evaluate, dataset):
    dataset.splits["test"] = 400
    found = evaluate(["variance"], good)
    for name in ("lite0", "pixels"):
        share, open_share = (
            found[f"noise_variance_{name}"].estimate.value,
            found[f"noise_variance_{name}"].references["real"].value,
        )
        assert found[f"diversity_{name}"].estimate.value == pytest.approx(share / open_share)
    # The good model draws as the data set does: of the caption's color, with new noise.
    assert found["diversity_lite0"].estimate.value == pytest.approx(1.0, abs=0.25)
    assert found["diversity_pixels"].estimate.value == pytest.approx(1.0, abs=0.25)


def test_copies_of_training_images_are_seen_and_shown(evaluate, dataset, tmp_path):
    def copying(text, indices):
        return dataset.source("train").__getitems__(indices % 70)["image"]

    honest = evaluate(["memorization"], good)["copying_lite0"]
    copied = evaluate(["memorization"], copying, folder=tmp_path, about={"step": 7})
    assert copied["copying_lite0"].estimate.value == 1.0
    assert 0.3 < honest.estimate.value < 0.7
    assert honest.references["real"].value == 0.5
    assert (tmp_path / "memorization_00000007.png").is_file()
    with pytest.raises(UserError, match="unseen in training"):
        evaluate(["memorization"], split="train")


def test_inception_score(evaluate):
    found = evaluate(["inception_score"])["inception_score_lite0"]
    assert set(found.references) == {"real", "blurred"}
    assert 1.0 <= found.estimate.value <= 12.0
    assert found.estimate.details["spread"] >= 0


class Names:
    """A matcher by the color's channel: perfect on these images."""

    def __init__(self):
        self.provenance = {"matcher": {"weights_sha256": "by hand"}}

    def embed_images(self, features):
        return np.eye(3)[features[:, :3].argmax(1)][:, [0, 2, 1]]

    def embed_texts(self, codes):
        names = [next(i for i in range(3) if 5 + i in row) for row in codes.tolist()]
        return np.eye(3)[names]


def test_captions_are_found_by_a_matcher(evaluate):
    metrics = ["r_precision", "caption_recall", "text_gap"]
    found = evaluate(metrics, good, matcher=Names())
    lost = evaluate(metrics, blind, matcher=Names())
    # A third of the others have the same color: ties are shared.
    assert found["r_precision"].estimate.value == pytest.approx(1 / 17, abs=0.01)
    assert found["r_precision"].references["real"].value == pytest.approx(1 / 17, abs=0.01)
    assert found["caption_recall_at_10"].estimate.value == pytest.approx(10 / 17, abs=0.05)
    assert lost["caption_recall_at_10"].estimate.value < 0.4
    assert found["caption_recall_at_10"].references["chance"].value == pytest.approx(0.2)
    assert found["text_gap"].estimate.value > lost["text_gap"].estimate.value
    with pytest.raises(UserError, match="train_matcher"):
        evaluate(["r_precision"])


def test_protocols_refuse_what_is_not_theirs(evaluate, dataset, monkeypatch):
    with pytest.raises(UserError, match="give --num=30000"):
        evaluate(["fid30k"])
    coco = registry.find("fid30k_coco64")
    monkeypatch.setattr("t2igan.metrics.engine.frechet.FAKES_30K", 50)
    assert "fid30k" in evaluate(["fid30k"])
    (dataset.path / "report.json").write_text('{"image_size": 16, "resize": "squash"}')
    with pytest.raises(UserError, match="Lanczos; this split has 50 of 16 pixels"):
        evaluate(["fid30k_coco64"])
    monkeypatch.setattr(coco, "REALS", 50)
    told = '{"image_size": 64, "resize": "center_crop", "resampling": "lanczos"}'
    (dataset.path / "report.json").write_text(told)
    assert "fid30k_coco64" in evaluate(["fid30k_coco64"])


def test_what_is_missing_is_named(dataset, network, monkeypatch):
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: network)
    with pytest.raises(UserError, match="give --workdir=RUN or --images=DIR"):
        registry.measure_all(contexts.make_context(["frechet"], dataset=dataset), ["frechet"])
    with pytest.raises(UserError, match="no feature network is called 'vgg'"):
        contexts.make_context(["frechet"], dataset=dataset, network="vgg")


def test_another_checkpoint_keeps_what_is_known_of_real_images(dataset, network, monkeypatch):
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: network)
    context = contexts.make_context(["frechet"], generate=good, dataset=dataset, resamples=0)
    first = registry.measure_all(context, ["frechet"])[0]
    fake = image_sets.generated(context.image_set("fake"), blind, {})
    real = context.rows("real", "lite0")
    context.renew(fake, blind, {"step": 2})
    second = registry.measure_all(context, ["frechet"])[0]
    assert second.provenance["step"] == 2
    assert second.estimate.value != first.estimate.value
    assert second.references == first.references
    np.testing.assert_array_equal(context.rows("real", "lite0"), real)


def test_patches_tell_blurred_images_from_sharp_ones(evaluate):
    found = evaluate(["sliced_wasserstein"])
    assert set(found) == {"swd", "swd_16"}  # images of 16 pixels have one scale
    result = found["swd_16"]
    assert result.better == "lower"
    assert result.provenance["compared"] == 50
    assert result.estimate.value < 2 * result.references["real"].value
    assert result.references["blurred"].value > result.references["real"].value
