"""Asks an application in this process, without a socket."""

import warnings

from fastapi import FastAPI

with warnings.catch_warnings():  # Starlette would rather have httpx2; schemathesis and the real clients have httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

LOOPBACK = "http://localhost:8000"


def client_of(app: FastAPI, base_url: str = LOOPBACK) -> TestClient:
    """Redirects are answers here, not followed; an exception that no handler took fails the test."""
    return TestClient(app, base_url=base_url, follow_redirects=False)
