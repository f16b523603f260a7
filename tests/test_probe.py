"""A classifier on the codes of a frozen encoder."""

import json

import pytest
import torch
from conftest import run_train

import zoo
from zoo import checkpoint
from zoo.models.probe import Probe

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = zoo.DataSpec((1, 14, 12), 3, mean=(0.3,), std=(0.4,))
ENCODERS = {  # natively, and by features
    "vae": {"hidden_sizes": [16], "latent_dim": 5},
    "conditional_vae": {"hidden_sizes": [16], "latent_dim": 5, "conditional": True},
    "gmm": {"num_components": 2, "pca": 4},
    "hmm": {"num_states": 2},
    "mlp": {"hidden_sizes": [7]},
    "lenet": {"num_features": 6},
}


def images(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, *SPEC.shape, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


def encoder_of(name: str) -> torch.nn.Module:
    torch.manual_seed(1)
    model = zoo.create(name.removeprefix("conditional_"), SPEC, **ENCODERS[name])
    if hasattr(model, "initialize"):
        model.initialize([images()], torch.Generator().manual_seed(0))
    if name == "mlp":  # statistics of a batch that differ from those it starts with
        model(3 * images()[0])
    return model


def trained(probe: Probe, steps: int = 40, seed: int = 0) -> Probe:
    x, labels = images()
    optimizer = torch.optim.AdamW(probe.parameters(), 1e-2, weight_decay=0.1)
    probe.train()
    for _ in range(steps):
        optimizer.zero_grad()
        probe.loss(probe(x), labels).backward()
        optimizer.step()
    return probe


@pytest.fixture(params=ENCODERS)
def released(request, tmp_path):
    """An encoder, and the folder where it lies."""
    encoder = encoder_of(request.param)
    return encoder, zoo.save(encoder, tmp_path / "encoder")


def test_the_encoder_stays_as_it_is(released):
    """Weights, statistics and mode, through training with weight decay; and nothing flows back to it."""
    encoder, folder = released
    probe = zoo.create("probe", SPEC, encoder=str(folder))
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    trained(probe)
    assert not probe.encoder.training
    assert probe.classifier.training
    after = probe.encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(parameter.grad is None for parameter in probe.encoder.parameters())
    x, _ = images()
    torch.testing.assert_close(probe.codes(x), zoo.encode(encoder, x))
    assert not probe.codes(x.requires_grad_()).requires_grad


def test_a_release_is_whole(released, tmp_path):
    """It is read without the encoder's folder, names no path, and answers with the same numbers."""
    _, folder = released
    probe = trained(zoo.create("probe", SPEC, encoder=str(folder), classifier="mlp"), 5)
    kept = zoo.save(probe, tmp_path / "probe")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    again = zoo.load(kept)
    assert str(tmp_path) not in (kept / "config.json").read_text()
    options = json.loads((kept / "config.json").read_text())["model"]["options"]
    assert set(options["encoder"]) == {"name", "spec", "options"}
    x, _ = images()
    assert torch.equal(zoo.classify(again, x), zoo.classify(probe, x))
    assert not any(parameter.requires_grad for parameter in again.encoder.parameters())
    torch.testing.assert_close(zoo.encode(again, x), zoo.encode(probe, x))


def test_codes_are_standardised(tmp_path):
    """Codes of any scale, and of any mean, reach the classifier with mean 0 and variance 1."""
    encoder = encoder_of("lenet")
    with torch.no_grad():
        encoder.hidden.weight.mul_(1e4)
        encoder.hidden.bias.fill_(1e5)
    probe = zoo.create("probe", SPEC, encoder=str(zoo.save(encoder, tmp_path / "encoder")))
    x, _ = images(64)
    standard = probe.train().features(x)  # logistic regression's features are its inputs
    torch.testing.assert_close(standard.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.var(0, correction=0), torch.ones(6), atol=1e-2, rtol=0)
    for _ in range(100):
        probe(x)
    torch.testing.assert_close(probe.eval().features(x), standard, atol=0.05, rtol=0.05)


def test_without_an_encoder_it_is_the_classifier():
    x, _ = images()
    for name in ("svm", "mlp"):
        torch.manual_seed(0)
        probe = zoo.create("probe", SPEC, classifier=name).eval()
        torch.manual_seed(0)
        alone = zoo.create(name, SPEC).eval()
        assert torch.equal(probe(x), alone(x))
        assert probe.margins == alone.margins


def test_a_margin_is_calibrated(tmp_path):
    """The classifier's own criterion, and its own probabilities."""
    folder = zoo.save(encoder_of("vae"), tmp_path / "encoder")
    probe = trained(zoo.create("probe", SPEC, encoder=str(folder), classifier="svm"), 5).eval()
    x, labels = images()
    logits = probe(x).detach()
    torch.testing.assert_close(probe.loss(logits, labels), probe.classifier.loss(logits, labels))
    before = zoo.classify(probe, x)
    probe.calibrate(logits, labels)
    assert float(probe.classifier.temperature) != 1
    assert not torch.equal(zoo.classify(probe, x), before)
    with pytest.raises(ValueError, match="label smoothing"):
        probe.loss(logits, labels, 0.1)


def test_what_cannot_be_probed(tmp_path):
    for name, options, message in (
        ("dcgan", {"channels": 4}, "encoder=dcgan cannot encode"),
        ("naive_bayes", {}, "cannot encode"),
    ):
        folder = zoo.save(zoo.create(name, SPEC, **options), tmp_path / name)
        with pytest.raises(zoo.ZooError, match=message):
            zoo.create("probe", SPEC, encoder=str(folder))
    other = zoo.save(zoo.create("mlp", zoo.DataSpec((3, 8, 8), 3)), tmp_path / "other")
    for options, message in (
        ({"encoder": str(other)}, r"shape \(3, 8, 8\)"),
        ({"encoder": str(tmp_path / "nowhere")}, "does not exist"),
        ({"encoder": {"name": "mlp"}}, "name, spec and options"),
        ({"classifier": "gmm"}, "no model of p"),
        ({"classifier": "mpl"}, "did you mean"),
    ):
        with pytest.raises(zoo.ZooError, match=message):
            zoo.create("probe", SPEC, **options)


def test_trained_from_the_command_line(tmp_path):
    """The codes of a trained VAE are classified; what is kept needs its run no more."""
    options = ("data=digits", "experiment=debug", "logger=none")
    vae = run_train(tmp_path / "vae", "model=vae", "model.latent_dim=8", "model.hidden_sizes=[64]", *options)
    run = run_train(
        tmp_path / "probe", "model=probe", f"model.encoder={vae}", *options, "learner.ema=0.9", "trainer.max_epochs=3"
    )
    encoder = zoo.load(vae)
    for path in vae.glob("*.ckpt"):
        path.unlink()
    probe, again = zoo.load(run), zoo.load(run / "best.ckpt")
    assert probe.config["options"]["encoder"] == encoder.config
    assert str(tmp_path) not in str(checkpoint.read(run / "best.ckpt")["zoo"])
    for kept in (probe, zoo.load(run, ema=False)):
        state = kept.encoder.state_dict()
        assert all(torch.equal(state[key], value) for key, value in encoder.state_dict().items())
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(zoo.classify(probe, x), zoo.classify(again, x))
    assert probe.standardize.num_batches_tracked > 0
    assert probe.classifier.head.weight.abs().max() > 0
