"""Training on data that are not one array in memory has the bytes of training on the array."""

import tracemalloc

import numpy as np
import pytest
from problems import assert_same_bytes, blobs, stripes
from scipy import sparse

from sparserbm import (
    CD,
    MLP,
    RBM,
    SET,
    SGD,
    Adam,
    Backprop,
    Bernoulli,
    EarlyStopping,
    ErdosRenyi,
    Evolution,
    Gaussian,
    GradientGrow,
    Mixed,
    Potts,
    ReLU,
    Softmax,
    Stack,
    load_dataset,
    resume,
    train,
    train_stack,
)
from sparserbm.data.sources import as_samples
from sparserbm.models.likelihood import pseudo_likelihood
from sparserbm.recipes import Recipe, forget_data, resume_recipe

PICTURES, UNSEEN = stripes(35), stripes(12, seed=1)
X, Y = blobs(35)
X = np.where(X > 0.5, X, 0.0)
VALIDATION = blobs(12, seed=1)


class Rows:
    def __init__(self, array, most=None):
        self.array, self.most, self.n_features, self.asked = array, most, array.shape[1], []

    def __len__(self):
        return len(self.array)

    def rows(self, index):
        assert self.most is None or len(index) <= self.most
        self.asked.append(len(index))
        return self.array[index]


@pytest.fixture(params=["csr", "csc", "memmap", "own"])
def held(request, tmp_path):
    """How data are held: a function of the array."""

    def as_file(array):
        path = tmp_path / f"{len(list(tmp_path.glob('*.npy')))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    kinds = {"csr": sparse.csr_array, "csc": sparse.csc_matrix, "memmap": as_file, "own": Rows}
    return kinds[request.param]


def metrics_of(run):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]


def rbm_of(backend, visible=None):
    return RBM(visible or Bernoulli(16), Bernoulli(10), wiring=ErdosRenyi(density=0.4), seed=3, backend=backend)


def mlp_of(backend):
    return MLP(6, ReLU(8), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, seed=3, backend=backend)


RBM_RUNS = [
    {"evolution": SET(0.3), "optimizer": SGD(0.1, momentum=0.9)},
    {"algorithm": CD(persistent=True), "evolution": SET(0.3, "every(steps=3)"), "shuffle": False},
    {"evolution": Evolution(grow=GradientGrow(batches=3), zeta=0.3), "zone": None},
]


@pytest.mark.parametrize("settings", RBM_RUNS)
def test_an_rbm(backend, held, settings):
    settings = {"algorithm": CD(), "epochs": 3, "batch_size": 10} | settings
    dense, other = rbm_of(backend), rbm_of(backend)
    wanted = train(dense, PICTURES, validation=UNSEEN, **settings)
    found = train(other, held(PICTURES), validation=held(UNSEEN), **settings)
    assert_same_bytes(dense, other)
    assert metrics_of(found) == metrics_of(wanted)
    assert found.config["data"]["n_samples"] == 35
    assert np.array_equal(other.transform(held(UNSEEN)), dense.transform(UNSEEN))
    assert np.array_equal(other.reconstruct(held(UNSEEN)), dense.reconstruct(UNSEEN))
    assert np.array_equal(other.free_energy(held(UNSEEN)), dense.free_energy(UNSEEN))
    assert np.array_equal(pseudo_likelihood(other, held(UNSEEN)), pseudo_likelihood(dense, UNSEEN))


@pytest.mark.parametrize("weight", [None, np.arange(35) % 4])
def test_an_mlp(backend, held, weight):
    settings = {"epochs": 3, "batch_size": 10, "evolution": SET(0.3), "optimizer": Adam(0.01), "sample_weight": weight}
    settings["early_stopping"] = EarlyStopping(1)
    dense, other = mlp_of(backend), mlp_of(backend)
    wanted = train(dense, X, Backprop(), y=Y, validation=VALIDATION, **settings)
    validation = held(VALIDATION[0]), VALIDATION[1]
    found = train(other, held(X), Backprop(), y=Y, validation=validation, **settings)
    assert_same_bytes(dense, other)
    assert metrics_of(found) == metrics_of(wanted)
    assert np.array_equal(other.predict(held(X)), dense.predict(X))


def test_resumed(backend, held, tmp_path):
    settings = {"algorithm": CD(persistent=True), "evolution": SET(0.3), "batch_size": 10, "sample_weight": None}
    whole = train(rbm_of(backend), PICTURES, epochs=4, **settings)
    train(rbm_of(backend), held(PICTURES), epochs=2, out=tmp_path / "run", **settings)
    run = resume(tmp_path / "run", held(PICTURES), epochs=4, backend=backend)
    assert_same_bytes(run.model, whole.model)
    with pytest.raises(ValueError, match=r"these are not the data of run .* \(other checksum\)"):
        resume(tmp_path / "run", held(1 - PICTURES), epochs=5, backend=backend)


