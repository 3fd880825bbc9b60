"""The subcommand: a run, a folder of images, a training that is followed; mistakes in one line."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from t2igan.cli import main as cli
from t2igan.evaluation import evaluate as evaluation
from t2igan.metrics.features import network as feature_network
from t2igan.sampling import run as sampling

from ..metrics.conftest import LENGTH, SIZE, VOCABULARY, dataset, network, picture  # noqa: F401
from ..metrics.test_metrics import good


class Run:
    """A run whose images show what the caption names, as far as its step allows."""

    def __init__(self, workdir, step):
        self.workdir, self.step = Path(workdir), step
        data = SimpleNamespace(dir="DATA", test_split="test", validation_split="validation")
        self.config = SimpleNamespace(recipe="stub", data=data)
        self.vocabulary, self.caption_length, self.image_size = VOCABULARY, LENGTH, SIZE
        self.meta = SimpleNamespace(
            dataset_hash="f", sentence_encoder=None, check_sentences=lambda *_: None
        )

    def generate(self, text, indices, seed, *, truncation, batch_size):
        return good(text, indices) // np.uint8(1 + 20 // self.step)


@pytest.fixture
def run(dataset, network, monkeypatch, tmp_path):  # noqa: F811
    """A run folder with checkpoints of steps 1 and 2 and a config of 2 steps."""
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: network)
    monkeypatch.setattr(evaluation, "open_dataset", lambda path: dataset)
    monkeypatch.setattr(
        sampling, "load", lambda workdir, step: Run(workdir, 2 if step == "latest" else step)
    )
    workdir = tmp_path / "run"
    for step in (1, 2):
        (workdir / "checkpoints" / f"step_{step:08d}").mkdir(parents=True)
    return workdir


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_several_runs_are_measured_as_each_by_itself(run, dataset, capsys):  # noqa: F811
    other = run.parent / "other"
    shutil.copytree(run, other)
    flags = ["--metrics=frechet", "--resamples=5", "--num=40", "--step=1"]
    assert cli.main(["evaluate", *flags, "--workdir", str(run)]) == 0
    alone = lines_of(run / "evaluation.jsonl")[0]
    read = dataset.reads
    assert cli.main(["evaluate", *flags, "--workdir", str(run), str(other)]) == 0
    again, second = lines_of(run / "evaluation.jsonl")[1], lines_of(other / "evaluation.jsonl")[0]
    assert alone["estimate"] == again["estimate"] == second["estimate"]
    assert alone["references"] == second["references"]
    assert second["workdir"] == str(other)
    assert dataset.reads - read <= read  # the second run read no real image
    assert cli.main(["evaluate", "--watch", "--workdir", str(run), str(other)]) == 2
    assert "--watch follows one training, not 2" in capsys.readouterr().err


def test_a_run_is_measured_told_and_written(run, capsys):
    flags = ["--metrics=frechet,kid", "--resamples=5", "--num=40", "--truncation=0.5"]
    assert cli.main(["evaluate", f"--workdir={run}", *flags]) == 0
    out = capsys.readouterr().out
    assert "frechet_lite0" in out
    assert "95 % interval" in out
    first, second = lines_of(run / "evaluation.jsonl")
    assert (first["metric"], second["metric"]) == ("frechet_lite0", "kid_lite0")
    assert first["test/frechet_lite0"] == first["estimate"]["value"]
    assert (first["step"], first["split"], first["best"]) == (2, "test", True)
    assert first["provenance"]["truncation"] == 0.5
    assert first["provenance"]["pictures"]["fake"] == 40
    assert set(first["references"]) == {"real", "blurred"}


def test_watching_measures_every_checkpoint_once_and_marks_the_best(run, monkeypatch, capsys):
    from t2igan.evaluation import run_generator as evaluation_model

    monkeypatch.setattr(evaluation_model, "last_step", lambda workdir: 2)
    command = ["evaluate", f"--workdir={run}", "--metrics=frechet", "--resamples=0", "--watch"]
    assert cli.main(command) == 0
    lines = lines_of(run / "evaluation.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["test/frechet_lite0"] > lines[1]["test/frechet_lite0"]
    assert [line["best"] for line in lines] == [True, True]
    assert capsys.readouterr().out.count(" *") == 2
    assert cli.main(command) == 0
    assert len(lines_of(run / "evaluation.jsonl")) == 2


def test_a_checkpoint_that_has_gone_is_passed_over(run, monkeypatch, capsys):
    from input_pipeline.errors import UserError
    from t2igan.evaluation import run_generator as evaluation_model

    def load(workdir, step):
        if step == 1:
            raise UserError("it has gone")
        return Run(workdir, step)

    monkeypatch.setattr(sampling, "load", load)
    monkeypatch.setattr(evaluation_model, "last_step", lambda workdir: 2)
    command = ["evaluate", f"--workdir={run}", "--metrics=frechet", "--resamples=0", "--watch"]
    assert cli.main(command) == 0
    assert "step 1 is passed over" in capsys.readouterr().err
    assert [line["step"] for line in lines_of(run / "evaluation.jsonl")] == [2]


@pytest.fixture
def pictures(tmp_path, dataset):  # noqa: F811
    """A folder of images for captions of the test split, and its table."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    with (folder / "manifest.jsonl").open("w") as table:
        for i in range(12):
            caption = f"a {('red', 'blue', 'green')[i % 3]} thing"
            Image.fromarray(picture(50, i)).save(folder / f"{i}.png")
            table.write(json.dumps({"file": f"{i}.png", "caption": caption}) + "\n")
    return folder


