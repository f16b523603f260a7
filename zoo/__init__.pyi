# The public names, each once: where it is defined. Type checkers read this file, and zoo/__init__.py imports from it.

__version__: str

# Models by their names
from .base.available import available_if as available_if
from .base.classifier import Classifier as Classifier
from .base.generative import Density as Density
from .base.generative import Generative as Generative
from .base.generative import Latent as Latent

# What a model of your own extends
from .base.model import Model as Model

# What they can be asked
from .capability import capabilities as capabilities
from .checkpoint import save as save
from .data.datamodule import ImageDataModule as ImageDataModule

# What can go wrong
from .errors import (
    CheckpointError as CheckpointError,
)
from .errors import (
    ConfigError as ConfigError,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    ZooError as ZooError,
)
from .learners.adversarial import AdversarialLearner as AdversarialLearner
from .learners.classification import ClassificationLearner as ClassificationLearner
from .learners.em import EMLearner as EMLearner
from .learners.likelihood import LikelihoodLearner as LikelihoodLearner
from .questions.anomaly_score import anomaly_score as anomaly_score
from .questions.classify import classify as classify
from .questions.encode import encode as encode
from .questions.impute import impute as impute
from .questions.interpolate import interpolate as interpolate
from .questions.log_prob import log_prob as log_prob
from .questions.reconstruct import reconstruct as reconstruct
from .questions.sample import sample as sample
from .registry import create as create
from .registry import list_models as list_models
from .registry import load as load
from .registry import register as register

# Data and training
from .spec import DataSpec as DataSpec
from .spec import Likelihood as Likelihood
