"""What a run needs around it: papermill, warm kernels, GPUs, checks of the machine, downloads, the plan."""
