"""Layouts: how a network names the objects of its archive.

A layout turns an object key into a `Claim` without opening the object. `inventory` gives every claimed
object a start in UTC and a night, and keeps with its reason what cannot have one.
"""

from nightsift.archive.layouts.claims import Claim, FrameRef, without_duplicates
from nightsift.archive.layouts.containers import inside, is_container, member_refs
from nightsift.archive.layouts.explanations import explain, readable
from nightsift.archive.layouts.inventories import Inventory, Unclaimed, inventory
from nightsift.archive.layouts.known import LAYOUTS
from nightsift.archive.layouts.layout import Layout

__all__ = [
    "LAYOUTS",
    "Claim",
    "FrameRef",
    "Inventory",
    "Layout",
    "Unclaimed",
    "explain",
    "inside",
    "inventory",
    "is_container",
    "member_refs",
    "readable",
    "without_duplicates",
]
