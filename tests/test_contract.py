"""What every registered model must do, whatever it is: a new model is tested by being there."""

import contextlib
import itertools

import lightning.pytorch as L
import pytest
import torch
import yaml
from conftest import CONFIGS, ROOT, run_train, stopped_at

import zoo
from zoo import capability, registry
from zoo.base.classifier import Classifier
from zoo.base.generative import Density, Generative
from zoo.config.options import learner_of
from zoo.data import kinds
from zoo.data.batches import Batches
from zoo.data.splits import Split
from zoo.learners import learner_class

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(1, 28, 28), (1, 32, 32), (3, 32, 32)]
MODELS = zoo.list_models()
VARIANTS = [  # options that change the architecture; a model's defaults are always tested too
    ("svm", {"kernel": "linear"}),
    ("mlp", {"hidden_sizes": []}),
    *(
        ("rnn", {"cell": cell, "reads": reads})
        for cell, reads in itertools.product(("vanilla", "gru"), ("rows", "columns"))
    ),
    ("rnn", {"num_layers": 2, "bidirectional": False}),
    ("naive_bayes", {"emission": "gaussian"}),
    ("naive_bayes", {"emission": "multinomial"}),
    *(("gmm", {"covariance": covariance}) for covariance in ("spherical", "diag", "tied", "low_rank")),
    ("gmm", {"pca": 0, "covariance": "diag"}),
    ("gmm", {"per_class": False}),
    ("hmm", {"reads": "columns", "covariance": "diag"}),
    ("hmm", {"reads": "pixels", "topology": "ergodic"}),
    ("hmm", {"emission": "bernoulli"}),
    ("hmm", {"lags": 1}),
    ("hmm", {"per_class": False}),
    ("hmm", {"emission": "categorical"}),
    ("dcgan", {"conditional": True, "spectral_norm": True}),
    ("vae", {"network": "conv", "prior": "realnvp"}),
    ("vae", {"conditional": True, "num_samples": 3, "likelihood": "discretized_logistic"}),
    ("m2", {"network": "conv"}),
    ("autoregressive", {"likelihood": "discretized_logistic", "orders": 2, "attention": 2}),
    ("autoregressive", {"conditional": False}),
    ("flow_matching", {"conditional": False, "solver": "heun"}),
    ("flow_matching", {"network": "dit", "channels": [8], "guidance": 2.0}),
    ("dcgan", {"loss": "relativistic", "r2": 1.0, "shift": 0.2, "cutout": 0.3}),
    ("gpt", {"conditional": False, "ngram": 3, "share": 0.3}),
    ("rnnlm", {"cell": "gru", "num_layers": 2}),
]
SMALL = {  # where the default is too large for a quick test
    "autoregressive": {"channels": 4, "blocks": 2},
    "flow_matching": {"channels": [4, 8], "blocks": 1, "steps": 3},
    "gpt": {"num_layers": 2, "width": 16, "heads": 2},
    "rnnlm": {"hidden_size": 8, "embedding": 6},
    "svm": {"num_features": 512},
    "gmm": {"num_components": 2, "pca": 6, "rank": 2},
    "hmm": {"num_states": 3},
    "dcgan": {"channels": 4},
    "vae": {"latent_dim": 4, "hidden_sizes": [32], "channels": [4, 8], "flow_layers": 2, "flow_width": 8},
    "m2": {"latent_dim": 4, "hidden_sizes": [32], "channels": [4, 8], "flow_layers": 2, "flow_width": 8},
}


WORDS = 24  # of a vocabulary; a text has up to as many


SYMBOLS = ("a", "b", "c", "\n", "<unknown>", "<end>")  # of sequences, which have up to WORDS - 1


def of_texts(name: str, options: dict) -> bool:
    """Whether a case is of bags of words, and of no pictures."""
    return registry.model_class(name).takes == ("counts",) or options.get("emission") == "multinomial"


def of_tokens(name: str, options: dict) -> bool:
    """Whether a case is of sequences."""
    return registry.model_class(name).takes[0] == "tokens" or options.get("emission") == "categorical"


def shape_of(name: str) -> tuple[int, int, int]:
    """What a model is tested on where the shape does not matter: small images if it works through all their pixels."""
    return (1, 28, 28) if issubclass(registry.model_class(name), Classifier) else (3, 8, 10)


