"""PyTorch files are hashed first, then read as arrays; nothing in them runs."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.files import sha256
from t2igan.backbones import torch_checkpoint

FLOATS = np.arange(12, dtype=np.float32)


class _Global:
    """Pickles as a bare name, which the reader may know or not."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name


class _Pickler(pickle._Pickler):
    """Writes what torch.save writes: names without importing them, storages as persistent ids."""

    def persistent_id(self, item):
        return item[1:] if isinstance(item, tuple) and item[:1] == ("persistent",) else None

    def save(self, item, save_persistent_id=True):
        if isinstance(item, str) and item.startswith("global:"):
            self.write(b"c" + item[7:].replace(" ", "\n").encode() + b"\n")
        elif isinstance(item, tuple) and item[:1] == ("call",):
            self.save(item[1])
            self.save(item[2])
            self.write(b"R")
        else:
            super().save(item, save_persistent_id)


def dump(value, protocol=2):
    file = io.BytesIO()
    _Pickler(file, protocol).dump(value)
    return file.getvalue()


def tensor(shape, strides, *, offset=0, key="0", count=12, kind="FloatStorage"):
    storage = ("persistent", "storage", f"global:torch {kind}", key, "cpu", count)
    hooks = ("call", "global:collections OrderedDict", ())
    arguments = (storage, offset, shape, strides, False, hooks)
    return ("call", "global:torch._utils _rebuild_tensor_v2", arguments)


def legacy(path, state, storages, keys=None):
    system = {"protocol_version": 1001, "little_endian": True}
    parts = [torch_checkpoint.LEGACY_MAGIC, 1001, system, state, keys or sorted(storages)]
    data = b"".join(dump(part) for part in parts)
    for key in sorted(storages):
        data += struct.pack("<q", len(storages[key])) + storages[key].tobytes()
    path.write_bytes(data)
    return path


def zipped(path, state, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", dump(state))
        archive.writestr("net/byteorder", "little")
        for key, numbers in storages.items():
            archive.writestr(f"net/data/{key}", numbers.tobytes())
    return path


def read(path):
    return torch_checkpoint.read(path, sha256(path))


@pytest.mark.parametrize("write", [legacy, zipped])
def test_both_formats_give_the_arrays_windows_and_all(tmp_path, write):
    state = {
        "a": tensor((3, 4), (4, 1)),
        "transposed": tensor((4, 3), (1, 4)),
        "part": tensor((2,), (1,), offset=10),
        "one": tensor((), (), key="1", count=1, kind="LongStorage"),
    }
    arrays = read(write(tmp_path / "net.pth", state, {"0": FLOATS, "1": np.array([7])}))
    np.testing.assert_array_equal(arrays["a"], FLOATS.reshape(3, 4))
    np.testing.assert_array_equal(arrays["transposed"], FLOATS.reshape(3, 4).T)
    np.testing.assert_array_equal(arrays["part"], FLOATS[10:])
    assert arrays["one"] == 7
    assert list(arrays) == list(state)


@pytest.mark.parametrize("write", [legacy, zipped])
def test_another_hash_is_refused_before_anything_is_parsed(tmp_path, write, monkeypatch):
    path = write(tmp_path / "net.pth", {"a": tensor((12,), (1,))}, {"0": FLOATS})
    monkeypatch.setattr(torch_checkpoint, "_Unpickler", None)  # parsing would fail otherwise
    with pytest.raises(UserError, match=r"SHA-256 \w{8}\.\.\. is not 00000000"):
        torch_checkpoint.read(path, "0" * 64)
    with pytest.raises(UserError, match="no such file"):
        torch_checkpoint.read(tmp_path / "none.pth", "0" * 64)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"a": tensor((3, 5), (4, 1))}, "not a dictionary of tensors"),
        ({"a": tensor((2**40,), (0,), count=2**40)}, "not a dictionary of tensors"),
        ({"a": tensor((12,), (1,), kind="ComplexStorage")}, "asks for torch.ComplexStorage"),
        ({"a": ("call", "global:os system", ("touch ran",))}, "asks for os.system"),
        ({"a": ("call", "global:builtins eval", ("1",))}, "asks for builtins.eval"),
        ({"a": 3}, "not a dictionary of tensors"),
        ([tensor((12,), (1,))], "not a dictionary of tensors"),
    ],
)
@pytest.mark.parametrize("write", [legacy, zipped])
def test_what_a_state_dict_does_not_need_is_refused(tmp_path, write, state, reason, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=reason) as error:
        read(write(tmp_path / "net.pth", state, {"0": FLOATS}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_storage_cut_short_is_refused(tmp_path):
    state = {"a": tensor((12,), (1,))}
    path = zipped(tmp_path / "net.pth", state, {"0": FLOATS[:5]})
    with pytest.raises(UserError, match="not a dictionary of tensors"):
        read(path)
    path = legacy(tmp_path / "old.pth", state, {"0": FLOATS})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="not a dictionary of tensors"):
        read(path)


def test_a_real_torch_file_reads_like_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    for old in (False, True):
        path = tmp_path / f"net{old}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=not old)
        arrays = read(path)
        assert arrays.keys() == state.keys()
        for name, value in state.items():
            np.testing.assert_array_equal(arrays[name], value.numpy())
