#!/bin/sh
# Send a sweep to a Ray cluster that asks for a token, and follow it. Change the address, the bucket and the file.
# The token never travels with the job; neither does any other credential.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$(cat ~/.ray/auth_token)"
circuit-sweep submit sweep.yaml --address http://head.example.org:8265 --output s3://my-bucket/sweeps/gemma \
    --workers.min-replicas 8 --workers.gpus-per-replica 1 --workers.cores-per-replica 4 --follow
