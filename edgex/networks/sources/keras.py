"""`keras:NAME`: Keras Applications on Keras's torch backend, where a model is a torch module."""

import difflib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgex.networks.sources.contract import distinct, require_classes
from edgex.networks.sources.facts import Missing
from edgex.networks.sources.offer import Offer, seeded, weights_sha256
from edgex_runtime.errors import BadInputError, SpecError, WeightsError
from edgex_runtime.spec import Normalise

_OTHER_BACKEND = (
    "want Keras on its torch backend, whose networks are torch modules; keras is already imported on its {backend} "
    "backend in this process: set KERAS_BACKEND=torch before the first `import keras`, or run convert-model, "
    "which does so for itself"
)


def _import_keras() -> ModuleType:
    """Keras on torch. It reads the variable when it is first imported and never again.

    Raises:
        BadInputError: If it is already imported on another backend.
    """
    if "keras" not in sys.modules:
        before = os.environ.get("KERAS_BACKEND")
        os.environ["KERAS_BACKEND"] = "torch"
        try:
            import keras
        finally:
            if before is None:
                del os.environ["KERAS_BACKEND"]
            else:
                os.environ["KERAS_BACKEND"] = before
    else:
        import keras
    if keras.backend.backend() != "torch":
        raise BadInputError(_OTHER_BACKEND.format(backend=keras.backend.backend()))
    module: ModuleType = keras
    return module


