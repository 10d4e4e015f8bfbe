"""What only the cupy backend has: launches, recorded steps, devices, and errors that name what is wrong.

Under ``-m gpu`` on a GPU; without it through the stand-in, whose counters and limits some of these tests need.
"""

import logging
import pickle

import cupy_stand_in as stand_in
import numpy as np
import pytest
from problems import arrays_of, assert_same_bytes, blobs, hosted, stripes, wired

import sparserbm as sr
from sparserbm import backends
from sparserbm.backends import Gate, SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import DrawKey

KEY = DrawKey(1, 2, 3, 4)


# -- shapes of launches ----------------------------------------------------------------------------------------------

# n_pre, n_post, density: few rows and many connections each (several threads share a row), the reverse, empty rows
LAYERS = [(300, 3, 1.0), (7, 200, 0.4), (64, 40, 0.02), (1200, 2, 0.6)]
SAMPLES = [1, 3, 4, 5, 31, 32, 33, 63, 64, 100, 128, 129, 260]


def results(layer, n, dtype, backend):
    n_pre, n_post, density = layer
    random = np.random.default_rng(n)
    keys = np.flatnonzero(random.random(n_pre * n_post) < density)
    library = get_backend(backend, dtype)
    connections = Connections(library, Pattern.from_keys(n_pre, n_post, keys), random.normal(size=len(keys)))
    library = hosted(library)
    x, y = (random.normal(size=(units, n)).astype(dtype) for units in (n_pre, n_post))
    bias = random.normal(size=n_post).astype(dtype)
    out, sample, back = (np.full((units, n), np.nan, dtype) for units in (n_post, n_post, n_pre))
    gradient = np.full(len(keys), np.nan, dtype)
    library.spmm(connections, connections.weight, x, out, bias, "sigmoid", sample=sample, key=KEY)
    library.spmm_t(connections, connections.weight, y, back, gate=Gate("tanh", np.tanh(x)))
    library.sddmm(connections, [SignedPair(-1.0 / n, x, y), SignedPair(1.0 / n, x + 1, y)], gradient)
    drawn = library.bernoulli(KEY, out, np.full_like(out, np.nan))
    return out, back, gradient, sample, drawn


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SAMPLES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.gpu_too
def test_every_shape_gives_what_the_reference_gives(cupy, layer, n, dtype):
    *found, sample, drawn = results(layer, n, dtype, "cupy")
    *expected, _, _ = results(layer, n, dtype, "reference")
    accuracy = {"rtol": 2e-4, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, **accuracy)
    assert np.array_equal(sample, drawn)


