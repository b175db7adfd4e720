"""TensorFlow and Keras, through TensorFlow Lite."""
