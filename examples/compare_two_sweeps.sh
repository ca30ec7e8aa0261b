#!/bin/sh
# Does computing edges in bfloat16 change circuits? Two small sweeps, then their difference beyond noise.
# `diff` ends with 1 if there is one.
circuit-sweep run demo --prompts.limit 20 --output runs/float32
circuit-sweep run demo --prompts.limit 20 --output runs/bfloat16 --attribution.precision bfloat16
circuit-sweep diff runs/float32 runs/bfloat16 --by family
