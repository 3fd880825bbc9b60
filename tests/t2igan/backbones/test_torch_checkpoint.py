"""PyTorch files are read as arrays; nothing in them runs; damage is one line."""

import contextlib
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from t2igan.backbones import torch_checkpoint
from t2igan.backbones.tensor_pickle import Refused, interpret

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


@pytest.mark.parametrize("write", [legacy, zipped])
def test_both_formats_give_the_arrays_windows_and_all(tmp_path, write):
    state = {
        "a": tensor((3, 4), (4, 1)),
        "transposed": tensor((4, 3), (1, 4)),
        "part": tensor((2,), (1,), offset=10),
        "one": tensor((), (), key="1", count=1, kind="LongStorage"),
    }
    path = write(tmp_path / "net.pth", state, {"0": FLOATS, "1": np.array([7])})
    arrays = torch_checkpoint.read(path)
    np.testing.assert_array_equal(arrays["a"], FLOATS.reshape(3, 4))
    np.testing.assert_array_equal(arrays["transposed"], FLOATS.reshape(3, 4).T)
    np.testing.assert_array_equal(arrays["part"], FLOATS[10:])
    assert arrays["one"] == 7
    assert list(arrays) == list(state)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"a": tensor((3, 5), (4, 1))}, "outside its storage"),
        ({"a": tensor((2**40,), (0,))}, "outside its storage"),
        ({"a": tensor((3,), (-1,), offset=2)}, "impossible shape"),
        ({"a": tensor((1,), (1,), count=2**40)}, "impossible length"),
        ({"a": tensor((12,), (1,), kind="ComplexStorage")}, "asks for"),
        ({"a": ("call", "global:os system", ("echo ran > {marker}",))}, "asks for 'os system'"),
        ({"a": ("call", "global:builtins eval", ("1",))}, "asks for"),
        ({"a": 3}, "not a tensor"),
        ([tensor((12,), (1,))], "not a dictionary"),
        ({}, "not a dictionary"),
    ],
)
@pytest.mark.parametrize("write", [legacy, zipped])
def test_what_a_state_dict_does_not_need_is_refused_by_name(tmp_path, write, state, reason):
    path = write(tmp_path / "net.pth", state, {"0": FLOATS})
    with pytest.raises(UserError, match=reason) as error:
        torch_checkpoint.read(path)
    assert "\n" not in str(error.value)


def test_a_storage_cut_short_or_of_another_length_is_refused(tmp_path):
    state = {"a": tensor((12,), (1,))}
    for write in (legacy, zipped):
        with pytest.raises(UserError, match="not a dictionary of tensors"):
            torch_checkpoint.read(write(tmp_path / "net.pth", state, {"0": FLOATS[:5]}))
    path = legacy(tmp_path / "net.pth", state, {"0": FLOATS})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="cut short"):
        torch_checkpoint.read(path)
    with pytest.raises(UserError, match="no such file"):
        torch_checkpoint.read(tmp_path / "none.pth")


def test_a_real_torch_file_reads_like_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    for zipped_format in (True, False):
        path = tmp_path / f"{zipped_format}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=zipped_format)
        arrays = torch_checkpoint.read(path)
        assert list(arrays) == list(state)
        for name, value in state.items():
            np.testing.assert_array_equal(arrays[name], value.numpy())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damage_never_escapes_as_another_error(tmp_path, data):
    write = data.draw(st.sampled_from([legacy, zipped]))
    path = write(tmp_path / "net.pth", {"a": tensor((3, 4), (4, 1))}, {"0": FLOATS})
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(UserError):
        arrays = torch_checkpoint.read(path)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(data):
    with contextlib.suppress(Refused, ValueError, TypeError, IndexError, KeyError, MemoryError):
        interpret(io.BytesIO(b"\x80\x02" + data + b"."))


def test_deep_nesting_is_refused_not_recursed():
    deep = b"\x80\x02)" + b"\x85" * 300_000 + b"N"
    with pytest.raises(Refused, match="keys"):
        interpret(io.BytesIO(b"\x80\x02}" + deep[2:] + b"s."))
