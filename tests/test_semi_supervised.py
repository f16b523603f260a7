"""Hidden classes: which labels are kept, EM and the bound of the VAE without them, and who refuses them."""

import itertools
import math
import shlex

import pytest
import torch
import yaml
from conftest import command, run_train

import zoo
from zoo import registry
from zoo.data.datamodule import ImageDataModule
from zoo.data.splits import UNLABELLED, Split, load_splits
from zoo.errors import ConfigError, DataError, ZooError
from zoo.files import CONFIGS
from zoo.spec import DataSpec
from zoo.tasks import few_labels
from zoo.tasks.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = DataSpec((1, 2, 2), 2, ("a", "b"), (0.5,), (0.3,))
DENSITIES = [
    ("naive_bayes", {"alpha": 1e-6}),
    ("naive_bayes", {"emission": "gaussian", "var_smoothing": 1e-3}),
    ("gmm", {"num_components": 2, "pca": 0, "covariance": "full"}),
    ("gmm", {"num_components": 2, "pca": 3, "covariance": "diag"}),
    ("gmm", {"num_components": 2, "pca": 0, "covariance": "low_rank", "rank": 1}),
    ("hmm", {"num_states": 2, "smoothing": 1e-6, "emission": "bernoulli"}),
    ("hmm", {"num_states": 2, "floor": 1e-2, "ridge": 0.0}),
    ("hmm", {"num_states": 2, "floor": 1e-2, "covariance": "diag", "topology": "ergodic"}),
]


