"""Score maps without a network: what people used before, with OpenCV and numpy alone, for training and line alike."""
