"""Video for Linux 2: the kernel interface on which `CameraSource` is built."""
