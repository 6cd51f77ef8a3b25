"""Cameras by the calls of the Linux kernel (Video for Linux 2): what `CameraSource` is built on."""
