"""What a run needs around it: papermill, warm kernels, GPUs, checks of the machine, downloads, and which
runs a table needs."""