def build(name: str, shape: tuple[int, int, int] | None = None, classes: int = 10, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = shape or shape_of(name)
    if of_texts(name, options):
        spec = zoo.DataSpec((1, 1, WORDS), classes, mean=(0.3,) * WORDS, kind="tokens", values="counts")
    elif of_tokens(name, options):
        spec = zoo.DataSpec((1, 1, WORDS - 1), classes, kind="tokens", values="tokens", vocabulary=SYMBOLS)
    else:
        spec = zoo.DataSpec(shape, classes, mean=(0.3,) * shape[0], std=(0.4,) * shape[0])
    return zoo.create(name, spec, **{**SMALL.get(name, {}), **options})


def batch(shape: tuple[int, int, int], size: int = 8, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, or texts where the shape is that of words; and their classes."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(size) % classes
    if shape == (1, 1, WORDS):  # unknown words and nothing among them
        return torch.randint(-1, WORDS + 1, (size, *shape), generator=generator), labels
    if shape == (1, 1, WORDS - 1):  # up to an end
        places, lengths = torch.arange(WORDS - 1), torch.randint(WORDS - 2, (size, 1), generator=generator)
        drawn = torch.randint(len(SYMBOLS) - 1, (size, WORDS - 1), generator=generator)
        drawn = torch.where(places < lengths, drawn, torch.where(places == lengths, len(SYMBOLS) - 1, -1))
        return drawn[:, None, None], labels
    return torch.rand(size, *shape, generator=generator), labels


def precise(x: torch.Tensor) -> torch.Tensor:
    """In float64; the numbers of words as they are."""
    return x.double() if x.is_floating_point() else x


def started(model: torch.nn.Module) -> torch.nn.Module:
    """A model that can be asked: a density is initialised on some images and, with EM, has seen them once."""
    if hasattr(model, "initialize"):
        x, labels = batch(model.spec.shape, 3 * model.spec.num_classes, model.spec.num_classes)
        x = x.to(next(model.parameters()).dtype) if x.is_floating_point() else x
        model.initialize([(x, labels)], torch.Generator().manual_seed(0))
        if hasattr(model, "statistics"):
            model.maximize(model.statistics(x, labels))
    return model


def asked(model: torch.nn.Module, x: torch.Tensor, **options) -> list[torch.Tensor]:
    """Every answer that is a function of the images: log p(y | x), log p(x)."""
    questions = {"classify": zoo.classify, "log_prob": zoo.log_prob}
    if hasattr(model, "discriminate"):
        questions["anomaly_score"] = zoo.anomaly_score
    answers = [ask(model, x, **options) for name, ask in questions.items() if capability.can(model, name)]
    assert answers
    return answers


def criterion(model: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What training minimises; of two players, the sum of what each does."""
    if isinstance(model, Classifier):
        return model.loss(model(x), labels)
    if hasattr(model, "losses"):
        return model.losses(x, labels, 1.0)["loss"]
    classes = None if model.log_prior is None else labels
    fake = model.generator(model.noise(len(x), torch.Generator().manual_seed(3)), classes)
    return sum(model.discriminator_terms(x, fake, classes, 0)[0].values()) + model.generator_loss(fake, x, classes)


def cases(kind: type):
    for name, options in ((name, {}) for name in MODELS):
        if issubclass(registry.model_class(name), kind):
            yield name, options
    yield from (variant for variant in VARIANTS if issubclass(registry.model_class(variant[0]), kind))


def params(kind: type) -> dict:
    return {"params": cases(kind), "ids": lambda case: "-".join([case[0], *map(str, case[1].values())])}


@pytest.fixture(**params(object))
def case(request):
    return request.param


@pytest.fixture(**params(Classifier))
def classifier(request):
    return request.param


def exact() -> list[tuple[str, dict]]:
    """Densities that EM can train."""
    return [case for case in cases(Density) if hasattr(registry.model_class(case[0]), "statistics")]


@pytest.fixture(params=exact(), ids=params(Density)["ids"])
def density(request):
    return request.param


@pytest.fixture(
    params=[case for case in cases(Generative) if hasattr(registry.model_class(case[0]), "sample")],
    ids=params(Generative)["ids"],
)
def generator_model(request):
    return request.param


def test_every_model_is_a_classifier_or_generative():
    assert len([*cases(object)]) == len([*cases(Classifier)]) + len([*cases(Generative)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_and_class_count(case, shape):
    name, options = case
    if shape != SHAPES[0] and issubclass(registry.model_class(name), Generative):
        shape = (shape[0], 12, 10)  # any size will do, and principal directions of 3,072 values take ten seconds
    for classes in (2, 7):
        model = started(build(name, shape, classes, **options)).eval()
        x = batch(model.spec.shape)[0]
        if capability.can(model, "classify"):
            log_proba = zoo.classify(model, x)
            assert log_proba.shape == (8, classes)
            torch.testing.assert_close(log_proba.exp().sum(1), torch.ones(8))
        if capability.can(model, "log_prob"):
            log_prob = zoo.log_prob(model, x)
            assert log_prob.shape == (8,)
            assert log_prob.isfinite().all()


def test_gradient_reaches_every_parameter(case):
    name, options = case
    model = started(build(name, **options))
    with torch.no_grad():  # a head that starts at zero sends no gradient back before its first step
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    x, labels = batch(model.spec.shape)
    if not [*model.parameters()]:  # it counts
        assert not hasattr(model, "losses")
        return
    criterion(model, x, labels).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


def test_no_gradient_crosses_the_batch(classifier):
    """In eval mode an image's logits depend on that image alone; so do a text's, which has no gradient."""
    name, options = classifier
    model = started(build(name, **options)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = batch(model.spec.shape, 4)[0]
    if not x.is_floating_point():
        others = x.flip(3)
        others[1] = x[1]
        assert not torch.equal(model(others), model(x % 7))
        assert torch.equal(model(others)[1], model(torch.cat([x[1:2] * 0, x[1:2]]))[1])
        return
    x.requires_grad_()
    model(x)[1].square().sum().backward()
    assert x.grad[1].abs().max() > 0
    assert x.grad[[0, 2, 3]].abs().max() == 0


def test_independent_of_batch_size(case):
    name, options = case
    model = started(build(name, **options))
    x = batch(model.spec.shape)[0]
    for alone, together in zip(asked(model, x, batch_size=1), asked(model, x, batch_size=8), strict=True):
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_overfits_one_batch(classifier):
    name, options = classifier
    if name == "nbsvm":
        options = {"beta": 1.0}  # else it is meant not to
    model = started(build(name, **options))
    x, labels = batch(model.spec.shape)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.loss(model(x), labels)
        loss.backward()
        optimizer.step()
        if loss < 0.05 and (zoo.classify(model, x).argmax(1) == labels).all():
            return
    pytest.fail(f"the loss is still {loss}")


def test_saved_and_loaded_is_the_same(case, tmp_path):
    name, options = case
    model = started(build(name, (3, 16, 12) if shape_of(name)[0] == 3 else (3, 32, 32), 5, **options))
    if isinstance(model, Classifier):
        for buffer_or_parameter in model.state_dict().values():
            if buffer_or_parameter.is_floating_point():
                buffer_or_parameter.add_(0.1 * torch.rand(buffer_or_parameter.shape))
    x = batch(model.spec.shape)[0]
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    assert type(again) is type(model)
    assert not again.training
    assert all(torch.equal(*pair) for pair in zip(asked(again, x), asked(model, x), strict=True))


def test_same_seed_same_model(case):
    name, options = case
    first, second = (started(build(name, **options)).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


# Densities


def test_bayes_rule(density):
    """log p(x) = logsumexp_y log p(x, y), and log p(x, y) = log p(x | y) + log p(y)."""
    name, options = density
    model = started(build(name, **options).double())
    x, labels = batch(model.spec.shape)
    x = precise(x)
    joint = model.log_joint(x)
    torch.testing.assert_close(model.log_prob(x), joint.logsumexp(1))
    own = joint[:, 0] if model.log_prior is None else joint.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(model.log_likelihood(x, labels), own)
    if model.log_prior is not None:
        torch.testing.assert_close(model.log_prob(x, labels) + model.log_prior[labels], own)
        torch.testing.assert_close(zoo.classify(model, x), joint.log_softmax(1))


def test_statistics_add_up(density):
    """Those of two batches sum to those of both together, and hold the number of images and their likelihood."""
    name, options = density
    model = started(build(name, **options).double())
    x, labels = batch(model.spec.shape, 12)
    x = precise(x)
    together = model.statistics(x, labels)
    parts = [model.statistics(x[index], labels[index]) for index in (slice(0, 5), slice(5, 12))]
    for key, value in together.items():
        assert value.dtype == torch.float64, key
        torch.testing.assert_close(parts[0][key] + parts[1][key], value, rtol=1e-8, atol=1e-8)
    assert float(together["images"]) == 12
    torch.testing.assert_close(together["log_likelihood"], model.log_likelihood(x, labels).sum())


def test_maximize_raises_the_likelihood(density):
    """EM steps on a few images do not lower their likelihood, and the statistics given are left as they were.

    As good as without the priors and floors that trade likelihood away.
    """
    name, options = density
    priors = {key: 1e-6 for key in ("floor", "ridge", "smoothing", "alpha") if key in registry.options(name)}
    model = started(build(name, **priors, **options).double())
    x, labels = batch(model.spec.shape, 30)
    x = precise(x)
    values = []
    for _ in range(4):
        statistics = model.statistics(x, labels)
        kept = {key: value.clone() for key, value in statistics.items()}
        values.append(float(statistics["log_likelihood"]))
        model.maximize(statistics)
        assert all(torch.equal(value, kept[key]) for key, value in statistics.items())
    slack = 1e-3 * abs(values[0])
    assert all(after >= before - slack for before, after in itertools.pairwise(values)), values


def test_samples_are_repeatable(generator_model):
    name, options = generator_model
    model = started(build(name, (3, 8, 8), 3, **options))

    def draw(n: int, labels: torch.Tensor | None = None, seed: int = 0) -> torch.Tensor:
        return zoo.sample(model, n, labels, torch.Generator().manual_seed(seed))

    torch.manual_seed(5)
    x = draw(6)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))  # nothing was taken
    shape, low, high = (3, 8, 8), 0, 1
    if of_texts(name, options):
        shape, low, high = (1, 1, x.shape[3]), -1, WORDS - 1
    elif of_tokens(name, options):
        shape, low, high = (1, 1, WORDS - 1), -1, len(SYMBOLS) - 1
    assert x.shape == (6, *shape)
    assert low <= x.min() < x.max() <= high
    assert torch.equal(x, draw(6))
    assert not torch.equal(x, draw(6, seed=1))
    assert draw(1).shape[:3] == (1, *shape[:2])
    if model.log_prior is not None:
        assert draw(2, torch.tensor([2, 0])).shape[:3] == (2, *shape[:2])


@pytest.mark.parametrize("name", MODELS)
def test_yaml_is_the_constructor(name):
    """The YAML lists every option with the constructor's default, and nothing else."""
    values = yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text())
    values = {key: value for key, value in values.items() if key not in ("defaults", "_allowed_", "name")}
    defaults = {
        key: list(value) if isinstance(value, tuple) else value for key, value in registry.options(name).items()
    }
    assert values == defaults


def test_the_documentation_shows_the_capabilities():
    assert str(zoo.capabilities()) in (ROOT / "docs" / "ask.md").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_capabilities_hold(name):
    """What the table promises can be asked, and answers with the stated shape; the rest is refused.

    A question that is added is put to every model by being there.
    """
    model = started(build(name))
    x, _ = batch(model.spec.shape, 4)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    row = zoo.capabilities(name)[name]
    assert list(row) == list(capability.known())
    sizes = {"B": len(x), "K": model.spec.num_classes, **dict(zip("CHW", x.shape[1:], strict=True))}
    for question, asked in capability.known().items():
        assert row[question] == capability.support(model, question)
        if row[question] == "no":
            with pytest.raises(zoo.ZooError, match="models that can"):
                asked.trial(model, x, observed)
            continue
        answer = asked.trial(model, x, observed)
        wanted = [sizes.get(size, size) for size in asked.shape]
        assert [size if want == "*" else want for size, want in zip(answer.shape, wanted, strict=True)] == [
            *answer.shape
        ]
        assert answer.isfinite().all(), question
        assert not answer.requires_grad, question


def regime_of(name: str) -> str:
    """The learner that a model's YAML picks."""
    return learner_of(yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text()))


@contextlib.contextmanager
def refusal():
    """The sentence in which something is refused, in a list; an empty one where nothing is."""
    said: list[str] = []
    try:
        yield said
    except zoo.ZooError as error:
        said.append(str(error))
        if len(said[0].splitlines()) != 1:
            raise


FORMS = {name: kinds.find(name).trial for name in kinds.names()}
FORMS |= {"sequences": kinds.find("tokens").trial_of_sequences}  # bags are the other form of texts


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_is_learnt_or_refused_in_a_sentence(case, form):
    """Each model, with each of its variants, and each kind of data: both are tested by being there."""
    name, options = case
    stored, spec = FORMS[form](30)
    data = Split(stored, torch.arange(30) % spec.num_classes, spec.kind)
    torch.manual_seed(0)
    with refusal() as refused:
        model = zoo.create(name, spec, **{**SMALL.get(name, {}), **options})
        learner = learner_class(regime_of(name))(model)
    if refused:
        assert name in refused[0]
        return
    batches = Batches(data, 10, shuffle=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    L.Trainer(max_epochs=1, enable_checkpointing=False, **quiet).fit(learner, batches, Batches(data, 30))
    x, observed = data.x(), torch.rand(stored.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    for question, asked in capability.known().items():
        if capability.can(model, question):
            with refusal() as refused:
                answer = asked.trial(model, x, observed)
                ended = spec.kind == "sound" and answer.shape == x.shape  # nothing is behind the end of a recording
                assert (answer.isfinite() | (x.isnan() if ended else torch.tensor(False))).all(), question
            assert not refused or "missing" in refused[0], question  # such as codes of examples with gaps


@pytest.mark.parametrize("form", FORMS)
def test_some_model_learns_each_kind(form):
    able = []
    for name, options in cases(object):
        with refusal() as refused:
            model = zoo.create(name, FORMS[form](30)[1], **{**SMALL.get(name, {}), **options})
            learner_class(regime_of(name))(model)
        able += [] if refused else [name]
    assert len(set(able)) >= 5


AUGMENT = "data.augment={shift: 1, flip: true, erase: 0.5, hide: 0.9}"
RESUMED = {  # by learner: what makes it remember as much as it can, and does not depend on the run's length
    "classification": ("learner.ema=0.9", "learner.schedule.name=none", AUGMENT),
    "likelihood": ("learner.ema=0.9", "learner.schedule.name=none", AUGMENT),
    "objective": ("learner.schedule.name=none", AUGMENT),
    "em": ("learner.tolerance=0", AUGMENT),
    "adversarial": ("learner.ema=0.9", "learner.schedule.name=none", "learner.n_critic=2", AUGMENT),
}


@pytest.mark.parametrize(
    ("name", "learner", "data"),
    [
        *((name, None, "grammar" if of_texts(name, {}) or of_tokens(name, {}) else None) for name in MODELS),
        ("gmm", "likelihood", None),
        ("naive_bayes", None, "grammar"),
        ("naive_bayes", "likelihood", "grammar"),
        ("mlp", None, "grammar"),
    ],
    ids=lambda value: value or "",
)
def test_resumed_equals_straight(name, learner, data, tmp_path):
    """A run that ends after two epochs, and is stopped by a signal within the next, ends where one of four epochs does,
    bit for bit: weights, average, data order, randomness, and what is said of each epoch."""
    regime = learner or regime_of(name)
    options = [
        f"model={name}",
        "experiment=debug",
        "logger=none",
        *([f"learner={learner}"] if learner else []),
        *(option for option in RESUMED[regime] if data is None or option != AUGMENT),
        *([f"data={data}"] if data else []),
        *(["data.reads=characters", "data.longest=32"] if of_tokens(name, {}) else []),
        *(f"model.{key}={value}" for key, value in SMALL.get(name, {}).items()),
    ]
    straight = run_train(tmp_path / "straight", *options, "trainer.max_epochs=4")
    parted = run_train(tmp_path / "parted", *options, "trainer.max_epochs=2")
    with stopped_at(12):
        run_train(None, f"resume={parted}", "trainer.max_epochs=4")
    stopped = torch.load(parted / "last.ckpt", weights_only=True)
    assert stopped["global_step"] == 13
    resumed = run_train(None, f"resume={parted}")
    assert resumed == parted
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in (straight, parted))
    assert first["global_step"] == second["global_step"] == 20
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    rows = [(run / "metrics.csv").read_text().splitlines() for run in (straight, parted)]
    drop = rows[0][0].split(",").index("images_per_second")
    assert [[*row.split(",")[:drop], *row.split(",")[drop + 1 :]] for row in rows[0]] == [
        [*row.split(",")[:drop], *row.split(",")[drop + 1 :]] for row in rows[1]
    ]
