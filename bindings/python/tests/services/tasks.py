"""A celery service for the tests of its prefork pool. Its client is made, and used, when the worker imports it."""

import atexit
import os
from datetime import timedelta

import celery  # type: ignore[import-untyped]
import celery.signals  # type: ignore[import-untyped]

from aperture_sdk.client import ApertureClient, FlowParams

PATIENT = timedelta(seconds=30)
FOLDER = os.environ["SERVICE_FOLDER"]

app = celery.Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/messages",
    "data_folder_out": f"{FOLDER}/messages",
    "control_folder": f"{FOLDER}/control",
    "polling_interval": 0.02,
}
app.conf.worker_prefetch_multiplier = 1


def decide(user: str) -> tuple[int, bool]:
    """Say which process has decided about a user, and how."""
    params = FlowParams(explicit_labels={"user_id": user}, check_timeout=PATIENT)
    with client.start_flow("checkout", params) as flow:
        if not flow.success:
            raise RuntimeError(str(flow.error()))
        return os.getpid(), flow.should_run()


decide_later = app.task(name="decide")(decide)

if "SERVICE_ADDRESS" in os.environ:  # who sends tasks has none
    client = ApertureClient.new_client(address=os.environ["SERVICE_ADDRESS"], insecure=True)
    client.wait_ready(30)
    client.start_flow("import", FlowParams(check_timeout=PATIENT)).end()
    atexit.register(client.close)  # in the parent
    # Workers of the pool end without atexit.
    celery.signals.worker_process_shutdown.connect(lambda **_: client.close(), weak=False)
