"""From a frame to a class map: the model's contract, preprocess, engines, postprocess, confidence."""
