#!/usr/bin/env python3
"""Reads a folder of event files with TensorBoard's own reader and prints what it finds: a check of src/formats/tensorboard.cc
that the tests do not run.

    SEDUM_KEEP_EVENTS=/tmp/events formats_test --gtest_filter='Tensorboard.*' && formats_tensorboard.py /tmp/events

With --golden it prints instead the bytes of the Event messages that tensorboard_test.cc compares with. Needs tensorboard.
"""

import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2


def golden():
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    text = summary_pb2.Summary.Value(
        tag="samples",
        tensor=tensor_pb2.TensorProto(
            dtype=7, string_val=["*water* 浇水".encode()],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])),
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")))
    scalar = summary_pb2.Summary.Value(tag="train/loss", simple_value=2.3125)
    for event in (event_pb2.Event(wall_time=1, file_version="brain.Event:2"),
                  event_pb2.Event(wall_time=1, step=300, session_log=start),
                  event_pb2.Event(wall_time=1, step=301, summary=summary_pb2.Summary(value=[scalar])),
                  event_pb2.Event(wall_time=1, step=302, summary=summary_pb2.Summary(value=[text]))):
        print(event.SerializeToString().hex())


def main():
    if sys.argv[1:] == ["--golden"]:
        return golden()
    events = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={event_accumulator.TENSORS: 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        print(tag, [(e.step, e.value) for e in events.Scalars(tag)])
    for tag in events.Tags()["tensors"]:
        print(tag, [(e.step, e.tensor_proto.string_val) for e in events.Tensors(tag)])


if __name__ == "__main__":
    main()
