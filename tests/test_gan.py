"""The adversarial pair: its losses by formula, who is changed by whose step, the count of steps, and what can be asked.

The shapes and promises that all models share are in test_contract.
"""

import csv
import json

import pytest
import torch
from conftest import ROOT, command, run_train
from torch import nn

import zoo
from zoo.base.model import evaluating
from zoo.learners.adversarial import AdversarialLearner
from zoo.models import dcgan
from zoo.models.dcgan import DCGAN

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 12, 10)


def build(shape=SHAPE, classes=3, **options) -> DCGAN:
    torch.manual_seed(0)
    return zoo.create("dcgan", zoo.DataSpec(shape, classes), **{"channels": 4, "latent_dim": 6, **options})


def images(n: int = 8, shape=SHAPE) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


class Linear(nn.Module):
    """D(x) = w·x + b, whose gradient is w everywhere."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return x.flatten(1) @ self.weight + 3


# Losses


FORMULAS = {  # of D(x) and D(G(z)), as the papers write them
    "non_saturating": (
        lambda r, f: -(torch.log(torch.sigmoid(r)).mean() + torch.log(1 - torch.sigmoid(f)).mean()),
        lambda f: -torch.log(torch.sigmoid(f)).mean(),
    ),
    "minimax": (
        lambda r, f: -(torch.log(torch.sigmoid(r)).mean() + torch.log(1 - torch.sigmoid(f)).mean()),
        lambda f: torch.log(1 - torch.sigmoid(f)).mean(),
    ),
    "hinge": (
        lambda r, f: torch.maximum(torch.zeros(()), 1 - r).mean() + torch.maximum(torch.zeros(()), 1 + f).mean(),
        lambda f: -f.mean(),
    ),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
    "least_squares": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "relativistic": (  # of pairs
        lambda r, f: -(r - f).sigmoid().log().mean(),
        lambda f: -(f - torch.tensor([2.0, -0.3, 0.4, 1.5]).double()).sigmoid().log().mean(),
    ),
}


@pytest.mark.parametrize("loss", dcgan.LOSSES)
def test_losses_are_the_formulas(loss):
    real, fake = torch.tensor([2.0, -0.3, 0.4, 1.5]).double(), torch.tensor([-1.2, 0.7, 0.1, -3.0]).double()
    of_discriminator, of_generator = FORMULAS[loss]
    torch.testing.assert_close(dcgan.discriminator_loss(loss, real, fake), of_discriminator(real, fake))
    torch.testing.assert_close(dcgan.generator_loss(loss, fake, real), of_generator(fake))


def test_minimax_saturates_where_the_discriminator_is_sure():
    """At D(G(z)) ≈ 0 the derivative by the logit is −σ ≈ 0 for minimax, and σ − 1 ≈ −1 for its non-saturating twin."""
    slopes = {}
    for loss in ("minimax", "non_saturating"):
        logit = torch.tensor([-12.0], requires_grad=True)
        dcgan.generator_loss(loss, logit).backward()
        slopes[loss] = logit.grad.item()
    assert slopes["minimax"] == pytest.approx(-torch.tensor(-12.0).sigmoid().item(), rel=1e-4)
    assert abs(slopes["minimax"]) < 1e-5
    assert slopes["non_saturating"] == pytest.approx(-1, abs=1e-5)


def test_gradient_penalty_of_a_linear_critic():
    """(‖w‖ − 1)², whatever the images, with the norm over all pixels; and its gradient 2 (‖w‖ − 1) w / ‖w‖."""
    critic = Linear(torch.randn(120, generator=torch.Generator().manual_seed(0)) / 3)
    norm = critic.weight.detach().norm()
    penalty = dcgan.gradient_penalty(critic, images(5), images(5) * 0.3, None)
    torch.testing.assert_close(penalty.detach(), (norm - 1).square())
    penalty.backward()
    torch.testing.assert_close(critic.weight.grad, 2 * (norm - 1) * critic.weight.detach() / norm)


def test_gradient_penalty_is_taken_on_lines_between_the_pairs():
    """One random place an image, the same for all its pixels."""
    seen = []

    class Watched(Linear):
        def forward(self, x, labels=None):
            seen.append(x.detach())
            return super().forward(x)

    real, fake = images(6), torch.zeros(6, *SHAPE)
    dcgan.gradient_penalty(Watched(torch.ones(120)), real, fake, None)
    places = (seen[0] / real).flatten(1)
    assert places.std(1).max() < 1e-5
    assert places.mean(1).std() > 0.05
    assert 0 <= places.min() < places.max() <= 1


def test_r1_of_a_linear_discriminator():
    """γ/2 ‖w‖²; lazily, every ``r1_every``-th batch and as many times as large."""
    weight = torch.randn(120, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        dcgan.flatness_penalty(Linear(weight), images(4), None).detach(), weight.square().sum() / 2
    )
    model = build(r1=0.7, r1_every=3)
    model.discriminator = Linear(weight)
    for step in range(7):
        terms = model.discriminator_terms(images(4), images(4), None, step)[0]
        assert ("r1" in terms) == (step in (0, 3, 6))
        if "r1" in terms:
            torch.testing.assert_close(terms["r1"].detach(), 3 * 0.7 / 2 * weight.square().sum())


def test_r2_is_taken_on_generated_images_and_r1_on_real_ones():
    """Of D(x) = Σ a x² / 2, whose gradient is a x: γ/2 E Σ a² x² of one and of the other."""
    weight = torch.randn(120, generator=torch.Generator().manual_seed(0))

    class Square(Linear):
        def forward(self, x, labels=None):
            return x.flatten(1).square() @ self.weight / 2

    model = build(r1=0.7, r2=0.3, r1_every=1)
    model.discriminator = Square(weight)
    real, fake = images(4), images(4).flip(0) * 0.5
    terms = model.discriminator_terms(real, fake, None, 0)[0]
    for name, gamma, x in (("r1", 0.7, real), ("r2", 0.3, fake)):
        expected = gamma / 2 * (weight * x.flatten(1)).square().sum(1).mean()
        torch.testing.assert_close(terms[name].detach(), expected)


def test_relativistic_gradients_of_a_linear_critic():
    """With D(x) = w·x the discriminator's gradient is −E[σ(w·(f − r)) (r − f)], the generator's for f the same by w."""
    weight = torch.randn(120, generator=torch.Generator().manual_seed(0)) / 5
    model = build(loss="relativistic", r1=0.0)
    model.discriminator = Linear(weight)
    real, fake = images(4), (images(4).flip(0) * 0.5).requires_grad_()
    share = ((fake - real).flatten(1) @ weight).sigmoid().detach()
    model.discriminator_terms(real, fake, None, 0)[0]["loss"].backward()
    expected = -(share[:, None] * (real - fake).detach().flatten(1)).mean(0)
    torch.testing.assert_close(model.discriminator.weight.grad, expected)
    assert fake.grad is None
    model.generator_loss(fake, real, None).backward()
    torch.testing.assert_close(fake.grad.flatten(1), -(1 - share)[:, None] * weight / 4)


def test_what_the_discriminator_sees_is_moved_and_partly_hidden_and_has_gradients():
    torch.manual_seed(0)
    x = images(600).requires_grad_()
    moved = dcgan.augmented(x, 0.3, 0.0)
    height, width = x.shape[2:]
    rows, columns = round(0.3 * height), round(0.3 * width)
    padded = torch.nn.functional.pad(x.detach(), (columns, columns, rows, rows), value=-1.0)
    found = set()
    for number in range(len(x)):
        places = [
            (row, column)
            for row in range(2 * rows + 1)
            for column in range(2 * columns + 1)
            if torch.allclose(padded[number, :, row : row + height, column : column + width], moved[number], atol=1e-6)
        ]
        assert places
        found.add(places[0])
    assert len(found) == (2 * rows + 1) * (2 * columns + 1)  # each move there is
    hidden = dcgan.augmented(x, 0.0, 0.5)
    gone = (hidden == 0).all(1)
    assert (hidden == torch.where(gone[:, None], 0, x)).all()
    high, wide = round(0.5 * height), round(0.5 * width)
    sizes = gone.flatten(1).sum(1)
    assert int(sizes.max()) == high * wide
    assert int(sizes.min()) < high * wide  # part of it lies outside
    assert len(gone.flatten(1).unique(dim=0)) == (height + 1 - high % 2) * (width + 1 - wide % 2)
    rows = gone.any(2).float().mean(0)
    assert float((rows - rows.flip(0)).abs().max()) < 0.08  # as often on either side
    hidden.sum().backward()
    assert torch.equal(x.grad, (~gone)[:, None].expand_as(x).to(x.dtype))


def test_penalties_enter_the_discriminators_loss_alone():
    terms = build(gradient_penalty=10.0, r1=1.0, loss="wasserstein").discriminator_terms(
        images(), images(8).flip(0), None, 0
    )[0]
    assert set(terms) == {"loss", "gradient_penalty", "r1"}
    assert set(build(r1=0).discriminator_terms(images(), images(), None, 0)[0]) == {"loss"}


# The networks


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (2, 16, 12), (1, 7, 9), (3, 33, 20), (1, 1, 1)], ids=str)
def test_any_size(shape):
    model = build(shape, conditional=True)
    x = zoo.sample(model, 3)
    assert x.shape == (3, *shape)
    assert x.min() >= 0
    assert x.max() <= 1
    assert model.discriminate(x, torch.tensor([0, 1, 2])).shape == (3,)


@pytest.mark.parametrize("training", [False, True])
def test_an_image_is_a_function_of_its_noise_and_label(training):
    model = build((1, 28, 28), conditional=True).train(training)
    z, labels = model.noise(5, None), torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        together = model.generate(z, labels)
        for index in range(5):
            part = slice(index, index + 1)
            torch.testing.assert_close(model.generate(z[part], labels[part]), together[part], atol=1e-6, rtol=1e-5)
    assert (together[0] - together[3]).abs().max() > 1e-3  # same label, other noise
    assert (model.generate(z[:1], labels[1:2]) - together[:1]).abs().max() > 1e-3  # same noise, other label


def test_projection():
    """D(x, y) = w·h(x) + e_y·h(x); without labels the class that suits the image best."""
    model = build(conditional=True)
    x, labels = images(4), torch.tensor([0, 1, 2, 1])
    features = model.discriminator.layers(2 * x - 1)
    head, classes = model.discriminator.head, model.discriminator.classes
    expected = features @ head.weight[0] + head.bias + (features * classes.weight[labels]).sum(1)
    torch.testing.assert_close(model.discriminate(x, labels), expected)
    each = torch.stack([model.discriminate(x, torch.full((4,), label)) for label in range(3)], 1)
    torch.testing.assert_close(model.discriminate(x), each.amax(1))
    torch.testing.assert_close(zoo.anomaly_score(model, x), -each.amax(1).detach())


def test_spectral_norm_bounds_the_slope():
    model = build(spectral_norm=True)
    for _ in range(50):  # power iterations
        model.discriminate(images())
    for layer in [*model.discriminator.layers, model.discriminator.head]:
        if hasattr(layer, "weight"):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            assert largest.item() == pytest.approx(1, abs=0.02)


def test_options_are_checked():
    for options, expected in (
        ({"loss": "hing"}, "non_saturating"),
        ({"r1": -1.0}, "r1"),
        ({"channels": 0}, "channels"),
    ):
        with pytest.raises(zoo.ZooError, match=expected):
            build(**options)


# The two players


class Recorder(AdversarialLearner):
    """Remembers parameters and gradients around each player's step."""

    def _descend(self, player, loss, share):
        players = ("discriminator", "generator")
        own, other = (self.model.get_submodule(players[index]) for index in (player, 1 - player))
        for parameter in other.parameters():  # a gradient that must stay
            parameter.grad = torch.full_like(parameter, 0.125)
        before = [[p.detach().clone() for p in module.parameters()] for module in (own, other)]
        super()._descend(player, loss, share)
        assert all(not torch.equal(*pair) for pair in zip(before[0], own.parameters(), strict=True))
        assert all(torch.equal(*pair) for pair in zip(before[1], other.parameters(), strict=True))
        for parameter in other.parameters():
            assert (parameter.grad == 0.125).all()
            parameter.grad = None
        self.record.append(player)


