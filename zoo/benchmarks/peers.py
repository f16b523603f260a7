"""Other ways to train on MNIST, as they are usually written: torchvision's data set, a DataLoader, ``.item()``.

Each is a plain loop that a fresh process runs from start to end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.1307,), (0.3081,)  # of MNIST's training pixels, as all examples have them
TEST_BATCH = 1000


def write_torchvision(root: Path) -> Path:
    """Put MNIST below ``root`` as ``torchvision.datasets.MNIST`` expects to find it. Returns ``root``.

    Raises:
        DataError: MNIST is nowhere to be had.
    """
    from zoo.data.splits import load_splits

    splits = load_splits("mnist")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, split in (("train", splits.train), ("t10k", splits.test)):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(_idx(split.images[:, 0]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(_idx(split.labels.to(torch.uint8)))
    return root


def _idx(values: Tensor) -> bytes:
    header = struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)  # 8: of unsigned bytes
    return header + values.contiguous().numpy().tobytes()


def data_set(root: str, train: bool, images: int = 0) -> Any:
    """The normalised MNIST of torchvision, the first ``images`` of it, or all (0)."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    data = datasets.MNIST(root, train=train, transform=transform)
    return torch.utils.data.Subset(data, range(images)) if images else data


class Example(nn.Sequential):
    """The network of the MNIST example of pytorch/examples, 1.2 million parameters: images to log p(y | x)."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
            *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1)),
        )


def example(root: str, target: float, epochs: int = 14, images: int = 0, seed: int = 0) -> None:
    """Train as pytorch/examples does, and stop after the first epoch whose test accuracy is at least ``target``.

    Adadelta with a rate of 1, which falls by 0.7 an epoch; batches of 64. Prints ``accuracy <share>`` after each pass
    over the test images.
    """
    torch.manual_seed(seed)
    train = torch.utils.data.DataLoader(data_set(root, True, images), batch_size=64, shuffle=True)
    test = torch.utils.data.DataLoader(data_set(root, False, images), batch_size=TEST_BATCH)
    model = Example()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, epochs + 1):
        model.train()
        for number, (x, labels) in enumerate(train):
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), labels)
            loss.backward()
            optimizer.step()
            if number % 10 == 0:
                print(f"epoch {epoch} batch {number} of {len(train)} loss {loss.item():.6f}")
        share = accuracy(model, test)
        print(f"accuracy {share:.4f}", flush=True)
        if share >= target:
            return
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, loader: Any) -> float:
    """The share of images that the model puts into the right class; the loss is summed up beside it, as is usual."""
    model.eval()
    loss, right = 0.0, 0
    for x, labels in loader:
        answer = model(x)
        loss += F.cross_entropy(answer, labels, reduction="sum").item()
        right += (answer.argmax(1) == labels).sum().item()
    return right / len(loader.dataset)


def cnn_epoch(root: str, images: int = 0) -> None:
    """An epoch of the zoo's ``cnn`` and a test pass, batches of 128, Adam."""
    import zoo

    model = zoo.create("cnn")
    train = torch.utils.data.DataLoader(data_set(root, True, images), batch_size=128, shuffle=True)
    test = torch.utils.data.DataLoader(data_set(root, False, images), batch_size=TEST_BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for x, labels in train:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.6f}")
    print(f"accuracy {accuracy(model, test):.4f}")
