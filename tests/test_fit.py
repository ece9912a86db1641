"""`fit`: optimisers, schedules, scales of losses, checkpoints that resume bit for bit, stops."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fmtlib as fl
from fmtlib import training
from fmtlib.training.checkpoints import load_checkpoint, save_checkpoint

pytest.importorskip("safetensors")


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(scope="module")
def tiny():
    x, y = normal(96, 20), np.arange(96) % 3
    x[np.arange(96), y] += 2
    return training.split(x, y, seed=0, test=0.2, validation=0.2)


@pytest.fixture(scope="module")
def images():
    x, y = normal(60, 1, 6, 6), np.arange(60) % 3
    x[np.arange(60), 0, 0, y] += 3
    return training.split(x, y, seed=0, test=0.2, validation=0.2)


@pytest.fixture(scope="module")
def words():
    return training.text("to be or not to be, that is the question: " * 12, length=8)


def values_of(network):
    return list(network.state().values())


# --- checkpoints -------------------------------------------------------------------------------

# everything that has a state: momentum, both means, statistics, dropout, widths, loss scales
TRAININGS = {
    "mlp": lambda: (training.mlp(20, 8, 3), {"recipe": training.FAST()}),
    "resnet": lambda: (training.resnet((1, 6, 6), (3, 4), classes=3), {"learning_rate": 0.05}),
    "lstm": lambda: (
        training.recurrent(16, 6, dropout=0.3),
        {"clip_norm": 1.0, "loss_scale": training.LossScale(interval=3)},
    ),
    "transformer": lambda: (
        training.transformer(16, 8, 8, 2, 1, dropout=0.2),
        {"recipe": training.BFP(4), "schedule": training.Warmup(4), "learning_rate": 0.002},
    ),
}


class Interrupted(Exception):  # noqa: N818
    """What ends a training in a test."""


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("name", TRAININGS)
def test_resumed_training_is_the_same_bit_for_bit(name, suffix, tiny, images, words, tmp_path):
    data = {"mlp": tiny, "resnet": images}.get(name, words)
    path = tmp_path / f"checkpoint.{suffix}"

    def train(stop_at=None, **options):
        network, arguments = TRAININGS[name]()
        if name in ("lstm", "transformer"):
            state = training.StateFormat("bfloat16", "stochastic", seed=2)
            optimizer = training.AdamW(network.parameters, state=state)
        else:
            optimizer = training.SGD(network.parameters, weight_decay=0.01)

        def progress(at):
            if at.iteration == stop_at:
                raise Interrupted

        result = training.fit(
            network, data, epochs=3, batch_size=16, optimizer=optimizer, progress=progress, seed=7,
            **arguments, **options,
        )  # fmt: skip
        return result, network

    expected, network = train()
    steps = -(-len(data.train) // 16)
    for stop_at in (1, 2, steps, steps + 2, 3 * steps):
        path.unlink(missing_ok=True)
        with pytest.raises(Interrupted):
            train(stop_at, checkpoint=path, checkpoint_every=1)
        # what is on the disk is of the step before: the callback comes first
        result, resumed = train(checkpoint=path, resume=True, checkpoint_every=1)
        assert result == expected
        for value, wanted in zip(values_of(resumed), values_of(network), strict=True):
            assert_array_equal(value, wanted)
    # a finished training gives its result again
    again, _ = train(checkpoint=path, resume=True, checkpoint_every=1)
    assert again == expected
    assert again.seconds > 0


def test_checkpoints_come_at_the_end_of_epochs(tiny, tmp_path):
    path = tmp_path / "a.npz"
    seen = []

    def progress(at):
        seen.append(int(load_checkpoint(path)[0]["run.counts"][0]))

    training.fit(
        training.mlp(20, 8, 3), tiny, epochs=2, batch_size=32, checkpoint=path, progress=progress
    )
    assert seen == [0, 0, 2, 2]  # 63 samples: two steps in an epoch


def test_no_checkpoint_is_left_half_written(tiny, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    options = {"epochs": 1, "checkpoint": path}
    training.fit(training.mlp(20, 8, 3), tiny, **options)
    before = path.read_bytes()

    def broken(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np.lib.format, "write_array", broken)
    with pytest.raises(OSError, match="no space"):
        training.fit(training.mlp(20, 8, 3), tiny, **options)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed was 0 there and is 1 here"),
        ({"epochs": 3}, "epochs was 2 there and is 3 here"),
        ({"recipe": training.BFP(4)}, r"recipe was Float32\(\) there and is BFP\("),
        ({"schedule": training.constant}, "schedule was cosine there and is constant here"),
        ({"momentum": 0.5}, "optimizer was SGD"),
        ({"network": training.mlp(20, 9, 3)}, "must be float32"),
        ({"network": training.mlp(20, (8, 8), 3)}, "layers was Flatten, Linear, ReLU, Linear"),
    ],
)
def test_checkpoints_of_other_trainings_are_refused(changed, message, tiny, tmp_path):
    path = tmp_path / "a.npz"
    training.fit(training.mlp(20, 8, 3), tiny, epochs=2, checkpoint=path)
    options = {"network": training.mlp(20, 8, 3), "epochs": 2, "checkpoint": path} | changed
    network = options.pop("network")
    before = values_of(network)
    with pytest.raises(ValueError, match=message):
        training.fit(network, tiny, resume=True, **options)
    for value, wanted in zip(values_of(network), before, strict=True):
        assert_array_equal(value, wanted)


def test_checkpoints_of_other_data_are_refused(tiny, tmp_path):
    path = tmp_path / "a.npz"
    training.fit(training.mlp(20, 8, 3), tiny, epochs=1, checkpoint=path)
    x = tiny.train.x.copy()
    x[3, 5] += 1e-3
    other = dataclasses.replace(tiny, train=training.Part(x, tiny.train.y))
    with pytest.raises(ValueError, match="data was CRC-32"):
        training.fit(training.mlp(20, 8, 3), other, epochs=1, checkpoint=path, resume=True)


def test_damaged_checkpoints_are_refused(tiny, tmp_path):
    path = tmp_path / "a.safetensors"
    options = {"epochs": 1, "checkpoint": path}
    training.fit(training.mlp(20, 8, 3), tiny, **options)

    def resume():
        return training.fit(training.mlp(20, 8, 3), tiny, resume=True, **options)

    data = path.read_bytes()
    for place in range(9, len(data), len(data) // 40):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(ValueError, match=r"damaged|no checkpoint|has version"):
            resume()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"):
        resume()
    fl.save(path, {"x": np.arange(3)})
    with pytest.raises(ValueError, match="is no checkpoint of training"):
        resume()
    for text in (b"{", b"[]", b"3", b'{"kind": 1, "version": 1, "record": {}}', b"[" * 100_000):
        fl.save(path, {"checkpoint": np.frombuffer(text, np.uint8)})
        with pytest.raises(ValueError, match="is no checkpoint of training"):
            resume()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, record: record.pop("scale"), "scale"),
        (lambda arrays, record: record.pop("settings"), "settings"),
        (lambda arrays, record: record.update(settings=3), "no checkpoint"),
        (lambda arrays, record: record.update(scale="1"), "scale must be a number"),
        (lambda arrays, record: record.update(good_steps=True), "good_steps must be a number"),
        (lambda arrays, record: arrays.pop("optimizer.steps"), "the state has no steps"),
        (lambda arrays, record: arrays.pop("run.counts"), "not the state of a run"),
        (lambda arrays, record: arrays.pop("history.train_loss"), "train_loss"),
        (lambda arrays, record: arrays.update(other=np.zeros(1)), "other"),
        (
            lambda arrays, record: arrays.update({"history.train_loss": np.zeros((1, 1))}),
            "history must be",
        ),
        (
            lambda arrays, record: arrays.update({"optimizer.steps": np.array(-1)}),
            "steps of the optimizer",
        ),
        (
            lambda arrays, record: arrays.update({"optimizer.velocity.0": np.zeros((8, 20))}),
            "velocity.0 of the optimizer must be float32",
        ),
        (
            lambda arrays, record: arrays.update({"run.counts": np.array([99, 0, 0, 0, 0, 0])}),
            "iteration must be from 0 to 1",
        ),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(change, message, tiny, tmp_path):
    path = tmp_path / "a.npz"
    options = {"epochs": 1, "checkpoint": path}
    training.fit(training.mlp(20, 8, 3), tiny, **options)
    arrays, record = load_checkpoint(path)
    change(arrays, record)
    save_checkpoint(path, arrays, record)
    with pytest.raises(ValueError, match=message):
        training.fit(training.mlp(20, 8, 3), tiny, resume=True, **options)


def test_version_of_checkpoints(tmp_path):
    text = json.dumps({"kind": "fmtlib training checkpoint", "version": 99, "record": {}})
    path = tmp_path / "a.npz"
    fl.save(path, {"checkpoint": np.frombuffer(text.encode(), np.uint8)})
    with pytest.raises(ValueError, match="has version 99, this fmtlib reads 1"):
        load_checkpoint(path)


def test_the_state_of_a_network_goes_through_files(images, tmp_path):
    network = training.resnet((1, 6, 6), (3,), classes=3)
    training.fit(network, images, epochs=1, learning_rate=0.05)
    fl.save(tmp_path / "net.safetensors", network.state())
    other = training.resnet((1, 6, 6), (3,), classes=3, seed=9)
    other.restore(fl.load(tmp_path / "net.safetensors"))
    assert_array_equal(other.logits(images.test.x), network.logits(images.test.x))


# --- optimisers, schedules, scales -------------------------------------------------------------


def test_adam_against_the_formula():
    weight, bias = (training.Parameter(normal(*shape)) for shape in ((3, 2), (3,)))
    optimizer = training.Adam([weight, bias], (0.8, 0.9), 1e-4, weight_decay=0.1)
    kept = []
    for p in (weight, bias):
        kept.append([p.value.astype(np.float64), 0.0, 0.0, 0.1 if p is weight else 0.0])
    for step in range(1, 5):
        for number, (p, state) in enumerate(zip((weight, bias), kept, strict=True)):
            p.gradient = normal(*p.value.shape, seed=10 * step + number)
            value, mean, square, decay = state
            gradient = p.gradient + decay * value
            mean = 0.8 * mean + 0.2 * gradient
            square = 0.9 * square + 0.1 * gradient**2
            root = np.sqrt(square / (1 - 0.9**step)) + 1e-4
            state[:] = value - 0.05 * mean / (1 - 0.8**step) / root, mean, square, decay
        optimizer.step(0.05)
        for p, state in zip((weight, bias), kept, strict=True):
            assert_allclose(p.value, state[0], rtol=1e-5, atol=1e-6)


def test_adamw_decays_values():
    p = training.Parameter(np.full((2, 2), 4, np.float32))
    training.AdamW([p], weight_decay=0.5).step(0.25)
    assert_allclose(p.value, 4 * (1 - 0.125))
    bias = training.Parameter(np.full(2, 4, np.float32))
    training.AdamW([bias], weight_decay=0.5).step(0.25)
    assert_allclose(bias.value, 4)


@pytest.mark.parametrize("make", [training.SGD, training.Adam, training.AdamW])
def test_optimizers_go_on_from_their_state(make):
    def steps(optimizer, numbers):
        for number in numbers:
            for p in optimizer.parameters:
                p.gradient = normal(*p.value.shape, seed=number)
            optimizer.step(0.1)

    one, two = (
        make([training.Parameter(normal(3, 2)), training.Parameter(normal(3))]) for _ in range(2)
    )
    steps(one, range(3))
    for p, q in zip(one.parameters, two.parameters, strict=True):
        q.value[...] = p.value
    two.restore(one.state())
    for optimizer in (one, two):
        steps(optimizer, range(3, 6))
    for p, q in zip(one.parameters, two.parameters, strict=True):
        assert_array_equal(p.value, q.value)
    assert one.steps == two.steps == 6


@pytest.mark.parametrize("fmt", ["bfloat16", "e5m2", "mxfp8_e4m3", "int8"])
def test_the_state_of_optimizers_lies_on_a_grid(fmt):
    state = training.StateFormat(fmt, "stochastic", scaled=False, seed=3)
    p = training.Parameter(10 * normal(5, 40))
    optimizer, again = (training.SGD([p], state=state) for _ in range(2))
    exact = training.SGD([training.Parameter(p.value.copy())])
    for step in range(4):
        for one in (optimizer, again, exact):
            one.parameters[0].gradient = 10 * normal(5, 40, seed=step)
            one.step(0.0)
    velocity = optimizer.state()["velocity.0"]
    assert_array_equal(fl.quantize(velocity, fmt), velocity)
    assert_array_equal(velocity, again.state()["velocity.0"])
    wanted = exact.state()["velocity.0"]
    assert 0 < np.abs(velocity - wanted).max() < 0.5 * np.abs(wanted).max()


def test_the_state_of_optimizers_is_scaled():
    p = training.Parameter(np.zeros(3, np.float32))
    optimizer = training.SGD([p], state=training.StateFormat("e4m3"))
    p.gradient = np.float32([1e-20, -3e-22, 0])
    optimizer.step(1.0)
    assert_allclose(optimizer.state()["velocity.0"], p.gradient, rtol=0.07)


@pytest.mark.parametrize(
    ("make", "rate"), [(training.SGD, 0.15), (training.AdamW, 0.01)], ids=["SGD", "AdamW"]
)
def test_narrow_states_train(make, rate):
    data = training.digits()
    network = training.mlp(64, 32, 10)
    fmt = "mxfp8_e5m2" if make is training.SGD else "bfloat16"
    state = training.StateFormat(fmt, "stochastic", seed=1)
    optimizer = make(network.parameters, state=state)
    result = training.fit(network, data, epochs=3, optimizer=optimizer, learning_rate=rate)
    assert result.test_accuracy > 0.85


def test_schedules_end_where_they_should():
    assert [training.constant(0.3, step, 3) for step in range(3)] == [0.3] * 3
    steps = training.Steps((0.5, 0.75), 0.5)
    assert [steps(8.0, step, 8) for step in range(8)] == [8, 8, 8, 8, 4, 4, 2, 2]
    warmup = training.Warmup(4, training.constant)
    assert [warmup(1.0, step, 8) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    # longer than training: it only rises
    assert [training.Warmup(8)(1.0, step, 4) for step in range(4)] == [0.125, 0.25, 0.375, 0.5]


def test_the_schedule_is_followed(tiny):
    seen = []

    def schedule(peak, step, steps):
        seen.append((peak, step, steps))
        return peak

    training.fit(
        training.mlp(20, 8, 3), tiny, epochs=2, batch_size=32, learning_rate=0.25, schedule=schedule
    )
    assert seen == [(0.25, step, 4) for step in range(4)]


def test_gradients_are_clipped(tiny):
    network = training.mlp(20, 8, 3)
    before = network.state()
    training.fit(
        network, tiny, epochs=1, batch_size=63, momentum=0.0, learning_rate=1.0, clip_norm=0.01
    )
    moved = [network.state()[name] - before[name] for name in before]
    assert_allclose(np.sqrt(sum((m.astype(float) ** 2).sum() for m in moved)), 0.01, rtol=1e-3)


def test_a_scale_of_a_power_of_two_changes_nothing(tiny):
    networks = [training.mlp(20, 8, 3) for _ in range(2)]
    for network, scale in zip(
        networks, (None, training.LossScale(1024.0, interval=None)), strict=True
    ):
        training.fit(network, tiny, epochs=2, loss_scale=scale)
    for value, wanted in zip(*map(values_of, networks), strict=True):
        assert_array_equal(value, wanted)


def test_the_scale_follows_overflow(tiny):
    class Overflowing(training.Float32):
        """Gradients above 2.0**20 are infinite."""

        def product(self, a, b, left, right):
            out, passes = super().product(a, b, left, right)
            if left.gemm == "weight_gradient":
                out[np.abs(out) > 2.0**20] = np.inf
            return out, passes

    network = training.mlp(20, 8, 3)
    scale = training.LossScale(2.0**30, interval=6)
    result = training.fit(
        network, tiny, recipe=Overflowing(), epochs=10, batch_size=16, loss_scale=scale
    )
    # every second scale is too great once it has grown back
    assert 8 <= result.skipped_steps < 20
    assert result.stopped is None
    assert result.test_accuracy > 0.7


def test_loss_scale_rule():
    dynamic, static = training.LossScale(8.0, 4, 4.0, 0.25), training.LossScale(8.0, None)
    assert [dynamic.after(8.0, steps, False) for steps in (1, 3, 4, 8)] == [8, 8, 32, 32]
    assert dynamic.after(8.0, 0, True) == 2
    assert static.after(8.0, 4, False) == static.after(8.0, 0, True) == 8
    assert dynamic.after(2.0**127, 4, False) == 2.0**127  # no infinity


def test_mean_squared_error_trains():
    x = normal(200, 3)
    y = x @ normal(3, 2, seed=1)
    parts = [training.Part(x[a:b], y[a:b]) for a, b in ((0, 120), (120, 160), (160, 200))]
    network = training.Network([training.Linear(3, 2, np.random.default_rng(0))])
    result = training.fit(
        network, training.Dataset(*parts), epochs=30, loss=training.mean_squared_error
    )
    assert result.test_loss < 1e-3 < result.train_loss[0]
    assert result.train_accuracy == result.validation_accuracy == ()
    assert result.test_accuracy is None
    assert len(result.validation_loss) == 30


def test_text_is_learnt(words):
    network = training.transformer(len(words.vocabulary), 8, 16, 2, 1)
    result = training.fit(
        network, words, epochs=30, learning_rate=0.01, batch_size=16,
        optimizer=training.Adam(network.parameters),
    )  # fmt: skip
    assert result.test_accuracy > 0.7
    guesses = network.predict(words.test.x)
    assert guesses.shape == words.test.y.shape
    assert (guesses == words.test.y).mean() == result.test_accuracy


# --- what stops training -----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_stops_at_a_loss_that_is_not_finite(bad, tiny):
    calls = []

    def loss(outputs, labels):
        value, gradient = training.softmax_cross_entropy(outputs, labels)
        calls.append(value)  # the third is of the validation part
        return (bad if len(calls) == 4 else value), gradient

    network = training.mlp(20, 8, 3)
    with pytest.warns(RuntimeWarning, match=f"the loss is {bad} at step 2 of 8: training stopped"):
        result = training.fit(network, tiny, epochs=4, batch_size=32, loss=loss)
    assert result.stopped.startswith(f"the loss is {bad} at step 2 of 8")
    assert len(result.train_loss) == 1
    assert result.test_accuracy is not None
    for value in values_of(network):
        assert np.isfinite(value).all()


def test_training_stops_at_gradients_that_are_not_finite(tiny):
    def loss(outputs, labels):
        value, gradient = training.softmax_cross_entropy(outputs, labels)
        return value, gradient * np.nan

    network = training.mlp(20, 8, 3)
    before = values_of(network)
    with pytest.warns(RuntimeWarning, match="the gradient of 3.bias is not finite at step 0 of 4"):
        result = training.fit(network, tiny, epochs=4, loss=loss)
    assert "loss_scale" in result.stopped
    for value, wanted in zip(values_of(network), before, strict=True):
        assert_array_equal(value, wanted)


def test_training_stops_when_no_scale_is_small_enough(tiny):
    def loss(outputs, labels):
        value, gradient = training.softmax_cross_entropy(outputs, labels)
        return value, gradient * np.nan

    scale = training.LossScale(1.0, backoff=2.0**-40)
    with pytest.warns(RuntimeWarning, match="the loss scale fell to"):
        result = training.fit(training.mlp(20, 8, 3), tiny, epochs=9, loss=loss, loss_scale=scale)
    assert result.skipped_steps == 4


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"optimizer": training.SGD}, TypeError, "must be an Optimizer or None, .*calling it"),
        ({"optimizer": training.SGD([])}, ValueError, "must be of the network's parameters"),
        ({"loss_scale": 1024}, TypeError, "loss_scale must be a LossScale"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive"),
        ({"resume": True}, ValueError, "need a checkpoint"),
        ({"checkpoint_every": 2}, ValueError, "need a checkpoint"),
        ({"checkpoint": "a.npz", "checkpoint_every": 0}, ValueError, "at least 1"),
        ({"schedule": 3}, TypeError, "schedule must be callable"),
        ({"loss": "mse"}, TypeError, "loss must be callable"),
        ({"checkpoint": "a.txt"}, ValueError, "suffix"),
    ],
)
def test_wrong_arguments_of_fit(tiny, changed, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        training.fit(training.mlp(20, 4, 3), tiny, epochs=1, progress=pytest.fail, **changed)
    assert list(tmp_path.iterdir()) == []


def test_momentum_is_of_the_default_optimizer(tiny):
    network = training.mlp(20, 4, 3)
    optimizer = training.Adam(network.parameters)
    with pytest.raises(ValueError, match="are of the default optimizer"):
        training.fit(network, tiny, epochs=1, optimizer=optimizer, momentum=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: training.StateFormat("e4m4"), "e4m4"),
        (lambda: training.StateFormat("e4m3", "near"), "rounding must be one"),
        (lambda: training.StateFormat("e4m3", seed=-1), "seed must be"),
        (lambda: training.Adam([], betas=(0.9, 1.0)), "betas must be two numbers"),
        (lambda: training.Adam([], epsilon=0.0), "epsilon must be positive"),
        (lambda: training.AdamW([], weight_decay=-1), "weight_decay must be"),
        (lambda: training.clip_gradients([], 0.0), "max_norm must be positive"),
        (lambda: training.LossScale(initial=0.0), "initial must be positive"),
        (lambda: training.LossScale(initial=2.0**128), "at most 2"),
        (lambda: training.LossScale(interval=0), "interval must be at least 1"),
        (lambda: training.LossScale(growth=0.5), "growth must be at least 1"),
        (lambda: training.LossScale(backoff=2.0), "backoff must be above 0"),
        (lambda: training.Steps(at=(1.5,)), "at must be shares"),
        (lambda: training.Steps(factor=0.0), "factor must be positive"),
        (lambda: training.Warmup(0), "steps must be at least 1"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
