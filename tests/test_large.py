"""Large pictures: what is cheap for them is exact, what is not is refused before anything is allocated."""

import math
import signal
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
import zoo.run.record
import zoo.run.train
from zoo import registry
from zoo.base import covariance, memory, principal
from zoo.errors import ConfigError, ZooError
from zoo.models import gmm, svm

COLOUR = {side: zoo.DataSpec((3, side, side), 2, ("a", "b"), (0.5,) * 3, (0.25,) * 3) for side in (64, 224, 512)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(count, values=120, seed=0):
    """Examples ``(n, 1, 1, D)`` whose variances fall off, as those of pictures do."""
    spread = 0.2 / (1 + torch.arange(values)) ** 0.7
    turn = torch.linalg.qr(torch.randn(values, values, generator=generator(9)))[0]
    return (0.5 + torch.randn(count, values, generator=generator(seed)) * spread @ turn)[:, None, None]


@pytest.fixture(params=["whole", "products", "passes"])
def way(request, monkeypatch):
    """The three ways to principal directions, each for examples of any size."""
    limits = {"whole": 2048, "products": 100, "passes": 1}
    for module in (principal, covariance):
        monkeypatch.setattr(module, "LARGE", limits[request.param])
    if request.param == "passes":
        monkeypatch.setattr(principal, "AT_ONCE", 1000)  # several parts a batch
    return request.param


# Principal directions


@pytest.mark.parametrize("count", [2, 5, 40, 100])
@pytest.mark.parametrize("size", [1, 10, 60])
def test_directions_are_those_of_the_covariance(way, count, size):
    x = data(count)
    batches = [(part, None) for part in x.split(16)]
    mean, basis, left, seen = principal.principal_directions(batches, torch.zeros(120), size)
    flat = x.flatten(1).double()
    centred = flat - flat.mean(0)
    variances, vectors = (part.flip(-1) for part in torch.linalg.eigh(centred.T @ centred / count))
    assert seen == count
    torch.testing.assert_close(mean, flat.mean(0), atol=1e-6, rtol=0)
    assert basis.shape == (120, size)
    torch.testing.assert_close(basis.T @ basis, torch.eye(size, dtype=torch.float64), atol=1e-9, rtol=0)
    loss = 1e-3 if way == "passes" else 1e-6  # of the variance that is there
    captured = (centred @ basis).square().mean(0)
    assert float(captured.sum()) == pytest.approx(float(variances[:size].sum()), rel=loss)
    assert float(left) == pytest.approx(float(variances[size:].sum() / (120 - size)), rel=5e-3, abs=1e-8)
    first = basis[:, 0] @ vectors[:, 0]
    assert float(first.abs()) == pytest.approx(1, abs=1e-3)
    assert bool((basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all())


def test_the_same_data_has_the_same_directions(way):
    batches = [(data(50), None)]
    first, second = (principal.principal_directions(batches, torch.zeros(120), 5)[1] for _ in range(2))
    assert torch.equal(first, second)


def test_examples_that_are_all_alike(way):
    x = data(1).expand(7, -1, -1, -1)
    _, basis, left, _ = principal.principal_directions([(x, None)], torch.zeros(120), 4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    assert abs(float(left)) < 1e-9


def test_no_example_is_an_error(way):
    with pytest.raises(ValueError, match="no image"):
        principal.principal_directions([], torch.zeros(120), 4)


# Mixtures of fewer examples than pixels


def started(x, labels=None, **options):
    labels = torch.zeros(len(x), dtype=torch.long) if labels is None else labels
    names = tuple("ab"[: int(labels.max()) + 1])
    model = zoo.create("gmm", zoo.DataSpec(x.shape[1:], len(names), names), **options)
    model.initialize([(part, of) for part, of in zip(x.split(7), labels.split(7), strict=True)], generator())
    for _ in range(2):
        model.maximize(model.statistics(x, labels))
    return model.eval()


@torch.no_grad()
def as_matrix(model, which):
    """Σ_k as a matrix of all pixels, float64."""
    inside = model.covariance.dense(torch.tensor(which)).double()
    if not model.projected:
        return inside
    U = model.basis.double()
    return U @ inside @ U.T + model.residual.double() * (torch.eye(len(U)).double() - U @ U.T)


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "tied", "low_rank"])
@pytest.mark.parametrize("count", [2, 12])
def test_a_density_of_all_pixels(way, kind, count):
    """With n < d, and fewer directions than ``pca`` asks for, the answers are those of Gaussians of all pixels."""
    x = data(count)
    model = started(x, num_components=2, covariance=kind, rank=3, pca=20, floor=1e-2)
    assert torch.allclose(model.basis.T @ model.basis, torch.eye(20), atol=1e-5)
    probe = torch.cat([x, data(5, seed=1)])
    flat = probe.flatten(1).double()
    log_weights = model.logits[0].double().log_softmax(0)
    parts = []
    for k in range(2):
        mean = model._mean_images(torch.tensor(k)).double()
        matrix = as_matrix(model, k)
        factor = torch.linalg.cholesky((matrix + matrix.T) / 2)
        white = torch.linalg.solve_triangular(factor, (flat - mean).T, upper=False)
        log_det = 2 * factor.diagonal().log().sum()
        parts.append(log_weights[k] - 0.5 * (white.square().sum(0) + log_det + 120 * math.log(2 * math.pi)))
    expected = torch.stack(parts).logsumexp(0)
    found = model.log_prob(probe).detach().double()
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "tied", "low_rank"])
@pytest.mark.parametrize("pca", [0, 10])
def test_missing_pixels_of_few_examples(way, kind, pca, monkeypatch):
    """The marginal over all pixels is the density; what is imputed is a picture, and the seen pixels stay."""
    monkeypatch.setattr(gmm, "PAIRS", 10 * 7)  # pixels a few at a time
    x, labels = data(12), torch.arange(12) % 2
    model = started(x, labels, num_components=2, covariance=kind, rank=3, pca=pca, floor=1e-2)
    everything = torch.ones_like(x, dtype=torch.bool)
    whole, marginal = model.log_prob(x), model.log_prob(x, observed=everything)
    torch.testing.assert_close(marginal, whole, rtol=2e-3, atol=2e-2)
    observed = torch.rand(x.shape, generator=generator()) < 0.5
    torch.testing.assert_close(zoo.classify(model, x, observed).exp().sum(1), torch.ones(12))
    drawn = zoo.impute(model, x, observed, generator=generator())[0]
    assert bool(drawn.isfinite().all())
    assert torch.equal(drawn[observed], x[observed])


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "low_rank"])
def test_a_component_without_examples_is_put_elsewhere(way, kind):
    """Without a matrix of all pixels: the main axis is found by products with it."""
    x = data(12)
    model = started(x, num_components=2, covariance=kind, rank=3, pca=0, floor=1e-2)
    axis = model.covariance.main_axis(torch.tensor(0)).detach().double()
    values = torch.linalg.eigvalsh(as_matrix(model, 0))
    length = float(torch.linalg.vector_norm(axis))
    assert length <= float(values[-1].sqrt()) * 1.001
    assert length >= float(values[-1].sqrt()) * (0.9 if way != "whole" else 0.999)
    heaviest = int(model.logits[0].argmax())
    before = model.mean[0, heaviest].detach().clone()
    with torch.no_grad():
        axis = model.covariance.main_axis(torch.tensor(heaviest)).to(before)
        model._split_heaviest(0, 1 - heaviest)
    torch.testing.assert_close(model.mean[0, 1 - heaviest], before + axis)
    torch.testing.assert_close(model.mean[0, heaviest], before - axis)


