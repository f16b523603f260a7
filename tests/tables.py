"""A small table of numbers and categories with gaps, and models of it, for tests of what users do with tables."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F

import zoo
from zoo.data.kinds import table
from zoo.data.splits import Split
from zoo.spec import Column

COLUMNS = (Column("age", (), 40, 10), Column("job", ("none", "clerk", "smith")), Column("sum", (), 1000, 300))
SPEC = zoo.DataSpec(
    (1, 1, 5), 2, ("good", "bad"), (0, 0.5, 0.3, 0.2, 0), (1,) * 5, kind="table", values="mixed", missing=True,
    columns=COLUMNS, target="credit",
)  # fmt: skip
WITH_GAPS = zoo.DataSpec(  # a column more, which tells of the jobs that are missing
    (1, 1, 7), 2, SPEC.class_names, (*SPEC.mean, 0.9, 0.1), (1,) * 7, kind="table", values="mixed", missing=True,
    columns=(*COLUMNS, Column("job cell", ("seen", "missing"), gaps_of="job")), target="credit",
)  # fmt: skip


def rows(n: int = 12, spec: zoo.DataSpec = SPEC) -> torch.Tensor:
    """Numbers and categories ``(n, 1, 1, W)``, of which the job of the first row and the age of the second one are
    missing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 1, 5, generator=generator)
    x[..., 0, 0, 1:4] = F.one_hot(torch.randint(3, (n,), generator=generator), 3).float()
    x[0, ..., 1:4] = x[1, ..., 0] = math.nan
    if spec is WITH_GAPS:
        missing = x[..., 1:2].isnan()
        x = torch.cat([x, ~missing, missing], -1)
    return x


def labelled(n: int = 12, spec: zoo.DataSpec = SPEC) -> Split:
    """Rows whose class depends on age, the most, and on the job; not on the sum."""
    x = rows(n, spec)
    seen = x.nan_to_num(0)[:, 0, 0]
    noise = torch.randn(n, generator=torch.Generator().manual_seed(1))
    return Split(x, (2 * seen[:, 0] + 1.5 * seen[:, 3] + noise > 0.3).long(), "table")


def linear(name: str = "logistic_regression", spec: zoo.DataSpec = SPEC, **options) -> zoo.Model:
    """A linear model that goes by age, by the job and hardly by the sum, in eval mode."""
    model = zoo.create(name, spec, **options)
    weight = torch.zeros(2, spec.shape[2])
    weight[1, :5] = torch.tensor([2.0, -0.3, 0.2, 1.5, 0.01])
    weight[1, 5:] = 0.7
    model.head.weight.data.copy_(weight)
    model.head.bias.data.copy_(torch.tensor([0.2, -0.3]))
    return model.eval()


def write(folder: Path, n: int = 12, labels: bool = False) -> Path:
    """A user's CSV file."""
    split = labelled(n)
    (name,) = table.write(split.images, split.labels if labels else None, SPEC, folder)
    return folder / name
