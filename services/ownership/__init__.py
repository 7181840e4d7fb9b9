"""What must happen exactly once: one run for each thing asked for, and one owner of a run at a time.

It holds between all processes that share the MLflow server, whatever Ray cluster they belong to. It rests on
one promise of the server, `Tracking.write_once`: a param of a run is written once, the second writer of
another value is refused. (S3 could promise the same by conditional puts, which not every store enforces.)

How to use it::

    run_id = find_or_create(tracking, PRETRAINING, identity={"icss.job": job}, name=job, fill=write_params)
    lease = acquire(tracking, run_id, is_done=lambda record: "icss.version" in record.tags)
    if lease is None:  # somebody else did it while we waited
        ...
    with lease:  # a thread shows that the owner lives
        ...  # the work
        lease.check()  # before whatever others would see: raises LostOwnershipError if taken over meanwhile
        ...  # write it

A server that looks after many runs and must not wait asks `LeaseWatch.may_take` now and again, with records
that it has read anyway, and calls `take`. A process that works for an owner calls `check_generation`.

What a run keeps: each of the params `lease.1`, `lease.2`, ... holds the token of an owner. The highest is the
present one's, and its number, the generation, only grows. There is one for each time that a process took the
work up, by a submission or a takeover, and none for a heartbeat. The tag `icss.lease` holds the generation
and its last heartbeat, or the generation and "released".

What it does not promise: between `check` and the write after it, an owner that is stopped for longer than the
lease's time to live can be overtaken. So what is written after a check has to be harmless when written twice.
"""

from services.ownership.lease import Lease, LeaseWatch, acquire, check_generation, generation_of, take
from services.ownership.one_run import find_or_create

__all__ = [
    "Lease",
    "LeaseWatch",
    "acquire",
    "check_generation",
    "find_or_create",
    "generation_of",
    "take",
]
