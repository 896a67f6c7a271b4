"""Embeddings: encoders of each kind, tables by id, the file they are kept in, and views."""

import dataclasses
import os

import numpy as np
import pytest
import torch

from recipes.data import embeddings as own
from recipes.data.embeddings import EmbeddingViews, open_embeddings
from recipes.data.encoders import Encoder, encoder_digest, open_encoder, read_table
from recipes.data.protocol import read_dataset
from recipes.data.store import open_store
from recipes.training.config import Config

SOURCE = """
import torch

CALLS = []

def encode(waves, rate):
    CALLS.append((tuple(waves.shape), rate, float(waves.abs().max())))
    return torch.stack([waves.abs().mean(-1), waves.diff(dim=-1).abs().mean(-1), waves.square().mean(-1)], -1)
"""


@pytest.fixture
def encoder(tmp_path):
    (tmp_path / "enc.py").write_text(SOURCE)
    return f"{tmp_path / 'enc.py'}:encode"


@pytest.fixture(scope="module")
def store(tone_folder, tmp_path_factory):
    dataset = read_dataset("folder", tone_folder)
    return open_store(dataset, tmp_path_factory.mktemp("stores"), rate=8000, seconds=0.5, quiet=True)


def expected(store):
    waves = store.samples.float() / 32768
    return torch.stack([waves.abs().mean(-1), waves.diff(dim=-1).abs().mean(-1), waves.square().mean(-1)], -1).numpy()


def test_a_callable_gets_waves_and_its_embeddings_are_kept_clip_by_clip(encoder, store, monkeypatch):
    monkeypatch.setattr(own, "_BATCH", 7)
    found = open_embeddings(encoder, store, quiet=True)
    np.testing.assert_allclose(found, expected(store), rtol=1e-5)
    from audiomix.registry import load

    calls = load(encoder, "embedding").__globals__["CALLS"]
    assert sum(shape[0] for shape, _, _ in calls) == 60
    assert {(shape[1], rate) for shape, rate, _ in calls} == {(4000, 8000)}
    assert 0.1 < max(peak for *_, peak in calls) <= 1
    count = len(calls)
    np.testing.assert_array_equal(open_embeddings(encoder, store, quiet=True), found)
    assert len(calls) == count, "computed twice"


def test_an_encoder_whose_file_changed_is_another_one(encoder, store, tmp_path):
    before, digest = open_embeddings(encoder, store, quiet=True), encoder_digest(encoder)
    path = tmp_path / "enc.py"
    path.write_text(SOURCE.replace("return torch", "return 2 * torch"))
    os.utime(path, (1, 1))
    assert encoder_digest(encoder) != digest
    np.testing.assert_allclose(open_embeddings(encoder, store, quiet=True), 2 * before, rtol=1e-6)


def test_a_damaged_file_is_named(encoder, store):
    found = open_embeddings(encoder, store, quiet=True)
    path = next(store.path.parent.glob("*-embedding-*.npy"))
    for path in store.path.parent.glob("*-embedding-*.npy"):
        np.save(path, found[:-1])
    with pytest.raises(ValueError, match=r"must be float32 embeddings of 60 clips, got float32 of shape \(59, 3\)"):
        open_embeddings(encoder, store, quiet=True)
    for path in store.path.parent.glob("*-embedding-*.npy"):
        path.unlink()


@pytest.mark.parametrize(("encode", "message"), [
    (lambda x, r: x[:1], r"what it returns must be embeddings \(2, D\)"),
    (lambda x, r: x.sum(-1), r"what it returns must be embeddings \(2, D\)"),
    (lambda x, r: x / 0, "what it returns must be finite"),
    (lambda x, r: x.missing, "embedding must be an encoder of waves"),
], ids=["one", "flat", "infinite", "fails"])  # fmt: skip
def test_what_an_encoder_must_not_return_is_refused(encode, message):
    with pytest.raises(ValueError, match=message):
        Encoder("it", None, encode)(torch.ones(2, 8), 8000)


def test_an_encoder_that_tells_its_rate_refuses_another(tmp_path):
    (tmp_path / "rated.py").write_text(SOURCE + "\nencode.rate = 48000\n")
    found = open_encoder(f"{tmp_path / 'rated.py'}:encode")
    assert found.rate == 48000
    with pytest.raises(ValueError, match=r"rate must be 48000, which .* wants, got 8000: --rate 48000"):
        found(torch.ones(2, 8), 8000)


def test_an_onnx_file_encodes(tmp_path, store):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.arange(4000 * 2, dtype=np.float32).reshape(4000, 2) / 8000, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["wave", "w"], ["embedding"])], "g",
        [helper.make_tensor_value_info("wave", kind, ["B", 4000])],
        [helper.make_tensor_value_info("embedding", kind, ["B", 2])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"rate": "8000"})
    onnx.save(model, tmp_path / "enc.onnx")
    assert open_encoder(str(tmp_path / "enc.onnx")).rate == 8000
    found = open_embeddings(str(tmp_path / "enc.onnx"), store, quiet=True)
    matrix = onnx.numpy_helper.to_array(weight)
    np.testing.assert_allclose(found, (store.samples.float() / 32768).numpy() @ matrix, rtol=1e-3, atol=1e-4)