def blobs(n=40, seed=0):
    """Two classes of 2×2 images in [0, 1], ``n`` in all, of which the first eight have their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    x = 0.3 + 0.4 * labels.view(-1, 1, 1, 1) + 0.2 * torch.randn(n, 1, 2, 2, generator=generator)
    hidden = labels.clone()
    hidden[8:] = UNLABELLED
    return x.clamp(0, 1).double(), labels, hidden


def em(model, x, labels, passes):
    """The log-likelihood of the parameters before each pass."""
    batches = [(x[:15], labels[:15]), (x[15:], labels[15:])]
    model.initialize(batches, torch.Generator().manual_seed(0))
    trace = []
    for _ in range(passes):
        parts = [model.statistics(*batch) for batch in batches]
        sums = {key: parts[0][key] + parts[1][key] for key in parts[0]}
        trace.append(float(sums["log_likelihood"]))
        model.maximize(sums)
    return trace


# Data


def test_labels_are_kept_of_a_balanced_part_alone():
    whole = load_splits("digits", val_size=200, split_seed=3)
    some = load_splits("digits", val_size=200, split_seed=3, labels=50)
    assert torch.equal(some.train.images, whole.train.images)
    assert some.spec == whole.spec
    known = some.train.labels != UNLABELLED
    assert some.train.labels[known].bincount().tolist() == [5] * 10
    assert torch.equal(some.train.labels[known], whole.train.labels[known])
    assert torch.equal(some.train.labelled().images, some.train.images[known])
    assert torch.equal(some.val.labels, whole.val.labels)
    assert torch.equal(some.test.labels, whole.test.labels)


def test_the_labelled_images_are_those_of_train_size():
    """So that a model of both kinds of images is compared with one of the same labelled images."""
    some = load_splits("digits", split_seed=1, labels=30)
    few = load_splits("digits", split_seed=1, train_size=30)
    assert torch.equal(some.train.labelled().images, few.train.images)
    other = load_splits("digits", split_seed=2, labels=30)
    assert not torch.equal(some.train.labels, other.train.labels)


def test_labelled_images_are_repeated():
    once, thrice = (load_splits("digits", labels=20, repeat=repeat) for repeat in (1, 3))
    assert len(thrice.train) == len(once.train) + 40
    assert thrice.train.labelled().labels.bincount().tolist() == [6] * 10
    assert thrice.spec == once.spec


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": -1}, ConfigError, "data.labels must be at least 0"),
        ({"labels": 10, "repeat": 0}, ConfigError, "data.repeat must be at least 1"),
        ({"repeat": 3}, ConfigError, "it needs data.labels"),
        ({"labels": 5000}, DataError, "data.labels=5000 needs 500 training images of each class"),
    ],
)
def test_impossible_numbers_of_labels_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        load_splits("digits", **options)


def test_a_checkpoint_says_which_labels_were_kept():
    data = ImageDataModule("digits", labels=20, repeat=2, split_seed=4)
    source = {key: value for key, value in data.state_dict().items() if key != "fingerprint"}
    assert torch.equal(load_splits(**source).train.labels, data.splits.train.labels)


# Expectation–maximisation


@pytest.mark.parametrize(("name", "options"), DENSITIES)
def test_the_likelihood_never_falls(name, options):
    x, _, hidden = blobs()
    model = zoo.create(name, TINY, **options, **({"floor": 0.0} if name == "gmm" else {})).double()
    trace = em(model, x, hidden, 12)
    slack = 1e-2 if options.get("emission") == "gaussian" else 1e-5  # smoothing adds a variance after the maximum
    assert all(new >= old - slack for old, new in itertools.pairwise(trace))
    assert trace[-1] > trace[0] + 0.1


@pytest.mark.parametrize(("name", "options"), DENSITIES)
def test_an_image_without_a_label_counts_in_each_class_by_its_posterior(name, options):
    """Statistics of hidden classes are those of labelled copies, one a class, weighted by p(y | x)."""
    x, _, hidden = blobs()
    model = zoo.create(name, TINY, **options).double()
    em(model, x, hidden, 2)
    sums = model.statistics(x, hidden)
    posterior = model.classify(x).exp()
    expected = {key: torch.zeros_like(value) for key, value in sums.items()}
    likelihood = 0.0
    for image, label, proba in zip(x, hidden.tolist(), posterior, strict=True):
        shares = proba if label < 0 else torch.eye(2)[label].double()
        for group, share in enumerate(shares.tolist()):
            for key, value in model.statistics(image[None], torch.tensor([group])).items():
                expected[key] += share * value
        joint = model.log_joint(image[None]).detach()[0]
        likelihood += float(joint.logsumexp(0) if label < 0 else joint[label])
    for key in sums:
        if key != "log_likelihood":
            torch.testing.assert_close(sums[key], expected[key], rtol=1e-5, atol=1e-5)
    assert float(sums["log_likelihood"]) == pytest.approx(likelihood, rel=1e-6)


@pytest.mark.parametrize(("name", "options"), DENSITIES)
def test_where_nothing_is_hidden_nothing_changes(name, options):
    """Statistics of labelled images are the same beside others, whose own ones add up with them."""
    x, labels, hidden = blobs()
    model = zoo.create(name, TINY, **options).double()
    em(model, x, labels, 2)
    known = hidden >= 0
    both = model.statistics(x, hidden)
    parts = [model.statistics(x[rows], hidden[rows]) for rows in (known, ~known)]
    for key, value in both.items():
        torch.testing.assert_close(value, parts[0][key] + parts[1][key], rtol=1e-9, atol=1e-9)


def test_unlabelled_images_recover_the_classes_of_two_coins():
    """Two classes told apart by most pixels, one label each: the pixels' probabilities come from all images."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 64, generator=generator)
    labels = torch.randint(2, (2000,), generator=generator)
    x = torch.bernoulli(truth[labels], generator=generator).view(-1, 1, 8, 8).double()
    hidden = torch.full_like(labels, UNLABELLED)
    for label in range(2):
        first = int((labels == label).nonzero()[0])
        hidden[first] = label
    model = zoo.create("naive_bayes", DataSpec((1, 8, 8), 2, ("a", "b"))).double()
    em(model, x, hidden, 10)
    share = labels.double().mean().item()
    assert model.log_prior.exp()[1].item() == pytest.approx(share, abs=0.01)
    means = torch.stack([x[labels == label].flatten(1).mean(0) for label in range(2)])
    assert (model.logits.sigmoid() - means).abs().max() < 0.02


# The bound of the VAE


def vae():
    return started(zoo.create("vae", TINY, latent_dim=2, hidden_sizes=(8,), conditional=True))


def m2():
    return started(zoo.create("m2", TINY, latent_dim=2, hidden_sizes=(8,), classify_weight=2.0))


