"""VAE and DCGAN the way pytorch/examples trains them, and the zoo's.

vae: 784-400-20-400-784, batches of 128, Adam with a rate of 1e-3, an epoch of 55,000 images and a pass over 5,000
others. The peer reads torchvision's data set through a DataLoader, sums up the loss with ``.item()`` every step, writes
a line every ten, and takes grey values for probabilities; its network has ReLUs. The zoo's learner draws binary pixels,
has SiLUs, starts from the mean image, and does all that train.py switches on. Neither draws pictures.

dcgan: the very networks of ``zoo.create("dcgan")``, batches of 128 from memory, Adam with a rate of 2e-4, binary
cross-entropy, without R1, schedule and average on either side. The usual loop computes all gradients in the generator's
step, those of the discriminator too, steps an optimiser that is not fused, and reads four values with ``.item()``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, mnist, resident, torchvision_loader
from zoo.data.batches import Batches
from zoo.data.datamodule import EVALUATION_BATCH
from zoo.learners.adversarial import AdversarialLearner
from zoo.learners.likelihood import LikelihoodLearner
from zoo.models.dcgan import signed

BATCH = 128
VAE_IMAGES, DCGAN_IMAGES = 55000, 27500
PIXELS, HIDDEN, LATENT = 784, 400, 20
LINE_EVERY = 10  # steps
VAE_ADAM: dict[str, Any] = {"lr": 1e-3}
DCGAN_ADAM: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}


def benchmarks(options: Options) -> Iterator[Benchmark]:
    for name in options.chosen(("vae", "dcgan")):
        yield _vae(options.quick) if name == "vae" else _dcgan(options.quick)


# VAE


class PlainVAE(nn.Module):
    """Images ``(B, 1, 28, 28)`` to probabilities of their pixels ``(B, 784)``, mean and log variance ``(B, 20)``."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mean = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, LATENT)
        self.log_variance = nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.hidden(x.view(-1, PIXELS)))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        deviation = torch.exp(0.5 * log_variance)
        return self.decoder(mean + torch.randn_like(deviation) * deviation), mean, log_variance


def vae_loss(x: Tensor, probabilities: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The negative evidence lower bound, summed over a batch, in nats."""
    recon = F.binary_cross_entropy(probabilities, x.view(-1, PIXELS), reduction="sum")
    return recon - 0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())


def usual_vae_epoch(train: Any, val: Any) -> float:
    """Seconds of an epoch and a pass over other images."""
    model = PlainVAE().to(device())
    optimizer = torch.optim.Adam(model.parameters(), **VAE_ADAM)
    lines = io.StringIO()
    start = time.perf_counter()
    model.train()
    total = 0.0
    for number, (x, _) in enumerate(train):
        x = x.to(device())
        optimizer.zero_grad()
        loss = vae_loss(x, *model(x))
        loss.backward()
        total += loss.item()
        optimizer.step()
        if number % LINE_EVERY == 0:
            print(f"batch {number} of {len(train)}, loss {loss.item() / len(x):.6f}", file=lines)
    print(f"average loss {total / len(train.dataset):.4f}", file=lines)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, _ in val:
            x = x.to(device())
            total += vae_loss(x, *model(x)).item()
    print(f"average loss {total / len(val.dataset):.4f}", file=lines)
    return time.perf_counter() - start


def _vae(quick: bool) -> Benchmark:
    train, val, spec = mnist(VAE_IMAGES, quick)
    loaders = [
        torchvision_loader(split, BATCH, shuffle=shuffle, normalized=False)
        for split, shuffle in ((train, True), (val, False))
    ]
    batches = Batches(resident(train), BATCH, shuffle=True), Batches(resident(val), EVALUATION_BATCH)

    def usual(number: int) -> float:
        torch.manual_seed(number)
        return usual_vae_epoch(*loaders)

    def ours(number: int) -> float:
        torch.manual_seed(number)
        model = zoo.create("vae", spec, hidden_sizes=[HIDDEN], latent_dim=LATENT)
        learner = LikelihoodLearner(model, {"name": "Adam", **VAE_ADAM}, {"name": "none"})
        return _trainer.epoch(learner, *batches)

    ways = {"the example's way": usual, "learner under Trainer": ours}
    title = f"VAE {PIXELS}-{HIDDEN}-{LATENT}-{HIDDEN}-{PIXELS}, {len(train):,} images in batches of {BATCH}"
    return Benchmark("examples-vae", title, "s/epoch", ways, bar="≥ 3", ours="learner under Trainer")


# DCGAN


def usual_dcgan_epoch(model: Any, batches: Batches) -> float:
    """Seconds of an epoch of ``model``'s generator against its discriminator."""
    discriminator, generator = model.discriminator, model.generator
    criterion = nn.BCEWithLogitsLoss()
    of_discriminator = torch.optim.Adam(discriminator.parameters(), **DCGAN_ADAM)
    of_generator = torch.optim.Adam(generator.parameters(), **DCGAN_ADAM)
    lines = io.StringIO()
    start = time.perf_counter()
    for number, (x, _) in enumerate(batches):
        real, ones, zeros = signed(x), x.new_ones(len(x)), x.new_zeros(len(x))
        discriminator.zero_grad()
        answer = discriminator(real)
        loss_real = criterion(answer, ones)
        loss_real.backward()
        fake = generator(torch.randn(len(x), model.latent_dim, device=x.device))
        of_fake = discriminator(fake.detach())
        loss_fake = criterion(of_fake, zeros)
        loss_fake.backward()
        of_discriminator.step()
        generator.zero_grad()
        loss = criterion(discriminator(fake), ones)
        loss.backward()  # through the discriminator, whose gradients nobody needs
        of_generator.step()
        values = (loss_real + loss_fake).item(), loss.item(), answer.mean().item(), of_fake.mean().item()
        print(number, *values, file=lines)
    return time.perf_counter() - start


def _dcgan(quick: bool) -> Benchmark:
    train, _, spec = mnist(DCGAN_IMAGES, quick)
    batches = Batches(resident(train), BATCH, shuffle=True)

    def create(number: int) -> Any:
        torch.manual_seed(number)
        return zoo.create("dcgan", spec, r1=0.0)

    def usual(number: int) -> float:
        model = create(number).to(device(), memory_format=torch.contiguous_format)
        return len(train) / usual_dcgan_epoch(model, batches)

    def ours(number: int) -> float:
        optimizer = {"name": "Adam", **DCGAN_ADAM}
        learner = AdversarialLearner(create(number), optimizer, {"name": "none"}, ema=0.0)
        return len(train) / _trainer.epoch(learner, batches, None)

    ways = {"the usual loop": usual, "learner under Trainer": ours}
    title = f"DCGAN at 28×28, {len(train):,} images in batches of {BATCH}"
    return Benchmark("examples-dcgan", title, "images/s", ways, bar="≥ 1.3", ours="learner under Trainer")
