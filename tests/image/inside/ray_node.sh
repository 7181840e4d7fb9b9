# A head and what KubeRay does with it: its command line, its probes, in token mode. Then a task on it, and its end.
set -eu
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef

# retries for a minute, as probes are repeated
soon() {
    tries=0
    until "$@" > /tmp/answer 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 60 ]; then echo "no success: $*"; cat /tmp/answer /tmp/head.log; exit 1; fi
        sleep 1
    done
    cat /tmp/answer
}

/bin/bash -c -- "ulimit -n 65536; ray start --head --block --dashboard-host=0.0.0.0 --metrics-export-port=8080 \
    --num-cpus=1 --object-store-memory=100000000" > /tmp/head.log 2>&1 &
soon ray status
soon bash -c "wget --tries 1 -T 2 -q -O- http://localhost:52365/api/local_raylet_healthz | grep success"
soon bash -c "wget --tries 1 -T 10 -q -O- http://localhost:8265/api/gcs_healthz | grep success"
python - <<'PYTHON'
import ray

ray.init(address="auto", log_to_driver=False)
assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
PYTHON
ray stop
echo "probes say success, a task ran"
