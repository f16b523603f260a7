"""Numbers against formulas written out, enumeration and reference libraries."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Reference
from torch import nn

import zoo
from zoo.base.classifier import Normalize
from zoo.learners.optimization import AveragedWeights
from zoo.metrics.calibration import CALIBRATION_BINS, reliability
from zoo.metrics.classification import confusion_matrix, per_class, summarize
from zoo.models.svm import multiclass_hinge, random_fourier_features

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def settle(model, spec, seed=0):
    """Weights, norms and running statistics away from their special initial values; in eval mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.startswith("normalize") or not tensor.is_floating_point():
                continue
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if "running_var" in name else torch.randn(tensor.shape) / 2)
    return model.eval(), torch.rand(5, *spec.shape, generator=generator(seed))


# --- normalisation ---------------------------------------------------------------------------------------------------


def test_normalisation_is_x_minus_mean_over_std():
    spec = zoo.DataSpec((3, 2, 4), 5, mean=(0.1, 0.5, 0.9), std=(0.2, 1.0, 3.0))
    x = torch.rand(6, 3, 2, 4, generator=generator())
    expected = np.stack([(x[:, c].numpy() - spec.mean[c]) / spec.std[c] for c in range(3)], 1)
    np.testing.assert_allclose(Normalize(spec)(x).numpy(), expected, rtol=1e-5, atol=1e-6)


# --- multilayer perceptron, convolutional network --------------------------------------------------------------------


def normalized(x, spec):
    return (x - torch.tensor(spec.mean).view(-1, 1, 1)) / torch.tensor(spec.std).view(-1, 1, 1)


def batch_norm(x, norm):
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean, variance, weight, bias = (
        tensor.view(shape) for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (variance + norm.eps).sqrt() * weight + bias


def parts(model, *kinds):
    return [[module for module in model.modules() if isinstance(module, kind)] for kind in kinds]


def test_mlp_is_its_formula():
    spec = zoo.DataSpec((2, 3, 4), 5, mean=(0.2, 0.4), std=(0.5, 0.7))
    model, x = settle(zoo.create("mlp", spec, hidden_sizes=[7, 6], dropout=0.5), spec)
    linears, norms = parts(model, nn.Linear, nn.BatchNorm1d)
    assert [linear.out_features for linear in linears] == [7, 6, 5]
    h = normalized(x, spec).reshape(5, 24)
    for linear, norm in zip(linears[:-1], norms, strict=True):
        h = batch_norm(h @ linear.weight.T + (0 if linear.bias is None else linear.bias), norm).clamp_min(0)
    with torch.no_grad():
        torch.testing.assert_close(model.features(x), h)
        torch.testing.assert_close(model(x), h @ model.head.weight.T + model.head.bias)


def test_mlp_without_hidden_layers_is_logistic_regression():
    spec = zoo.DataSpec((2, 3, 4), 5, mean=(0.2, 0.4), std=(0.5, 0.7))
    mlp, x = settle(zoo.create("mlp", spec, hidden_sizes=[]), spec)
    regression = zoo.create("logistic_regression", spec)
    regression.head.load_state_dict(mlp.head.state_dict())
    torch.testing.assert_close(mlp(x), regression(x))
    by_hand = normalized(x, spec).flatten(1) @ mlp.head.weight.T + mlp.head.bias
    torch.testing.assert_close(regression(x), by_hand)


@pytest.mark.parametrize("stem", ["pooled", "strided", "valid"])
@pytest.mark.parametrize("shape", [(2, 8, 12), (1, 9, 31), (3, 40, 40)])
def test_cnn_is_its_formula(shape, stem):
    """Odd sizes lose their last row and column in pooling; maps larger than 4×4 are averaged."""
    spec = zoo.DataSpec(shape, 5, mean=(0.2,) * shape[0], std=(0.5,) * shape[0])
    model, x = settle(zoo.create("cnn", spec, channels=[3, 4], stem=stem, dropout=0.5), spec)
    convolutions, norms = parts(model, nn.Conv2d, nn.BatchNorm2d)
    assert [convolution.out_channels for convolution in convolutions] == [3, 4]
    h = normalized(x, spec)
    for convolution, norm in zip(convolutions, norms, strict=True):
        if convolution is convolutions[0] and stem != "pooled":
            assert convolution.kernel_size == (5, 5)
            h = F.conv2d(h, convolution.weight, stride=2, padding={"strided": 2, "valid": 0}[stem])
        else:
            h = F.max_pool2d(F.conv2d(h, convolution.weight, convolution.bias, padding=1), 2)
        h = F.relu(batch_norm(h, norm))
    h = F.adaptive_avg_pool2d(h, tuple(min(size, 4) for size in h.shape[2:])).reshape(5, -1)
    with torch.no_grad():
        torch.testing.assert_close(model.features(x), h, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x), h @ model.head.weight.T + model.head.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("mirror", "shifts"), [(True, False), (False, True), (True, True)])
