"""Write a trained model for other programs: ONNX, torch.export, safetensors, or a folder for the Hugging Face Hub.

python scripts/export.py ckpt=<file or run directory> [format=onnx]
    [part=classify] [key=value …]

{options}

x are pixels in [0, 1], float32, (batch, channels, height, width); of recordings
their spectra; of tables the numbers and, of a category, one 1 among zeros. Each file
has been read back and asked before it is there: its answers differ from the model's
by 1e-5 at most, of the largest one where that is above 1.

ONNX needs three packages more: pip install 'generative-discriminative-zoo[export]'
"""

from __future__ import annotations

import importlib.util
import sys

from zoo.command import CKPT, EMA, command, parse_values
from zoo.errors import ConfigError, ZooError
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "format": Option(
        "onnx",
        "onnx: for onnxruntime and others; torch_export: a program that torch.export.load reads, without this zoo; "
        "safetensors: a folder of weights and config.json, that zoo.load reads; hf: the same with a model card that "
        "the Hugging Face Hub reads, to be pushed there as it is and loaded as hf-hub:<user>/<its name>",
        ["onnx", "torch_export", "safetensors", "hf"],
    ),
    "part": Option(
        None,
        "of onnx and torch_export, what the file answers, for any number at a time: classify: log p(y | x) of examples"
        " x; encode: codes z of examples x, of models with classes given the labels; decode: examples of codes z "
        "(labels); generate: examples of standard normal noise (labels); log_prob: log p(x) of examples x, in nats. If"
        " left out, a file for each of them that the model has and the format can hold; what it cannot is told",
        ["classify", "encode", "decode", "generate", "log_prob"],
    ),
    "out": Option(
        None,
        "what the file is called; with several parts, or if left out, a folder: the run's, or, of a released model, "
        "where you are. The folder of safetensors and hf, which must not exist yet: export, or <model>-<data>, there",
    ),
    "ema": EMA,
}

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FOLDERS = ("safetensors", "hf")  # formats that are a folder
FOLDER = "export"  # of safetensors


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    kind, part, out = options["format"], options["part"], options["out"]
    if kind in FOLDERS and part is not None:
        raise ConfigError(f"part={part} is of onnx and torch_export: format={kind} holds all of a model")
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if kind == "onnx" and lacking:
        raise ConfigError(
            f"format=onnx needs {', '.join(lacking)}: pip install 'generative-discriminative-zoo[export]'"
        )
    from zoo import checkpoint, registry
    from zoo.files import output_file, user_path
    from zoo.tasks.export import PARTS, SUFFIXES, export, inputs_of, parts_of, require_numbers
    from zoo.terminal import busy, console, printable

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    folder = checkpoint.folder(options["ckpt"])
    if kind == "safetensors":
        print(printable(checkpoint.save(model, out or folder / FOLDER, data=source)))
        return
    if kind == "hf":
        from zoo.run.cards import for_hub

        name = "-".join(filter(None, (model.name, source.get("name"))))
        print(printable(for_hub(model, source, options["ckpt"], user_path(out) if out else folder / name)))
        return
    require_numbers(model)
    located = checkpoint.locate(options["ckpt"])
    stem = located.name if located.is_dir() else model.name
    wanted = parts_of(model) if part is None else [part]
    if out is not None and len(wanted) > 1 and not user_path(out).is_dir():
        raise ConfigError(f"out={out} is no folder, and there are {len(wanted)} files: {', '.join(wanted)}")
    written, refused = 0, []
    for name in wanted:
        path = output_file(str(out or folder), f"{stem}-{name}{SUFFIXES[kind]}")
        try:
            with busy(console(stderr=True), f"writing {path.name}"):
                farthest = export(model, name, kind, path)
        except ZooError as error:
            if part is not None:
                raise
            refused.append(str(error))
            continue
        written += 1
        shapes = {key: ["batch", *map(str, value.shape[1:])] for key, value in inputs_of(model, name, 1).items()}
        inputs = ", ".join(f"{key} ({', '.join(shape)})" for key, shape in shapes.items())
        print(f"{printable(path)}: {inputs} → {PARTS[name].output}, {PARTS[name].words}; differs by {farthest:.0e}")
    for reason in refused:
        print(printable(reason))
    if not written:
        raise ConfigError(f"nothing was written: {kind} can hold nothing of {model.name}; format=safetensors can")


if __name__ == "__main__":
    main()
