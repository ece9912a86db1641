"""``fmtlib train``, as a user runs it, and the names that it knows."""

import csv
import json
import os
import subprocess
import sys

import pytest

from fmtlib import cli, training
from fmtlib.training import recipes
from fmtlib.training.loop import TrainingState
from fmtlib.training.setup import RECIPES

TINY = ("--network", "mlp:hidden=16", "--epochs", "2", "--batch-size", "128", "--quiet")


def run(*arguments, cwd=None, **environment):
    # -P: not the tree beside us, which holds no compiled kernels
    return subprocess.run(
        [sys.executable, "-P", "-m", "fmtlib", "train", *arguments],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment},
    )  # fmt: skip


def result(folder):
    found = json.loads((folder / "result.json").read_text())
    assert found.pop("seconds") > 0
    return found


@pytest.fixture
def train(tmp_path, capsys):
    """`cli.main` of a tiny training: status, standard output and error."""

    def call(*arguments):
        status = cli.main(["train", *TINY, "--out", str(tmp_path / "out"), *arguments])
        return status, *capsys.readouterr()

    return call


def test_results_are_those_of_fit(tmp_path):
    shown = run(*TINY[:-1], "--recipe", "fast:alpha=0.35:beta=0.15", "--learning-rate", "0.15",
                "--seed", "3", cwd=tmp_path, FORCE_COLOR="1", NO_COLOR="1")  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "loss" in shown.stderr  # the live metrics
    folder = tmp_path / "train-results"
    names = ("curves.png", "mantissas.csv", "mantissas.png", "result.json")
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name in ("curves", "mantissas"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    expected = training.fit(
        training.mlp(64, 16, 10, seed=3), training.digits(3), recipe=training.FAST(0.35, 0.15),
        epochs=2, batch_size=128, learning_rate=0.15, seed=3,
    )  # fmt: skip
    found = result(folder)
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert found[name] == list(getattr(expected, name))
    for name in ("test_loss", "test_accuracy", "macs", "effectual_macs", "passes_per_mac"):
        assert found[name] == getattr(expected, name)
    assert found["stopped"] is None
    assert found["recipe"] == repr(expected.recipe)
    assert f"accuracy {expected.test_accuracy:.2%}" in shown.stdout
    with (folder / "mantissas.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["bits"]) for row in rows] == expected.decisions.bits.tolist()
    assert [row["role"] for row in rows] == expected.decisions.role.tolist()


def test_json_alone_on_standard_output(train, tmp_path):
    status, out, err = train("--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "out/result.json").read_text())
    # what an earlier training chose does not stay beside another's result
    assert not (tmp_path / "out/mantissas.csv").exists()


def test_plots():
    fitted = training.fit(
        training.mlp(64, [], 10), training.digits(), recipe=training.FAST(), epochs=2
    )
    loss, accuracy = training.plot_curves(fitted).axes
    assert list(loss.lines[0].get_ydata()) == list(fitted.train_loss)
    assert list(accuracy.lines[1].get_ydata()) == [100 * a for a in fitted.validation_accuracy]
    (image,) = training.plot_decisions(fitted.decisions).axes[0].images
    bits = fitted.decisions.bits[fitted.decisions.role == "weight"]
    assert image.get_array()[0].tolist() == bits.tolist()
    with pytest.raises(ValueError, match="no decisions"):
        training.plot_decisions(training.Float32().start().decisions)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_resumed_is_as_never_interrupted(suffix, train, tmp_path, monkeypatch):
    options = ("--recipe", "bfp:mantissa_bits=2", "--optimizer", "adam", "--checkpoint-every", "3")
    whole, torn = (str(tmp_path / f"{name}.{suffix}") for name in ("whole", "torn"))
    assert run(*TINY, *options, "--checkpoint", whole, cwd=tmp_path).returncode == 0
    step = TrainingState.step

    def interrupted(self, *arguments):
        if self.run.iteration == 14:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingState, "step", interrupted)
        assert train(*options, "--checkpoint", torn)[0] == 130
    assert not (tmp_path / "out/result.json").exists()
    arguments = (*TINY, *options, "--checkpoint", torn, "--resume", "--out", str(tmp_path / "out"))
    assert run(*arguments).returncode == 0
    assert result(tmp_path / "out") == result(tmp_path / "train-results")
    # one that is there is not written over, nor gone on from with other settings
    for more, words in (((), "--resume goes on"), (("--resume", "--epochs", "3"), "epochs was 2")):
        status, _, err = train(*options, "--checkpoint", torn, *more)
        assert status == 1
        assert words in err


def test_stops_where_the_loss_is_not_finite(train, tmp_path):
    status, _, err = train("--learning-rate", "1e9")
    assert status == 1
    assert err.count("\n") == 1
    assert err.startswith("fmtlib: error: the loss is ")
    assert "try a lower learning rate" in err
    assert result(tmp_path / "out")["stopped"] in err
    assert (tmp_path / "out/curves.png").exists()


def test_int8_after_float32(train, tmp_path):
    trained = str(tmp_path / "trained.npz")
    assert train("--checkpoint", trained)[0] == 0
    before = result(tmp_path / "out")["test_accuracy"]
    more = ("--recipe", "int8:bits=8:left_in_float=1", "--learning-rate", "0.01")
    assert train("--weights", trained, *more)[0] == 0
    found = result(tmp_path / "out")
    assert found["test_accuracy"] > before - 0.02
    assert found["recipe"].startswith("INT8(ranges=(Ranges(")
    assert ", None)" in found["recipe"]
    status, _, err = train("--weights", trained, "--network", "mlp:hidden=8")
    assert (status, "has weights of another network" in err) == (1, True)
    assert "trained network" in train(*more)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "fats"], "unknown recipe 'fats'; did you mean 'fast'? allowed: "),
        (["--recipe", "fast:alfa=1"], "fast has no parameter 'alfa'; did you mean 'alpha'?"),
        (["--recipe", "fast:alpha=x"], "fast: alpha: must be a number, got 'x'"),
        (["--recipe", "fast:alpha"], "fast: a parameter is NAME=VALUE, got 'alpha'"),
        (["--recipe", "fast:low=2:low=3"], "fast: low is there twice"),
        (["--recipe", "nm:recipe=(bfp"], "parentheses do not match"),
        (["--recipe", "nm:recipe=(bfpp:low=1)"], "nm: recipe: unknown recipe 'bfpp'; did you mean"),
        (["--recipe", "bfp:mantissa_bits=40"], "mantissa_bits must be from 1 to 8, got 40"),
        (["--recipe", "nm:backward=1"], "nm: backward: must be true or false, got '1'"),
        (["--data", "digit"], "unknown data set 'digit'; did you mean 'digits'"),
        (["--data", "fashion_mnist:path=nowhere"], "nowhere has no train-images"),
        (["--network", "mpl"], "unknown network 'mpl'; did you mean 'mlp'"),
        (["--network", "lstm"], "lstm takes text; the samples have shape (1, 8, 8)"),
        (["--data", "text"], "mlp takes no text"),
        (["--optimizer", "sgd:momentum=2"], "momentum must be at least 0 and below 1, got 2.0"),
        (["--optimizer", "adam:state=e4m9"], "adam: state: e4m9: unknown format 'e4m9'"),
        (["--schedule", "warmup"], "warmup needs steps"),
        (["--loss-scale", "dynamic:initial=0"], "initial must be positive"),
        (["--loss-scale", "many"], "unknown loss scale 'many'; allowed: dynamic, constant"),
        (["--loss-scale", "-2"], "constant:initial=-2.0: initial must be positive"),
        (["--recipe", "json.JSONDecoder"], "json.JSONDecoder is no recipe: it must inherit from R"),
        (["--recipe", "nm:recipe=(no.Own)"], "nm: recipe: unknown recipe 'no.Own': there is no mo"),
        (["--learning-rate", "-1"], "learning_rate must be positive and finite, got -1.0"),
        (["--resume"], "--resume needs the --checkpoint"),
        (["--resume", "--checkpoint", "nowhere.npz"], "there is no checkpoint 'nowhere.npz'"),
    ],
)
def test_errors_are_one_line(arguments, message, train):
    status, out, err = train(*arguments)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith("fmtlib: error: ")
    assert message in err