def test_a_file_may_stand_for_the_array(tmp_path):
    np.save(tmp_path / "x.npy", PICTURES)
    train(rbm_of("reference"), PICTURES, CD(), epochs=1, out=tmp_path / "run")
    in_file = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert resume(tmp_path / "run", in_file, epochs=2, backend="reference").model.epoch == 2
    assert resume(tmp_path / "run", Rows(PICTURES), epochs=3, backend="reference").model.epoch == 3


def test_weights_belong_to_the_data_of_a_run(tmp_path):
    weight = np.arange(35) % 4
    wanted = train(rbm_of("reference"), PICTURES, CD(), epochs=2, batch_size=10, sample_weight=weight)
    settings = {"epochs": 1, "batch_size": 10, "sample_weight": weight, "out": tmp_path / "run"}
    train(rbm_of("reference"), PICTURES, CD(), **settings)
    for other in (None, weight[::-1]):
        with pytest.raises(ValueError, match="these are not the data of run"):
            resume(tmp_path / "run", PICTURES, epochs=2, sample_weight=other)
    run = resume(tmp_path / "run", PICTURES, epochs=2, sample_weight=7 * weight)
    assert_same_bytes(run.model, wanted.model)


def test_a_stack(held):
    stacks = []
    for data in (PICTURES, held(PICTURES)):
        stacks.append(Stack(Bernoulli(16), Bernoulli(10), Bernoulli(6), backend="reference"))
        train_stack(stacks[-1], data, "cd", epochs=2, batch_size=10)
    for dense, other in zip(*(stack.layers for stack in stacks)):
        assert_same_bytes(dense, other)


def test_units_that_look_at_all_values(held):
    one_hot = np.eye(4)[np.arange(35) % 4]
    units = Mixed((Bernoulli(4), Potts(4, states=4)))
    data = np.hstack([PICTURES[:, :4], one_hot])
    models = [rbm_of("reference", units) for _ in range(2)]
    for model, given_as in zip(models, (data, held(data))):
        train(model, given_as, CD(), epochs=2, batch_size=10)
    assert_same_bytes(*models)
    with pytest.raises(ValueError, match=r"samples 0 to 34: Potts units need groups"):
        train(models[0], held(np.ones((35, 8))), CD())
    with pytest.raises(ValueError, match=r"X has values from -1 to -?0"):
        train(rbm_of("reference"), held(-PICTURES), CD())


def test_gaussian_units_with_learned_variance(held):
    data = np.random.default_rng(0).normal(size=(35, 16))
    models = [rbm_of("reference", Gaussian(16, learned=True)) for _ in range(2)]
    for model, given_as in zip(models, (data, held(data))):
        train(model, given_as, CD(negative="sample"), epochs=2, batch_size=10, optimizer=SGD(0.001))
    assert_same_bytes(*models)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numbers_of_any_type(backend, held, dtype):
    models = [rbm_of(backend) for _ in range(2)]
    data = PICTURES.astype(dtype)
    for model, given_as in zip(models, (data, held(data))):
        train(model, given_as, CD(), epochs=1, batch_size=10)
    assert_same_bytes(*models)


# -- the whole is never held ------------------------------------------------------------------------------------------


def test_a_source_is_asked_for_a_batch_at_a_time(backend, monkeypatch):
    monkeypatch.setattr("sparserbm.data.sources.CHUNK", 10 * 16)
    monkeypatch.setattr("sparserbm.data.batches.BLOCK", 10)
    source = Rows(PICTURES, 10)
    train(rbm_of(backend), source, CD(), epochs=2, batch_size=10, validation=Rows(UNSEEN, 10))
    assert sum(source.asked) >= 2 * len(PICTURES)  # both epochs were read from it
    assert max(source.asked) == 10


class Guarded(sparse.csr_array):
    """Refuses to become one array."""

    def toarray(self, *given, **named):
        assert self.shape[0] <= 100
        return super().toarray(*given, **named)


def few_entries(n_samples, n_features, each=5):
    random = np.random.default_rng(0)
    columns = random.integers(0, n_features, n_samples * each)
    ends = np.arange(n_samples + 1) * each
    matrix = Guarded((np.ones(len(columns), np.float32), columns, ends), shape=(n_samples, n_features))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def peak_of_training(n_samples, n_features, batch_size):
    data = few_entries(n_samples, n_features)
    rbm = RBM(Bernoulli(n_features), Bernoulli(4), wiring=ErdosRenyi(epsilon=0.5), backend="numpy")
    tracemalloc.start()
    try:
        train(rbm, data, CD(), epochs=1, batch_size=batch_size, zone=None)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_sparse_data_are_made_dense_a_batch_at_a_time():
    pytest.importorskip("numba")
    n_samples, n_features = 2000, 20_000
    assert peak_of_training(n_samples, n_features, 50) < n_samples * n_features * 4 / 4


@pytest.mark.slow
def test_many_sparse_data():
    pytest.importorskip("numba")
    assert peak_of_training(20_000, 50_000, 100) < 20_000 * 50_000 * 4 / 20


