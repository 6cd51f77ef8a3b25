"""The graph for GPUs: the camera's frame in, class map and confidence out; only bytes cross the bus.

It wraps the CPU graph of any network and precision in what `perception/imaging/letterbox.py` and
`perception/inference/predictor.py` do on the CPU, written in ONNX's text form. There is no control flow,
and for a known frame size no shape is computed at run time.
"""

from __future__ import annotations

import copy

import onnx
import onnxslim
from onnx import compose, parser, version_converter

from export.package import OPSET, ExportError
from perception.imaging.letterbox import Bgr, Letterbox
from perception.inference.contract import ANY_SIZE
from perception.labels import IDS

PREPROCESS, POSTPROCESS = "gpu/preprocess/", "gpu/postprocess/"
"""Prefixes of the names of all nodes and tensors before and behind the CPU graph."""
_PLACED = PREPROCESS + "placed"

# Letterbox.fit step by step, in double like Python; ONNX rounds halves to even as well.
_FIT = """
    frame_shape = Shape (frame)
    frame_h = Slice (frame_shape, one, two)
    frame_w = Slice (frame_shape, two, three)
    double_h = Cast <to = 11> (frame_h)
    double_w = Cast <to = 11> (frame_w)
    input_double_h = Cast <to = 11> (input_h)
    input_double_w = Cast <to = 11> (input_w)
    scale_h = Div (input_double_h, double_h)
    scale_w = Div (input_double_w, double_w)
    scale = Min (scale_w, scale_h)
    exact_h = Mul (double_h, scale)
    exact_w = Mul (double_w, scale)
    rounded_h = Round (exact_h)
    rounded_w = Round (exact_w)
    whole_h = Cast <to = 7> (rounded_h)
    whole_w = Cast <to = 7> (rounded_w)
    content_h = Max (whole_h, one)
    content_w = Max (whole_w, one)
    padding_h = Sub (input_h, content_h)
    padding_w = Sub (input_w, content_w)
    top = Div (padding_h, two)
    left = Div (padding_w, two)
    bottom = Sub (padding_h, top)
    right = Sub (padding_w, left)
    pads = Concat <axis = 0> (zero, zero, top, left, zero, zero, bottom, right)
    twice_w = Mul (content_w, two)
    halves = LessOrEqual (twice_w, frame_w)
"""

# Row i holds the weights of all frame pixels j for content pixel i, along one side. Lengths are counted in
# fractions of a pixel, so that all but the last division is in whole numbers and exact: content pixel i
# covers [i * n, (i + 1) * n), frame pixel j covers [j * m, (j + 1) * m).
_WEIGHTS = """
    n_AXIS = Cast <to = 1> (frame_AXIS)
    m_AXIS = Cast <to = 1> (content_AXIS)
    n_scalar_AXIS = Squeeze (n_AXIS)
    m_scalar_AXIS = Squeeze (m_AXIS)
    i_row_AXIS = Range (f0, m_scalar_AXIS, f1)
    i_AXIS = Unsqueeze (i_row_AXIS, one)
    j_AXIS = Range (f0, n_scalar_AXIS, f1)

    i_start_AXIS = Mul (i_AXIS, n_AXIS)
    j_start_AXIS = Mul (j_AXIS, m_AXIS)
    i_end_AXIS = Add (i_start_AXIS, n_AXIS)
    j_end_AXIS = Add (j_start_AXIS, m_AXIS)
    start_AXIS = Max (i_start_AXIS, j_start_AXIS)
    end_AXIS = Min (i_end_AXIS, j_end_AXIS)
    length_AXIS = Sub (end_AXIS, start_AXIS)
    overlap_AXIS = Max (length_AXIS, f0)
    area_AXIS = Div (overlap_AXIS, n_AXIS)

    m2_AXIS = Mul (m_AXIS, f2)
    i_middle2_AXIS = Add (i_start_AXIS, i_end_AXIS)
    centre_AXIS = Sub (i_middle2_AXIS, m_AXIS)
    n_less_1_AXIS = Sub (n_AXIS, f1)
    last_centre_AXIS = Mul (m2_AXIS, n_less_1_AXIS)
    not_before_AXIS = Max (centre_AXIS, f0)
    inside_AXIS = Min (not_before_AXIS, last_centre_AXIS)
    j_centre_AXIS = Mul (j_AXIS, m2_AXIS)
    signed_AXIS = Sub (inside_AXIS, j_centre_AXIS)
    distance_AXIS = Abs (signed_AXIS)
    near_AXIS = Sub (m2_AXIS, distance_AXIS)
    tent_AXIS = Max (near_AXIS, f0)
    linear_AXIS = Div (tent_AXIS, m2_AXIS)

    weights_AXIS = Where (halves, area_AXIS, linear_AXIS)
"""

_BY_WEIGHTS = f"""
    {_WEIGHTS.replace("AXIS", "h")}
    {_WEIGHTS.replace("AXIS", "w")}
    weights_down_w = Transpose <perm = [1, 0]> (weights_w)
    shorter = MatMul (weights_h, pixels)
    content = MatMul (shorter, weights_down_w)
"""

