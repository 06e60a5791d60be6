"""What a frame shows: networks, packages, classification, localisation, training."""
