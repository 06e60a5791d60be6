"""Stations for the tests of names."""

from typing import Any

from nightsift.archive.layouts import Inventory, inventory
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import StoredObject


def station(station_id: str = "PUJALT", layout: str = "allsky", **more: Any) -> Station:
    values = {
        "id": station_id,
        "network": "SPMN",
        "latitude_deg": 41.7,
        "longitude_deg": 1.4,
        "height_msl_m": 750,
        "timezone": "Europe/Madrid",
        "layout": layout,
        "cadence_s": 31,
        "exposure_s": 30,
    }
    return Station.model_validate(values | more)


def sorted_into(*keys: str, stations: tuple[Station, ...] = (station(),), **more: Any) -> Inventory:
    objects = [StoredObject(key, 700_000, "etag") for key in keys]
    return inventory(objects, Stations(stations, "stations.toml"), **more)
