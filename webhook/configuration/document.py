"""The file's text as YAML, without what YAML allows and nobody means."""

from collections.abc import Mapping
from typing import Any

import yaml

from webhook.configuration.readers import kind_of, shown
from webhook.errors import ConfigurationError

MAX_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would keep the last in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key {shown(twice)} stands twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _why(exc: Exception, source: str) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return " ".join(str(exc).replace("<unicode string>", source).split())[:300]


def parse(text: str, source: str) -> Mapping[str, Any]:
    if len(text) > MAX_BYTES:
        raise ConfigurationError([f"larger than {MAX_BYTES} bytes; expected a configuration file"], source=source)
    try:
        whole = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        raise ConfigurationError([f"no YAML: {_why(exc, source)}"], source=source) from exc
    if whole is None:
        return {}
    if not isinstance(whole, dict):
        raise ConfigurationError([f"{kind_of(whole)}; expected keys such as mode and prometheus"], source=source)
    return whole
