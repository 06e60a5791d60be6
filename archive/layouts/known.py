"""Every layout that Nightsift knows. A new one is added here and to ``stations.LayoutName``."""

from __future__ import annotations

from collections.abc import Mapping

from nightsift.archive.layouts.allsky import ALLSKY
from nightsift.archive.layouts.layout import Layout

LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (ALLSKY,)}