def fit(learner, tmp_path, **options):
    import lightning.pytorch as L

    data = zoo.ImageDataModule("digits", batch_size=32, train_size=100, val_size=40)
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    trainer = L.Trainer(**{"accelerator": "cpu", "default_root_dir": tmp_path, **quiet, **options})
    trainer.fit(learner, data)
    return trainer


@pytest.mark.parametrize("n_critic", [1, 3])
@pytest.mark.filterwarnings("ignore")
def test_a_step_of_one_leaves_the_other_alone(n_critic, tmp_path):
    """Parameters and gradients. A batch is one step for Lightning, whoever moves."""
    model = build((1, 28, 28), 10, conditional=True)
    learner = Recorder(model, n_critic=n_critic)
    learner.record = []
    trainer = fit(learner, tmp_path, max_epochs=2)
    assert trainer.global_step == 2 * 4  # 100 images in batches of 32 at most
    expected = [player for step in range(8) for player in ((0, 1) if (step + 1) % n_critic == 0 else (0,))]
    assert learner.record == expected
    torch.testing.assert_close(model.log_prior.exp(), torch.full((10,), 0.1))  # train_size is balanced


@pytest.mark.filterwarnings("ignore")
def test_max_steps_and_schedules(tmp_path):
    """``max_steps=N`` runs N batches; each player's schedule ends where its last step is."""
    learner = AdversarialLearner(
        build((1, 28, 28), 10), {"name": "Adam", "lr": 0.01}, {"name": "LinearLR", "end_factor": 0.1}, 2.0, 3, clip=0.1
    )
    trainer = fit(learner, tmp_path, max_steps=9)
    assert trainer.global_step == 9
    rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
    assert [schedule.last_epoch for schedule in learner._schedules] == [9, 3]
    assert rates[1] == pytest.approx(0.001)
    assert rates[0] == pytest.approx(0.002)


