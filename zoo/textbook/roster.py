"""The trained models that several claims ask about: each kind by its recipe, and by one that is cut short.

The recipe of a model is what ``python train.py model=M data=D`` trains, until the data set's number of passes is over,
with the best of them by validation images kept; of the conditional VAE, which is no default, that of
``experiment=conditional_vae_mnist``. Where a recipe takes minutes a seed, most claims ask about its short form, about a
minute of two cores at most: what they say is of that budget. Claim 2 measures both of the CNN and the VAE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.data.splits import Splits
    from zoo.textbook.lab import Lab

RECIPE, SHORT = "recipe", "short"  # budgets of training
_VAE = ("model.conditional=true", "model.latent_dim=10", "model.num_samples=1", "learner.optimizer.lr=0.002")
SMALL_DCGAN = ("model.channels=16",)  # without classes: the claim on modes trains it, too
WHOLE: dict[str, tuple[str, ...]] = {
    "vae": (*_VAE, "learner.ema=0.999", "trainer.max_epochs=40"),
}
SHORTER: dict[str, tuple[str, ...]] = {
    "svm": ("model.num_features=4096", "trainer.max_epochs=4"),
    "cnn": ("trainer.max_epochs=3",),
    "rnn": ("trainer.max_epochs=2",),
    "vae": (*_VAE, "learner.ema=0.99", "trainer.max_epochs=6"),
    "dcgan": (*SMALL_DCGAN, "trainer.max_epochs=4"),
}
GENERATIVE = ("naive_bayes", "gmm", "hmm", "vae")  # those that classify, too
DISCRIMINATIVE = ("logistic_regression", "svm", "mlp", "cnn", "rnn")
CLASSIFIERS = (*GENERATIVE, *DISCRIMINATIVE)
QUICK = ("naive_bayes", "gmm", "logistic_regression", "mlp")  # in the quick suite
NAMES = {
    "naive_bayes": "naive Bayes", "gmm": "Gaussian mixture", "hmm": "hidden Markov", "vae": "VAE", "dcgan": "DCGAN",
    "logistic_regression": "logistic regression", "svm": "SVM", "mlp": "MLP", "cnn": "CNN", "rnn": "RNN",
    "lenet": "LeNet",
}  # fmt: skip
HELD_OUT = {"mnist": 5_000, "fashion_mnist": 5_000, "digits": 200}  # training images that validate
UNSEEDED = ("naive_bayes", "hmm")  # nothing of their training is random: their seeds draw other training images


def words(model: str, data: str, seed: int, budget: str = SHORT) -> tuple[str, ...]:
    """The words of ``train.py`` that train ``model`` for the report, on one data set, with one seed.

    Args:
        model: of :data:`CLASSIFIERS`, or ``"dcgan"``.
        data: ``"mnist"``, ``"fashion_mnist"`` or ``"digits"``, whose models are all quick to train.
        seed: of all that is random; of models without it, of which images are held out of training.
        budget: :data:`RECIPE` or :data:`SHORT`; the same where a recipe has no short form.
    """
    own: tuple[str, ...]
    if data == "digits":
        own = ("model.conditional=true", "trainer.max_epochs=20") if model in WHOLE else ()
    else:
        whole = WHOLE.get(model, ())
        own = SHORTER.get(model, whole) if budget == SHORT else whole
    drawn = (f"data.split_seed={seed}",) if model in UNSEEDED else ()
    return (f"model={model}", f"data={data}", f"seed={seed}", *own, *drawn)


def splits(lab: Lab, model: str, data: str, seed: int) -> Splits:
    """The images that :func:`words` trains on, those held out of it, and the test images."""
    options = {"split_seed": seed} if model in UNSEEDED else {}
    return lab.splits(data, val_size=HELD_OUT[data], **options)
