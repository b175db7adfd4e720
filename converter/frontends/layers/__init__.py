"""What Caffe and ncnn share: networks of layers and blobs."""