def test_a_folder_of_other_peoples_images(run, pictures, tmp_path, capsys):
    out = tmp_path / "numbers.jsonl"
    table = f"--captions={pictures / 'manifest.jsonl'}"
    against = ["--dataset=DATA", "--split=test", "--resamples=0", f"--out={out}"]
    flags = [f"--images={pictures}", table, "--metrics=frechet,text_gap", *against]
    assert cli.main(["evaluate", *flags]) == 0
    frechet, gap = lines_of(out)
    assert frechet["provenance"]["pictures"]["fake"] == 12
    assert frechet["provenance"]["captions"].endswith("manifest.jsonl")
    assert gap["test/feature_gap_lite0"] > 0.5
    assert "images" in capsys.readouterr().out


def test_a_folder_alone_has_an_inception_score(run, pictures, capsys):
    assert cli.main(["evaluate", f"--images={pictures}", "--metrics=inception_score"]) == 0
    assert "inception_score_lite0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "give either --workdir=RUN or --images=DIR"),
        (["--workdir=RUN", "--images=DIR"], "give either"),
        (
            ["--workdir=RUN", "--metrics=fid"],
            "no metric is called 'fid'",
        ),
        (["--workdir=RUN", "--metrics=,"], "--metrics is empty"),
        (["--workdir=RUN", "--num=-1"], "--num=-1: must be 0 or more"),
        (["--workdir=RUN", "--step=soon"], "--step=soon: must be a number"),
        (["--workdir=RUN", "--features=vgg"], "no feature network is called 'vgg'"),
        (["--workdir=RUN", "--matcher=none.npz"], "--matcher=none.npz: no such file"),
        (["--images=none", "--metrics=frechet"], "--images=none: there is no such folder"),
        (["--images=DIR", "--watch"], "--watch follows a training"),
    ],
)
def test_mistakes_are_one_line(run, capsys, flags, told):
    assert cli.main(["evaluate", *flags]) == 2
    message = capsys.readouterr().err.strip()
    assert told in message
    assert "\n" not in message


def test_mistakes_in_a_folder_are_one_line(run, pictures, capsys):
    base = ["evaluate", f"--images={pictures}", "--dataset=DATA", "--metrics=frechet"]
    assert cli.main([*base, "--num=2"]) == 2
    assert "2 images are too few to measure" in capsys.readouterr().err
    (pictures / "away.csv").write_text("file,caption\n../../secret.png,a red thing\n")
    assert cli.main([*base, f"--captions={pictures / 'away.csv'}"]) == 2
    assert "leads out of" in capsys.readouterr().err
    assert cli.main([*base, "--num=99"]) == 2
    assert "12 images" in capsys.readouterr().err


def test_broken_images_are_left_out_and_hidden_ones_passed_over(run, pictures, capsys):
    base = ["evaluate", f"--images={pictures}", "--dataset=DATA", "--metrics=swd,frechet_lite0"]
    (pictures / "3.png").write_bytes(b"not an image")
    (pictures / "._4.png").write_bytes(b"of a Mac")
    (pictures / "sub").mkdir()
    (pictures / "5.png").rename(pictures / "sub/5.png")
    assert cli.main(base) == 0
    shown = capsys.readouterr()
    assert "1 images left out: 1 undecodable, e.g. 3.png" in shown.err
    assert "images are too few for most metrics" in shown.err
    assert "swd" in shown.out
    for path in pictures.glob("**/*.png"):
        path.write_bytes(b"broken")
    assert cli.main(base) == 2
    assert "none is left" in capsys.readouterr().err


def test_the_images_are_those_that_the_manifest_names(run, pictures):
    from t2igan.metrics.engine.image_folder import of_folder

    names = [f"{index}.png" for index in range(5)]
    lines = [json.dumps({"file": name, "caption": "a red thing"}) for name in names]
    (pictures / "manifest.jsonl").write_text("\n".join([*lines, '{"file": "cut']))
    found = of_folder(pictures, None, None, "test")
    assert found.count == 5
    assert found.about["captions"] == "manifest"


def test_words_that_the_run_never_learned_become_unknown():
    from input_pipeline.text.vocabulary import SPECIAL_WORDS, UNK, Vocabulary
    from t2igan.evaluation.run_generator import fitted, recoding

    mine = Vocabulary((*SPECIAL_WORDS, "thing", "red"))
    table = recoding(VOCABULARY, mine)
    codes = table[VOCABULARY.encode("a red thing", LENGTH)]
    assert codes.tolist() == [1, UNK, 5, 4, 2, 0]
    assert fitted(codes[None], 8).shape == (1, 8)
    assert fitted(codes[None], 4).tolist() == [[1, UNK, 5, 4]]