def started(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # the same weights of encoder and decoder in both
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    model.log_prior.copy_(torch.tensor([0.3, 0.7]).log())
    return model.eval()


def test_the_bound_without_a_label_is_the_sum_over_classes():
    """Against Σ_y q(y|x) (bound(x, y) − log q(y|x)) from the terms of labelled images, averaged over many draws."""
    model = m2()
    x = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(1)).round()
    many = x.repeat(4000, 1, 1, 1)
    log_q = model.classifier(model._centred(x)).log_softmax(1).repeat(4000, 1)
    with torch.no_grad():
        hidden = model.losses(many, torch.full((len(many),), UNLABELLED))
        expected = 0.0
        for label in range(2):
            for row in range(3):
                own = model.losses(x[row].expand(4000, 1, 2, 2), torch.full((4000,), label))["log_likelihood"]
                expected += float(log_q[row, label].exp() * (own - log_q[row, label])) / 3
    assert float(hidden["log_likelihood"]) == pytest.approx(expected, abs=0.03)
    assert float(hidden["loss"]) == pytest.approx(-float(hidden["log_likelihood"]), abs=1e-4)
    assert float(hidden["classification"]) == 0
    exact = model.log_prob(x, num_samples=20_000).mean()
    assert float(hidden["log_likelihood"]) < float(exact)


def test_a_labelled_image_has_the_bound_of_its_class_and_trains_the_classifier():
    x, labels = torch.rand(64, 1, 2, 2).round(), torch.arange(64) % 2
    with_q, plain = m2(), vae()
    torch.manual_seed(1)
    terms = with_q.losses(x, labels)
    torch.manual_seed(1)
    expected = plain.losses(x, labels)
    for key in ("log_likelihood", "recon", "kl"):
        torch.testing.assert_close(terms[key], expected[key])
    log_q = with_q.classifier(with_q._centred(x)).log_softmax(1)
    nll = torch.nn.functional.nll_loss(log_q, labels)
    torch.testing.assert_close(terms["classification"], nll)
    torch.testing.assert_close(terms["loss"], -terms["log_likelihood"] + 2.0 * nll)


def test_the_recipe_weighs_labels_as_it_says():
    """In a pass a hundred times as much as the paper, which has 0.1 N times the mean of −log q(y | x) over labels."""
    experiment = CONFIGS / "experiment" / "semi_supervised_m2_mnist.yaml"
    settings = yaml.safe_load(experiment.read_text())
    images, labels = settings["data"]["train_size"], settings["data"]["labels"]
    weight = settings["model"]["classify_weight"] * settings["data"]["repeat"]
    assert weight * labels == pytest.approx(100 * 0.1 * images)


def test_q_answers_for_classes_and_the_bounds_where_pixels_are_missing():
    model = m2()
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1)).round()
    log_q = model.classifier(model._centred(x)).log_softmax(1)
    torch.testing.assert_close(zoo.classify(model, x), log_q)
    torch.testing.assert_close(model.validate(x, torch.zeros(5, dtype=torch.long))["log_proba"], log_q)
    seen = torch.ones(1, dtype=torch.bool)
    by_bayes = model.log_joint(x).log_softmax(1)
    torch.testing.assert_close(zoo.classify(model, x, seen), by_bayes)
    images = Split((x * 255).byte(), log_q.argmax(1))
    metrics = evaluate(model, images).metrics
    assert metrics["accuracy"] == 1
    assert metrics["log_prob"] == pytest.approx(float(model.log_prob(x).mean()), rel=1e-5)


def test_a_class_without_a_label_is_refused():
    model = m2()
    with pytest.raises(ZooError, match="one of each class"):
        model.initialize([(torch.rand(2, 1, 2, 2), torch.tensor([0, UNLABELLED]))], torch.Generator())


def test_options_of_the_classifier_are_checked():
    for weight in (0.0, -1.0):
        with pytest.raises(ValueError, match="classify_weight must be above 0"):
            zoo.create("m2", TINY, classify_weight=weight)


def test_an_earlier_vae_with_a_classifier_is_m2():
    """As one without is a VAE; a run that is resumed reads such settings, too."""
    settings = {"conditional": True, "num_samples": 1, "free_bits": 0.0, "latent_dim": 3}
    assert registry.renewed("vae", {**settings, "classify_weight": 0.0}) == ("vae", settings)
    assert registry.renewed("vae", {**settings, "classify_weight": 4.0}) == (
        "m2",
        {"latent_dim": 3, "classify_weight": 4.0},
    )


def test_a_gradient_learns_of_hidden_classes_by_the_sum_over_them():
    model = zoo.create("naive_bayes", TINY).double()
    x, labels, hidden = blobs()
    em(model, x, labels, 1)
    joint = model.log_joint(x)
    expected = torch.where(hidden < 0, joint.logsumexp(1), joint.gather(1, labels[:, None])[:, 0])
    torch.testing.assert_close(model.log_likelihood(x, hidden), expected)
    torch.testing.assert_close(model.losses(x, hidden)["loss"], -expected.mean())


