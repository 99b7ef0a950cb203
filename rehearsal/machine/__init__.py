"""What a rehearsal borrows from this machine: processes, network, certificates."""