# Halves are rounded up, like in cv2's fixed-point and 2x2 averaging code. The levels stay floats: TensorRT
# supports bytes only as inputs and outputs.
_PLACE = """
    lifted = Add (content, half)
    rounded = Floor (lifted)
    levels = Clip (rounded, f0, f255)
    around_0 = Sub (levels, pad)
    with_padding = Pad (around_0, pads)
    placed = Add (with_padding, pad)
"""


def gpu_graph(
    cpu: onnx.ModelProto,
    labels: tuple[str, ...],
    input_wh: tuple[int, int],
    frame_wh: tuple[int, int],
    pad_bgr: Bgr,
) -> onnx.ModelProto:
    """The CPU graph, with the letterbox instead of its first nodes and the postprocessing behind.

    The letterbox outputs the float planes that those nodes make from bytes; the rest of the CPU graph is
    unchanged. `export.tensorrt` lists what TensorRT would not run.

    Args:
        cpu: (1, h, w, 3) uint8 `frame` of `input_wh` in, (1, labels, h / stride, w / stride) `logits` out.
        labels: of the logits' planes, in their order.
        frame_wh: size of its frames; `ANY_SIZE` computes the letterbox from each frame.
        pad_bgr: colour of the padding.

    Returns:
        `frame` (1, H, W, 3) uint8 BGR in; `class_map` and `confidence` out, (1, h, w) uint8 each at
        `input_wh`, padding included. If logits are equal, background wins, then the first label.
        Confidence is 255 times the largest softmax probability; 0, which no probability gives, marks
        logits that are not finite.

    Raises:
        ExportError: if the CPU graph processes its bytes before converting them to floats.
    """
    network = copy.deepcopy(cpu)
    del network.metadata_props[:]
    opset = next(entry.version for entry in network.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OPSET:
        network = version_converter.convert_version(network, OPSET)
        opset = OPSET
    header = f'<ir_version: {network.ir_version}, opset_import: ["" : {opset}]>'
    before = _preprocess(header, input_wh, frame_wh, pad_bgr)
    behind = _postprocess(header, network, labels, input_wh)
    _take_planes(network, _PLACED)
    logits = network.graph.output[0].name
    whole: onnx.ModelProto = compose.merge_models(before, network, io_map=[(_PLACED, _PLACED)])
    whole = compose.merge_models(whole, behind, io_map=[(logits, POSTPROCESS + "logits")])
    whole.graph.name = "frame_to_class_map"
    del whole.opset_import[:]  # one of each part
    whole.opset_import.append(onnx.helper.make_opsetid("", opset))
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _preprocess(
    header: str, input_wh: tuple[int, int], frame_wh: tuple[int, int], pad_bgr: Bgr
) -> onnx.ModelProto:
    """Frame to network input: `Letterbox.place` and its padding."""
    known = frame_wh != ANY_SIZE
    width, height = input_wh
    model = parser.parse_model(
        f"""{header}
        preprocess (uint8[1,{frame_wh[1] if known else "H"},{frame_wh[0] if known else "W"},3] frame)
            => (float[1,3,{height},{width}] placed)
        <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}},
         int64[1] input_h = {{{height}}}, int64[1] input_w = {{{width}}},
         float f0 = {{0}}, float f1 = {{1}}, float f2 = {{2}}, float f255 = {{255}}, float half = {{0.5}},
         float[1,3,1,1] pad = {{{",".join(str(level) for level in pad_bgr)}}}>
        {{
            levels_last = Cast <to = 1> (frame)
            pixels = Transpose <perm = [0, 3, 1, 2]> (levels_last)
            {_resize_known(Letterbox.fit(frame_wh, input_wh)) if known else _FIT + _BY_WEIGHTS}
            {_PLACE}
        }}"""
    )
    if known:
        model = onnxslim.slim(model)  # folds the weights into constants
    return _with_prefix(model, PREPROCESS, keep="frame")


def _resize_known(box: Letterbox) -> str:
    """The resize for a known frame size."""
    (frame_w, frame_h), (content_w, content_h) = box.frame_wh, box.content_wh
    top, left = box.top_px, box.left_px
    bottom, right = box.input_wh[1] - top - content_h, box.input_wh[0] - left - content_w
    pads = f"pads = Constant <value_ints = [0, 0, {top}, {left}, 0, 0, {bottom}, {right}]> ()\n"
    if box.frame_wh == box.content_wh:
        return pads + "content = Identity (pixels)"
    factor = frame_w // content_w
    if factor > 1 and (frame_w, frame_h) == (factor * content_w, factor * content_h):
        window = f"[{factor}, {factor}]"
        return pads + f"content = AveragePool <kernel_shape = {window}, strides = {window}> (pixels)"
    sizes = {"frame_h": frame_h, "frame_w": frame_w, "content_h": content_h, "content_w": content_w}
    sizes["twice_w"] = 2 * content_w
    lines = [f"{name} = Constant <value_ints = [{size}]> ()\n" for name, size in sizes.items()]
    return pads + "".join(lines) + "halves = LessOrEqual (twice_w, frame_w)\n" + _BY_WEIGHTS


def _postprocess(
    header: str, network: onnx.ModelProto, labels: tuple[str, ...], input_wh: tuple[int, int]
) -> onnx.ModelProto:
    """Logits to class ids and confidence at the network's input size, before the crop."""
    dims = network.graph.output[0].type.tensor_type.shape.dim
    width, height = input_wh
    low_height, low_width = dims[2].dim_value, dims[3].dim_value
    ids = ", ".join(f"float id_{place} = {{{IDS[label]}}}" for place, label in enumerate(labels))
    size = f"{{1,{len(labels)},{height},{width}}}"
    model = parser.parse_model(
        f"""{header}
        postprocess (float[1,{len(labels)},{low_height},{low_width}] logits)
            => (uint8[1,{height},{width}] class_map, uint8[1,{height},{width}] confidence)
        <int64[4] size = {size}, int64[1] by_label = {{1}}, float f0 = {{0}}, float f255 = {{255}}, {ids}>
        {{
            full = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (logits, , , size)
            {_largest(labels)}
            probabilities = Softmax <axis = 1> (full)
            largest = ReduceMax <keepdims = 0> (probabilities, by_label)
            share = Mul (largest, f255)
            rounded = Round (share)
            is_number = GreaterOrEqual (rounded, f0)
            valid = Where (is_number, rounded, f0)
            confidence = Cast <to = 2> (valid)
        }}"""
    )
    return _with_prefix(model, POSTPROCESS, keep="class_map confidence")


def _largest(labels: tuple[str, ...]) -> str:
    """Class ids like `postprocess`: planes are compared one by one, and background wins ties.

    A comparison with NaN is false and so gives background. Ids are floats until the end, because TensorRT
    converts nothing else to bytes.
    """
    *drivable, _ = places = range(len(labels))
    planes = ", ".join(f"plane_{place}" for place in places)
    lines = [f"{planes} = Split <axis = 1, num_outputs = {len(labels)}> (full)"]
    best, label = "plane_0", "id_0"
    for place in drivable[1:]:
        lines += [
            f"is_more_{place} = Greater (plane_{place}, {best})",
            f"label_{place} = Where (is_more_{place}, id_{place}, {label})",
            f"best_{place} = Max ({best}, plane_{place})",
        ]
        best, label = f"best_{place}", f"label_{place}"
    last = places[-1]
    lines += [
        f"is_drivable = Greater ({best}, plane_{last})",
        f"found = Where (is_drivable, {label}, id_{last})",
        "found_plane = Squeeze (found, by_label)",
        "class_map = Cast <to = 2> (found_plane)",
    ]
    return "\n".join(lines)


def _with_prefix(model: onnx.ModelProto, prefix: str, keep: str) -> onnx.ModelProto:
    """`model` with a prefix on all its names except those in `keep`, the inputs and outputs of the whole."""
    prefixed: onnx.ModelProto = compose.add_prefix(model, prefix)
    own = {prefix + name: name for name in keep.split()}
    for value in (*prefixed.graph.input, *prefixed.graph.output, *prefixed.graph.value_info):
        value.name = own.get(value.name, value.name)
    for index, node in enumerate(prefixed.graph.node):
        node.input[:] = [own.get(name, name) for name in node.input]
        node.output[:] = [own.get(name, name) for name in node.output]
        node.name = f"{prefix}{index}_{node.op_type}"
    return prefixed


def _take_planes(network: onnx.ModelProto, name: str) -> None:
    """Let `network` read float planes, (1, 3, h, w), instead of converting bytes itself.

    Nodes that reorder the bytes before the conversion then reorder floats.
    """
    graph = network.graph
    height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:3])
    cast, last = _cast_of_bytes(graph), f"{name}_last"
    _read_instead(graph, cast.output[0], cast.input[0])
    graph.node.remove(cast)
    _read_instead(graph, graph.input[0].name, last)
    first = next(node for node in graph.node if last in node.input)
    if first.op_type == "Transpose" and list(first.attribute[0].ints) == [0, 3, 1, 2]:
        _read_instead(graph, first.output[0], name)
        graph.node.remove(first)
    else:
        graph.node.insert(0, onnx.helper.make_node("Transpose", [name], [last], last, perm=[0, 2, 3, 1]))
    graph.input[0].CopyFrom(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, height, width])
    )
    del graph.value_info[:]  # some describe tensors of bytes that are floats now


def _cast_of_bytes(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The node that converts the input to floats, behind nodes that only move values.

    Raises:
        ExportError: naming the operator found instead.
    """
    tensor = graph.input[0].name
    while True:
        node = next(node for node in graph.node if tensor in node.input)
        if node.op_type == "Cast":
            return node
        if node.op_type not in ("Transpose", "Gather", "Reshape"):
            raise ExportError(
                f"the graph reads bytes with {node.op_type}; for target gpu it must convert them to floats "
                f"first, like every network of drivable-train"
            )
        tensor = node.output[0]


def _read_instead(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if tensor == old else tensor for tensor in node.input]
