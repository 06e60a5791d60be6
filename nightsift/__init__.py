"""Nightsift: find meteors in the archives of camera networks."""

from importlib.metadata import version

__version__ = version("nightsift")
