"""Fits what has no network: the local median and support vector machines on HOG features."""