def test_an_image_network_says_what_it_takes(train):
    pytest.importorskip("mnist1d")
    assert "cnn takes images; the samples have shape (40,)" in train(
        "--data", "mnist1d", "--network", "cnn"
    )[2]  # fmt: skip


def test_missing_extras_are_named(train, monkeypatch):
    monkeypatch.setattr("fmtlib.training.command.find_spec", lambda name: None)
    assert 'pip install "fmtlib[train]"' in train()[2]


def test_help_says_all():
    shown = run("--help")
    assert shown.returncode == 0
    for name in ("--resume", "fashion_mnist", "transformer", "mantissa_bits=4", "fast: alpha=0.6",
                 "warmup: steps", "adamw", "recipe=(bfp:mantissa_bits=4)"):  # fmt: skip
        assert name in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_every_recipe_has_a_name():
    public = [getattr(training, name) for name in training.__all__]
    classes = {
        item
        for item in public
        if isinstance(item, type)
        and issubclass(item, recipes.Recipe)
        and item.__module__.startswith(recipes.__name__)
    }
    bases = {cls for cls in classes for other in classes - {cls} if issubclass(other, cls)}
    assert {"float32", "bf16", "fp8", "bfp", "fast", "int8", "nm"} <= RECIPES.keys()
    assert RECIPES.keys() == {cls.__name__.lower() for cls in classes - bases}
    for name in RECIPES.keys() - {"int8"}:
        recipe = training.parse_recipe(name)
        assert recipe == type(recipe)()
        assert type(recipe).__name__.lower() == name
    nested = training.parse_recipe("storedweights:recipe=(nm:kept=1:recipe=bf16):random_bits=8")
    assert nested == training.StoredWeights(
        recipe=training.NM(kept=1, recipe=training.BF16()), random_bits=8
    )


