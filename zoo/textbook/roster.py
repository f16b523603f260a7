"""The trained models that several claims ask about: each kind by one recipe, short enough to be repeated over seeds.

They are the recipes of ``python train.py model=M data=D``, some with fewer epochs or features: what a figure of the
report means, and not the best that the zoo can do.
"""

from __future__ import annotations

SHORTER: dict[str, tuple[str, ...]] = {
    "svm": ("model.num_features=4096", "trainer.max_epochs=4"),
    "mlp": ("trainer.max_epochs=5",),
    "cnn": ("trainer.max_epochs=3",),
    "rnn": ("trainer.max_epochs=2",),
    "hmm": ("trainer.max_epochs=3",),
    "vae": ("model.conditional=true", "model.latent_dim=10", "model.num_samples=1", "learner.optimizer.lr=0.002",
            "learner.ema=0.99", "trainer.max_epochs=6"),
    "dcgan": ("model.conditional=true", "trainer.max_epochs=2"),
}  # fmt: skip
GENERATIVE = ("naive_bayes", "gmm", "hmm", "vae")  # those that classify, too
DISCRIMINATIVE = ("logistic_regression", "svm", "mlp", "cnn", "rnn")
CLASSIFIERS = (*GENERATIVE, *DISCRIMINATIVE)
QUICK = ("naive_bayes", "gmm", "logistic_regression", "mlp")  # in the quick suite


def words(model: str, data: str, seed: int) -> tuple[str, ...]:
    """The words of ``train.py`` that train ``model`` for the report, on one data set, with one seed."""
    shorter = SHORTER.get(model, ()) if data != "digits" else ()
    if model in ("vae", "dcgan") and data == "digits":
        shorter = ("model.conditional=true", "trainer.max_epochs=20")
    return (f"model={model}", f"data={data}", f"seed={seed}", *shorter)
