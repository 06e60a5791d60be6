"""Every layout that Nightsift knows. A new one is added here and to ``stations.LayoutName``."""

from __future__ import annotations

from collections.abc import Mapping

from nightsift.archive.layouts.allsky import ALLSKY
from nightsift.archive.layouts.dfn import DFN
from nightsift.archive.layouts.fits import FITS
from nightsift.archive.layouts.indi_allsky import INDI_ALLSKY
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.rms import RMS
from nightsift.archive.layouts.video import VIDEO

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (ALLSKY, INDI_ALLSKY, DFN, RMS, FITS, VIDEO)
}
