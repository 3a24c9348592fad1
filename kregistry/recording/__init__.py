"""Recording: which DeepGEMM calls a process makes, and the manifest that covers them."""