def test_clip_holds_for_both(tmp_path):
    """With plain gradient descent a step is no longer than clip · lr."""
    norms = []

    class Measured(AdversarialLearner):
        def _descend(self, player, loss, share):
            module = self.model.get_submodule(("discriminator", "generator")[player])
            before = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
            super()._descend(player, loss, share)
            after = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
            moved = (after - before).norm()
            norms.append((player, (moved / self.optimizer_options["lr"]).item()))

    fit(
        Measured(build((1, 28, 28), 10), {"name": "SGD", "lr": 0.1}, {"name": "none"}, clip=1e-3), tmp_path, max_steps=3
    )
    assert {player for player, _ in norms} == {0, 1}
    assert all(norm == pytest.approx(1e-3, rel=0.02) for _, norm in norms)


@pytest.mark.filterwarnings("ignore")
def test_average_is_of_the_generator_alone(tmp_path):
    """It follows lerp(average, generator, 1 − d); the checkpoint holds no second discriminator; zoo.load has both."""
    run = run_train(
        tmp_path, "model=dcgan", "model.channels=4", "experiment=debug", "logger=none", "learner.ema=0.9",
        "trainer.limit_val_batches=0",
    )  # fmt: skip
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    averaged = {key for key in state if key.startswith("ema.module.")}
    assert averaged
    assert all(key.startswith("ema.module.generator.") for key in averaged)
    model, raw = zoo.load(run), zoo.load(run, ema=False)
    assert not (run / "best.ckpt").exists()
    key = "generator.layers.0.weight"
    assert torch.equal(model.state_dict()[key], state[f"ema.module.{key}"])
    assert torch.equal(raw.state_dict()[key], state[f"model.{key}"])
    assert not torch.equal(state[f"ema.module.{key}"], state[f"model.{key}"])
    for key, value in model.discriminator.state_dict().items():
        assert torch.equal(value, state[f"model.discriminator.{key}"])


