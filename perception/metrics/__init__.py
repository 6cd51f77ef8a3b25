"""Accuracy of class maps: mean IoU, boundary IoU, calibration of confidence."""
