"""dlib: train language models so that a run is a pure function of (config, data, seed, step)."""