def test_what_is_evaluated_shares_the_discriminator():
    model = build()
    learner = AdversarialLearner(model, ema=0.9)
    assert learner.evaluated.discriminator is model.discriminator
    assert learner.evaluated.generator is not model.generator
    assert AdversarialLearner(model, ema=0).evaluated is model
    with evaluating(learner.evaluated):
        assert not model.discriminator.training
    assert model.discriminator.training


def test_what_is_logged(tmp_path):
    """Losses, answers as probabilities, penalties that are on; scores where the loss makes no log odds."""
    options = ("model=dcgan", "model.channels=4", "experiment=debug", "trainer.log_every_n_steps=2")
    run = run_train(tmp_path / "a", *options)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["5", "10"]
    for key in ("train/d_real", "train/d_fake", "val/d_real"):
        assert all(0 < float(row[key]) < 1 for row in rows)
    assert {"train/d_loss", "train/g_loss", "train/r1", "images_per_second"} <= set(rows[0])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run)).Reload()
    for key in ("step/d_loss", "step/g_loss", "step/lr", "step/d_gradient_norm", "step/g_gradient_norm"):
        assert [event.step for event in events.Scalars(key)] == [2, 4, 6, 8, 10]
    options = ("model.loss=wasserstein", "model.gradient_penalty=10", "model.r1=0", "logger=none", *options)
    run = run_train(tmp_path / "b", *options)
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/score_real", "train/score_fake", "val/score_real", "train/gradient_penalty"} <= set(header)
    assert not {"train/d_real", "train/r1"} & set(header)
    assert not {"accuracy", "log_prob"} & set(json.loads((run / "summary.json").read_text())["test"])


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    learner = AdversarialLearner(build((1, 28, 28), 10), {"name": "SGD", "lr": 1e30})
    with pytest.raises(zoo.ZooError, match=r"became (nan|inf).*learner\.optimizer\.lr"):
        fit(learner, tmp_path, max_epochs=3)