def test_full_covariances_in_parts_are_those_at_once(monkeypatch):
    x = data(40, 12)
    whole = started(x, num_components=4, covariance="full", pca=0)
    monkeypatch.setattr(covariance, "MATRICES", 12 * 12)
    parts = started(x, num_components=4, covariance="full", pca=0)
    torch.testing.assert_close(parts.covariance.factor, whole.covariance.factor)
    torch.testing.assert_close(parts.mean, whole.mean)


# What is refused, before it is there


REFUSED = [
    ("gmm", 64, {"pca": 0}, "model.pca=50"),
    ("gmm", 64, {"pca": 0, "covariance": "tied"}, "model.pca=50"),
    ("gmm", 224, {"pca": 0}, "model.pca=50"),
    ("gmm", 224, {"pca": 10_000}, "at most 675 principal directions"),
    ("vae", 512, {}, "model.hidden_sizes"),
    ("vae", 512, {"network": "conv"}, "model.hidden_sizes"),
    ("m2", 512, {}, "model.hidden_sizes"),
    ("m2", 224, {"network": "conv"}, "model.hidden_sizes"),
    ("mlp", 512, {}, "model.hidden_sizes"),
    ("hmm", 512, {"lags": 20}, "model.lags"),
    ("hmm", 224, {"reads": "pixels"}, "reads=rows"),
    ("rnn", 224, {"reads": "pixels"}, "reads=rows"),
]


