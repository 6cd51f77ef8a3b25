"""What is fuzzed: for each reader its seeds, its mutations, and how an input is read to its end."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from mutate import Mutation, mutated, mutated_json, mutated_text
from rtsp_script import SDP, rtp_packets, serve

from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.inference.contract import METADATA_KEY, NO_CHECKSUM, ContractError, ModelContract, checksum
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.sources.images import ImagesSource
from perception.sources.source import EndOfSource, Source, SourceError
from perception.sources.stream import StreamSource
from perception.sources.video import VideoSource
from perception.synthetic import DriveRenderer

FRAMES_READ = 60
OPEN_LIMIT_S, READ_LIMIT_S = 1.0, 0.4
CLIP_WH = (96, 64)
CLIPS = {
    "clip.mp4": ("libx264", "yuv420p"), "clip.mkv": ("libx264", "yuv420p"),
    "clip.flv": ("libx264", "yuv420p"),
    "clip.ts": ("libx264", "yuv420p"), "clip.h264": ("libx264", "yuv420p"), "clip.avi": ("mjpeg", "yuvj420p"),
    "clip.webm": ("libvpx", "yuv420p"), "deep.mp4": ("libx264", "yuv420p10le"),
    "clip.mpg": ("mpeg2video", "yuv420p"),
}  # fmt: skip
LISTS = {
    "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nclip.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": b"ffconcat version 1.0\nfile clip.mp4\nduration 1\nfile clip.mp4\n",
    "road.sdp": SDP.replace(b"video 0", b"video 5004"),
}
CAMERA_YAML = "source: /dev/video0\nmodel: rt_m-int8\ncamera: {width: 1280, height: 720, rate_hz: 30}\n"
NODE_YAML = (
    "source: synthetic\nmodel: rt_s\nthreads: 2\nsynthetic: {wh: 640x360, rate_hz: 30, seed: 1}\n"
    "max_frames: 5\nduration_s: 1.5\nrealtime: true\nout: null\nread_timeout_s: 5.0\nengine: onnx\n"
)


@dataclass(frozen=True)
class Target:
    """One reader."""

    refusals: tuple[type[Exception], ...]
    """The errors that it may raise."""
    mutation: Mutation
    read: Callable[[Path], None]
    share: int
    """Of a hundred inputs."""


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Valid inputs, by target, made in `folder`."""
    images = [DriveRenderer("mixed", CLIP_WH, 10.0, 0).render(number)[0] for number in range(12)]
    for name, (codec, pix_fmt) in CLIPS.items():
        with av.open(str(folder / name), "w") as container:
            # one thread: a child that is forked from here has none of the encoder's
            stream = container.add_stream(codec, rate=25, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = *CLIP_WH, pix_fmt
            stream.gop_size = 5
            for image_bgr in images:
                frame = av.VideoFrame.from_ndarray(image_bgr, format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for name, text in LISTS.items():
        (folder / name).write_bytes(text)
    stills = {
        "colour.jpg": images[0], "grey.jpg": images[0][:, :, 0], "colour.png": images[1],
        "deep.png": images[1].astype(np.uint16) * 257, "still.webp": images[2], "still.tif": images[3],
        "still.bmp": images[4],
    }  # fmt: skip
    for name, image in stills.items():
        cv2.imwrite(str(folder / name), image)
    (folder / "camera.yaml").write_text(CAMERA_YAML)
    (folder / "node.yaml").write_text(NODE_YAML)
    (folder / "live.rtsp").write_bytes(SDP + b"\0\0" + rtp_packets(folder / "clip.h264"))
    model = model_file("rt_s").read_bytes()
    (folder / "model.onnx").write_bytes(model)
    (folder / "contract.json").write_text(OnnxEngine(model_file("rt_s"), "cpu", 1).contract.to_json())
    return {
        "video": [folder / name for name in (*CLIPS, *LISTS)],
        "images": [folder / name for name in stills],
        "settings": [folder / "camera.yaml", folder / "node.yaml"],
        "stream": [folder / "live.rtsp"],
        "contract": [folder / "contract.json"],
        "model": [folder / "model.onnx"],
    }


def play(source: Source) -> None:
    """Read a source to its end, and turn every frame into what the network is given."""
    try:
        source.open()
        for _ in range(FRAMES_READ):
            _ = source.read().image_bgr
    except EndOfSource:
        pass
    finally:
        source.close()


def read_settings(file: Path) -> None:
    """Parse a config of the node."""
    parse(NodeConfig, "drivable-node", "Frames in.", ["--config", str(file)])


def read_stream(file: Path) -> None:
    """Play a stream of a server that says what is in `file`: an SDP, two zeros, and packets."""
    sdp, _, packets = file.read_bytes().partition(b"\0\0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, sdp, [packets]), daemon=True).start()
        port = listener.getsockname()[1]
        play(StreamSource(f"rtsp://ann:secret@127.0.0.1:{port}/road", OPEN_LIMIT_S, READ_LIMIT_S))


def read_contract(file: Path) -> None:
    """Read a contract back."""
    text = file.read_bytes().decode(errors="replace")
    ModelContract.from_json(text, "model.onnx").verify(b"", "model.onnx")


def read_model(file: Path) -> None:
    """Load a model and run it once."""
    Predictor(OnnxEngine(file, "cpu", 1)).warm_up()


def mutated_model(choice: random.Random, data: bytes, other: bytes) -> bytes:
    """A model file with other bytes or another contract of that length; half the time with a new checksum."""
    start = data.find(METADATA_KEY.encode())
    contract_at = data.find(b'{"', start)
    contract_end = data.find(b"}", contract_at) + 1
    if choice.random() < 0.5:
        contract = mutated_json(choice, data[contract_at:contract_end], other)
        room = contract_end - contract_at
        data = data[:contract_at] + contract[:room].ljust(room) + data[contract_end:]
    else:
        data = mutated(choice, data, other)
    return with_new_checksum(data) if choice.random() < 0.5 else data


def with_new_checksum(data: bytes) -> bytes:
    """The file with the checksum that it has now, so that what stands behind the check is reached too."""
    try:
        values = json.loads(data[data.find(b'{"', data.find(METADATA_KEY.encode())) :].split(b"}")[0] + b"}")
        old = values["sha256"].encode()
    except (ValueError, KeyError, AttributeError):
        return data
    if len(old) != len(NO_CHECKSUM):
        return data
    return data.replace(old, checksum(data, old.decode()).encode())


TARGETS = {
    "video": Target((SourceError,), mutated, lambda file: play(VideoSource(file)), 36),
    "images": Target((SourceError,), mutated, lambda file: play(ImagesSource(str(file))), 22),
    "settings": Target((SettingsError,), mutated_text, read_settings, 14),
    "stream": Target((SourceError,), mutated_text, read_stream, 10),
    "contract": Target((ContractError,), mutated_json, read_contract, 12),
    "model": Target((EngineError,), mutated_model, read_model, 6),
}
