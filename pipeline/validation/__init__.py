"""Does a sweep's every circuit hold? Interventions in the model itself, and the verdict beside the graph."""
