"""Stands for `mms.utils.mxnet.image`: MXNet's image functions by the server's names; HWC unless said otherwise."""

from __future__ import annotations

import base64
import io
from typing import Any


def read(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> Any:
    """Decodes a picture; `flag` 1 for colour, 0 for grey."""
    from mxnet import image

    return image.imdecode(buf, flag, to_rgb, out)


def resize(src: Any, new_width: int, new_height: int, interp: int = 2) -> Any:
    """A picture of the new size; `interp` is OpenCV's number of the method."""
    from mxnet import image

    return image.imresize(src, new_width, new_height, interp)


def fixed_crop(src: Any, x0: int, y0: int, w: int, h: int, size: Any = None, interp: int = 2) -> Any:
    """A part of the picture, resized where `size` (w, h) is given."""
    from mxnet import image

    return image.fixed_crop(src, x0, y0, w, h, size, interp)


def color_normalize(src: Any, mean: Any, std: Any = None) -> Any:
    """`(src - mean) / std`, a channel each."""
    from mxnet import image

    return image.color_normalize(src.astype("float32"), mean, std)


def transform_shape(img_arr: Any, dim_order: str = "NCHW") -> Any:
    """HWC to a batch of one."""
    import mxnet

    if dim_order not in ("NCHW", "NHWC"):
        raise AssertionError(f"dim_order must be 'NCHW' or 'NHWC', got {dim_order!r}")
    ordered = mxnet.nd.transpose(img_arr, (2, 0, 1)) if dim_order == "NCHW" else img_arr
    return mxnet.nd.expand_dims(ordered, axis=0)


def write(img_arr: Any, flag: int = 1, format: str = "jpeg", dim_order: str = "CHW") -> bytes:
    """The picture as a file of that format, in base64."""
    from PIL import Image

    pixels = img_arr.asnumpy().astype("uint8")
    if dim_order == "CHW":
        pixels = pixels.transpose(1, 2, 0)
    picture = Image.fromarray(pixels if flag == 1 else pixels.reshape(pixels.shape[:2]))
    written = io.BytesIO()
    picture.save(written, format=format)
    return base64.b64encode(written.getvalue())
