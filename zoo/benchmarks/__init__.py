"""How fast the zoo is, beside its peers and beside what the machine can do; a module a suite.

Each suite defines ``benchmarks(options)``, which yields :class:`zoo.benchmarks._benchmark.Benchmark`: what one needs is
built when its turn comes. ``scripts/benchmark.py`` runs them. Peers are plain loops in the style they come in. What a
process is set to by :func:`zoo.run.machine.prepare` serves them, too.
"""

from __future__ import annotations

from zoo.schema import Option

SUITES = {
    "loader": "images a second that reach a training loop, beside torchvision and DataLoader",
    "epoch": "an epoch of a learner under Lightning's Trainer, beside a hand-written loop",
    "template": "an epoch of a small network, beside the way of the Lightning and Hydra template",
    "examples": "VAE and DCGAN, beside the way of pytorch/examples",
    "em": "an iteration of expectation-maximisation, beside scikit-learn and hmmlearn",
    "throughput": "images a second of every model, beside the machine's roofline",
    "language": "tokens a second of a GPT, in training beside nanoGPT's way, and in sampling beside no cache",
    "scaling": "how the time grows with batch, width and data",
    "start": "seconds from the command to the answer, beside import torch",
    "memory": "the largest memory that a process holds",
    "accuracy": "seconds from launch to a given accuracy",
    "compile": "an epoch by torch.compile, beside one without",
    "gpu": "of a GPU: the template, seconds to accuracies, sampling; not among all",
}
DEFAULT = ("loader", "template", "em", "start", "memory")  # what takes some ten minutes together

# of scripts/language.py: what train.py is told of each
LANGUAGE = {
    "unigram": ("model=ngram", "model.order=1"),
    "hmm": ("model=hmm",),
    "ngram": ("model=ngram",),
    "rnnlm": ("model=rnnlm",),
    "gpt": ("model=gpt",),
}

# of scripts/optimizers.py: what train.py is told of each model, and what is measured; less is better behind a minus
OPTIMIZERS = {
    "cnn": (("model=cnn", "data=fashion_mnist", "learner.monitor=val/nll"), "-val/nll"),
    "gpt": (("model=gpt", "data=tiny_shakespeare"), "-val/nats_per_token"),
    "autoregressive": (("model=autoregressive", "data=mnist"), "val/log_likelihood"),
}

# of scripts/tables.py and scripts/texts.py: models beside scikit-learn's, by what they reach on the same folds
WORDS = Option("", 'more of the command line of each training: words="seed=1 data.root=data"')


def fold_options(data: str, models: str, peers: str) -> dict[str, Option]:
    """What such a script takes: what is measured where nothing is said are all of these."""
    return {
        "data": Option(None, f"with commas, as train.py --help lists them; if left out {data}"),
        "models": Option(None, f"of the zoo, with commas, each by its recipe; none; if left out {models}"),
        "peers": Option(None, f"of scikit-learn, with commas; none; if left out {peers}"),
        "folds": Option(
            0, "stratified parts, each tested on once; 0: 10, or as many as the source says", "0 or [2, inf)"
        ),
        "words": WORDS,
        "json": Option(None, "a file to write the numbers to, one a measure and a fold", "file"),
    }
