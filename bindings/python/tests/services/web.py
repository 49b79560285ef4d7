"""A WSGI service for the tests of preforking servers. Its client is made, and used, when the server imports it.

The path of a request is the user; the answer is the status of the flow, and says which process has given it.
"""

import atexit
import logging
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Callable

from aperture_sdk.client import ApertureClient, FlowParams

PATIENT = timedelta(seconds=30)

logging.basicConfig()  # a close that loses spans is logged

client = ApertureClient.new_client(address=os.environ["SERVICE_ADDRESS"], insecure=True)
client.wait_ready(30)
client.start_flow("import", FlowParams(check_timeout=PATIENT)).end()


@atexit.register  # in every process that ends in order
def close() -> None:
    """Close the client, and say so."""
    client.close(PATIENT)
    os.write(2, b"closed in %d.\n" % os.getpid())


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request."""
    params = FlowParams(explicit_labels={"user_id": environ["PATH_INFO"].strip("/")}, check_timeout=PATIENT)
    with client.start_flow("checkout", params) as flow:
        status = flow.http_response_code() if flow.success else 500
    start_response(f"{status} Decided", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