@pytest.mark.parametrize(("name", "side", "options", "says"), REFUSED)
def test_what_does_not_fit_says_what_would(name, side, options, says, monkeypatch):
    monkeypatch.setattr(memory, "budget", lambda: memory.LEAST)
    start = time.perf_counter()
    with pytest.raises(ZooError, match=says) as error:
        zoo.create(name, COLOUR[side], **options)
    assert time.perf_counter() - start < 5  # nothing was built
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in zoo.list_models()
        if name not in ("mlp", "vae", "m2", "gpt") and "grey" in registry.model_class(name).takes
    ],
)
def test_defaults_fit_large_colour_pictures(name):
    model = zoo.create(name, COLOUR[224])
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert 4 * weights + sum(buffer.nbytes for buffer in model.buffers()) < 2e9


def test_patches_of_large_colour_pictures_are_told():
    """They have too many colours for the default: what fits stands in the error, and is not chosen for the user."""
    with pytest.raises(ZooError, match=r"patch=\[4,2\] of 3×224×224 pixels: patches of at most 12 binary values"):
        zoo.create("gpt", COLOUR[224])
    assert zoo.create("gpt", zoo.DataSpec((3, 32, 32)), patch=[2, 2]).window == 256


def test_a_machine_with_more_memory_takes_more(monkeypatch):
    for allowed, fits in ((8e9, False), (9e9, True)):
        monkeypatch.setattr(memory, "budget", lambda allowed=allowed: allowed)
        if fits:
            memory.require(8.5e9, "this", "less")
        else:
            with pytest.raises(ConfigError, match="about 8 GB of memory"):
                memory.require(8.5e9, "this", "less")


def test_what_was_trained_elsewhere_is_loaded(tmp_path, monkeypatch):
    spec = zoo.DataSpec((3, 32, 32), 2, ("a", "b"), (0.5,) * 3, (0.25,) * 3)
    zoo.save(zoo.create("mlp", spec, hidden_sizes=[2]), tmp_path / "kept")
    monkeypatch.setattr(memory, "budget", lambda: 1000)
    with pytest.raises(ZooError, match=r"model\.hidden_sizes"):
        zoo.create("mlp", spec, hidden_sizes=[2])
    zoo.load(tmp_path / "kept")


