"""What runs on the device: loads models into ONNX Runtime, runs them, and answers with raw samples.

The folder travels to the device as it is. It knows nothing of the package above it, needs only Python 3.8, NumPy and
ONNX Runtime, and its modules import each other relatively.
"""
