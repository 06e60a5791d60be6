import doctest
import importlib
import pkgutil

import pytest

import nightsift
from tests.conftest import ROOT

MODULES = [
    module.name
    for module in pkgutil.walk_packages(nightsift.__path__, "nightsift.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", ["layouts.md"])
def test_examples_on_pages(page):
    result = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0
