"""From the tables of a sweep to what many graphs have in common, and how two sweeps differ.

Everything that runs over a whole sweep is a partial aggregate of some rows (`partials`), merged by key
(`merging`): sums and bucket counts, so that neither the order nor the cutting of the rows matters and no
machine has to hold it all. `pipeline.sweep.aggregation` runs the parts on Ray.
"""
