"""A Ray cluster of three nodes on this machine, one of which is killed in the middle of a batch with fake stages.

``python ray_cluster.py JOBS``: prints {"counts", "hosts of workers", "died": attempts that ended with a worker}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path


def main(jobs: Path) -> None:
    """Start the cluster, and run the batch."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    from fakes import batch_work
    from ray.cluster_utils import Cluster

    from slipcast.pipeline.batch import running
    from slipcast.pipeline.batch.ledger import ledger_folder, open_ledger
    from slipcast.pipeline.batch.shares import Share
    from slipcast.pipeline.batch.verdicts import Limits

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    running.WORK = batch_work.make_job
    events = jobs.with_name("events.jsonl")

    def kill_a_node() -> None:
        while not events.exists() or events.read_text().count('"event": "stage"') < 8:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)

    threading.Thread(target=kill_a_node, daemon=True).start()
    result = running.run_batch(
        jobs,
        out=jobs.with_name("runs"),
        ray=cluster.address,
        share=Share(cpus=1.0),
        limits=Limits(attempts=5, backoff_s=0.2),
        events=str(events),
    )
    with open_ledger(ledger_folder(jobs, jobs.with_name("runs"))) as ledger:
        attempts = [attempt for row in ledger.rows() for attempt in ledger.attempts(row.key)]
    print(
        json.dumps(
            {
                "counts": result.counts,
                "workers": len({attempt["pid"] for attempt in attempts}),
                "died": sum(attempt["outcome"] == "died" for attempt in attempts),
            }
        )
    )
    sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