class KerasModule(nn.Module):
    """A Keras model as it answers in evaluation mode, for torch's exporters.

    Args:
        model: Takes float32 images, gives logits. Its batch-norm layers are changed in place to call torch's own
            kernel, which every exporter folds into the convolution before it; Keras's three separate operations stay
            in the ONNX graph, one by one, and lose int8 accuracy there.
        layout: Of the images that `model` takes.
    """

    def __init__(self, model: Any, layout: Literal["NCHW", "NHWC"]) -> None:
        super().__init__()
        self.model = model
        self.layout = layout
        for layer in _layers(model):
            if type(layer).__name__ == "BatchNormalization":
                layer.call = _native_batch_norm(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images in the model's layout → (N, classes)."""
        # EfficientNet's Rescaling looks the layout up in Keras's settings each time that it is called.
        with _image_data_format(self.layout):
            logits: Tensor = self.model(images, training=False)
        return logits


def offer_of(model: Any, *, title: str, sha256: str) -> Offer:
    """A Keras model of the user's own, whose input says its size and layout.

    Args:
        model: A functional or sequential model on the torch backend.
        title: As `Offer.title`.
        sha256: As `Offer.sha256`.

    Raises:
        BadInputError: If it does not take images of three channels.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise BadInputError(f"{title}: want a Keras model of one input, (N, H, W, 3) or (N, 3, H, W), got {shape}")
    layout: Literal["NCHW", "NHWC"] = "NHWC" if shape[3] == 3 else "NCHW"
    height, width = shape[1:3] if layout == "NHWC" else shape[2:]
    size = (height, width) if height is not None and width is not None else None
    return Offer(network=KerasModule(model, layout).eval(), title=title, sha256=sha256, input_size=size, layout=layout)


def load(source: str, name: str, missing: Missing) -> Offer:
    """Build a network of Keras Applications.

    Raises:
        BadInputError: If Keras runs on another backend, has no such network, or cannot fetch its weights.
        SpecError: If its classes are said by nobody.
        WeightsError: If the user's weights do not fit.
    """
    keras = _import_keras()
    build = _builder(source, keras, name)
    with _image_data_format("NHWC"):
        normalise, color = scaling_of(source, sys.modules[build.__module__].preprocess_input)
    weights = missing.weights or "default"
    model, layout = _build(source, build, weights, missing)
    height, width = model.input_shape[2:] if layout == "NCHW" else model.input_shape[1:3]
    return Offer(
        network=KerasModule(model, layout).eval(),
        title=name.lower(),
        sha256=weights_sha256(model, weights),
        labels=_labels(keras) if weights == "default" and missing.labels is None else None,
        input_size=(height, width),
        normalise=normalise,
        layout=layout,
        color=color,
    )


def scaling_of(
    source: str, preprocess_input: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[Normalise, Literal["RGB", "BGR"]]:
    """What a family's own `preprocess_input` does to pixels, found by asking it.

    Every family's is, channel by channel, a multiplication and an addition, perhaps with the channels in reverse
    order. Black and one full channel at a time show all of it, and other colours show that there is no more to it.

    Args:
        source: For messages.
        preprocess_input: (N, H, W, 3) RGB 0..255, which it may overwrite → what the network takes.

    Returns:
        In the order of RGB; one that does nothing (the network scales by itself) is mean 0, std 1.

    Raises:
        SpecError: If it does something else.
    """
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3), np.random.default_rng(0).uniform(0, 255, (64, 3))])
    values = preprocess_input(pixels.reshape(-1, 1, 1, 3).copy()).reshape(-1, 3)
    colors: tuple[Literal["RGB", "BGR"], ...] = ("RGB", "BGR")
    for color in colors:
        rgb = values if color == "RGB" else values[:, ::-1]
        scale, shift = (rgb[1:4].diagonal() - rgb[0]) / 255, rgb[0]
        if (scale > 0).all() and np.allclose(pixels * scale + shift, rgb, rtol=0, atol=1e-9 * np.abs(rgb).max()):
            # 1/127.5 and the like come back to within rounding; nobody's mean has more than 9 digits.
            mean, std = ([round(float(v), 9) + 0.0 for v in values] for values in (-shift / scale, 1 / scale))
            return Normalise(mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2])), color
    raise SpecError(
        f"{source}: its preprocess_input is no mean and std of each channel: build the network with the scaling "
        "inside, and give it as package.module:function"
    )


def _builder(source: str, keras: ModuleType, name: str) -> Callable[..., Any]:
    known = [word for word in dir(keras.applications) if word[0].isupper()]
    if name in known:
        build: Callable[..., Any] = getattr(keras.applications, name)
        return build
    near = difflib.get_close_matches(name.lower(), [word.lower() for word in known], n=3)
    matches = [word for word in known if word.lower() in near]
    hint = f"did you mean {', '.join(matches)}?" if matches else f"known are {', '.join(known)}"
    raise BadInputError(f"{source}: keras.applications {keras.__version__} has no network of that name; {hint}")


def _build(
    source: str, build: Callable[..., Any], weights: str, missing: Missing
) -> tuple[Any, Literal["NCHW", "NHWC"]]:
    """The model and the layout of its images: torch's own where the family has it, so that no layer permutes."""
    arguments: dict[str, Any] = {"weights": "imagenet", "classifier_activation": None}
    if weights != "default":
        arguments["classes"] = require_classes(source, missing)
        arguments["weights"] = None
    layouts: tuple[Literal["NCHW", "NHWC"], ...] = ("NCHW", "NHWC")
    refusal: Exception | None = None
    for layout in layouts:
        size = missing.input_size
        if size is not None:
            arguments["input_shape"] = (3, *size) if layout == "NCHW" else (*size, 3)
        with _image_data_format(layout), seeded(), _fetched(source):
            try:
                model = build(**arguments)
            # DenseNet and ConvNeXt refuse channels_first so; whatever else is wrong shows with channels_last too.
            except ValueError as error:
                refusal = error
                continue
        if weights not in ("default", "none"):
            _load_weights(source, model, Path(weights))
        return model, layout
    reason = str(refusal).strip().partition("\n")[0]
    raise BadInputError(f"{source}: Keras does not build it so: {reason}") from refusal


def _load_weights(source: str, model: Any, path: Path) -> None:
    """Load a file, all of it: Keras only warns where one lacks a layer, and leaves that layer at random values."""
    if path.suffix.lower() not in (".h5", ".keras") or not path.is_file():
        found = "no such file" if not path.is_file() else path.suffix or "no suffix"
        raise WeightsError(f"{path}: want Keras weights (.weights.h5, .h5, .keras), 'default' or 'none', got {found}")
    floats = [variable for variable in model.weights if variable.dtype.startswith("float")]
    for variable in floats:
        variable.assign(np.full(tuple(variable.shape), np.nan, np.float32))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Skipping ")
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise WeightsError(f"{path}: not of {source} with the classes that were given: {reason}") from error
    left = [variable.path for variable in floats if not torch.isfinite(variable.value).all()]
    if left:
        raise WeightsError(
            f"{path}: not of {source} with the classes that were given: it has no finite values for {len(left)} of "
            f"{len(floats)} tensors, {', '.join(left[:3])} …"
        )


@contextmanager
def _image_data_format(layout: Literal["NCHW", "NHWC"]) -> Iterator[None]:
    """Most layers take the layout that is set while they are built, and keep it."""
    keras = _import_keras()
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if layout == "NCHW" else "channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


@contextmanager
def _fetched(source: str) -> Iterator[None]:
    """Say what to do where Keras cannot download."""
    try:
        yield
    except Exception as error:
        # Keras raises a bare Exception where an URL cannot be fetched, and has no class for it.
        if type(error) is not Exception:
            raise
        raise BadInputError(
            f"{source}: want its weights from Keras's storage, cannot get them: {error}; copy the folder models of "
            "KERAS_HOME (~/.keras) from a machine with a network, or give --weights FILE, or --weights none for a try "
            "with random ones"
        ) from error


def _labels(keras: ModuleType) -> tuple[str, ...] | None:
    """ImageNet's, which Keras fetches once and keeps; None where it cannot."""
    try:
        with _fetched("labels"):
            decoded = keras.applications.imagenet_utils.decode_predictions(np.eye(1000, dtype=np.float32), top=1)
    except BadInputError:
        return None
    return distinct(tuple(str(best[0][1]) for best in decoded))


def _layers(model: Any) -> Iterator[Any]:
    """Every layer, of nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def _native_batch_norm(layer: Any) -> Callable[..., Tensor]:
    def call(inputs: Tensor, training: bool | None = None, mask: None = None) -> Tensor:
        assert not training, "a network that is converted is in evaluation mode"
        # Where the layer counts its channels last, the exporters cancel the two moves against those of its neighbours.
        outputs = torch.nn.functional.batch_norm(
            inputs.movedim(layer.axis, 1),
            layer.moving_mean.value,
            layer.moving_variance.value,
            layer.gamma.value if layer.scale else None,
            layer.beta.value if layer.center else None,
            training=False,
            eps=layer.epsilon,
        )
        return outputs.movedim(1, layer.axis)

    return call