def test_refused():
    with pytest.raises(zoo.ConfigError, match="naive_bayes has no discriminator_terms"):
        AdversarialLearner(zoo.create("naive_bayes"))
    with pytest.raises(zoo.ConfigError, match="ReduceLROnPlateau"):
        AdversarialLearner(build(), schedule={"name": "ReduceLROnPlateau"})
    with pytest.raises(zoo.ConfigError, match="n_critic"):
        AdversarialLearner(build(), n_critic=0)


def test_bf16(tmp_path):
    """Mixed precision trains both players, with both penalties."""
    options = ("trainer.precision=bf16-mixed", "trainer.limit_train_batches=2", "learner.clip=1", "logger=none")
    run = run_train(
        tmp_path, "model=dcgan", "model.channels=4", "model.gradient_penalty=1", "experiment=debug", *options
    )
    assert json.loads((run / "summary.json").read_text())["steps"] == 4


@pytest.mark.slow
def test_two_processes(tmp_path):
    """strategy=ddp: each process steps with the mean gradient of both, so their weights stay equal."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import lightning.pytorch as L, torch, zoo\n"
        "L.seed_everything(0)\n"
        "data = zoo.ImageDataModule('digits', batch_size=16, train_size=200, val_size=50)\n"
        "model = zoo.create('dcgan', data.spec, channels=2, conditional=True)\n"
        "learner = zoo.AdversarialLearner(model, n_critic=2, ema=0.5)\n"
        "trainer = L.Trainer(accelerator='cpu', devices=2, strategy='ddp', max_epochs=1, logger=False,\n"
        "                    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)\n"
        "trainer.fit(learner, data)\n"
        "state = {**learner.state_dict(), 'steps': torch.tensor(trainer.global_step)}\n"
        f"torch.save(state, {str(tmp_path)!r} + f'/rank{{trainer.global_rank}}.pt')\n"
    )
    result = command(str(script))
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert first["steps"] == 7  # 200 images in pieces of at most 2 × 16
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


# What can be asked


def test_same_seed_same_images_after_loading(tmp_path):
    model = build(conditional=True).eval()
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    labels = torch.tensor([2, 0, 1])

    def draw(asked):
        return zoo.sample(asked, 3, labels, torch.Generator().manual_seed(4))

    assert torch.equal(draw(model), draw(again))
    assert zoo.sample(model, 1).shape == (1, *SHAPE)
    assert zoo.sample(model, 0).shape == (0, *SHAPE)


@pytest.mark.parametrize("conditional", [False, True])
def test_impute_fits_what_is_seen(conditional):
    """Images that the generator can make are found again from half of their pixels."""
    model = build(conditional=conditional)
    with torch.no_grad():
        for parameter in model.generator.parameters():  # images that differ from each other
            parameter.mul_(2)
    x = zoo.sample(model, 4, generator=torch.Generator().manual_seed(1))
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(9)

    def complete(images, seed=0, n=2):
        return zoo.impute(model, images, observed, n=n, generator=torch.Generator().manual_seed(seed))

    found = complete(x)
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(9)))  # nothing was taken
    assert found.shape == (2, *x.shape)
    assert torch.equal(found[:, observed], x[observed].expand(2, -1))
    random = zoo.sample(model, 4, generator=torch.Generator().manual_seed(3))
    hidden = ~observed
    assert (found[0] - x)[hidden].square().mean() < 0.3 * (random - x)[hidden].square().mean()
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[:1], complete(x, seed=1, n=1))
    for value in (0.0, float("nan")):  # hidden values are never read
        assert torch.equal(found[:1], complete(torch.where(observed, x, torch.tensor(value)), n=1))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert model.training
