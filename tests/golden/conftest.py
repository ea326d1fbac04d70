collect_ignore = ["make_tensorflow_golden.py"]  # needs TensorFlow, which is no dependency