# Runs


@pytest.mark.parametrize("words", [
    ("model=gmm", "model.num_components=1", "model.pca=20", "model.floor=0.05"),
    ("model=naive_bayes",),
    ("model=m2", "model.classify_weight=5", "model.latent_dim=2", "model.hidden_sizes=[64]",
     "model.importance_samples=4", "data.repeat=5"),
    ("model=hmm", "model.num_states=4", "model.covariance=diag"),
    ("model=gmm", "model.num_components=1", "model.pca=20", "model.floor=0.05", "learner=likelihood"),
])  # fmt: skip
def test_a_run_learns_from_few_labels(words, tmp_path):
    run = run_train(tmp_path, *words, "data=digits", "data.labels=50", "data.val_size=0", "trainer.max_epochs=5",
                    "logger=none")  # fmt: skip
    model = zoo.load(run)
    test = load_splits("digits").test
    accuracy = (zoo.classify(model, test.images / 255).argmax(1) == test.labels).double().mean()
    assert accuracy > 0.35  # chance is 0.1


@pytest.mark.parametrize("words", [
    ("model=mlp",),
    ("model=vae", "model.conditional=true"),
    ("model=dcgan", "model.conditional=true"),
])  # fmt: skip
def test_who_needs_all_labels_says_so(words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_train(tmp_path, *words, "data=digits", "data.labels=50", "trainer.max_epochs=1", "logger=none")
    assert "data.train_size in its place" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.rglob("*.ckpt"))


def test_an_earlier_run_of_a_vae_goes_on(tmp_path):
    """Its configuration has an option that is another model's now."""
    words = ("model=vae", "model.latent_dim=2", "model.hidden_sizes=[8]", "data=digits", "experiment=debug",
             "logger=none", "trainer.max_epochs=1")  # fmt: skip
    run = run_train(tmp_path, *words)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"]["classify_weight"] = 0.0
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    run_train(None, f"resume={run}", "trainer.max_epochs=2")
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 10


