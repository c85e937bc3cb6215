"""A local model held by several processes, which Ray runs."""

from elicit.providers.ray.provider import RayProvider

__all__ = ["RayProvider"]