def test_the_estimate_counts_what_is_held(monkeypatch):
    from sparserbm.training import begin

    found = []

    def failing(*arguments):
        raise MemoryError

    monkeypatch.setattr(begin, "_run", failing)
    explained = begin.memory_explained
    monkeypatch.setattr(
        begin, "memory_explained", lambda need, *more: explained(lambda: found.append(need()) or need(), *more)
    )
    matrix = few_entries(50, 16, each=2)
    for data in (PICTURES, matrix, Rows(PICTURES)):
        with pytest.raises(MemoryError, match="out of memory"):
            train(rbm_of("reference"), data, CD(), validation=data)
    sizes = [estimate.data_bytes for estimate in found]
    assert sizes == [2 * PICTURES.nbytes, 2 * as_samples(matrix).nbytes, 0]


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["unit", "binary", "none", "standard"])
def test_a_file_larger_than_memory(tmp_path, monkeypatch, scale):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16)).astype(np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    small = load_dataset(tmp_path / "x.npy", scale=scale, hold_out=0.2)
    monkeypatch.setattr("sparserbm.data.files.MAX_DENSE_BYTES", 1000)
    large = load_dataset(tmp_path / "x.npy", scale=scale, hold_out=0.2)
    assert isinstance(small.X, np.ndarray)
    assert large.X.nbytes == large.X_test.nbytes == 0
    assert large.X.dtype == np.float32
    assert (len(large.X), len(large.X_test), large.n_features) == (48, 12, 16)
    assert np.array_equal(large.X[:], small.X)
    assert np.array_equal(large.X_test[:], small.X_test)
    models = [rbm_of("reference", Gaussian(16)) for _ in range(2)]
    for model, data in zip(models, (small, large)):
        train(model, data, CD(), epochs=2, batch_size=10, optimizer=SGD(1e-6))
    assert_same_bytes(*models)


def test_a_sparse_file_too_large_to_be_dense(tmp_path, monkeypatch):
    matrix = sparse.csr_array(np.where(PICTURES > 0, 3.0, 0.0))
    sparse.save_npz(tmp_path / "x.npz", matrix)
    small = load_dataset(tmp_path / "x.npz", hold_out=0.2)
    monkeypatch.setattr("sparserbm.data.files.MAX_DENSE_BYTES", 1000)
    large = load_dataset(tmp_path / "x.npz", hold_out=0.2)
    assert np.array_equal(large.X.matrix.toarray(), small.X)
    assert np.array_equal(large.X_test[:], small.X_test)
    assert small.X.max() == 1
    models = [rbm_of("reference") for _ in range(2)]
    for model, data in zip(models, (small, large)):
        train(model, data, CD(), epochs=2, batch_size=10)
    assert_same_bytes(*models)
    with pytest.raises(ValueError, match="scale='standard' would make other numbers of the zeros"):
        load_dataset(tmp_path / "x.npz", scale="standard")


def test_draws_cannot_be_kept_for_a_file(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", PICTURES)
    monkeypatch.setattr("sparserbm.data.files.MAX_DENSE_BYTES", 1000)
    with pytest.raises(ValueError, match="scale='stochastic' draws once"):
        load_dataset(tmp_path / "x.npy", scale="stochastic")


def test_a_recipe_goes_on_from_a_file(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", (255 * PICTURES).astype(np.uint8))
    recipe = Recipe(data=str(tmp_path / "x.npy"), hidden=(5,), epochs=1, batch_size=10, backend="reference")
    dense = recipe.estimate()
    recipe.run(tmp_path / "run")
    forget_data()
    monkeypatch.setattr("sparserbm.data.files.MAX_DENSE_BYTES", 1000)
    assert recipe.estimate().data_bytes == 0 < dense.data_bytes
    assert resume_recipe(tmp_path / "run", 2).model.epoch == 2
    forget_data()


def test_numbers_too_large_for_float32_are_found(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", 1e200 * PICTURES)
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(1e200 * PICTURES))
    monkeypatch.setattr("sparserbm.data.files.MAX_DENSE_BYTES", 1000)
    with pytest.raises(ValueError, match="X as float32 holds"):
        load_dataset(tmp_path / "x.npz", scale="none")
    data = load_dataset(tmp_path / "x.npy", scale="none")
    with pytest.raises(ValueError, match="X holds .* infinite values, the first"):
        train(rbm_of("reference", Gaussian(16)), data, CD())


# -- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Rows, sparse.csr_array])
@pytest.mark.parametrize("weight", [None, np.arange(3000) % 3 + 1])
def test_steps_are_recorded_and_the_device_holds_a_batch(pretended, cupy, kind, weight):
    """A limit that the whole array would break: 3,000 x 400 float32 are 4.8 MB."""
    array = np.zeros((3000, 400), np.float32)
    array[np.arange(3000), np.arange(3000) % 400] = 1
    rbm, twin = (RBM(Bernoulli(400), Bernoulli(20), wiring=ErdosRenyi(epsilon=1), backend="cupy") for _ in range(2))
    settings = {"epochs": 1, "batch_size": 100, "zone": None, "sample_weight": weight}
    with pretended.limit_memory(4_000_000):
        with pytest.raises(MemoryError):
            train(twin, array, CD(), **settings)
        before = pretended.graph_launches
        train(rbm, kind(array), CD(), **settings)
    assert pretended.graph_launches == before + 29  # all but the first