def test_cnn_averages_the_logits_of_its_views_in_evaluation_alone(mirror, shifts):
    spec = zoo.DataSpec((1, 9, 11), 5)
    plain, x = settle(zoo.create("cnn", spec, channels=[3, 4]), spec)
    model = zoo.create("cnn", spec, channels=[3, 4], mirror=mirror, shifts=shifts)
    model.load_state_dict(plain.state_dict())
    moves = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)] if shifts else [(0, 0)]
    expected = []
    for side in [x, x.flip(3)] if mirror else [x]:
        for down, right in moves:
            view = torch.zeros_like(side)
            for i in range(9):
                for j in range(11):
                    if 0 <= i - down < 9 and 0 <= j - right < 11:
                        view[:, :, i, j] = side[:, :, i - down, j - right]
            expected.append(plain.eval()(view))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), sum(expected) / len(expected), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.train()(x), plain.train()(x))


@pytest.mark.parametrize("name", ["mlp", "rnn", "svm"])
def test_a_mirror_image_counts_as_much_in_evaluation_alone(name):
    spec = zoo.DataSpec((2, 9, 11), 5)
    plain, x = settle(zoo.create(name, spec), spec)
    model = zoo.create(name, spec, mirror=True)
    model.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for own, other in zip(model.buffers(), plain.buffers(), strict=True):  # some are drawn, and not stored
            own.copy_(other)
        expected = (plain.eval()(x) + plain(x.flip(3))) / 2
        torch.testing.assert_close(model.eval()(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x), model(x.flip(3)), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(x), plain(x), atol=1e-3)
        torch.manual_seed(0)
        kept = model.train()(x)
        torch.manual_seed(0)
        torch.testing.assert_close(kept, plain.train()(x))


def test_only_pictures_have_mirror_images():
    with pytest.raises(ValueError, match="mirror=true is of pictures"):
        zoo.create("mlp", zoo.DataSpec((1, 1, 4), 2, kind="table"), mirror=True)
    with pytest.raises(ValueError, match="mirror=true is of kernel=rbf"):
        zoo.create("svm", zoo.DataSpec((1, 9, 11), 5), kernel="linear", mirror=True)


# --- recurrent network -----------------------------------------------------------------------------------------------


def steps(image, reads):
    """What is read of an image ``(C, H, W)``, in order, one index at a time."""
    channels, height, width = image.shape
    if reads == "rows":
        return [torch.stack([image[c, i, j] for c in range(channels) for j in range(width)]) for i in range(height)]
    if reads == "columns":
        return [torch.stack([image[c, i, j] for c in range(channels) for i in range(height)]) for j in range(width)]
    return [torch.stack([image[c, i, j] for c in range(channels)]) for i in range(height) for j in range(width)]


