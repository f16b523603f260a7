"""A run's curves are one file, in which each step stands once, however often the run was interrupted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files import whole_file

# drawn an epoch, at the number of the last batch
EPOCHS = re.compile(r"(train|val|samples|time)/|.*/(train|val)$|latent/active_units$|images_per_second$|epoch$")


def join_curves(folder: Path, keep: Callable[[str, int], bool], points: Mapping[tuple[str, int], float]) -> None:
    """Make one event file of those in ``folder``, in the order of their names, which is that of time.

    Args:
        folder: a TensorBoard log directory, in which nobody is writing; there need be none.
        keep: of a tag and a step, whether what was drawn there still holds. Of what was drawn twice, the later holds.
        points: values by tag and step, to be drawn where they are not yet.

    Raises ``CheckpointError`` where a file is none of TensorBoard's.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    files = sorted(folder.glob("events.out.tfevents.*"))
    if not files or (
        len(files) == 1 and not points and all(keep(*key) for _, keys in _events(files[0]) for key in keys)
    ):
        return
    last: dict[tuple[str, int], int] = {}  # where the event stands that holds
    number = 0
    for number, (_, keys) in enumerate(event for file in files for event in _events(file)):
        last |= {key: number for key in keys if keep(*key)}
    with whole_file(files[0]) as whole:
        writer = RecordWriter(whole)
        for number, (record, keys) in enumerate(event for file in files for event in _events(file)):
            if any(last.get(key) == number for key in keys) or (number == 0 and not keys):  # the format's version
                writer.write(record)
        for (tag, step), value in points.items():
            if (tag, step) not in last:
                point = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                writer.write(Event(wall_time=time.time(), step=step, summary=point).SerializeToString())
    for file in files[1:]:
        file.unlink()


def _events(file: Path) -> Any:
    """The records of an event file, up to where a writer was killed, with the tags and steps of what is drawn there."""
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        for record in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(record)
            keys = [(value.tag, event.step) for value in event.summary.value]
            yield record, [("graph", 0)] if event.HasField("graph_def") else keys
    except (DecodeError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{file} is no file of TensorBoard's, or a damaged one: without it, the run goes on"
        ) from error
