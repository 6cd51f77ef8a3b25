"""Decoders of a bag's messages, by its own definitions: of ROS, and of Foxglove in protobuf and JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np

from perception.ros.types import typestore
from perception.sources.bag.bag_message import BagMessage, Damage, Damages, Stored, lacking, line_of
from perception.sources.bag.compression import ZSTD_BEGINS, unpacked_zstd

Decode = Callable[[bytes], Any]

MESSAGE_LIMIT_BYTES: Final = 1 << 29
"""Of one message: more is damage, or made to fill the memory."""
_FORMS: Final = {
    "cdr": ("ros2msg", "ros2idl", "omgidl", ""),
    "ros1": ("ros1msg",),
    "protobuf": ("protobuf",),
    "json": ("jsonschema",),
}
"""Forms of definitions, by the encoding of messages."""
_IDL: Final = ("ros2idl", "omgidl")
_IDL_BEGINS: Final = "=" * 80 + "\nIDL: "
_OF_FOXGLOVE: Final = "foxglove."
_JSON_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    **{"width": int, "height": int, "step": int, "encoding": str, "format": str},
    "data": base64.b64decode,
}


class Definition(NamedTuple):
    """How messages of a topic are decoded."""

    name: str
    """Of the type, as the bag has it."""
    encoding: str
    """Of the messages."""
    form: str
    """Of the fields' definition."""
    fields: bytes
    """Their definition; empty if the bag brings none."""

    @property
    def type_name(self) -> str:
        """As ROS 2 has it, `sensor_msgs/msg/Image`, whatever the encoding."""
        if self.encoding in ("protobuf", "json") and self.name.startswith(_OF_FOXGLOVE):
            return f"foxglove_msgs/msg/{self.name.removeprefix(_OF_FOXGLOVE)}"
        package, _, name = self.name.partition("/")
        return f"{package}/msg/{name}" if self.encoding == "ros1" and "/" not in name else self.name

    @property
    def is_read(self) -> bool:
        """Whether its messages can be decoded."""
        return self.form in _FORMS.get(self.encoding, ())


def decoder(definition: Definition) -> Decode:
    """Decodes messages to objects by their fields; it raises what the packages do, for bytes of any kind.

    Raises:
        Exception: of the packages, for a definition that they cannot read.
    """
    return {"cdr": _cdr, "ros1": _ros1, "protobuf": _protobuf, "json": _json}[definition.encoding](definition)


def decoded(
    stored: Iterable[Stored | Damage],
    definition_of: Callable[[int], Definition],
    damages: Damages,
    topic: str,
) -> Iterator[BagMessage]:
    """Messages with their fields.

    Args:
        stored: of one topic.
        definition_of: by the key of a message.
        damages: of the file, to which those among the messages are added.
        topic: for messages to people.

    Raises:
        SourceError: at the end, if there are any.
    """
    decoders = dict[int, Decode]()
    count, is_after_damage = 0, False
    for found in stored:
        if isinstance(found, Damage):
            is_after_damage = True
            if found.what:
                damages.add(found.what)
            continue
        message, problem = None, ""
        try:
            if found.key not in decoders:
                decoders[found.key] = decoder(definition_of(found.key))
            message = decoders[found.key](found.data)
        except Exception as error:  # of the packages, for bytes of any kind
            problem = line_of(error)
        count += 1
        yield BagMessage(message, found.log_ns, problem, is_after_damage)
        is_after_damage = False
    damages.check(count, topic)


def _cdr(definition: Definition) -> Decode:
    store = _store(definition)

    def decode(data: bytes) -> Any:
        if data.startswith(ZSTD_BEGINS):  # of a bag that is compressed by message
            data = unpacked_zstd(data, MESSAGE_LIMIT_BYTES)
        return store.deserialize_cdr(data, definition.type_name)

    return decode


def _ros1(definition: Definition) -> Decode:
    store = _store(definition)
    return lambda data: store.deserialize_ros1(data, definition.type_name)


def _store(definition: Definition) -> Any:
    """With the bag's definition of the type; that of Jazzy where it brings none."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    text = definition.fields.decode()
    if not text.strip():
        return typestore()
    store = get_typestore(Stores.EMPTY)
    if definition.form not in _IDL:
        store.register(get_types_from_msg(text, definition.type_name))
        return store
    parts = text.split(_IDL_BEGINS)
    idls = [part.partition("\n")[2] for part in parts[1:]] if len(parts) > 1 else [text]
    store.register({name: fields for idl in idls for name, fields in get_types_from_idl(idl).items()})
    return store


def _protobuf(definition: Definition) -> Decode:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    files: dict[str, FileDescriptorProto] = {
        file.name: file for file in FileDescriptorSet.FromString(definition.fields).file
    }
    pool = DescriptorPool()

    def add(file: FileDescriptorProto) -> None:
        for name in file.dependency:
            if name in files:
                add(files.pop(name))
        pool.Add(file)

    while files:
        add(files.pop(next(iter(files))))
    kind = GetMessageClass(pool.FindMessageTypeByName(definition.name))
    names = [field.name for field in kind.DESCRIPTOR.fields]

    def decode(data: bytes) -> Any:
        message = kind.FromString(data)
        fields = {name: getattr(message, name) for name in names}
        time = fields.get("timestamp")
        return _as_of_ros(fields, getattr(time, "seconds", 0), getattr(time, "nanos", 0))

    return decode


def _json(definition: Definition) -> Decode:
    def decode(data: bytes) -> Any:
        fields = json.loads(data)
        for name, convert in _JSON_FIELDS.items():
            if name in fields:
                fields[name] = convert(fields[name])
        time = fields.get("timestamp") or {}
        message = _as_of_ros(fields, int(time.get("sec", 0)), int(time.get("nsec", 0)))
        if missing := lacking(message, definition.type_name):  # as each message may
            raise ValueError(f"it has no {', '.join(missing)}")
        return message

    return decode


def _as_of_ros(fields: dict[str, Any], seconds: int, nanoseconds: int) -> SimpleNamespace:
    """A message of Foxglove as its type in ROS has it."""
    if "timestamp" in fields:
        fields["timestamp"] = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    if "data" in fields:
        fields["data"] = np.frombuffer(fields["data"], np.uint8)
    return SimpleNamespace(**fields)
