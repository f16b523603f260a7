# ruff: noqa: I001
# fmt: off
# The public names, each once: where it is defined. Type checkers read this file, and zoo/__init__.py imports from it.

__version__: str

# Models by their names
from .registry import create as create, list_models as list_models, load as load, register as register
from .checkpoint import save as save

# Training and using them
from .run.call import train as train
from .tasks.predict import predict as predict
from .inspect.show import show as show

# What they can be asked
from .capability import capabilities as capabilities
from .questions.classify import classify as classify
from .questions.sample import sample as sample
from .questions.log_prob import log_prob as log_prob
from .questions.encode import encode as encode
from .questions.reconstruct import reconstruct as reconstruct
from .questions.interpolate import interpolate as interpolate
from .questions.impute import impute as impute
from .questions.forecast import forecast as forecast
from .questions.anomaly_score import anomaly_score as anomaly_score
from .questions.explain import explain as explain

# What a model of your own extends, and says of itself
from .base.model import Model as Model
from .base.classifier import Classifier as Classifier
from .base.generative import Density as Density, Generative as Generative, Latent as Latent
from .base.available import available_if as available_if
from .spec import Likelihood as Likelihood

# Data and training
from .spec import DataSpec as DataSpec
from .data.datamodule import ImageDataModule as ImageDataModule
from .learners.classification import ClassificationLearner as ClassificationLearner
from .learners.likelihood import LikelihoodLearner as LikelihoodLearner
from .learners.objective import ObjectiveLearner as ObjectiveLearner
from .learners.em import EMLearner as EMLearner
from .learners.adversarial import AdversarialLearner as AdversarialLearner

# What a run keeps and shows, for a Trainer of your own
from .run.checkpoints import Checkpoints as Checkpoints
from .inspect.progress import Progress as Progress
from .inspect.samples import Samples as Samples
from .inspect.latents import LatentPictures as LatentPictures
from .inspect.training import TrainingPictures as TrainingPictures

# What can go wrong
from .errors import CheckpointError as CheckpointError, ConfigError as ConfigError
from .errors import DataError as DataError, ZooError as ZooError
