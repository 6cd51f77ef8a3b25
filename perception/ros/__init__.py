"""ROS 2: its messages and pictures, and its networks by rclpy and over Zenoh."""
