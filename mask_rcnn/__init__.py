"""Mask R-CNN for Keras 3 and TensorFlow 2.

>>> predictor = mask_rcnn.load("best.weights.h5")  # doctest: +SKIP
>>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
>>> picture = mask_rcnn.draw(predictor.read("photo.jpg"), detections, predictor.categories)  # doctest: +SKIP
"""

__version__ = "0.1.0"
