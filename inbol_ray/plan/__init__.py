"""What a run will take, before any money is spent: workload, rates, nodes, and where it stops scaling."""
