"""What follows from marks: figures in words, exports, a calibration."""
