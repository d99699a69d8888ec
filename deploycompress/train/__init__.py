"""Data, importance, recovery, distillation and accuracy: everything that feeds a network images."""