def test_counting_weights_draws_no_random_numbers():
    torch.manual_seed(0)
    large = zoo.create("cnn", COLOUR[64])
    torch.manual_seed(0)
    plain = zoo.registry.model_class("cnn")(COLOUR[64])
    assert all(torch.equal(a, b) for a, b in zip(large.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(
    ("most", "values", "expected"), [(512, 784, 512), (512, 150_528, 27), (8, 10**9, 1), (5, 0, 5)]
)
def test_how_many_at_once(most, values, expected):
    assert memory.at_once(most, values) == expected


# The kernel machine


def test_structured_features_have_the_kernel_as_inner_product():
    for dim, count in ((100, 8192), (300, 4000)):  # one block and a part of it, several blocks
        x = torch.randn(8, dim, generator=generator())
        y = x + 0.3 * torch.randn(8, dim, generator=generator(1))
        sigma = 0.3 * math.sqrt(2 * dim)
        signs, phases = svm.random_signs(dim, count, 0)
        assert signs.shape[2] in (128, 512)
        of = [(svm.structured_projection(v, signs)[:, :count] / sigma + phases).cos() for v in (x, y)]
        kernel = (of[0] * of[1]).mean(1) * 2
        expected = (-(x - y).square().sum(1) / (2 * sigma**2)).exp()
        torch.testing.assert_close(kernel, expected, atol=0.05, rtol=0)


def test_hadamard_is_orthogonal():
    for size in (1, 2, 64):
        matrix = svm.hadamard(size)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(size))


def test_a_large_kernel_machine_is_saved_and_answers_alike(tmp_path):
    spec = zoo.DataSpec((1, 65, 65), 2, ("a", "b"))
    model = zoo.create("svm", spec, num_features=100).eval()
    with torch.no_grad():
        model.head.weight.normal_(generator=generator())
    zoo.save(model, tmp_path / "kept")
    x = torch.rand(3, 1, 65, 65, generator=generator())
    assert torch.equal(zoo.classify(zoo.load(tmp_path / "kept"), x), zoo.classify(model, x))
    small = zoo.create("svm", zoo.DataSpec((1, 64, 64), 2, ("a", "b")), num_features=10)
    assert "signs" not in small.state_dict()  # as ever


# The whole command


@pytest.fixture
def pictures(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (2, 6, 64, 64, 3), dtype=np.uint8)
    for name, some in zip("ab", values, strict=True):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number, pixels in enumerate(some):
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def words(pictures, *more):
    return [
        "data=image_folder", f"data.path={pictures}", f"data.root={pictures.parent / 'cache'}", "data.image_size=64",
        f"runs={pictures.parent / 'runs'}", "logger=none", *more,
    ]  # fmt: skip


def test_a_mixture_of_large_pictures_is_trained(pictures, monkeypatch):
    from zoo.commands import train

    monkeypatch.setattr(sys, "argv", ["train.py", "model=gmm", *words(pictures, "trainer.max_epochs=2")])
    start = time.perf_counter()
    train.main()
    assert time.perf_counter() - start < 60
    (run,) = (pictures.parent / "runs").iterdir()
    model = zoo.load(run)
    x = torch.rand(2, 3, 64, 64, generator=generator())
    assert bool(zoo.log_prob(model, x).isfinite().all())
    assert zoo.impute(model, x, torch.rand(x.shape, generator=generator()) < 0.5).shape == (1, *x.shape)


def test_a_batch_of_long_sequences_that_does_not_fit_says_which_would(pictures, monkeypatch, capsys):
    from zoo.commands import train

    monkeypatch.setattr(memory, "budget", lambda: 2e8)
    monkeypatch.setattr(sys, "argv", ["train.py", "model=rnn", "model.reads=pixels", *words(pictures)])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 2
    assert "data.batch_size=3" in capsys.readouterr().err
    assert not list((pictures.parent / "runs").glob("*"))


MOMENTS = {
    "start": (gmm.GMM, "initialize"),
    "step": (gmm.GMM, "statistics"),
    "validation": (gmm.GMM, "validate"),
    "test": (zoo.run.train, "evaluate"),
    "pictures": (zoo.run.record, "draw"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm_ends_a_run_at_any_moment(moment, pictures, monkeypatch, capsys):
    """Lightning would wait for the end of a batch, and for all that precedes the first; what is under way in an epoch
    comes to its end."""
    from zoo.commands import train

    goes_on, calls = getattr(*MOMENTS[moment]), []

    def terminated(*arguments, **options):
        if not calls:
            calls.append(moment)
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0)  # where Python looks at signals
        assert moment in ("step", "validation"), "it went on"
        return goes_on(*arguments, **options)

    monkeypatch.setattr(*MOMENTS[moment], terminated)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["train.py", "model=gmm", *words(pictures, "trainer.max_epochs=2")])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert "error" not in capsys.readouterr().err
