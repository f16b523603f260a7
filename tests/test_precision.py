"""Precision, accumulated gradients and compilation train the same model; a step never waits for the device."""

import copy
import functools
import re

import lightning.pytorch as L
import pytest
import torch
from conftest import run_train
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.base.precision import full
from zoo.learners import _compile, learner_class
from zoo.run import machine

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS = {  # of each that is trained by gradient, a small one
    "logistic_regression": {},
    "svm": {"num_features": 64},
    "mlp": {"hidden_sizes": [16]},
    "lenet": {"channels": [2, 4], "num_features": 8},
    "cnn": {"channels": [4, 8]},
    "rnn": {"hidden_size": 8},
    "vae": {"latent_dim": 3, "hidden_sizes": [16]},
    "dcgan": {"channels": 4},
    "naive_bayes": {},
    "gmm": {"num_components": 2, "pca": 5},
    "hmm": {"num_states": 3},
    "autoregressive": {"channels": 4, "blocks": 2},
    "flow_matching": {"channels": [4], "blocks": 1, "steps": 2},
}
REGIMES = {"vae": "likelihood", "dcgan": "adversarial", "naive_bayes": "likelihood", "gmm": "likelihood"}
REGIMES |= {"hmm": "likelihood", "autoregressive": "likelihood", "flow_matching": "objective"}
BOUNDED = ("logistic_regression", "svm", "mlp", "lenet", "cnn", "rnn", "vae", "dcgan")


@functools.cache
def digits(batch_size: int = 64, train_size: int = 320, val_size: int = 100) -> zoo.ImageDataModule:
    return zoo.ImageDataModule("digits", batch_size=batch_size, train_size=train_size, val_size=val_size)


def build(name: str, model: dict | None = None, regime: str | None = None, **options):
    """A learner of the model ``name``, with the same weights each time."""
    torch.manual_seed(0)
    made = zoo.create(name, digits().spec, **MODELS[name] | (model or {}))
    return learner_class(regime or REGIMES.get(name, "classification"))(made, **options)


def fit(learner, data=None, epochs=1, callbacks=(), ckpt_path=None, **options):
    """Train, and return the learner and what it logged in the last epoch."""
    logged = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    options = {"enable_checkpointing": bool(callbacks), **logged, **options}
    trainer = L.Trainer(max_epochs=epochs, num_sanity_val_steps=0, callbacks=list(callbacks), **options)
    torch.manual_seed(1)
    trainer.fit(learner, data or digits(), ckpt_path=ckpt_path, weights_only=True)
    return learner, {key: float(value) for key, value in trainer.callback_metrics.items()}


def parameters(learner) -> dict[str, torch.Tensor]:
    return {key: value.float() for key, value in learner.state_dict().items() if value.is_floating_point()}


def assert_same(first, second, **tolerance) -> None:
    one, other = parameters(first), parameters(second)
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], msg=lambda text, key=key: f"{key}: {text}", **tolerance)


# Precision


@functools.cache
def in_float32(name: str) -> dict[str, float]:
    return fit(build(name, clip=1.0), epochs=2)[1]


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        *(("bf16-mixed", name) for name in ("svm", "lenet", "rnn", "vae", "dcgan")),
        *(("bf16-true", name) for name in ("svm", "lenet", "dcgan")),
        *(("64-true", name) for name in ("lenet", "dcgan")),
    ],
)
def test_precisions_agree(precision, name):
    """Two epochs end at the loss of float32, within 3 %: what layers compute in 16 bits is not what is summed up."""
    options = {"ema": 0.0} if name == "dcgan" else {}
    logged = fit(build(name, clip=1.0, **options), epochs=2, precision=precision)[1]
    for key in ("train/loss", "train/d_loss", "train/g_loss", "val/loss", "val/log_likelihood"):
        if key in logged:
            assert logged[key] == pytest.approx(in_float32(name)[key], rel=0.03), key


@pytest.mark.parametrize(
    ("name", "regime", "options", "precision", "expected"),
    [
        ("mlp", "classification", {}, "16-true", "bf16-true, not 16-true"),
        ("mlp", "classification", {"ema": 0.9}, "bf16-true", "learner.ema=0"),
        ("dcgan", "adversarial", {}, "bf16-true", "learner.ema=0"),
        ("dcgan", "adversarial", {}, "16-true", "bf16-true, not 16-true"),
        ("vae", "likelihood", {}, "bf16-true", "sum over pixels.*bf16-mixed or 16-mixed"),
        ("gmm", "likelihood", {}, "bf16-mixed", "32-true or 64-true"),
        ("naive_bayes", "likelihood", {}, "bf16-true", "32-true or 64-true"),
        ("gmm", "em", {}, "bf16-mixed", "32-true or 64-true"),
    ],
)
def test_precisions_that_lose_what_counts_are_refused(name, regime, options, precision, expected):
    with pytest.raises(zoo.ConfigError, match=expected):
        fit(build(name, regime=regime, **options), precision=precision)