def test_recipes_of_ones_own(tmp_path):
    (tmp_path / "my_recipes.py").write_text(
        "from dataclasses import dataclass\nfrom fmtlib import training\n\n"
        "@dataclass(frozen=True)\nclass Own(training.BFP):\n    note: str = ''\n"
    )
    found = []
    for recipe in ("bfp:mantissa_bits=2", "my_recipes.Own:mantissa_bits=2:note=hello"):
        shown = run(*TINY, "--recipe", recipe, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        found.append(result(tmp_path / "train-results"))
    assert found[0]["train_loss"] == found[1]["train_loss"]
    assert found[1]["setup"]["recipe"] == recipe
    assert "note='hello'" in found[1]["recipe"]


@pytest.mark.parametrize("given", [1000, 1000.0, "1000", "1e3"])
def test_a_loss_scale_that_is_a_number(given):
    losses = [
        training.Setup(network="mlp:hidden=8", epochs=1, loss_scale=scale).train().train_loss
        for scale in (given, "constant:initial=1000", None)
    ]
    assert losses[0] == losses[1] != losses[2]  # 1000 is no power of two, so rounds


@pytest.mark.parametrize("network", ["lstm:units=8", "gru:units=8", "transformer:width=8:heads=2"])
def test_networks_of_text(network):
    setup = training.Setup(
        data="text:length=8:characters=2000", network=network, recipe="mxfp8", epochs=1,
        optimizer="adamw:state=(e5m2:scaled=true)", schedule="warmup:steps=2:then=(steps:at=0.5)",
        loss_scale="constant:initial=256", clip_norm=1.0,
    )  # fmt: skip
    assert setup.learning_rate == 0.002
    found = setup.train()
    assert found.stopped is None
    assert 0 < found.test_accuracy < 1


@pytest.mark.parametrize("network", ["cnn:channels=4,4", "resnet:channels=4,8"])
def test_networks_of_images(network):
    found = training.Setup(network=network, epochs=2, batch_size=64).train()
    assert found.train_loss[1] < found.train_loss[0]