def test_hidden_classes_are_not_compiled(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zoo.learners._learner.check_compiler", lambda device: None)  # whether there is one or not
    words = ("model=naive_bayes", "learner=likelihood", "compile=true", "data=digits", "data.labels=50")
    with pytest.raises(SystemExit):
        run_train(tmp_path, *words, "trainer.max_epochs=1", "logger=none", "learner.monitor=val/nll")
    assert "leave compile out" in " ".join(capsys.readouterr().err.split())


def test_models_without_classes_do_not_care(tmp_path):
    run = run_train(tmp_path, "model=gmm", "model.per_class=false", "model.num_components=2", "model.pca=5",
                    "data=digits", "data.labels=50", "trainer.max_epochs=1", "logger=none")  # fmt: skip
    assert math.isfinite(float(zoo.log_prob(zoo.load(run), torch.rand(1, 1, 28, 28))[0]))


# Labels that spread


def test_labels_spread_as_the_linear_system_says():
    """Against the closed form of Zhou et al. on a dense graph."""
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.full((40,), UNLABELLED)
    labels[:4] = torch.tensor([0, 1, 1, 2])
    distance = torch.cdist(points, points).fill_diagonal_(math.inf)
    near, index = distance.sort(1)
    weights = torch.zeros(40, 40).double()
    for row, k in itertools.product(range(40), range(5)):
        weights[row, index[row, k]] = math.exp(-4 * float(near[row, k] / near[row, 4]) ** 2)
    weights = torch.maximum(weights, weights.T)
    root = weights.sum(1).rsqrt()
    system = torch.eye(40).double() - 0.8 * root[:, None] * weights * root
    columns = 0.2 * torch.linalg.solve(system, torch.eye(4).double()[:, :3].new_tensor(
        [[row < 4 and int(labels[row]) == label for label in range(3)] for row in range(40)]))  # fmt: skip
    columns = columns / columns.sum(0) * torch.tensor([1, 2, 1])
    expected = columns / columns.sum(1, keepdim=True)
    torch.testing.assert_close(few_labels.spread(points, labels, 3, 5, 0.2), expected, rtol=1e-4, atol=1e-6)


def test_one_label_is_enough_for_each_of_two_rings():
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(600, generator=generator)
    truth = torch.arange(600) % 2
    points = (1 + truth[:, None]) * torch.stack([angle.cos(), angle.sin()], 1)
    points += 0.03 * torch.randn(600, 2, generator=generator)
    labels = torch.full((600,), UNLABELLED)
    labels[:2] = truth[:2]
    assert torch.equal(few_labels.spread(points, labels, 2).argmax(1), truth)


def test_labels_do_not_spread_from_nothing():
    with pytest.raises(DataError, match="at least one label"):
        few_labels.spread(torch.randn(20, 2), torch.full((20,), UNLABELLED), 3)


def test_an_image_that_no_label_reaches_has_the_frequencies_of_labels():
    points = torch.cat([torch.randn(12, 2), 100 + torch.randn(12, 2)])
    labels = torch.full((24,), UNLABELLED)
    labels[:4] = torch.tensor([0, 1, 1, 1])
    torch.testing.assert_close(few_labels.spread(points, labels, 2)[12:], torch.tensor([[0.25, 0.75]]).expand(12, 2))


def test_guessed_classes_keep_the_labels_that_are_known():
    splits = load_splits("digits", labels=100)
    model = zoo.create("gmm", splits.spec, num_components=2, pca=20, per_class=False)
    model.encode = lambda x: x.flatten(1)  # pixels as codes
    guessed = few_labels.guess(model, splits.train, images=800)
    truth = load_splits("digits").train
    assert len(guessed) == 900
    assert torch.equal(guessed.labels[:100], splits.train.labelled().labels)
    rows = {image.numpy().tobytes(): label for image, label in zip(truth.images, truth.labels.tolist(), strict=True)}
    right = [rows[image.numpy().tobytes()] == label
             for image, label in zip(guessed.images, guessed.labels.tolist(), strict=True)]  # fmt: skip
    assert sum(right) / 900 > 0.93  # the nearest labelled image: 0.90
    surer = few_labels.guess(model, splits.train, images=800, certain=0.75)
    assert torch.equal(surer.labels[:100], guessed.labels[:100])
    kept = [images.numpy().tobytes() for images in surer.images]
    assert {*kept} < {images.numpy().tobytes() for images in guessed.images}
    hidden = [split.labels[100:].bincount(minlength=10) for split in (guessed, surer)]
    assert torch.equal(hidden[1], (0.75 * hidden[0]).ceil().long())
    wrong = sum(rows[image] != label for image, label in zip(kept, surer.labels.tolist(), strict=True))
    assert wrong / len(kept) < 0.5 * (1 - sum(right) / 900)


def test_a_set_is_labelled_by_command(tmp_path):
    run = run_train(tmp_path / "runs", "model=gmm", "model.per_class=false", "model.num_components=20", "model.pca=20",
                    "data=digits", "trainer.max_epochs=3", "logger=none")  # fmt: skip
    words = [
        "scripts/label.py",
        f"ckpt={run}",
        f"out={tmp_path / 'a set'}",
        "labels=50",
        "images=300",
        "certain=1",
        "seed=1",
    ]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert "350 images, 50 of them with their own label" in done.stdout
    assert f'data.path="{tmp_path / "a set"}"' in shlex.split(done.stdout.splitlines()[-1])  # quoted for Hydra, too
    assert len(list((tmp_path / "a set").rglob("*.png"))) == 350
    known = load_splits("digits", val_size=200, split_seed=1, labels=50).train.labelled()
    images = load_splits("image_folder", path=tmp_path / "a set", invert="never", root=tmp_path)
    written = {image.numpy().tobytes(): int(label) for split in (images.train, images.test)
               for image, label in zip(split.images, split.labels, strict=True)}  # fmt: skip
    assert all(written[image.numpy().tobytes()] == label for image, label in zip(known.images, known.labels.tolist(),
                                                                                 strict=True))  # fmt: skip
    again = command(*words)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(("name", "options"), DENSITIES)
def test_the_prior_is_learnt_from_all_images(name, options):
    """Two thirds are of the second class, and half of those with a label."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(8) % 2, (torch.arange(112) % 3 > 0).long()])
    x = (
        (0.2 + 0.6 * labels.view(-1, 1, 1, 1) + 0.05 * torch.randn(120, 1, 2, 2, generator=generator))
        .clamp(0, 1)
        .double()
    )
    hidden = torch.where(torch.arange(120) < 8, labels, UNLABELLED)
    model = zoo.create(name, TINY, **options).double()
    em(model, x, hidden, 5)
    assert float(model.log_prior.exp()[1]) == pytest.approx(float(labels.double().mean()), abs=0.02)