@pytest.mark.parametrize(("precision", "expected"), [("16-mixed", "needs a GPU"), ("16-true", "allowed values")])
def test_float16_is_refused_on_the_cpu(precision, expected, tmp_path, capsys):
    words = ("model=mlp", "trainer=cpu", "experiment=debug", f"trainer.precision={precision}")
    with pytest.raises(SystemExit):
        run_train(tmp_path / "runs", *words)
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "dtype"),  # torch has no LSTM in float16 for the CPU
    [*((name, torch.bfloat16) for name in BOUNDED), *((name, torch.float16) for name in BOUNDED if name != "rnn")],
)
def test_losses_are_computed_in_float32(name, dtype):
    """Under autocast a criterion differs from that of float32 by what its layers lose alone, and is float32 itself."""
    learner = build(name)
    model = learner.model
    x, labels = digits().splits.train.images[:64] / 255, digits().splits.train.labels[:64]

    def criterion() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        if name == "vae":
            return model.losses(x, labels)
        if name == "dcgan":
            fake = model.generator(model.noise(len(x), None))
            terms = model.discriminator_terms(2 * x - 1, fake, None, 0)[0]
            return {**terms, "generator": model.generator_loss(fake, 2 * x - 1, None)}
        learner._shared = None
        return {"loss": learner.loss(x, labels)}

    expected = criterion()
    with torch.autocast("cpu", dtype):
        found = criterion()
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value.dtype == torch.float32, key
        assert float(value.detach()) == pytest.approx(float(expected[key].detach()), rel=0.02, abs=0.02), key


def test_a_bound_keeps_its_digits():
    """A VAE's KL divergence in bf16-mixed is one of float32 numbers: it takes more values than 8 bits have."""
    model = build("vae").model.eval()
    x = digits().splits.train.images[:64] / 255
    with torch.autocast("cpu", torch.bfloat16):
        q = model.posterior(x)
        log_prob = model.validate(x, x)["recon"]
    assert q.loc.dtype == q.scale.dtype == log_prob.dtype == torch.float32
    assert not torch.equal(log_prob, log_prob.bfloat16().float())


