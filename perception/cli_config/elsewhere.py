"""What other tools of the trade (ultralytics, ffmpeg, frigate, argparse's own habits) call things."""

from __future__ import annotations

from typing import Final

_Meant = tuple[tuple[str, str], ...]
"""A setting that a command has to know ("" for any), and what to say then ("" for its name)."""


def _named(*settings: str) -> _Meant:
    return tuple((setting, "") for setting in settings)


_SCHEDULE: Final = (
    "it is part of the schedule: --stages '[{input_wh: 640x384, epochs: 1, batch_size: 8, "
    "max_learning_rate: 1e-3}]', or a copy of the recipe"
)
_NO_WINDOW: Final = (
    "there is no window: --http 8080 --open shows the overlay in a browser, --out overlay.mp4 writes it"
)
_NO_THRESHOLD: Final = (
    "there are no thresholds, the likeliest class is taken (records have the certainty); "
    "a settings file is --config FILE"
)
_VERBOSE: Final = "here it is --verbose; DRIVABLE_TRACEBACK=1 shows where an unexpected error was"
_QUIET: Final = "here it is --quiet"
_RATE: Final = (
    "a recording keeps its rate; --camera.rate_hz asks a camera for one, --images_rate_hz sets a folder's"
)
_PRECISION: Final = "the model file sets it: --model rt_m-int8, or what drivable-export --precision writes"
_BY_MODEL: Final = "the network's input is the model's own; drivable-export --size writes one of another size"
_TORCHRUN: Final = "several GPUs: torchrun --nproc-per-node 4 --no-python drivable-train …"
_CORNERS: Final = "here it is --corners 9x6, the inner corners of the board"
_FISHEYE: Final = "here it is --lens fisheye"
_CLASSES: Final = "the classes are the model's own: direct, alternative, background"

ELSEWHERE: Final[dict[str, _Meant]] = {
    word: meant
    for words, meant in (
        ("input i video stream url stream_url stream_uri image src s", _named("source", "file")),
        ("camera cam webcam camera_index camera_id rtsp", _named("source")),
        ("images path input_dir folder dir", _named("source", "data", "file")),
        ("file", _named("source", "checkpoint", "data")),
        (
            "output o save save_path save_dir save_video write_video project work_dir",
            _named("out", "summary"),
        ),
        ("output_dir out_dir outdir dst destination output_path save_as", _named("out", "summary")),
        ("save_txt save_json json records predictions", _named("jsonl", "out")),
        ("save_mask save_masks mask mask_dir masks_dir", _named("masks")),
        ("config_file conf_file cfg c settings yaml hyp recipe", _named("config")),
        ("weights w m checkpoint ckpt onnx pretrained", _named("weights", "checkpoint", "model", "models")),
        ("network arch architecture net", _named("model", "models")),
        ("finetune fine_tune init load init_weights load_from", _named("weights")),
        ("resume_from auto_resume", (("resume", "here it is --resume --out DIR, the folder of the run"),)),
        (
            "device gpu cuda d use_gpu use_cuda accelerator",
            (
                ("device", "here it is --device auto, cpu or cuda"),
                ("provider", "here it is --provider auto, cpu, cuda or tensorrt"),
                ("providers", "here it is --providers, of auto, cpu, cuda and tensorrt"),
            ),
        ),
        (
            "cpu",
            (
                ("device", "here it is --device cpu"),
                ("provider", "here it is --provider cpu"),
                ("providers", "here it is --providers cpu"),
            ),
        ),
        ("tensorrt trt execution_provider ep", _named("provider", "providers")),
        ("backend runtime openvino", _named("engine", "engines")),
        ("half fp16 int8 quantize quantise dtype amp", (("precision", ""), ("engine", _PRECISION))),
        (
            "imgsz img_size img size resolution input_size input_wh shape",
            (("size_wh", ""), ("stages", _SCHEDULE), ("jsonl", _BY_MODEL), ("corners_wh", _CORNERS)),
        ),
        ("epochs epoch max_epochs n_epochs num_epochs e", (("stages", _SCHEDULE),)),
        ("batch batch_size bs b lr lr0 learning_rate", (("stages", _SCHEDULE),)),
        ("num_workers j jobs n_jobs", _named("workers", "threads")),
        ("num_threads cores intra_op workers nproc", _named("threads", "workers")),
        ("dataset data_dir data_root data_path train_data root", _named("data")),
        ("optimizer opt", _named("optimiser")),
        ("scheduler lr_scheduler", _named("schedule")),
        ("criterion loss_fn", _named("loss")),
        ("class_weights class_weight", (("loss", "here it is --loss weighted_cross_entropy"),)),
        ("gpus local_rank launcher nproc_per_node", (("optimiser", _TORCHRUN),)),
        ("format include", _named("target")),
        ("iters frame_limit frames num_frames n limit nframes frame_count", _named("max_frames", "frames")),
        ("t time seconds length", _named("duration_s")),
        ("repeats repeat runs iterations", _named("rounds")),
        ("re real_time pace", _named("realtime")),
        ("stream_loop", _named("loop")),
        ("y force exist_ok replace", _named("overwrite")),
        ("port host metrics listen bind prometheus", _named("http")),
        ("transport rtsp_tcp tcp udp", _named("rtsp_transport")),
        ("retries retry max_retries", _named("open_retries", "watchdog.restarts")),
        ("timeout", _named("open_timeout_s", "read_timeout_s")),
        ("insecure k no_verify", _named("tls_insecure")),
        ("cacert ca cafile", _named("tls_ca")),
        ("fps rate framerate frame_rate r", (("camera.rate_hz", _RATE), ("rates_hz", ""))),
        ("show view view_img display window gui imshow preview visualize", (("jsonl", _NO_WINDOW),)),
        ("conf conf_thres confidence threshold iou iou_thres", (("", _NO_THRESHOLD),)),
        ("v vv debug log_level loglevel l", (("", _VERBOSE),)),
        ("q silent hide_banner nostats", (("", _QUIET),)),
        ("pattern pattern_size chessboard_size board_size", (("corners_wh", _CORNERS),)),
        ("fisheye fish_eye equidistant", (("lens", _FISHEYE),)),
        ("square_size square_length", _named("square_m")),
        ("marker_size marker_length charuco_marker_size", _named("marker_m")),
        ("aruco_dict aruco_dictionary dict", _named("dictionary")),
        ("calib intrinsics camera_info homography", _named("calibration")),
        ("classes class agnostic_nms max_det nc labels", (("jsonl", _CLASSES),)),
    )
    for word in words.split()
}
"""By the word that people type, without dashes before it."""
