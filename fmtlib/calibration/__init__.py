"""Scales and zero points from data: `calibrate`, `Calibrator`, `AmaxHistory`."""

from fmtlib.calibration.calibrator import Calibrator, calibrate
from fmtlib.calibration.history import AmaxHistory
from fmtlib.calibration.scales import Calibration

__all__ = ["AmaxHistory", "Calibration", "Calibrator", "calibrate"]
