"""`drivable-calibrate`: settings → views → fit → files → exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from perception import __version__
from perception.cli.collisions import Input, Target, check_apart
from perception.cli.command import INTERRUPTED, NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show
from perception.cli_config import SettingsError, config_files, log_level, parse, usage
from perception.cli_config.names import nearest

log = logging.getLogger(__name__)
NAME: Final = "drivable-calibrate"
MOUNT: Final = "mount"
DESCRIPTION: Final = (
    "A camera's intrinsics from pictures of a chessboard or charuco board, as ROS's camera_info in YAML, "
    "which drivable-node --calibration reads. `drivable-calibrate mount CAMERA.yaml ROAD.jpg` adds the mount "
    "from one picture of a straight, level road."
)
USAGE: Final = (
    "boards/ --corners 9x6                        # pictures of a chessboard of 10x7 squares",
    "/dev/video0 --corners 9x6 --lens fisheye     # a camera; move the board slowly, and hold it still",
    "mount camera.yaml road.jpg --height 1.45     # pitch and yaw from a straight, level road",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the file was written."""
    with command_log(NAME):
        return _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(given: list[str]) -> int:
    if not given:
        show(usage(NAME, *USAGE) + "\n")
        return NOTHING_GIVEN
    from perception.scene.calibration import CalibrationError
    from perception.sources.source import SourceError

    try:
        set_verbosity(log_level(given))
        if given[0] == MOUNT:
            return _mount(given)
        if nearest(given[0], [MOUNT]) and not Path(given[0]).exists():
            raise SettingsError(f"{given[0]}: no such command, nor pictures; the nearest command is {MOUNT}")
        return _intrinsics(given)
    except SettingsError as error:
        log.error(error)
        return error.status
    except (CalibrationError, SourceError) as error:
        log.error(error)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted; nothing was written")
        return INTERRUPTED


def _intrinsics(given: list[str]) -> int:
    from perception.calibrate.config import CalibrateConfig

    config = parse(CalibrateConfig, NAME, DESCRIPTION, given, positional=("source",))
    import cv2

    from perception.calibrate.boards import board_of
    from perception.calibrate.cells import covered_share
    from perception.calibrate.config import FEWEST_VIEWS
    from perception.calibrate.coverage import TOO_LITTLE, as_picture, corners_of
    from perception.calibrate.fit import fit
    from perception.calibrate.report import lines_of, mount_line, notes_of, too_few
    from perception.calibrate.views import views_of
    from perception.scene.calibration import Calibration, CalibrationError
    from perception.scene.camera_info import info_text
    from perception.sources.registry import SOURCES, Spec
    from perception.system.redaction import redacted_url

    out, picture = Path(config.out), config.coverage_file
    spec = Spec.of(config.source)
    inputs = [Input("a picture of the source", file) for file in SOURCES[spec.kind].files(spec.text)]
    inputs += [Input("the settings (--config)", file) for file in config_files(given)]
    check_apart(inputs, [Target("--out", out), Target("--coverage", picture)])
    board, source = board_of(config), redacted_url(config.source)
    views = views_of(config, board)
    if len(views.good) < FEWEST_VIEWS:
        log.error(too_few(source, views, board.description))
        return 1
    fitted = fit(views.good, views.frame_wh, config.lens)
    if (share := covered_share(corners_of(fitted.views), views.frame_wh)) < TOO_LITTLE:
        raise CalibrationError(
            f"{source}: corners were seen in {share:.0%} of the picture, and at least {TOO_LITTLE:.0%} are "
            f"needed: hold the board into its corners and edges too"
        )
    for line in lines_of(fitted, views):
        print_line(line)
    calibration = Calibration(fitted.intrinsics, config.mount)
    if calibration.mount is not None:
        print_line(mount_line(calibration.mount))
    _, png = cv2.imencode(".png", as_picture(fitted))
    text = info_text(calibration, config.name, notes_of(__version__, source, fitted))
    return _written({out: text.encode(), picture: png.tobytes()}, overwrite=config.overwrite)


def _mount(given: list[str]) -> int:
    from perception.calibrate.config import MountConfig

    config = parse(
        *(
            MountConfig,
            f"{NAME} {MOUNT}",
            "The mount, from one picture of a straight, level road.",
            given[1:],
        ),
        positional=("camera", "picture"),
    )
    import cv2
    import numpy as np

    from perception.calibrate.report import road_lines
    from perception.calibrate.road_mount import mount_from_road, picture_of
    from perception.scene.calibration import Calibration, CalibrationError
    from perception.scene.calibration_file import load_calibration
    from perception.scene.camera_info import info_text
    from perception.sources.decoding.image_file import ImageFile
    from perception.sources.decoding.image_size import MAX_PIXELS

    out, check = Path(config.out), config.check_file
    inputs = [Input("the camera", Path(config.camera)), Input("the picture", Path(config.picture))]
    inputs += [Input("the settings (--config)", file) for file in config_files(given)]
    check_apart(inputs, [Target("--out", out), Target("--check", check)])
    image_bgr = ImageFile(Path(config.picture), MAX_PIXELS).picture().image_bgr
    frame_wh = image_bgr.shape[1], image_bgr.shape[0]
    calibration = load_calibration(config.camera, frame_wh)
    try:
        intrinsics = calibration.intrinsics.scaled_to(frame_wh)
    except CalibrationError as error:
        raise CalibrationError(f"{config.camera}: {error}") from None
    try:
        found = mount_from_road(image_bgr, intrinsics, config)
    except CalibrationError as error:
        raise CalibrationError(f"{config.picture}: {error}") from None
    lines = road_lines(found)
    for line in lines:
        print_line(line)
    _, png = cv2.imencode(".png", picture_of(np.asarray(image_bgr, np.uint8), found, intrinsics))
    mounted = Calibration(calibration.intrinsics, found.mount)
    text = info_text(mounted, config.name, (f"{NAME} {__version__} mount: {config.picture}", *lines))
    return _written({out: text.encode(), check: png.tobytes()}, overwrite=config.overwrite)


def _written(contents: Mapping[Path, bytes], *, overwrite: bool) -> int:
    from perception.system.set_aside import write_outputs

    file = next(iter(contents))
    try:
        for folder in {each.parent for each in contents}:
            folder.mkdir(parents=True, exist_ok=True)
        write_outputs(contents, overwrite=overwrite)
    except OSError as error:
        log.error(f"{error.filename or file}: cannot be written: {error.strerror}")
        return 1
    log.info(f"files: {', '.join(map(str, contents))}")
    return 0