def states(cell, kind, sequence, suffix):
    """The cell's equations, step by step, from the parameters whose names end in ``suffix``: the state after each."""
    w, u, b, c = (getattr(cell, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = memory = torch.zeros(cell.hidden_size)
    visited = []
    for x in sequence:
        if kind == "vanilla":
            h = torch.tanh(w @ x + b + u @ h + c)
        elif kind == "gru":
            (wr, wz, wn), (ur, uz, un) = (w @ x + b).chunk(3), (u @ h + c).chunk(3)
            reset, update = torch.sigmoid(wr + ur), torch.sigmoid(wz + uz)
            h = (1 - update) * torch.tanh(wn + reset * un) + update * h
        else:
            enter, forget, new, leave = (w @ x + b + u @ h + c).chunk(4)
            memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(new)
            h = torch.sigmoid(leave) * torch.tanh(memory)
        visited.append(h)
    return visited


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("reads", ["rows", "columns", "pixels"])
@pytest.mark.parametrize("cell", ["vanilla", "gru", "lstm"])
def test_rnn_is_its_equations(cell, reads, bidirectional, num_layers):
    spec = zoo.DataSpec((2, 3, 4), 5, mean=(0.2, 0.4), std=(0.5, 0.7))
    options = {"cell": cell, "reads": reads, "bidirectional": bidirectional, "hidden_size": 3, "num_layers": num_layers}
    model, x = settle(zoo.create("rnn", spec, **options, dropout=0.5), spec)
    with torch.no_grad():
        logits = []
        for image in normalized(x, spec):
            sequence = steps(image, reads)
            for layer in range(num_layers):
                visited = [states(model.cell, cell, sequence, f"l{layer}")]
                last = visited[0][-1]
                if bidirectional:
                    backward = states(model.cell, cell, sequence[::-1], f"l{layer}_reverse")
                    last = torch.cat([last, backward[-1]])
                    visited.append(backward[::-1])
                sequence = [torch.cat(step) for step in zip(*visited, strict=True)]
            logits.append(model.head.weight @ last + model.head.bias)
        torch.testing.assert_close(model(x), torch.stack(logits), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_forget_gates_of_an_lstm_begin_more_open_by_the_bias_and_nothing_else_does(bidirectional):
    spec = zoo.DataSpec((1, 4, 4), 3)
    parts = {}
    for bias in (0.0, 1.5):
        torch.manual_seed(0)
        options = {"hidden_size": 2, "num_layers": 2, "bidirectional": bidirectional, "forget_bias": bias}
        parts[bias] = zoo.create("rnn", spec, cell="lstm", **options).state_dict()
    for name, start in parts[0.0].items():
        added = torch.tensor([0, 0, 1.5, 1.5, 0, 0, 0, 0]) if "bias_ih" in name else torch.tensor(0.0)
        torch.testing.assert_close(parts[1.5][name], start + added)  # gates: input, forget, cell, output


@pytest.mark.parametrize(("reads", "place"), [("rows", (3, 1)), ("columns", (1, 3)), ("pixels", (3, 3))])
def test_a_forgetful_rnn_sees_what_it_reads_last(reads, place):
    """Without recurrent weights only the last row, the last column or the last pixel can matter."""
    spec = zoo.DataSpec((1, 4, 4), 3)
    options = {"cell": "vanilla", "reads": reads, "bidirectional": False, "hidden_size": 4, "num_layers": 1}
    model, _ = settle(zoo.create("rnn", spec, **options), spec)
    nn.init.zeros_(model.cell.weight_hh_l0)
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    model(x)[0, 0].backward()
    seen = {tuple(index) for index in x.grad[0, 0].nonzero().tolist()}
    rows, columns = ({index[axis] for index in seen} for axis in (0, 1))
    assert place in seen
    assert (rows if reads == "rows" else columns if reads == "columns" else rows | columns) == {3}


# --- logistic regression ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_digits():
    """500 of scikit-learn's digits, 8×8, in [0, 1]: images and labels."""
    digits = load_digits()
    x = torch.tensor(digits.images[:500] / 16, dtype=torch.float64).unsqueeze(1)
    return x, torch.tensor(digits.target[:500])


def test_logistic_regression_converges_to_scikit_learns(small_digits):
    """Both minimise the mean cross-entropy + |W|² / (2 C N), the intercept free."""
    x, labels = small_digits
    strength = 0.1
    spec = zoo.DataSpec((1, 8, 8), 10, mean=(float(x.mean()),), std=(float(x.std()),))
    model = zoo.create("logistic_regression", spec).double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def objective():
        optimizer.zero_grad()
        penalty = model.head.weight.square().sum() / (2 * strength * len(x))
        loss = model.loss(model(x), labels) + penalty
        loss.backward()
        return loss

    optimizer.step(objective)
    pixels = ((x - x.mean()) / x.std()).flatten(1).numpy()
    reference = Reference(C=strength, tol=1e-8, max_iter=2000).fit(pixels, labels.numpy())
    proba = zoo.classify(model, x).exp().numpy()
    np.testing.assert_allclose(proba, reference.predict_proba(pixels), atol=1e-4)
    np.testing.assert_allclose(model.head.weight.detach().numpy(), reference.coef_, atol=1e-3)


def test_cross_entropy_with_smoothing_is_its_formula():
    """A share of the true class's mass is spread over all K classes."""
    model = zoo.create("logistic_regression", zoo.DataSpec((1, 2, 2), 4))
    logits, labels = torch.randn(6, 4, generator=generator()), torch.tensor([0, 1, 2, 3, 0, 1])
    target = 0.7 * F.one_hot(labels, 4) + 0.3 / 4
    log_proba = logits - logits.exp().sum(1, keepdim=True).log()
    torch.testing.assert_close(model.loss(logits, labels, 0.3), -(target * log_proba).sum(1).mean())


# --- support vector machine ------------------------------------------------------------------------------------------


def test_the_hinge_is_its_loop():
    logits, labels = 2 * torch.randn(50, 7, generator=generator()), torch.randint(7, (50,), generator=generator(1))
    losses = []
    for scores, label in zip(logits.tolist(), labels.tolist(), strict=True):
        worst = 0.0
        for other in range(7):
            if other != label:
                worst = max(worst, 1 + scores[other] - scores[label])
        losses.append(worst)
    assert min(losses) == 0 < max(losses)
    assert float(multiclass_hinge(logits, labels)) == pytest.approx(sum(losses) / 50, rel=1e-6)


def test_the_hinge_and_torchs():
    """Torch sums over the wrong classes and divides by K; the two agree where one class at most comes too near."""
    labels = torch.randint(2, (50,), generator=generator(1))
    logits = torch.randn(50, 2, generator=generator())
    torch.testing.assert_close(multiclass_hinge(logits, labels), 2 * F.multi_margin_loss(logits, labels))
    many = torch.tensor([[0.0, 0.5, -3, -4], [2, 0, 0, 1.5], [0, 0, 9, 9.5]])
    labels = torch.tensor([0, 0, 2])
    torch.testing.assert_close(multiclass_hinge(many, labels), 4 * F.multi_margin_loss(many, labels))
    near = torch.zeros(1, 4)
    assert multiclass_hinge(near, labels[:1]) == 1
    assert 4 * F.multi_margin_loss(near, labels[:1]) == 3


def test_a_margin_of_one_costs_nothing_and_moves_nothing():
    spec = zoo.DataSpec((1, 2, 2), 3)
    model = zoo.create("svm", spec, kernel="linear")
    x = torch.eye(4)[:3].view(3, 1, 2, 2)
    labels = torch.arange(3)
    for size, cost in ((0.75, 0.25), (1.01, 0)):  # the margin of each image
        with torch.no_grad():
            model.head.weight.copy_(size * torch.eye(3, 4))
        model.zero_grad()
        loss = model.loss(model(x), labels)
        loss.backward()
        assert loss.item() == cost
        assert bool(model.head.weight.grad.any()) == (cost > 0)
    assert not model.head.bias.grad.any()


def test_the_machine_has_no_label_smoothing():
    model = zoo.create("svm", zoo.DataSpec((1, 2, 2), 3), kernel="linear")
    with pytest.raises(ValueError, match="label smoothing"):
        model.loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), 0.1)


def kernel(a, b, sigma):
    return math.exp(-float((a - b).square().sum()) / (2 * sigma**2))


def test_random_features_approximate_the_kernel():
    """The kernel is of normalised pixels, and sigma is ``bandwidth`` times the root of twice their number."""
    spec = zoo.DataSpec((2, 3, 4), 3, mean=(0.2, 0.4), std=(0.5, 0.7))
    count, sigma = 8192, 0.3 * math.sqrt(2 * 24)
    model = zoo.create("svm", spec, kernel="rbf", num_features=count, bandwidth=0.3, seed=1)
    x = torch.rand(8, *spec.shape, generator=generator())
    x[1] = x[0] + 0.01
    pixels = normalized(x, spec).flatten(1)
    with torch.no_grad():
        phi = model.features(x).double()
    exact = torch.tensor([[kernel(a, b, sigma) for b in pixels] for a in pixels], dtype=torch.float64)
    assert exact.min() < 0.5 < 0.99 < exact[0, 1] < 1
    products = phi[:, None] * phi
    error = products.std(2) / math.sqrt(count)
    assert ((products.mean(2) - exact).abs() < 4 * error).all()


def test_random_features_are_unbiased_over_seeds():
    dim, count, sigma = 6, 15, 2.0  # two and a half orthogonal blocks
    a, b = torch.randn(2, dim, generator=generator())
    estimates = []
    for seed in range(2000):
        frequencies, phases = random_fourier_features(dim, count, sigma, seed)
        estimates.append(float(2 * ((a @ frequencies + phases).cos() * (b @ frequencies + phases).cos()).mean()))
    standard_error = np.std(estimates) / math.sqrt(len(estimates))
    assert standard_error < 0.01
    assert abs(np.mean(estimates) - kernel(a, b, sigma)) < 4 * standard_error


def test_random_features_are_orthogonal_in_blocks():
    """Within a block; its columns are as long as Gaussian vectors: E |w|² = d / sigma², and lengths differ."""
    dim, sigma = 64, 2.0
    frequencies, phases = random_fourier_features(dim, 200, sigma, 0)
    assert frequencies.shape == (dim, 200)
    assert phases.shape == (200,)
    for block in frequencies.split(dim, 1):
        lengths = block.norm(dim=0)
        cosines = (block / lengths).T @ (block / lengths)
        torch.testing.assert_close(cosines, torch.eye(block.shape[1]), atol=1e-5, rtol=0)
    squares = frequencies.square().sum(0) * sigma**2  # chi-squared: mean d, variance 2 d
    assert abs(float(squares.mean()) - dim) < 4 * math.sqrt(2 * dim / 200)
    assert float(squares.var()) == pytest.approx(2 * dim, rel=0.5)
    assert 0 <= float(phases.min()) < 0.1
    assert 6.18 < float(phases.max()) < 2 * math.pi


def test_the_seed_alone_draws_the_features():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = random_fourier_features(5, 12, 1.0, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = random_fourier_features(5, 12, 1.0, 3), random_fourier_features(5, 12, 1.0, 4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_the_temperature_is_the_minimiser(scale):
    """Logits that are too timid, about right, too bold; labels drawn from softmax of the middle ones."""
    honest = 1.5 * torch.randn(400, 5, generator=generator())
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator(1))[:, 0]
    logits = scale * honest
    model = zoo.create("svm", zoo.DataSpec((1, 2, 2), 5), kernel="linear")

    def nll(temperature, doubt=0.0):
        """With Platt's doubt: a label is drawn from all classes with that probability."""
        log_proba = (logits.double() / temperature).log_softmax(1)
        return float((1 - doubt) * F.nll_loss(log_proba, labels) - doubt * log_proba.mean())

    model.calibrate(logits, labels)
    doubt = 1 / (len(labels) + 1)
    best = minimize_scalar(
        lambda log: nll(math.exp(log), doubt), bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}
    )
    temperature = float(model.temperature)
    assert temperature == pytest.approx(math.exp(best.x), rel=1e-4)
    assert nll(temperature) <= nll(1.0) + 1e-9
    assert temperature == pytest.approx(scale, rel=0.2)
    assert float(F.nll_loss(model.log_proba(logits).double(), labels)) == pytest.approx(nll(temperature), rel=1e-5)


def test_the_temperature_of_perfect_predictions_is_not_zero():
    """All labels predicted right: confident, not certain. Equal logits say nothing."""
    model = zoo.create("svm", zoo.DataSpec((1, 2, 2), 5), kernel="linear")
    labels = torch.arange(500) % 5
    model.calibrate(F.one_hot(labels, 5).float(), labels)
    assert model.log_proba(F.one_hot(labels, 5).float()).exp().amax(1).mean() == pytest.approx(1 - 0.8 / 501, abs=1e-5)
    model.calibrate(torch.zeros(500, 5), labels)
    assert model.temperature == 1


# --- average of the weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_its_recursion(decay):
    """The first update copies; later ones are held back by the decay, but not by the start."""
    model = nn.Linear(2, 1)
    average = AveragedWeights(model, decay)
    expected = None
    for update in range(40):
        with torch.no_grad():
            model.weight.copy_(torch.randn(1, 2, generator=generator(update)))
        average.update()
        current = model.weight.detach().double().numpy().copy()
        if expected is None:
            expected = current
        else:
            d = min(decay, (1 + update) / (10 + update))
            expected = d * expected + (1 - d) * current
        np.testing.assert_allclose(average.module.weight.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected, current)


# --- metrics ---------------------------------------------------------------------------------------------------------


def by_loop(proba, labels):
    """Accuracy, negative log-likelihood and calibration error, one image at a time; bins are (lower, upper]."""
    right, nll, bins = [], [], [[] for _ in range(15)]
    for row, label in zip(proba.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        right.append(row.index(confidence) == label)
        nll.append(-math.log(row[label]))
        place = next(i for i in range(15) if i / 15 < confidence <= (i + 1) / 15)
        bins[place].append((confidence, right[-1]))
    ece = 0.0
    for content in bins:
        if content:
            confidences, hits = zip(*content, strict=True)
            ece += len(content) / len(labels) * abs(np.mean(hits) - np.mean(confidences))
    return {"accuracy": np.mean(right), "nll": np.mean(nll), "ece": ece}, bins


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_summary_is_its_loop(sharpness):
    log_proba = (sharpness * torch.randn(300, 6, generator=generator())).log_softmax(1)
    labels = torch.randint(6, (300,), generator=generator(1))
    expected, _ = by_loop(log_proba.double().exp(), labels)
    assert summarize(log_proba, labels) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_confidence_of_one_shares_the_last_bin():
    """One prediction is certain and wrong, three are nearly certain and right: the bin is off by |3/4 - 0.9925|."""
    log_proba = torch.tensor([[1 - 1e-30, 1e-30], [0.99, 0.01], [0.99, 0.01], [0.99, 0.01]]).log()
    labels = torch.tensor([1, 0, 0, 0])
    assert summarize(log_proba, labels)["ece"] == pytest.approx((1 + 3 * 0.99) / 4 - 3 / 4, abs=1e-6)


def test_a_perfect_classifier():
    log_proba = torch.eye(4).log()
    assert summarize(log_proba, torch.arange(4)) == {"accuracy": 1, "nll": 0, "ece": 0}
    assert summarize(log_proba, torch.tensor([1, 2, 3, 0])) == {"accuracy": 0, "nll": math.inf, "ece": 1}


def test_a_confidence_a_little_above_one_is_no_logit():
    """Rounding: such numbers come from x - logsumexp(x)."""
    log_proba = torch.tensor([[1e-7, -40], [-40, 1e-7]])
    assert summarize(log_proba, torch.tensor([0, 1]))["ece"] == pytest.approx(0, abs=1e-6)


def test_the_reliability_bins():
    log_proba = (2 * torch.randn(300, 3, generator=generator())).log_softmax(1)
    labels = torch.randint(3, (300,), generator=generator(1))
    confidence, accuracy, count = reliability(log_proba, labels)
    _, bins = by_loop(log_proba.double().exp(), labels)
    assert len(confidence) == len(accuracy) == len(count) == CALIBRATION_BINS == 15
    assert count.tolist() == [len(content) for content in bins]
    assert 0 in count.tolist()  # with three classes no confidence is below a third
    for place, content in enumerate(bins):
        if content:
            confidences, hits = zip(*content, strict=True)
            assert float(confidence[place]) == pytest.approx(np.mean(confidences), rel=1e-6)
            assert float(accuracy[place]) == pytest.approx(np.mean(hits))
        else:
            assert math.isnan(confidence[place])
            assert math.isnan(accuracy[place])


@pytest.mark.parametrize(("confidence", "place"), [(1 / 3, 4), (0.35, 5), (0.6, 8), (0.61, 9), (1.0, 14)])
def test_a_bin_holds_its_upper_edge(confidence, place):
    rest = (1 - confidence) / 3
    log_proba = torch.tensor([[confidence, rest, rest, rest]], dtype=torch.float64).log()
    assert reliability(log_proba, torch.tensor([0]))[2].nonzero().tolist() == [[place]]


def test_rows_of_the_confusion_are_true_classes():
    """Class 0 is taken for 2 three times, class 2 for 0 never."""
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    predicted = torch.tensor([2, 2, 2, 0, 1, 2, 1])
    log_proba = (5.0 * F.one_hot(predicted, 3)).log_softmax(1)
    confusion = confusion_matrix(log_proba, labels)
    assert confusion.tolist() == [[1, 0, 3], [0, 1, 0], [0, 1, 1]]
    assert confusion.dtype == torch.int64
    torch.testing.assert_close(per_class(confusion)["recall"], torch.tensor([1 / 4, 1, 1 / 2], dtype=torch.float64))


def test_a_class_without_images_has_no_accuracy():
    log_proba = torch.tensor([[0.9, 0.05, 0.05], [0.2, 0.5, 0.3]]).log()
    recall = per_class(confusion_matrix(log_proba, torch.tensor([0, 0])))["recall"]
    assert recall.tolist()[0] == 0.5
    assert torch.isnan(recall[1:]).all()