def test_validation_is_of_the_model_as_it_will_be_used(tmp_path):
    """val/* of a bf16-mixed run are those of the loaded model in float32, which autocast would change."""
    words = ("model=cnn", "model.channels=[4]", "experiment=debug", "logger=none", "trainer.precision=bf16-mixed")
    run = run_train(tmp_path, *words, "learner.ema=0.5", "trainer.max_epochs=1")
    header, row = (run / "metrics.csv").read_text().splitlines()
    value = float(row.split(",")[header.split(",").index("val/nll")])
    val = zoo.ImageDataModule("digits", val_size=200).splits.val
    model, x = zoo.load(run), val.images / 255
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    nll = -zoo.classify(model, x).gather(1, val.labels[:, None]).mean().item()
    assert value == pytest.approx(nll, rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert nll != pytest.approx(-zoo.classify(model, x).gather(1, val.labels[:, None]).mean().item(), rel=1e-5)


def test_weights_of_16_bits_are_loaded_as_float32(tmp_path):
    words = ("model=mlp", "model.hidden_sizes=[8]", "experiment=debug", "logger=none", "trainer.precision=bf16-true")
    run = run_train(tmp_path, *words)
    assert torch.load(run / "last.ckpt", weights_only=True)["state_dict"]["model.head.weight"].dtype == torch.bfloat16
    model = zoo.load(run)
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    assert full(model.head.weight.bfloat16()).equal(model.head.weight)  # with the digits that were kept


@pytest.mark.parametrize("options", [{}, {"foreach": True}], ids=["fused", "foreach"])
def test_scaled_gradients(options):
    """16-mixed with a scaler: clipping sees the gradients themselves, once, and the run ends near that of float32."""
    options = {"optimizer": {"name": "SGD", "lr": 0.5, **options}, "clip": 0.1, "accumulate": 2, "ema": 0.9}
    plain, expected = fit(build("lenet", **options), epochs=2)
    scaled, logged = fit(build("lenet", **options), epochs=2, plugins=[MixedPrecision("16-mixed", "cpu")])
    assert logged["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-3)
    assert_same(plain, scaled, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_steps_that_overflow_are_left_out(name):
    """A scale that is too large costs its steps, the weights stay, and the scaler finds a smaller one."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=0.01)
    start = parameters(build(name))
    learner, _ = fit(build(name), plugins=[MixedPrecision("16-mixed", "cpu", scaler)], max_steps=2)
    assert all(torch.equal(value, start[key]) for key, value in parameters(learner).items() if "weight" in key)
    assert learner.global_step == 2
    learner, logged = fit(build(name), plugins=[MixedPrecision("16-mixed", "cpu", scaler)], epochs=3)
    assert scaler.get_scale() < 2.0**30
    assert any(not torch.equal(value, start[key]) for key, value in parameters(learner).items() if "weight" in key)
    assert all(torch.tensor(value).isfinite() for value in logged.values())


@pytest.mark.parametrize(("precision", "ema"), [("bf16-mixed", 0.9), ("bf16-true", 0.0), ("64-true", 0.9)])
def test_resumed_equals_straight(precision, ema, tmp_path):
    """In the middle of an epoch, with a schedule, an average, clipping and accumulated gradients: bit for bit."""
    made = functools.partial(build, "mlp", {"dropout": 0.5}, ema=ema, clip=0.5, accumulate=2)
    steps = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    straight, _ = fit(made(), digits(32), epochs=2, callbacks=[steps], precision=precision)
    resumed, _ = fit(made(), digits(32), epochs=2, precision=precision, ckpt_path=tmp_path / "step=6.ckpt")
    assert resumed.global_step == straight.global_step == 10  # 10 batches an epoch, two of them a step
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_average_shares_what_it_does_not_average():
    """Its parameters are its own, its buffers the model's, and both count in a checkpoint's names as ever."""
    learner, _ = fit(build("cnn", ema=0.9))
    state = learner.state_dict()
    assert {f"ema.module.{key}" for key in learner.model.state_dict()} | {"ema.n_averaged"} <= state.keys()
    assert int(learner.ema.n_averaged) == learner.global_step
    assert not torch.equal(state["model.head.weight"], state["ema.module.head.weight"])
    mean = learner.evaluated.body[2].running_mean
    assert mean.data_ptr() == learner.model.body[2].running_mean.data_ptr()
    fresh = build("cnn", ema=0.9)
    fresh.load_state_dict(state)
    assert_same(learner, fresh, rtol=0, atol=0)


# Accumulated gradients


@pytest.mark.parametrize("name", ["lenet", "svm", "gmm"])
def test_accumulated_batches_are_one_large_batch(name):
    """Four batches of 16 a step equal one of 64, with clipping, an average of the weights and OneCycle."""
    options = {"ema": 0.8, "clip": 0.3}
    large, _ = fit(build(name, **options), digits(64), epochs=2)
    small, _ = fit(build(name, accumulate=4, **options), digits(16), epochs=2)
    assert large.global_step == small.global_step == 10
    assert_same(large, small, rtol=1e-3, atol=1e-4)


def test_unequal_batches_count_by_their_images():
    """Batches of any sizes, the last step with fewer of them: each gradient is the mean over the images of its step."""
    split = digits().splits.train
    sizes, start, batches = [7, 1, 12, 5, 9, 3, 2], 0, []
    for size in sizes:
        part = slice(start, start + size)
        batches.append((split.images[part].float() / 255, split.labels[part]))
        start += size
    options = {"optimizer": {"name": "SGD", "lr": 0.1}, "schedule": {"name": "none"}}
    learner = build("logistic_regression", accumulate=3, **options)
    by_hand = copy.deepcopy(learner.model)
    fit(learner, torch.utils.data.DataLoader(batches, batch_size=None), limit_val_batches=0)
    assert learner.global_step == 3
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1)
    for group in (batches[:3], batches[3:6], batches[6:]):
        x, labels = (torch.cat(parts) for parts in zip(*group, strict=True))
        optimizer.zero_grad()
        by_hand.loss(by_hand(x), labels).backward()
        optimizer.step()
    for key, value in by_hand.state_dict().items():
        torch.testing.assert_close(learner.model.state_dict()[key], value, rtol=1e-4, atol=1e-6)


# No waiting for the device


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a GPU: reading a value, a size that depends on values, numbers of the host
    made a tensor (which a GPU would copy at once)."""

    WAITING = re.compile(
        r"aten\.(_local_scalar_dense|item|nonzero|masked_select|is_nonzero|equal|unique\w*|_unique2|bincount|multinomial|"
        r"repeat_interleave\.Tensor|lift_fresh|_linalg_check_errors)\b"
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        indices = args[1] if str(function).startswith(("aten.index.", "aten.index_put")) else ()
        by_mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if by_mask or self.WAITING.match(str(function)):
            raise AssertionError(f"{function} waits for the device")
        return function(*args, **(kwargs or {}))


def without_waiting(learner):
    step = learner.training_step

    @functools.wraps(step)
    def watched(batch, batch_idx):
        with NoWaiting():
            return step(batch, batch_idx)

    learner.training_step = watched
    return learner


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "32-true") for name in MODELS), *((name, "bf16-mixed") for name in ("cnn", "vae", "dcgan"))],
)
def test_a_step_never_waits_for_the_device(name, precision):
    """Neither forward pass, backward pass, clipping, optimiser, schedule nor the average of the weights."""
    options = {"ema": 0.9, "clip": 0.1} | ({} if name == "dcgan" else {"accumulate": 2})
    # images of a density a class are sorted by class, which takes looking at the labels
    model = {"per_class": False} if name in ("gmm", "hmm") else {}
    learner, logged = fit(without_waiting(build(name, model, **options)), digits(32), precision=precision)
    assert learner.global_step == (10 if name == "dcgan" else 5)
    assert logged


