"""edgec.Session: arguments, types, shapes, results."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.session import parse_bytes
from tests.api.networks import heavy, scaled, two_by_two


def session_of(network, **options):
    return edgec.Session(network.data, **options)


def test_one_output_is_an_array_several_are_a_tuple_with_names(rng):
    network = scaled()
    x = rng.standard_normal((2, 4)).astype(np.float32)
    y = session_of(network)(x)
    assert isinstance(y, np.ndarray)
    np.testing.assert_array_equal(y, network.oracle(x))

    network = two_by_two()
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    outputs = session_of(network)(a, b)
    total, difference = outputs
    want_total, want_difference = network.oracle(a, b)
    np.testing.assert_array_equal(total, want_total)
    np.testing.assert_array_equal(difference, want_difference)
    assert outputs["difference"] is difference
    assert outputs[-1] is difference
    assert outputs.asdict().keys() == {"sum", "difference"}
    with pytest.raises(KeyError, match="sum, difference"):
        outputs["nope"]


def test_inputs_by_position_by_name_by_dict(rng):
    network = two_by_two()
    session = session_of(network)
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    want = network.oracle(a, b)[1]
    for outputs in (session(a, b), session(a, b=b), session(b=b, a=a), session({"b": b, "a": a})):
        np.testing.assert_array_equal(outputs["difference"], want)


def test_run_as_onnxruntime_does(rng):
    network = two_by_two()
    session = session_of(network)
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    feeds = {"a": a, "b": b}
    outputs = session.run(None, feeds)
    assert isinstance(outputs, list)
    assert len(outputs) == 2
    (only,) = session.run(["difference"], feeds)
    np.testing.assert_array_equal(only, network.oracle(a, b)[1])
    with pytest.raises(edgec.InvalidArgumentError, match="no output 'x'; the outputs are sum, difference"):
        session.run(["x"], feeds)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda s, a: s(a), "got 1 inputs, expected 2: 'a', 'b'"),
        (lambda s, a: s(), "got 0 inputs, expected 2: 'a', 'b'"),
        (lambda s, a: s(a, a, a), "got 3 inputs, the model has 2"),
        (lambda s, a: s(a, a=a), "input 'a' is given twice"),
        (lambda s, a: s(a, c=a), "there is no input 'c'; the inputs are 'a', 'b'"),
        (lambda s, a: s.run(None, {"a": a}), "got 1 inputs, expected 2"),
        (lambda s, a: s.run(None, {"a": a, 7: a}), "there is no input 7"),
    ],
)
def test_wrong_arguments_are_named(call, text):
    session = session_of(two_by_two())
    with pytest.raises(edgec.InvalidArgumentError) as e:
        call(session, np.zeros((2, 3), np.float32))
    assert text in str(e.value)
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.int64, np.bool_, ">f4"])
def test_other_data_types_are_refused_with_name_got_and_expected(dtype):
    session = session_of(scaled())
    with pytest.raises(edgec.InvalidArgumentError) as e:
        session(np.zeros((1, 4), dtype))
    assert "input 'x'" in str(e.value)
    assert f"got {np.dtype(dtype)}" in str(e.value)
    assert "expected float32" in str(e.value)
    assert "astype" in str(e.value)


@pytest.mark.parametrize("shape", [(4,), (1, 3), (1, 4, 1), (), (1, 5)])
def test_other_shapes_are_refused_with_name_got_and_expected(shape):
    session = session_of(scaled())
    with pytest.raises(edgec.ShapeError) as e:
        session(np.zeros(shape, np.float32))
    assert "input 'x'" in str(e.value)
    assert f"got shape {shape}" in str(e.value)
    assert "expected (batch,4)" in str(e.value)
    # The session is as it was.
    np.testing.assert_array_equal(session(np.ones((3, 4), np.float32))[2], np.arange(4))


def test_arrays_that_are_not_contiguous_are_copied(rng):
    network = scaled()
    session = session_of(network)
    big = rng.standard_normal((8, 8)).astype(np.float32)
    for x in (big[::2, ::2], big[:4, :4].T, big[:, 4:], big[::-1, :4], np.asfortranarray(big[:, :4])):
        assert not x.flags.c_contiguous
        np.testing.assert_array_equal(session(x), network.oracle(x))


def test_arrays_that_are_not_aligned_are_copied(rng):
    network = scaled()
    want = rng.standard_normal((2, 4)).astype(np.float32)
    raw = np.zeros(want.nbytes + 1, np.uint8)
    x = raw[1:].view(np.float32).reshape(2, 4)
    x[...] = want
    assert not x.flags.aligned
    np.testing.assert_array_equal(session_of(network)(x), network.oracle(want))


def test_read_only_arrays_and_subclasses_are_read(rng, tmp_path):
    network = scaled()
    session = session_of(network)
    x = rng.standard_normal((2, 4)).astype(np.float32)
    x.flags.writeable = False
    np.testing.assert_array_equal(session(x), network.oracle(x))
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(session(np.load(tmp_path / "x.npy", mmap_mode="r")), network.oracle(x))


def test_inputs_are_not_changed_and_outputs_are_new(rng):
    session = session_of(scaled())
    x = rng.standard_normal((2, 4)).astype(np.float32)
    before = x.copy()
    first = session(x)
    kept = first.copy()
    second = session(x + 1)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, x)
    assert first.flags.writeable
    assert first.flags.owndata


def test_lists_and_numbers_take_the_type_when_it_holds_them():
    session = session_of(scaled())
    np.testing.assert_array_equal(session([[1, 2, 3, 4]]), [[0, 2, 6, 12]])
    np.testing.assert_array_equal(session([[0.5, 0.5, 0.5, 0.5]]), [[0, 0.5, 1, 1.5]])
    integers = session_of(scaled(dtype=np.int64))
    np.testing.assert_array_equal(integers([[1, 2, 3, 4]]), [[0, 2, 6, 12]])
    with pytest.raises(edgec.InvalidArgumentError, match="int64 cannot hold exactly"):
        integers([[1.5, 2, 3, 4]])
    narrow = session_of(scaled(dtype=np.int32))
    with pytest.raises(edgec.InvalidArgumentError, match="int32 cannot hold exactly"):
        narrow([[2**31, 2, 3, 4]])
    with pytest.raises(edgec.InvalidArgumentError, match="input 'x': got str"):
        session("picture.png")
    with pytest.raises(edgec.InvalidArgumentError, match="input 'x'"):
        session([[1, 2], [3]])
    with pytest.raises(edgec.InvalidArgumentError, match="got float64, expected float32"):
        session(np.float64(1))


def test_objects_with_array_interfaces_need_no_import_of_their_library():
    class Tensor:
        """Exports what torch exports, refuses NumPy while it records gradients."""

        def __init__(self, array, recording=True):
            self.array, self.recording = array, recording

        def detach(self):
            return Tensor(self.array, recording=False)

        def __array__(self, dtype=None, copy=None):
            if self.recording:
                raise RuntimeError("records gradients")
            return self.array

    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(session_of(scaled())(Tensor(x)), [[0, 1, 2, 3]])
    with pytest.raises(edgec.InvalidArgumentError, match="got float64, expected float32"):
        session_of(scaled())(Tensor(x.astype(np.float64)))

    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no")

    with pytest.raises(edgec.InvalidArgumentError, match="input 'x': Broken cannot become an array: no"):
        session_of(scaled())(Broken())


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    network = scaled()
    session = session_of(network)
    x = rng.standard_normal((2, 4)).astype(np.float32)
    for tensor in (torch.from_numpy(x), torch.from_numpy(x).requires_grad_(), torch.nn.Parameter(torch.from_numpy(x))):
        np.testing.assert_array_equal(session(tensor), network.oracle(x))
    strided = torch.from_numpy(np.repeat(x, 2, axis=1))[:, ::2]
    np.testing.assert_array_equal(session(strided), network.oracle(x))
    with pytest.raises(edgec.InvalidArgumentError, match="float64"):
        session(torch.from_numpy(x).double())
    with pytest.raises(edgec.InvalidArgumentError, match="input 'x'"):
        session(torch.from_numpy(x).bfloat16())


def test_new_shapes_prepare_the_session_again(rng):
    network = scaled()
    session = session_of(network)
    for batch in (1, 7, 2, 7, 1, 64):
        x = rng.standard_normal((batch, 4)).astype(np.float32)
        np.testing.assert_array_equal(session(x), network.oracle(x))
        assert session.prepared_inputs[0].shape == (batch, 4)
        assert session.outputs[0].shape == (batch, 4)
    assert session.inputs[0].shape == ("batch", 4)


def test_shapes_can_be_prepared_ahead():
    network = scaled()
    assert session_of(network, shapes=[(5, 4)]).prepared_inputs[0].shape == (5, 4)
    assert session_of(network, shapes={"x": (6, 4)}).prepared_inputs[0].shape == (6, 4)
    session = session_of(network)
    session.prepare([(9, 4)])
    assert session.prepared_inputs[0].shape == (9, 4)
    session.prepare({"x": (3, 4)})
    assert session.prepared_inputs[0].shape == (3, 4)
    for wrong in ([(5, 3)], [(5, 4), (1, 4)], {"y": (5, 4)}, [(-1, 4)]):
        with pytest.raises(edgec.InvalidArgumentError):
            session_of(network, shapes=wrong)
    with pytest.raises(edgec.ShapeError, match="input 'x'"):
        session.prepare({"x": (3, 5)})
    with pytest.raises(edgec.InvalidArgumentError, match="there is no input"):
        session.prepare({"y": (3, 4)})


def test_names_shapes_and_types_of_inputs_and_outputs():
    session = session_of(two_by_two())
    assert [(s.name, s.shape, s.dtype) for s in session.inputs] == [
        ("a", (2, 3), np.dtype("float32")),
        ("b", (2, 3), np.dtype("float32")),
    ]
    assert [o.name for o in session.outputs] == ["sum", "difference"]
    assert str(session.inputs[0]) == "a: float32[2,3]"
    assert "a: float32[2,3]" in repr(session)


def test_threads_do_not_change_one_bit(rng):
    network = heavy(193)
    x = rng.standard_normal((193, 193)).astype(np.float32)
    one = session_of(network, threads=1)(x)
    for threads in (2, 3, 0):
        np.testing.assert_array_equal(session_of(network, threads=threads)(x).view(np.uint32), one.view(np.uint32))
    bound = 3 * (193 + 1) * np.finfo(np.float32).eps * np.linalg.norm(network.oracle(np.abs(x).astype(np.float64)))
    assert np.linalg.norm(one - network.oracle(x.astype(np.float64))) <= bound
    with pytest.raises(edgec.InvalidArgumentError, match="threads"):
        session_of(network, threads=-1)


def test_isa_can_be_chosen(rng):
    network = scaled()
    x = rng.standard_normal((2, 4)).astype(np.float32)
    session = session_of(network, isa="scalar")
    assert session.isa == "scalar"
    np.testing.assert_array_equal(session(x), network.oracle(x))
    with pytest.raises(edgec.InvalidArgumentError, match="unknown isa 'mmx'.*scalar"):
        session_of(network, isa="mmx")


def test_max_memory_is_kept_or_refused_before_running():
    network = heavy(64)
    needed = session_of(network).stats
    total = needed["arena_bytes"] + needed["packed_bytes"]
    assert total > 0
    assert session_of(network, max_memory=total).stats == needed
    with pytest.raises(edgec.OutOfMemoryError) as e:
        session_of(network, max_memory=total - 1)
    assert isinstance(e.value, MemoryError)
    assert isinstance(session_of(network, max_memory="8MB"), edgec.Session)


def test_parse_bytes():
    assert parse_bytes(None) == 0
    assert parse_bytes(17) == 17
    assert parse_bytes("8MB") == 8 << 20
    assert parse_bytes("8 MiB") == 8 << 20
    assert parse_bytes("1.5k") == 1536
    assert parse_bytes("12") == 12
    for wrong in ("", "MB", "8XB", "-1", -1, "nan", "inf", 1.5):
        with pytest.raises(edgec.InvalidArgumentError, match="max_memory"):
            parse_bytes(wrong)


def test_intermediate_tensors_with_keep_all(rng):
    import gc

    network = heavy(32)
    x = rng.standard_normal((32, 32)).astype(np.float32)
    session = session_of(network, keep_all=True)
    want = session(x).copy()
    del x
    gc.collect()  # the session's own references keep what it reads
    noise = [np.full((32, 32), 7, np.float32) for _ in range(50)]
    assert {"x", "product0", "product1", "product2"} <= set(session.tensor_names)
    np.testing.assert_array_equal(session.tensor("product2"), want)
    first, second = session.tensor("product0"), session.tensor("product1")
    assert first.shape == second.shape == (32, 32)
    assert not np.array_equal(first, second)
    with pytest.raises(edgec.Error, match="nope"):
        session.tensor("nope")
    session.profile({"x": np.zeros((32, 32), np.float32)})
    assert not session.tensor("product2").any()
    del noise


def test_tensors_are_only_readable_where_they_are_kept():
    session = session_of(heavy(16))
    session(np.zeros((16, 16), np.float32))
    with pytest.raises(edgec.InvalidArgumentError, match="keep_all=True"):
        session.tensor("product0")


def test_tensors_before_the_first_run(rng):
    session = session_of(heavy(16), keep_all=True)
    for name in ("x", "product0", "product2"):
        try:
            assert session.tensor(name).shape == (16, 16)
        except edgec.Error as e:
            assert name in str(e)
    session = session_of(scaled(), keep_all=True)
    session(np.ones((1, 4), np.float32))
    session.prepare({"x": (50, 4)})
    for name in ("x", "y"):
        try:
            assert session.tensor(name).shape == (50, 4)
        except edgec.Error as e:
            assert name in str(e)


def test_profile_has_one_time_per_step(rng):
    network = heavy(64)
    session = session_of(network)
    seconds = session.profile({"x": rng.standard_normal((64, 64)).astype(np.float32)}, runs=3)
    assert len(seconds) == len(session.steps)
    assert all(s >= 0 for s in seconds)


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(edgec.InvalidArgumentError, match="Session wants a path"):
        edgec.Session(42)
    with pytest.raises(edgec.BadFileError):
        edgec.Session(b"not a model")
    with pytest.raises(edgec.BadFileError):
        edgec.Session(b"")
    with pytest.raises(edgec.IoError, match="missing.edge"):
        edgec.Session(tmp_path / "missing.edge")
    (tmp_path / "text.edge").write_text("hello")
    with pytest.raises(edgec.BadFileError):
        edgec.Session(str(tmp_path / "text.edge"))


def test_a_session_keeps_its_model_alive(rng):
    import gc

    network = scaled()
    session = session_of(network)
    outputs = []
    for _ in range(3):
        gc.collect()
        outputs.append(session(np.ones((1, 4), np.float32)))
    del session
    gc.collect()
    for y in outputs:
        np.testing.assert_array_equal(y, [[0, 1, 2, 3]])
