"""Frames as they come from a microscope: safe once they are acknowledged, readable while they are written."""

from platestore.acquisition.recovery import RecoverReport, recover
from platestore.acquisition.stream import AcquisitionStream, stream

__all__ = ["AcquisitionStream", "RecoverReport", "recover", "stream"]
