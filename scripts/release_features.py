"""Release a trained classifier as the extractor by which samples of its data set are measured.

python train.py model=lenet data=mnist
python scripts/release_features.py run=<its run directory> [key=value …]

{options}
"""

from __future__ import annotations

import hashlib
import sys

from zoo.command import ROOT, command, parse_values
from zoo.schema import Option

OPTIONS = {
    "run": Option(..., "the run directory"),
    "to": Option(None, "the folder to make; pretrained/features-<data> if left out"),
    "root": ROOT,
}
CARD = """# Features of {data}

A {model} of {parameters:,} parameters, by whose features samples of {data} are measured: Fréchet and kernel distance,
precision and recall, density and coverage (`zoo.tasks.sample_quality`). Its predictions tell which classes samples fall
into. These figures have a scale of their own: compare them with those of the same weights, and never with FID.

| | |
|---|---|
| test accuracy | {accuracy:.2%} |
| test nll | {nll:.4f} nats |
| data | sha256 {fingerprint} |
| model.safetensors | sha256 {digest} |

`python train.py model={model} data={data}` trained it, with these settings; validation images chose the epoch.

```yaml
{settings}```

`statistics.safetensors` holds what the figures need to know of the real images. It says which weights and images it
belongs to, and is computed anew where those differ. `real.json` says what training images get in the place of samples.
"""


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "the run directory is given as run")
    from zoo import checkpoint, registry
    from zoo.errors import ConfigError
    from zoo.files import PRETRAINED, user_path, write_text, yaml_text
    from zoo.plain import read_yaml
    from zoo.tasks import real_figures, reference
    from zoo.tasks.evaluate import evaluate, splits_for
    from zoo.terminal import printable

    run = user_path(options["run"])
    model, source = registry.load_with_source(run)
    if not (run / "config.yaml").is_file() or not hasattr(model, "features"):
        raise ConfigError(f"run={run} is no run directory of a classifier: it must hold config.yaml and features")
    splits = splits_for(model.spec, source, root=options["root"])
    accuracy = evaluate(model, splits.test).metrics
    data = source["name"]
    folder = checkpoint.save(model, options["to"] or PRETRAINED / f"features-{data}")
    measure = reference.read_extractor(folder)
    real_figures.keep_reference(measure, splits)
    settings = read_yaml(run / "config.yaml")
    settings["data"].pop("root")
    chosen = {key: settings[key] for key in ("seed", "data", "model", "learner")}
    chosen["trainer"] = {key: settings["trainer"][key] for key in ("max_epochs", "precision")}
    card = CARD.format(
        model=model.config["name"],
        data=data,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        accuracy=accuracy["accuracy"],
        nll=accuracy["nll"],
        fingerprint=splits.fingerprint,
        digest=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        settings=yaml_text(chosen, default_flow_style=None),
    )
    write_text(folder / "README.md", card)
    print(f"{printable(folder)}: features {measure.digest}, test accuracy {accuracy['accuracy']:.2%}")


if __name__ == "__main__":
    main()