@pytest.mark.parametrize(
    "wait",
    [lambda x: float(x[0]), lambda x: x[x > 0], lambda x: bool(x.any()), lambda x: torch.tensor(1.0), torch.nonzero],
)
def test_waiting_is_noticed(wait):
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        wait(torch.ones(2))


# Compilation


@pytest.fixture
def traced(monkeypatch):
    """Parts are traced and differentiated as in a compilation, but run by torch's own kernels: quicker to test."""
    monkeypatch.setattr(_compile, "COMPILER", {"backend": "aot_eager", "fullgraph": True})
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


COMPILED = [  # model, options, regime, options of the learner, largest number of compilations
    ("mlp", {"dropout": 0.3}, None, {"ema": 0.9, "accumulate": 2}, 2),
    ("cnn", {}, None, {}, 2),
    ("vae", {"warmup": 5.0, "hidden_sizes": [8]}, None, {"clip": 1.0}, 3),
    ("dcgan", {}, None, {}, 6),
    ("gmm", {"per_class": False}, "em", {}, 2),
    ("autoregressive", {}, None, {}, 2),
    ("flow_matching", {}, None, {}, 2),
]


@pytest.mark.parametrize(("name", "model", "regime", "options", "most"), COMPILED)
def test_compiled_equals_plain(name, model, regime, options, most, traced):
    """The same losses, parameters and names, through batches of two sizes, an epoch that counts and validation."""
    data = digits(50)  # 45 or 46 images a batch
    plain, expected = fit(build(name, model, regime, **options), data, epochs=2)
    compiled = build(name, model, regime, **options)
    compiled.compile_training()
    compiled, logged = fit(compiled, data, epochs=2)
    assert 1 <= traced["stats"]["unique_graphs"] <= most
    for key in expected.keys() - {"images_per_second"}:
        assert logged[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-4), key
    assert_same(plain, compiled, rtol=1e-2, atol=1e-3)


def test_inductor_draws_the_same_numbers(monkeypatch):
    """Generated code, with dropout: the losses of a run that is not compiled."""
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    _, expected = fit(build("mlp", {"dropout": 0.5}))
    compiled = build("mlp", {"dropout": 0.5})
    compiled.compile_training()
    _, logged = fit(compiled)
    assert logged["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "regime", "expected"),
    [("rnn", "classification", "does not support RNN"), ("gmm", "em", "depends on the labels")],
)
def test_what_cannot_be_compiled_is_said(name, regime, expected, traced):
    learner = build(name, regime=regime)
    learner.compile_training()
    with pytest.raises(zoo.ConfigError, match=rf"compile=true: this {name} cannot be compiled.*{expected}"):
        fit(learner)


def test_without_a_compiler(tmp_path, monkeypatch, capsys):
    """One line, before the first batch, and no run directory."""
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    with pytest.raises(SystemExit):
        run_train(tmp_path / "runs", "model=mlp", "compile=true", "experiment=debug", "trainer=cpu")
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs a C++ compiler" in line
    assert not (tmp_path / "runs").exists()


def test_compile_is_a_key(traced, tmp_path, capsys):
    """``compile=true`` on the command line: said in the log, the same names in the checkpoint."""
    words = ("model=logistic_regression", "experiment=debug", "logger=none", "trainer=cpu", "trainer.max_epochs=1")
    run = run_train(tmp_path, *words, "compile=true")
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert {key.removeprefix("model.") for key in state} == zoo.load(run).state_dict().keys()
    assert traced["stats"]["unique_graphs"] >= 1
    assert re.fullmatch(r"cpu: .*; compiled", capsys.readouterr().out.splitlines()[2])


# The machine


def test_settings_of_the_machine_are_announced():
    """The threads, and what was set beside them, in a line that fits."""
    line = machine.prepare(torch.device("cpu"))
    threads = torch.get_num_threads()
    assert line.startswith(f"cpu: {threads} thread")
    assert ("glibc" in line) == (machine.platform.libc_ver()[0] == "glibc")
    assert ("no GPU" in line) == (torch.backends.cuda.is_built() and not torch.cuda.is_available())
    assert len(line) <= 80
