"""Search for good options of a model, by Optuna: what is best on validation data, and the command that trains it.

python scripts/tune.py [trials=20] [prune=false] [out=…] <words of train.py>

Words of train.py stay as they are in all trials, but for those that are searched over:

  learner.optimizer.lr='tag(log,interval(1e-4,1e-1))'
                                a real number, on a logarithmic scale
  model.dropout='interval(0,0.5)'
                                a real number
  model.hidden_size='int(interval(16,256))'
                                a whole number
  data.batch_size='range(32,257,32)'
                                a whole number by steps; before 257
  model.hidden_sizes='[64],[64,64]'  model=mlp,cnn
                                one of several values, or options of a group

{options}

What decides is learner.monitor, in its direction, on validation data. seed= is of the trainings and of the search.
"""

from __future__ import annotations

import shlex
import signal
import sys
from datetime import datetime

from zoo import config as configuration
from zoo import terminal
from zoo.command import command, parse
from zoo.errors import ConfigError, Stopped, ZooError
from zoo.files import CONFIGS, user_path
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "trials": Option(20, "how many trainings there are in all", "[1, inf)"),
    "prune": Option(False, "end a training that is worse, at the same epoch, than the median of those before"),
    "out": Option(
        None,
        "a folder for the trials, each a run as train.py makes them; the same command with the out= of a search goes "
        "on with it, more trials= make it longer; a new folder in runs, if left out",
    ),
}


def is_own(word: str) -> bool:
    return word.startswith("-") or word.partition("=")[0] in OPTIONS


@command
def main() -> None:
    options, _ = parse([word for word in sys.argv[1:] if is_own(word)], OPTIONS, __doc__ or "")
    words = configuration.typed(word for word in sys.argv[1:] if not is_own(word))
    configuration.add_found_options(CONFIGS)
    for note in configuration.check_words(["-m", *words], CONFIGS):
        print(note, file=sys.stderr)
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ConfigError("a search needs a package that is not installed: pip install optuna") from error
    from zoo.run import tune

    fixed, space = tune.split(words)
    settings, monitor = tune.check(fixed, space, CONFIGS)
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-tune-{settings['model']['name']}-{settings['data']['name']}"
    out = user_path(options["out"] or str(user_path(settings["runs"]) / name))
    console = terminal.console()
    with tune.opened(out, words, monitor, options["prune"]) as study:
        try:
            tune.search(study, fixed, space, CONFIGS, out, options["trials"], settings["seed"])
        except (Stopped, KeyboardInterrupt) as stop:
            pruned = ["prune=true"] if options["prune"] else []
            again = shlex.join([*words, f"out={out}", f"trials={options['trials']}", *pruned])
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            raise Stopped(number, f"to go on: python scripts/tune.py {again}") from stop
        except OSError as error:  # of the journal: those of a training are its trial's
            raise ZooError(f"{out} cannot be written: {error.strerror}") from error
        finally:
            console.print(tune.table(study, space, monitor, out))
        found = tune.best(study)
        if found is None:
            raise ZooError("no trial came to its end; the table says why")
        console.print(f"best: {out / f'{found.number:03}'}, {monitor} {found.value:.4f}", soft_wrap=True)
        console.print(f"{terminal.typed('train')} {shlex.join(tune.words_of(fixed, found.params))}", soft_wrap=True)


if __name__ == "__main__":
    main()