def write_table(path, ids, x):
    if path.suffix == ".npz":
        np.savez(path, ids=np.array(ids), x=x)
    else:
        np.save(path, x)
        path.with_suffix(".ids.txt").write_text("\n".join(ids) + "\n")
    return str(path)


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_rows_of_a_table_are_taken_by_id_whatever_their_order(name, store, tmp_path):
    ids = [item.id for item in store.dataset.items]
    x = np.random.default_rng(0).normal(size=(61, 4)).astype(np.float32)
    order = np.random.default_rng(1).permutation(61)
    text = write_table(tmp_path / name, [[*ids, "another"][i] for i in order], x[order])
    np.testing.assert_array_equal(read_table(text, ids), x[:60])
    np.testing.assert_array_equal(open_embeddings(text, store, quiet=True), x[:60])
    digest = encoder_digest(text)
    write_table(tmp_path / name, [[*ids, "another"][i] for i in reversed(order)], x[order])
    assert encoder_digest(text) != digest
    np.testing.assert_array_equal(open_embeddings(text, store, quiet=True), read_table(text, ids))


def test_tables_that_cannot_be_matched_are_refused(tmp_path):
    x = np.ones((2, 3), np.float32)
    text = write_table(tmp_path / "x.npz", ["a", "b"], x)
    with pytest.raises(ValueError, match=r"without 1, e\.g\. c: its ids look like a"):
        read_table(text, ["a", "c"])
    with pytest.raises(ValueError, match="with a twice"):
        read_table(write_table(tmp_path / "y.npz", ["a", "a"], x), ["a"])
    with pytest.raises(ValueError, match=r"\(3, D\), a row for each id, got .* of shape \(2, 3\)"):
        read_table(write_table(tmp_path / "z.npz", ["a", "b", "c"], x), ["a"])
    np.save(tmp_path / "alone.npy", x)
    with pytest.raises(ValueError, match=r"a file with .*alone\.ids\.txt beside it.*one a line, such as a"):
        read_table(str(tmp_path / "alone.npy"), ["a", "b"])
    with pytest.raises(ValueError, match="embedding: .* must be finite"):
        read_table(write_table(tmp_path / "n.npz", ["a", "b"], x * np.nan), ["a"])
    with pytest.raises(ValueError, match="embedding must be an encoder.*those of the data set alone"):
        open_encoder(text)
    with pytest.raises(ValueError, match="there is no such file"):
        encoder_digest(str(tmp_path / "none.onnx"))
    with pytest.raises(ValueError, match="embedding must be FILE.onnx, package.module:callable"):
        open_encoder("birdnet")


def views(**changes):
    found = EmbeddingViews(dataclasses.replace(Config(), embedding="x.npz", **changes), 16000)
    found.mean, found.std = 3.0, 2.0
    return found


@pytest.mark.parametrize("name", EmbeddingViews.names)
def test_views_have_the_noise_and_the_dropped_share_of_their_strength(name):
    deviation, dropped = EmbeddingViews.strengths[name]
    x = 3 + 20 * torch.ones(50, 400)
    found = views()(x, name, generator=torch.Generator().manual_seed(0))
    zero = found == 0
    assert float(zero.float().mean()) == pytest.approx(dropped, abs=0.02)
    assert float(found[~zero].mean()) == pytest.approx(10, abs=0.02)
    assert float(found[~zero].std()) == pytest.approx(deviation, rel=0.03)


def test_noise_and_dropped_values_are_in_the_measure_of_each_feature():
    scale, offset = torch.tensor([0.01, 1.0, 50.0]), torch.tensor([5.0, -2.0, 300.0])
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * scale + offset
    front = views()
    front.fit(x, torch.arange(4000))
    clips = offset.expand(4000, 3)
    found = front(clips, "full", generator=torch.Generator().manual_seed(1)) * front.std + front.mean
    change = found - clips
    deviation, dropped = EmbeddingViews.strengths["full"]
    at_mean = torch.isclose(found, x.mean(0).expand(4000, 3), rtol=1e-5, atol=1e-5)
    assert at_mean.float().mean(0).tolist() == pytest.approx([dropped] * 3, abs=0.03)
    spread = [float(change[:, i][~at_mean[:, i]].std()) for i in range(3)]
    assert spread == pytest.approx((deviation * scale).tolist(), rel=0.05)


def test_a_slice_of_a_batch_has_the_views_of_the_whole():
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    whole = views()(x, "full", generator=torch.Generator().manual_seed(2))
    for rank, part in enumerate(x.split(4)):
        again = views()(part, "full", generator=torch.Generator().manual_seed(2), part=(rank, 2))
        torch.testing.assert_close(again, whole[4 * rank : 4 * rank + 4])


def test_a_view_that_embeddings_do_not_have_is_refused():
    with pytest.raises(ValueError, match="weak_view must be one of none, weak, mid, full"):
        views(weak_view="strong")
