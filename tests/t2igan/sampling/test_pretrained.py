"""Pretrained generators: small, read without pickle, and their images follow their captions."""

import numpy as np
import pytest
from PIL import Image

import t2igan
from input_pipeline.errors import UserError
from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.captions import attributes_of
from t2igan.cli.main import main
from t2igan.sampling import pretrained

VARIABLES = {
    "params": {"layer": {"kernel": np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)}},
    "frozen": {"words": {"table": np.ones((2, 3), np.float32)}},
    "count": np.array(7, np.int32),
}


def test_what_is_written_is_read_to_16_bits(tmp_path):
    path = tmp_path / "x.npz"
    meta = t2igan.load_pretrained("shapes").meta
    pretrained.write(path, VARIABLES, meta)
    variables, read = pretrained.read(path)
    assert read == meta
    assert variables["count"] == 7
    assert variables["count"].dtype == np.int32
    kernel = variables["params"]["layer"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, VARIABLES["params"]["layer"]["kernel"], rtol=2.0**-11)
    np.testing.assert_array_equal(variables["frozen"]["words"]["table"], np.ones((2, 3)))


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "x.npz"
    pretrained.write(path, VARIABLES, t2igan.load_pretrained("shapes").meta)
    whole = path.read_bytes()
    for bad in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(bad)
        with pytest.raises(UserError, match="damaged"):
            pretrained.read(path)
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))  # a pickle inside
    with pytest.raises(UserError, match="damaged"):
        pretrained.read(path)


@pytest.fixture(scope="module")
def shapes():
    return t2igan.load_pretrained("shapes")


def test_shapes_draws_what_the_caption_says(shapes):
    """50 sentences by hand's rules, read back by the oracle: at least 9 of 10 all right."""
    places = ("on the left", "on the right", "at the top", "at the bottom", "in the centre")
    captions = [
        f"a {size} {color} {shape} {place} on a {background} background"
        for size, color, shape, place, background in zip(
            ("small", "large") * 25,
            ("red", "green", "blue", "yellow", "purple") * 10,
            ("star", "triangle", "square") * 17,
            places * 10,
            ("white", "black", "gray") * 17,
            strict=False,
        )
    ]
    asked = np.array([attributes_of(caption) for caption in captions], dtype=float)
    shown = oracle.read(shapes.sample(captions, num=1, seed=0)[:, 0])
    assert len(captions) == 50
    assert not np.isnan(asked).any()
    assert (shown == asked).all(axis=1).mean() >= 0.9


def test_the_file_is_small():
    assert pretrained.path_of("shapes").stat().st_size < 3 << 20


def test_the_subcommand_draws_it(tmp_path, capsys):
    out = tmp_path / "star.png"
    flags = ["--pretrained=shapes", "--caption=a small red star on the left", f"--out={out}"]
    assert main(["sample", *flags]) == 0
    assert "8 images" in capsys.readouterr().out
    with Image.open(out) as image:
        image.load()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--pretrained=shape"], "did you mean shapes"),
        (["--pretrained=birds"], "there are: shapes"),
        ([], "either --workdir=RUN or --pretrained"),
        (["--pretrained=shapes", "--workdir=x"], "either --workdir=RUN or --pretrained"),
        (["--pretrained=shapes", "--step=3"], "leave out --pretrained"),
    ],
)
def test_mistakes_are_one_line(flags, says, capsys):
    assert main(["sample", "--caption=a star", *flags]) == 2
    assert says in capsys.readouterr().err
