"""Vetting: what a candidate is, from the frames before, during and after it, none of them subtracted."""
