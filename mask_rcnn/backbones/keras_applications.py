"""Networks of keras.applications by name, such as `keras.applications/MobileNetV3Small`."""

import inspect
import sys
import warnings

import keras

from mask_rcnn.backbones.backbone import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, Backbone
from mask_rcnn.backbones.from_keras_model import from_keras_model, normalization_of
from mask_rcnn.config import BackboneConfig

PREFIX = "keras.applications/"


@BACKBONES.register(PREFIX)
def keras_application(config: BackboneConfig) -> Backbone:
    """Any network of keras.applications, such as keras.applications/MobileNetV3Small."""
    function = _function(config.name)

    def make(weights):
        return function(weights=weights, include_top=False, input_shape=(None, None, 3))

    def load(weights):
        try:
            with warnings.catch_warnings():
                # MobileNets warn that weights for 224 pixels are loaded. The weights do not depend on the
                # size.
                warnings.filterwarnings("ignore", message="`input_shape` is undefined")
                return make(weights)
        except Exception as error:  # `keras.utils.get_file` raises no more specific class
            if "URL fetch failure" not in str(error):
                raise
            raise OSError(
                f"The weights {weights!r} of {config.name} cannot be downloaded ({error}). "
                "Connect to the internet once, or set `backbone.weights` to a .weights.h5 file with them."
            ) from error

    mean, std, bgr = _normalization(function)
    return from_keras_model(make(None), config, mean=mean, std=std, bgr=bgr, load=load)


def _function(name):
    function = getattr(keras.applications, name.removeprefix(PREFIX), None)
    if not inspect.isfunction(function):
        known = [key for key, value in vars(keras.applications).items() if inspect.isfunction(value)]
        raise ValueError(
            f"keras.applications has no such network. Received: backbone.name={name!r}. "
            f"Choose one of {', '.join(sorted(known))}."
        )
    return function


def _normalization(function):
    """Returns the `mean`, `std` and `bgr` of the library's `preprocess_input`.

    The result is `(None, None, False)` if that function changes no pixel, because the network itself begins
    with normalization layers.
    """
    module = sys.modules[function.__module__]
    if module.__name__.endswith(".efficientnet"):  # its layers have them only with ImageNet weights
        return IMAGENET_MEAN, IMAGENET_STD, False
    mean, std, bgr = normalization_of(module.preprocess_input)
    return (None, None, False) if (mean, std) == ((0.0,) * 3, (1.0,) * 3) else (mean, std, bgr)