@pytest.mark.gpu_too
@pytest.mark.parametrize("lengths", [(100, 100), (128, 40), (33, 70), (260, 260)])
def test_sampled_products_are_the_same_in_slices_of_the_samples(cupy, monkeypatch, lengths):
    """Large layers take the samples slice by slice; pairs may be of different lengths."""
    from sparserbm.backends import cupy_backend

    random, layer = np.random.default_rng(0), wired("cupy", 50, 30, 400, dtype="float64")
    arrays = [random.normal(size=(units, n)) for n in lengths for units in (50, 30)]
    pairs = [SignedPair(-0.5, *arrays[:2]), SignedPair(2.0, *arrays[2:]), SignedPair(1.5, *arrays[:2])]
    library, found = hosted("cupy", "float64"), []
    for cached in (1 << 30, 1, 32 * 160 * 8 + 5):
        monkeypatch.setattr(cupy_backend, "CACHED", cached)
        found.append(library.sddmm(layer, pairs, np.full(400, np.nan)))
    dense = sum(pair.sign * pair.pre @ pair.post.T for pair in pairs)
    for one in found:
        np.testing.assert_allclose(one, dense[layer.pattern.pre, layer.pattern.post], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_order_of_threads_changes_no_bit(pretended, monkeypatch, layer):
    """A thread that reads what another one has yet to write gives another result in one of the two orders."""
    for n in (4, 33, 128):
        forward = results(layer, n, "float32", "cupy")
        monkeypatch.setattr(pretended, "order", "backward")
        backward = results(layer, n, "float32", "cupy")
        monkeypatch.setattr(pretended, "order", "forward")
        for one, other in zip(forward, backward):
            assert one.tobytes() == other.tobytes()


@pytest.mark.gpu_too
def test_large_sums_do_not_depend_on_the_run_or_the_order_of_threads(cupy, request, monkeypatch):
    library, random = hosted("cupy", "float32"), np.random.default_rng(0)
    a, b = (random.normal(size=(40, 5000)).astype(np.float32) for _ in range(2))
    output = hosted("cupy", "float32").softmax(random.normal(size=(30, 700)).astype(np.float32))
    y = random.integers(0, 30, 700)

    def sums():
        errors = library.class_error(output, y, np.empty_like(output), 1e-30)
        return float(library.squared_error(a, b)), *map(float, errors)

    first = sums()
    assert first[0] == pytest.approx(((a.astype(float) - b) ** 2).sum(), rel=1e-6)
    assert sums() == first
    if not request.config.on_gpu:
        monkeypatch.setattr(stand_in, "order", "backward")
        assert sums() == first


# -- recorded steps --------------------------------------------------------------------------------------------------


def trained(record, mlp=False, algorithm=None, n_samples=130, units=None, **settings):
    library = get_backend("cupy", "float32")
    if not record:
        library.record = lambda work: None
    if mlp:
        X, y = blobs(n_samples, n_features=12)
        layers = mlp if isinstance(mlp, tuple) else (sr.ReLU(20),)
        wiring = sr.ErdosRenyi(density=0.4)
        model = sr.MLP(12, *layers, sr.Softmax(3), wiring=wiring, gates=layers is mlp, backend=library)
        algorithm = algorithm or sr.Backprop()
    else:
        X, y = stripes(n_samples), None
        wiring, gates = sr.ErdosRenyi(density=0.4), "polarization(1e-2)" in str(settings)
        units = units or (sr.Bernoulli(16), sr.Bernoulli(20))
        model = sr.RBM(*units, wiring=wiring, gates=gates, backend=library)
        algorithm = algorithm or sr.CD()
    return sr.train(model, X, algorithm, y=y, batch_size=20, validation=(X, y), **{"epochs": 3} | settings)


RULES = [
    {},
    {"algorithm": sr.CD(k=2, persistent=True), "evolution": "set(0.3)", "regularization": "l2(1e-3)"},
    {"algorithm": sr.CD(positive="sample", negative="sample"), "optimizer": sr.Adam()},
    {"mlp": True, "optimizer": sr.Adam(), "evolution": "set(0.3, when=every(steps=4))"},
    {"mlp": True, "regularization": ["l1(1e-3)", "l2(1e-3, coupled=False)", "elastic_net(1e-4, 1e-3)"]},
    {"evolution": "set(0.3)", "regularization": ["set_decay(1e-3)", "max_norm(0.2)", "max_norm(0.2, side=pre)"]},
    {
        "mlp": True,
        "optimizer": sr.SGD(sr.Linear(0.1, 0.01, 10), momentum=0.9),
    },  # every step has rates of its own, at first
    {"mlp": (sr.AllReLU(20, slope=-0.6), sr.SReLU(15)), "algorithm": sr.Backprop(dropout=0.3, input_dropout=0.1)},
    {"algorithm": sr.CD(k=2), "regularization": "polarization(1e-2)", "optimizer": sr.Adam()},
    {
        "algorithm": sr.CD(
            k="steps((1, 3), (10,))", persistent=True, chains=30, centred=True, sparsity="sparsity(0.1)"
        ),
        "evolution": "set(0.3)",
    },
    {
        "algorithm": sr.CD(k="linear(1, 3, 15)", sparsity="sparsity(0.3, weights=True)"),
        "units": (sr.Mixed((sr.Gaussian(10, learned=True), sr.Bernoulli(6))), sr.TruncatedGaussian(20)),
        "optimizer": sr.SGD(0.005),
    },
    {"algorithm": sr.CD(centred=True), "units": (sr.Bernoulli(16), sr.Potts(20, states=4))},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.gpu_too
def test_recorded_steps_are_the_steps(cupy, rules):
    """Draws, ages, sums and temporary arrays included; the last batch of an epoch is smaller than the others."""
    recorded, launched = trained(True, **rules), trained(False, **rules)
    assert_same_bytes(recorded.model, launched.model)
    for name, column in recorded.history.items():
        if name != "seconds":
            assert np.array_equal(column, launched.history[name], equal_nan=True), name


def test_a_recorded_step_is_one_launch(pretended):
    trained(True, mlp=True, epochs=1, n_samples=20 * 30)
    assert pretended.graph_launches == 29  # all but the first
    steps = [name for name in pretended.launches if name == "sgd"]
    assert len(steps) == 4  # those of the first
    trained(False, mlp=True, epochs=1, n_samples=20 * 30)
    assert pretended.graph_launches == 29


def test_steps_with_another_number_of_sweeps_are_recorded_anew(pretended):
    """The first step of each kind is launched, all others are replayed."""
    rule = sr.CD(k="linear(1, 2, 20)", centred=True, sparsity="sparsity(0.1)", persistent=True)
    assert [rule.sweeps(step) for step in (0, 9, 10, 29)] == [1, 1, 2, 2]
    trained(True, algorithm=rule, epochs=1, n_samples=20 * 30)
    assert pretended.graph_launches == 28


def test_a_step_that_asks_for_a_number_is_launched_one_by_one(pretended, caplog, monkeypatch):
    from sparserbm.training.cd import ContrastiveDivergence

    own = ContrastiveDivergence.signals

    def asking(self, *arguments):
        signals = own(self, *arguments)
        float(signals.sums["loss"])
        return signals

    expected = trained(True)
    monkeypatch.setattr(ContrastiveDivergence, "signals", asking)
    with caplog.at_level(logging.WARNING, "sparserbm"):
        found = trained(True)
    assert_same_bytes(found.model, expected.model)
    assert sum("could not be recorded" in line for line in caplog.messages) == 3  # once an epoch


def test_rules_from_elsewhere_are_not_recorded(pretended):
    class Late(sr.L2):
        def add_gradient(self, backend, value, gradient, layer, step):
            if step > 5:
                super().add_gradient(backend, value, gradient, layer, step)

    trained(True, regularization=Late(0.1))
    assert pretended.graph_launches == 0


# -- devices and their memory ----------------------------------------------------------------------------------------


@pytest.mark.gpu_too
def test_what_is_not_on_the_device_is_named(cupy):
    library = get_backend("cupy", "float32")
    layer = wired("cupy", 5, 4, 10, dtype="float32")
    x, out = library.zeros((5, 8)), library.zeros((4, 8))
    with pytest.raises(
        TypeError, match="product needs arrays on the device, not ndarray; move them with backend.asarray"
    ):
        library.spmm(layer, layer.weight, np.zeros((5, 8), np.float32), out)
    with pytest.raises(ValueError, match="product needs contiguous arrays, not strides"):
        library.spmm(layer, layer.weight, library.zeros((5, 16))[:, ::2], out)
    library.spmm(layer, layer.weight, x, out)


def test_arrays_of_another_device_are_named_and_can_be_moved(pretended, cupy):
    with cupy.cuda.Device(0):
        library = get_backend("cupy", "float32")
        layer = wired(library, 5, 4, 10, dtype="float32")
        with cupy.cuda.Device(1):
            elsewhere = cupy.ones((5, 8), np.float32)
        out = library.zeros((4, 8))
        with pytest.raises(
            ValueError, match=r"an array is on device 1, this backend works on device 0; move it with backend\.as"
        ):
            library.spmm(layer, layer.weight, elsewhere, out)
        moved = library.asarray(elsewhere)
        assert moved.device.id == 0
        library.spmm(layer, layer.weight, moved, out)


def test_a_backend_whose_device_is_not_the_current_one_says_so(pretended, cupy):
    library = get_backend("cupy", "float32")
    x = library.zeros((2, 4))
    with (
        cupy.cuda.Device(1),
        pytest.raises(ValueError, match=r"device 1 is the current one, this backend works on device 0; go back"),
    ):
        library.uniform(KEY, x)
    library.uniform(KEY, x)


def test_a_name_may_say_the_device(pretended, cupy):
    try:
        found = get_backend("cupy:1")
        assert (found.name, found.device, cupy.cuda.Device().id) == ("cupy", 1, 1)
        assert get_backend("cupy").device == 1  # the current one
        with pytest.raises(ValueError, match='backend="cupy:7" is not possible: devices here are 0 to 1'):
            get_backend("cupy:7")
    finally:
        cupy.cuda.Device(0).use()
    for name in ("cupy:x", "cupy:", "numpy:1"):
        if name != "cupy:":
            with pytest.raises(ValueError, match=f"unknown backend '{name}'"):
                get_backend(name)


def test_class_error_says_how_many_samples_it_takes(pretended):
    library = get_backend("cupy", "float32")
    output = library.zeros((2, 20_000))
    with pytest.raises(ValueError, match="class_error takes at most 16384 samples at a time, not 20000"):
        library.class_error(output, library.asarray(np.zeros(20_000, np.int64)), library.zeros((2, 20_000)), 1e-30)


def test_out_of_memory_says_what_is_needed_and_keeps_the_run(pretended, tmp_path):
    X = stripes(60)

    def rbm():
        units = sr.Bernoulli(16), sr.Bernoulli(2000)
        return sr.RBM(*units, wiring=sr.ErdosRenyi(density=0.1), backend="cupy")

    sr.train(rbm(), X, sr.CD(), epochs=1, batch_size=20, out=tmp_path / "a")
    with pytest.raises(sr.OutOfMemoryError) as caught, pretended.limit_memory(600_000):
        sr.resume(tmp_path / "a", X, epochs=3)
    for words in (
        "this run needs about",
        "for connections",
        "for activities",
        "are free",
        "smaller batch_size",
        "keeps its last checkpoint",
    ):
        assert words in str(caught.value), str(caught.value)
    assert isinstance(caught.value, MemoryError)
    whole = sr.resume(tmp_path / "a", X, epochs=3)
    assert_same_bytes(whole.model, sr.train(rbm(), X, sr.CD(), epochs=3, batch_size=20).model)


def test_auto_takes_a_device_where_there_is_one(pretended, monkeypatch):
    monkeypatch.delenv(backends.VARIABLE)
    assert get_backend("auto").name == "cupy"
    assert sr.RBM(sr.Bernoulli(4), sr.Bernoulli(3)).backend.name == "cupy"
    monkeypatch.setenv(backends.VARIABLE, "reference")
    assert get_backend("auto").name == "reference"
    assert get_backend("cupy").name == "cupy"


@pytest.mark.parametrize(
    ("found", "available", "reason"),
    [
        (False, None, r'CuPy is not installed \(pip install "sparserbm\[cuda12\]" or "sparserbm\[cuda13\]"'),
        (True, False, r"CuPy finds no CUDA device \(nvidia-smi shows"),
        (
            True,
            RuntimeError("CUDA driver version is insufficient\nmore"),
            r"CuPy cannot be used \(CUDA driver version is insufficient more\)",
        ),
    ],
)
def test_why_there_is_no_device(pretended, cupy, monkeypatch, found, available, reason):
    def is_available():
        if isinstance(available, Exception):
            raise available
        return available

    monkeypatch.delenv(backends.VARIABLE)
    monkeypatch.setattr(cupy.cuda, "is_available", is_available)
    own = backends.importlib.util.find_spec
    monkeypatch.setattr(
        backends.importlib.util, "find_spec", lambda name: own(name) if name != "cupy" or found else None
    )
    backends.why_no_gpu.cache_clear()
    try:
        with pytest.raises(
            ValueError, match=f'backend="cupy" is not possible: {reason}.*backend="numpy" runs on the CPU'
        ):
            get_backend("cupy")
        assert get_backend("auto").name != "cupy"
    finally:
        backends.why_no_gpu.cache_clear()


# -- from device to device -------------------------------------------------------------------------------------------


@pytest.mark.gpu_too
def test_a_run_goes_on_without_the_device_and_back(cupy, tmp_path):
    X = stripes(130)
    settings = {"epochs": 2, "batch_size": 20, "evolution": "set(0.3)", "optimizer": sr.SGD(0.05, momentum=0.5)}
    rbm = sr.RBM(sr.Bernoulli(16), sr.Bernoulli(20), wiring=sr.ErdosRenyi(density=0.4), backend="cupy")
    sr.train(rbm, X, sr.CD(persistent=True), out=tmp_path / "a", **settings)
    before = arrays_of(rbm)
    for name in ("reference", "cupy"):
        moved = sr.load_model(tmp_path / "a", backend=name)
        assert moved.backend.name == name
        after = arrays_of(moved)
        assert all(after[key].tobytes() == array.tobytes() for key, array in before.items())
    assert sr.resume(tmp_path / "a", X, epochs=3, backend="reference").model.backend.name == "reference"
    back = sr.resume(tmp_path / "a", X, epochs=4, backend="cupy")
    assert back.model.backend.name == "cupy"
    assert back.metrics[-1]["epoch"] == 4


@pytest.mark.gpu_too
@pytest.mark.parametrize("backend_name", ["cupy", "auto"])
def test_estimators_give_back_the_kind_of_array_that_they_got(cupy, backend_name):
    X, y = blobs(60)
    X = X.astype(np.float32)
    for device in (False, True):
        data, labels = (cupy.asarray(X), cupy.asarray(y)) if device else (X, y)
        kind = cupy.ndarray if device else np.ndarray
        rbm = sr.SparseRBM(n_components=4, n_iter=2, random_state=0, backend=backend_name).fit(data)
        for method in ("transform", "reconstruct", "free_energy", "score_samples", "gibbs"):
            assert type(getattr(rbm, method)(data)) is kind, method
        assert type(rbm.fit_transform(X=data)) is kind
        assert type(rbm.inverse_transform(rbm.transform(data))) is kind
        assert type(rbm.components_) is np.ndarray
        classifier = sr.SparseMLPClassifier((5,), max_iter=2, random_state=0, backend=backend_name).fit(data, labels)
        assert type(classifier.predict(data)) is type(classifier.predict_proba(data)) is kind
        assert 0 <= classifier.score(data, labels) <= 1
        regressor = sr.SparseMLPRegressor((5,), max_iter=2, random_state=0, backend=backend_name).fit(data, data[:, 0])
        assert type(regressor.predict(data)) is kind
        assert regressor.score(data, data[:, 0]) <= 1
        named = sr.SparseMLPClassifier((5,), max_iter=1, random_state=0, backend=backend_name).fit(
            data, np.array(["a", "b", "c"])[y]
        )
        assert type(named.predict(data)) is np.ndarray  # CuPy has no texts


@pytest.mark.gpu_too
@pytest.mark.parametrize("kind", ["int32", "int8", "float64", "bool", "uint8"])
def test_samples_of_every_type_are_gathered(cupy, kind):
    samples = (np.random.default_rng(0).random((40, 5)) * 2).astype(kind)
    rows = np.array([3, 39, 0])
    out = np.full((5, 3), np.nan, np.float32)
    hosted("cupy", "float32").gather(samples, rows, out)
    assert np.array_equal(out, samples[rows].T.astype(np.float32))


@pytest.mark.gpu_too
def test_a_backend_is_made_again_where_it_is_loaded(cupy):
    found = pickle.loads(pickle.dumps(get_backend("cupy", "float64")))
    assert (found.name, found.dtype, found.device) == ("cupy", np.float64, 0)


@pytest.mark.gpu_too
def test_the_clock_of_a_recording_can_be_set(cupy):
    """Draws of a replay are those of its step, whichever steps were replayed before."""
    library = get_backend("cupy", "float32")
    out = library.empty((3, 40))
    recording = library.record(lambda: library.uniform(DrawKey(1, 2, 10, 4), out))
    for later in (0, 1, 5, 2, 3):
        recording.replay(later)
        exact = hosted("reference", "float32").uniform(DrawKey(1, 2, 10 + later, 4), np.empty((3, 40), np.float32))
        assert np.array_equal(library.to_numpy(out), exact), later


@pytest.mark.gpu_too
def test_training_takes_arrays_of_the_device(cupy):
    X, y = blobs(60)
    runs = []
    for data, labels in ((X, y), (cupy.asarray(X), cupy.asarray(y))):
        mlp = sr.MLP(6, sr.ReLU(8), sr.Softmax(3), backend="cupy")
        runs.append(sr.train(mlp, data, sr.Backprop(), y=labels, epochs=2, validation=(data, labels)))
        assert type(mlp.predict(data)) is np.ndarray
    assert_same_bytes(runs[0].model, runs[1].model)
