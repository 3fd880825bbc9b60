"""`t2igan train_matcher`: learns which caption belongs to which image, to judge models by."""

from __future__ import annotations

import argparse
import time

from input_pipeline.errors import UserError

HELP = "Train a matcher of images and captions, for R-precision, recall and reranking."
EXAMPLE = """
    t2igan train_matcher --dataset=data/flickr8k --sentence_encoder=minilm --flip \\
        --out=data/flickr8k_matcher.npz
    t2igan evaluate --workdir=RUN --matcher=data/flickr8k_matcher.npz --metrics=r_precision
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan train_matcher`."""
    parser.add_argument("--dataset", required=True, help="folder that `t2igan prepare` wrote")
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="file to write")
    parser.add_argument("--split", default="train", help="to learn from (default train)")
    parser.add_argument(
        "--test_split", default="", help="to tell recall on (default: validation, or test)"
    )
    parser.add_argument(
        "--sentence_encoder",
        choices=("minilm",),
        help="read captions by it (default: by the data set's word vectors)",
    )
    parser.add_argument("--steps", type=int, default=1000, help="of Adam (default 1000)")
    parser.add_argument("--batch_size", type=int, default=512, help="images a step (default 512)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    parser.add_argument(
        "--flip", action="store_true", help="learn from mirrored images too; wrong for left/right"
    )


def main(args: argparse.Namespace) -> None:
    """Trains, measures and writes.

    Raises:
      UserError: a flag out of its range, no such data set or split, lite0 or the sentence encoder
        not installed.
    """
    for flag, least in (("steps", 10), ("batch_size", 2), ("seed", 0)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag}={getattr(args, flag)}: must be {least} or more")
    if not args.out.endswith(".npz"):
        raise UserError(f"--out={args.out}: the file's name must end in .npz")
    from input_pipeline.dataset.open import open_dataset
    from input_pipeline.text.sentence_encoders import open_encoder
    from t2igan.runtime.preemption import import_whole

    import_whole("t2igan.metrics.matcher.training")
    from t2igan.metrics.engine.provenance import computed_with
    from t2igan.metrics.features import network as feature_network
    from t2igan.metrics.matcher import model as matcher
    from t2igan.metrics.matcher import training
    from t2igan.metrics.statistics.retrieval import GALLERY

    start = time.monotonic()
    dataset = open_dataset(args.dataset)
    test = _test_split(args, dataset.splits)
    network = feature_network.load("lite0")
    settings = training.Settings(
        steps=args.steps, batch_size=args.batch_size, seed=args.seed, flip=args.flip
    )
    encoder = open_encoder(args.sentence_encoder) if args.sentence_encoder else None

    def read(split: str, flip: bool) -> training.Pairs:
        return training.read_pairs(dataset, split, network, flip=flip, encoder=encoder)

    pairs = read(args.split, args.flip)
    held_out = read(test, False) if test else None
    params = training.train(dataset, pairs, settings)
    trained = {
        "dataset": dataset.hash,
        "split": args.split,
        "pictures": len(pairs.texts),
        "captions": sum(map(len, pairs.texts)),
        **{name: getattr(args, name) for name in ("steps", "batch_size", "seed", "flip")},
        "features": network.provenance,
        **computed_with(),
    }
    about = dataset.vocabulary, dataset.caption_length, trained, encoder and encoder.identity

    def matcher_now() -> matcher.Matcher:
        return matcher.Matcher(params, matcher.describe(params, *about), encoder=encoder)

    if held_out is not None:
        told = training.held_out_recall(matcher_now(), held_out)
        gallery = min(GALLERY, len(held_out.texts))
        trained["recall"] = {"split": test, "gallery": gallery} | {
            str(k): value for k, value in told.items()
        }
        numbers = ", ".join(f"@{k} {value:.1%}" for k, value in told.items())
        print(f"recall of {test}'s captions among {gallery} images: {numbers}")
    matcher_now().save(args.out)
    print(f"{args.out}: {time.monotonic() - start:.0f} s")


def _test_split(args: argparse.Namespace, splits: dict[str, int]) -> str:
    if args.test_split:
        return args.test_split
    return next((s for s in ("validation", "test") if s in splits and s != args.split), "")
