"""The time limits of the node, each with the module where it acts. A test checks that they fit each other.

A read, its reader's replacement included, ends before its stage counts as hung; a stage that hangs is found
before the node as a whole counts as silent and systemd kills it; what a stop or a load takes fits into what
systemd allows for it. Those of systemd are in configs/node/drivable-node.service.
"""

from __future__ import annotations

from typing import Final

# sources
OPEN_TIMEOUT_S: Final = 10.0
"""A stream that does not open in this time is given up. sources.settings: open_timeout_s"""
READ_TIMEOUT_S: Final = 5.0
"""A stream that sends nothing for this time is opened again. sources.settings: read_timeout_s"""
CAMERA_READ_TIMEOUT_S: Final = 2.0
"""A camera that gives no frame for this time has failed. sources.camera: read_timeout_s"""
FILE_LIMIT_S: Final = 10.0
"""A file or pipe that gives nothing for this time is given up. sources.decoding.video_file, sources.pipe"""
SKIP_LIMIT_S: Final = 1.0
"""A recording in real time that fell behind skips frames for so long in one read. sources.pacing"""
READER_MARGIN_S: Final = 1.0
"""Beyond a source's own limits, before its reader counts as hung. sources.isolated.supervisor"""
READER_START_S: Final = 2.0
"""For a reader's process to start on a slow or busy machine. sources.isolated.supervisor"""
READER_GRACE_S: Final = 1.0
"""For a reader to close its source after the connection was closed. sources.isolated.reader"""
CHILD_KILL_LIMIT_S: Final = 0.2
"""For a killed process to end; one that is stuck in the kernel is left behind. system.child_process"""

# stages
STALLED_AFTER_S: Final = 0.5
"""A live network that works on one frame for longer is reported. concurrency.hang_watch: stalled_after_s"""
STAGE_LIMIT_S: Final = 10.0
"""A stage that works on one item for longer hangs. concurrency.hang_watch: stage_s"""
SILENCE_LIMIT_S: Final = 5.0
"""A node that publishes nothing for so long is not alive, and gets no heartbeat. telemetry.health"""

# sinks
ROS_TAKE_LIMIT_S: Final = 5.0
"""For ROS's network to take a message; then its process is replaced. ros.publisher"""
ROS_GRACE_S: Final = 1.0
"""For that process to publish the last messages and leave the network. ros.publisher"""
ROS_LOOK_LIMIT_S: Final = 1.0
"""For a Zenoh router to say which topics there are. ros.zenoh_network"""

# start and end
LOAD_LIMIT_S: Final = 120.0
"""For a model to be loaded and run once; a GPU may compile its kernels. inference.engines.engine"""
TENSORRT_LOAD_LIMIT_S: Final = 900.0
"""The same with TensorRT, which builds its engine then. inference.engines.onnx"""
FIRST_RUN_LIMIT_S: Final = 60.0
"""For the first frame on a GPU; none of our networks needs two seconds. inference.engines.onnx"""
START_LIMIT_S: Final = 5.0
"""For a start that is to end: it may be inside a driver or a file system. cli.signals"""
DRAIN_LIMIT_S: Final = 5.0
"""For what is in flight when a run is stopped. cli.run, api.run"""
URGENT_LIMIT_S: Final = 1.0
"""For files to be finished once SIGINT came twice. cli.run"""

# those who read along
HTTP_READ_LIMIT_S: Final = 5.0
"""For a request to arrive. web.connections"""
HTTP_WRITE_LIMIT_S: Final = 5.0
"""For an answer to be taken. web.connections, web.guard"""
VIEWER_LIMIT_S: Final = 10.0
"""For a viewer of the live page to ask for the next picture. web.live"""
MQTT_OPEN_LIMIT_S: Final = 5.0
"""For a broker to answer at the start, and at each attempt to reach it. sinks.mqtt_connection"""
MQTT_CLOSE_LIMIT_S: Final = 1.0
"""For the last message to reach the broker, and for its connection to end. sinks.mqtt_connection"""
LOG_LIMIT_S: Final = 1.0
"""For a terminal or pipe to take a line of the log; that is what one costs without a reader. cli.command"""
STARTING_LIMIT_S: Final = 30.0
"""By which each status line extends systemd's limit of a start until the node is ready. telemetry.systemd"""
