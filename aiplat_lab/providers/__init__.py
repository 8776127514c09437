"""One file per wire format: sends a request to one deployment and reads the answer. Nothing here sees the ledger."""
