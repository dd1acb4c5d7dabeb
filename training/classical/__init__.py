"""Fits what has no network: the local median, the golden template and support vector machines on HOG features."""
